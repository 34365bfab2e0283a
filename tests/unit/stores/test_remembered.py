"""Parts of runs that go on are read once."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_magnus.pipeline.model import ServiceSettings
from airflow_magnus.stores import remembered
from airflow_magnus.stores.parts import PartStore
from airflow_magnus.stores.remembered import PartsMemory
from airflow_magnus.stores.services import open_run_log

PART, DOCUMENT = "r/steps/@/a/0000.close.json", "r.json"


@pytest.fixture
def parts(tmp_path: Path) -> PartStore:
    return open_run_log(ServiceSettings("buffered", {}), folder=tmp_path).parts


def test_what_is_written_over_is_read_anew_and_a_part_is_not(parts: PartStore) -> None:
    seen = PartsMemory().of_run(parts, "token")
    assert seen.read([PART, DOCUMENT]) == {}
    for text in ("first", "second"):
        seen.put(PART, text)
        seen.put(DOCUMENT, text)
        assert seen.read([PART, DOCUMENT]) == {PART: "first", DOCUMENT: text}
    assert PartsMemory().of_run(parts, "token").read([PART]) == {PART: "second"}


def test_run_that_was_made_again_is_another_one(parts: PartStore) -> None:
    memory = PartsMemory()
    parts.put(PART, "first")
    assert memory.of_run(parts, "one").read([PART]) == {PART: "first"}
    parts.put(PART, "second")
    assert memory.of_run(parts, "one").read([PART]) == {PART: "first"}
    assert memory.of_run(parts, "other").read([PART]) == {PART: "second"}


def test_runs_that_were_not_looked_at_for_long_are_forgotten(
    parts: PartStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remembered, "MOST", 10)
    memory = PartsMemory()
    parts.put(PART, "a" * 8)
    for token in ("one", "two"):
        memory.of_run(parts, token).read([PART])
    memory.of_run(parts, "two")
    parts.put(PART, "new")
    assert memory.of_run(parts, "two").read([PART]) == {PART: "a" * 8}
    assert memory.of_run(parts, "one").read([PART]) == {PART: "new"}
