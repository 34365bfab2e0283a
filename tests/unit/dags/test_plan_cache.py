from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from airflow_magnus.dags import plan_cache
from airflow_magnus.errors import PipelineError
from airflow_magnus.pipeline.parser import load_pipeline

TEXT = """
airflow: {start_date: 2024-01-31, timezone: Europe/Berlin, tags: [a]}
parameters: {x: 1}
dag:
  start_at: first
  steps:
    first:
      type: task
      command_type: shell
      command: echo $word
      next: inner
      executor_config: {airflow: {queue: big}}
    inner: {type: dag, dag_definition: other.sub.yaml, next: success}
    success: {type: success}
    fail: {type: fail}
"""
SUB = """
dag:
  start_at: only
  steps:
    only: {type: task, command_type: shell, command: echo inner, next: success}
    success: {type: success}
    fail: {type: fail}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "other.sub.yaml").write_text(SUB, encoding="utf-8")
    path = tmp_path / "pipeline.yaml"
    path.write_text(TEXT, encoding="utf-8")
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "home" / "plans"


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Path]]:
    """The files that were read and checked, not taken from the cache."""
    files: list[Path] = []
    load = plan_cache._checked

    def noted(path: Path, variables: Mapping[str, str]) -> Any:
        files.append(path)
        return load(path, variables)

    monkeypatch.setattr(plan_cache, "_checked", noted)
    return files


def entry_of(folder: Path) -> Path:
    (entry,) = folder.iterdir()
    return entry


def test_second_load_gives_the_same_pipeline_without_checking(
    file: Path, folder: Path, checked: list[Path]
) -> None:
    first = plan_cache.load(file, {"word": "hi"}, folder)
    second = plan_cache.load(file, {"word": "hi"}, folder)
    assert checked == [file]
    assert first == second == load_pipeline(file, variables={"word": "hi"})
    assert second is not first
    assert second.graph.reachable == first.graph.reachable
    assert second.graph.steps["first"].position == first.graph.steps["first"].position


def test_another_process_reads_the_entry(file: Path, folder: Path) -> None:
    pipeline = plan_cache.load(file, {}, folder)
    code = (
        "import sys; from pathlib import Path; from airflow_magnus.dags import plan_cache\n"
        "plan_cache._checked = None\n"
        "print(plan_cache.load(Path(sys.argv[1]), {}, Path(sys.argv[2])).digest)"
    )
    found = subprocess.run(
        [sys.executable, "-c", code, file, folder], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == pipeline.digest


@pytest.mark.parametrize("name", ["pipeline.yaml", "other.sub.yaml"])
def test_file_is_checked_again_when_a_text_has_changed(
    file: Path, folder: Path, checked: list[Path], name: str
) -> None:
    before = plan_cache.load(file, {}, folder)
    changed = file.with_name(name)
    times = changed.stat()
    changed.write_text(changed.read_text(encoding="utf-8").replace("echo", "ECHO"), encoding="utf-8")
    os.utime(changed, ns=(times.st_atime_ns, times.st_mtime_ns))
    after = plan_cache.load(file, {}, folder)
    assert len(checked) == 2
    assert after == load_pipeline(file, variables={})
    assert after.digest != before.digest
    assert len(list(folder.iterdir())) == 1


def test_variables_have_entries_of_their_own(file: Path, folder: Path, checked: list[Path]) -> None:
    texts = [plan_cache.load(file, {"word": word}, folder).graph.steps["first"].command for word in "abab"]  # type: ignore[attr-defined]
    assert texts == ["echo a", "echo b"] * 2
    assert len(checked) == 2


def test_faults_are_raised_anew(file: Path, folder: Path, checked: list[Path]) -> None:
    plan_cache.load(file, {}, folder)
    file.with_name("other.sub.yaml").unlink()
    for _ in range(2):
        with pytest.raises(PipelineError, match=r"other\.sub\.yaml"):
            plan_cache.load(file, {}, folder)
    assert len(checked) == 3


def test_relative_file_is_that_of_the_current_folder(
    file: Path, folder: Path, checked: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        there = file.parent / name
        there.mkdir()
        (there / "p.yaml").write_text(SUB.replace("inner", name), encoding="utf-8")
        monkeypatch.chdir(there)
        step = plan_cache.load(Path("p.yaml"), {}, folder).graph.steps["only"]
        assert step.command == f"echo {name}"  # type: ignore[attr-defined]
    assert len(checked) == 2


@pytest.mark.parametrize("data", [b"", b"rubbish", pickle.dumps(()), pickle.dumps(((), "no pipeline"))])
def test_broken_entry_is_replaced(file: Path, folder: Path, checked: list[Path], data: bytes) -> None:
    pipeline = plan_cache.load(file, {}, folder)
    entry_of(folder).write_bytes(data)
    assert plan_cache.load(file, {}, folder) == pipeline
    assert plan_cache.load(file, {}, folder) == pipeline
    assert len(checked) == 2


class Calls:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (self.path,)


def test_entry_cannot_call_other_code(file: Path, folder: Path, tmp_path: Path) -> None:
    pipeline = plan_cache.load(file, {}, folder)
    entry_of(folder).write_bytes(pickle.dumps(Calls(tmp_path / "called")))
    assert plan_cache.load(file, {}, folder) == pipeline
    assert not (tmp_path / "called").exists()


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("os", "system"),
        ("builtins", "eval"),
        ("airflow_magnus.pipeline.parser", "load_pipeline"),
        ("airflow_magnus.pipeline.text", "yaml.unsafe_load"),
        ("airflow_magnus.operators.commands", "ShellStep"),
        ("pathlib", "os"),
        ("datetime", "sys"),
    ],
)
def test_only_classes_of_a_pipeline_are_restored(module: str, name: str, tmp_path: Path) -> None:
    with (tmp_path / "empty").open("wb+") as stream, pytest.raises(pickle.UnpicklingError):
        plan_cache._Restored(stream).find_class(module, name)


def test_nobody_else_can_read_or_write_entries(file: Path, folder: Path) -> None:
    plan_cache.load(file, {}, folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert entry_of(folder).stat().st_mode & 0o777 == 0o600


def test_entry_that_others_can_write_is_not_read(file: Path, folder: Path, checked: list[Path]) -> None:
    plan_cache.load(file, {}, folder)
    entry_of(folder).chmod(0o620)
    plan_cache.load(file, {}, folder)
    assert len(checked) == 2
    assert entry_of(folder).stat().st_mode & 0o777 == 0o600


def test_entry_of_another_user_is_not_read(
    file: Path, folder: Path, checked: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan_cache.load(file, {}, folder)
    user = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: user + 1)
    plan_cache.load(file, {}, folder)
    assert len(checked) == 2


def test_link_is_not_followed(file: Path, folder: Path, checked: list[Path], tmp_path: Path) -> None:
    plan_cache.load(file, {}, folder)
    entry = entry_of(folder)
    entry.rename(tmp_path / "moved")
    entry.symlink_to(tmp_path / "moved")
    plan_cache.load(file, {}, folder)
    assert len(checked) == 2


def test_nothing_is_kept_without_a_folder(file: Path, checked: list[Path]) -> None:
    for _ in range(2):
        assert plan_cache.load(file, {}, None) == load_pipeline(file)
    assert len(checked) == 2


def test_pipeline_loads_when_nothing_can_be_kept(file: Path, tmp_path: Path, checked: list[Path]) -> None:
    (tmp_path / "home").write_text("a file in the way", encoding="utf-8")
    for _ in range(2):
        assert plan_cache.load(file, {}, tmp_path / "home" / "plans") == load_pipeline(file)
    assert len(checked) == 2


def test_folder_that_others_can_write_is_not_used(file: Path, folder: Path) -> None:
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    plan_cache.load(file, {}, folder)
    assert list(folder.iterdir()) == []


def test_number_of_entries_is_bounded(file: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_cache, "MAX_ENTRIES", 4)
    for number in range(12):
        plan_cache.load(file, {"word": str(number)}, folder)
        assert len(list(folder.iterdir())) <= 4


def test_entries_of_another_version_of_the_checks_are_not_read(
    file: Path, folder: Path, checked: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan_cache.load(file, {}, folder)
    monkeypatch.setattr(plan_cache, "_code", lambda: ("another",))
    plan_cache.load(file, {}, folder)
    assert len(checked) == 2
