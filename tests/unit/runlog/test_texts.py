"""Large records are read without a search for garbage, which goes on afterwards."""

from __future__ import annotations

import gc
from typing import Any

import pytest

from airflow_magnus.errors import RecordError
from airflow_magnus.runlog import texts
from airflow_magnus.runlog.marks import Pin
from airflow_magnus.runlog.texts import record_of

GOOD = '{"run_id": "r", "is_pinned": true}'


@pytest.mark.parametrize(("largest", "is_searching"), [(0, False), (1_000, True)])
def test_no_garbage_is_searched_for_while_a_large_text_is_read(
    largest: int, is_searching: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []

    def looked(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        seen.append(gc.isenabled())
        return dict(pairs)

    monkeypatch.setattr(texts, "_LARGE", largest)
    monkeypatch.setattr(texts, "_once", looked)
    assert record_of(Pin, GOOD, "place").run_id == "r"
    assert seen == [is_searching]
    assert gc.isenabled()


@pytest.mark.parametrize("text", ["{", "{}", GOOD[:-1] + ', "run_id": "s"}'])
def test_it_goes_on_after_a_large_text_that_cannot_be_read(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(texts, "_LARGE", 0)
    with pytest.raises(RecordError):
        record_of(Pin, text, "place")
    assert gc.isenabled()
