from __future__ import annotations

import random
import re
from pathlib import PurePosixPath

import pytest

from airflow_magnus.pipeline.identifiers import (
    MAX_DAG_ID,
    MAX_RUN_ID,
    MAX_TASK_ID,
    dag_id_of,
    safe_run_id,
    task_id_of,
)

ALPHABETS = [" -", " -a", " .-2e0z", "ab_ .-/ü%\n😀", "-z20"]


def decoded(identifier: str, single: str) -> str:
    """The name behind an id: reads tokens from the left."""
    tokens = re.findall(r"--[0-9a-f]+-|-|[A-Za-z0-9_]+", identifier)
    assert "".join(tokens) == identifier
    return "".join(
        chr(int(token[2:-1], 16)) if token.startswith("--") else single if token == "-" else token
        for token in tokens
    )


def _names(seed: int):
    source = random.Random(seed)
    for _ in range(4000):
        yield "".join(source.choices(source.choice(ALPHABETS), k=source.randint(1, 12)))


@pytest.mark.parametrize(
    ("name", "identifier"),
    [
        ("step shell", "step-shell"),
        ("a_B9", "a_B9"),
        ("a  b", "a---20-b"),
        ("a-b", "a--2d-b"),
        ("é", "--e9-"),
        (" .", "---2e-"),
        ("😀", "--1f600-"),
    ],
)
def test_task_id_is_readable_when_name_is_short(name: str, identifier: str) -> None:
    assert task_id_of(name) == identifier


@pytest.mark.parametrize("seed", range(5))
def test_task_id_gives_name_back_when_decoded(seed: int) -> None:
    for name in _names(seed):
        assert decoded(task_id_of(name), " ") == name
        assert re.fullmatch(r"[A-Za-z0-9_.-]+", task_id_of(name))


@pytest.mark.parametrize("seed", range(5))
def test_dag_id_gives_path_back_when_decoded(seed: int) -> None:
    names = [name for name in _names(seed) if "/" not in name and "." not in name]
    for folder, name in zip(names[::2], names[1::2], strict=False):
        parts = dag_id_of(PurePosixPath(folder, f"{name}.yaml")).split(".")
        assert [decoded(part, "-") for part in parts] == [folder, name]


@pytest.mark.parametrize(
    ("path", "identifier"),
    [
        ("getting-started.yaml", "getting-started"),
        ("sales/my file.yml", "sales.my--20-file"),
        ("a.b.yaml", "a--2e-b"),
        ("a/b.yaml", "a.b"),
        ("a--b.yaml", "a---2d-b"),
    ],
)
def test_dag_id_is_readable_when_path_is_short(path: str, identifier: str) -> None:
    assert dag_id_of(PurePosixPath(path)) == identifier


def test_id_is_shortened_with_hash_when_long() -> None:
    names = ["x" * 300, "x" * 301, "é" * 100, "é" * 101]
    identifiers = [task_id_of(name) for name in names]
    assert {len(identifier) for identifier in identifiers} == {MAX_TASK_ID}
    assert len(set(identifiers)) == len(names)
    assert all(re.search(r"--z[0-9a-f]{16}$", identifier) for identifier in identifiers)
    assert task_id_of("x" * MAX_TASK_ID) == "x" * MAX_TASK_ID
    assert len(dag_id_of(PurePosixPath("f" * 200, "x" * 200 + ".yaml"))) == MAX_DAG_ID


def test_ids_differ_when_a_short_name_imitates_a_shortened_one() -> None:
    long = "x" * 157 + "." + "y" * 100
    victim = task_id_of(long)
    imitation = "x" * 157 + victim[157:].replace("--2e-", ".")
    imitation = imitation.replace("--z", " -z")
    assert task_id_of(imitation) != victim


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("d.manual__2026-11-21T03:02:33.3+00:00", "d.manual__2026-11-21T03-02-33.3-00-00"),
        ("corpusrun1", "corpusrun1"),
        ("../x/y", "x-y"),
        ("x.json", "x-json"),
        ("...", "run"),
    ],
)
def test_run_id_is_fit_for_folders_when_made_of_any_text(text: str, safe: str) -> None:
    assert safe_run_id(text) == safe


def test_run_id_is_short_and_its_own_when_text_is_long() -> None:
    ids = {safe_run_id("x" * 400 + end) for end in "ab"}
    assert len(ids) == 2
    assert all(len(run_id) == MAX_RUN_ID for run_id in ids)
