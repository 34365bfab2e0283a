from __future__ import annotations

import json
import math
from typing import Any

import pytest

from airflow_magnus.runlog.records import (
    AttemptClosed,
    AttemptOpened,
    CatalogEntry,
    CodeIdentity,
    RunHeader,
    RunLog,
    StepIdentity,
    duration,
    timestamp,
)

STEP = StepIdentity(name="train", internal_name="train", step_type="task", position=3)
VALUES: dict[str, Any] = {
    "text": 'naïve 日本 🙂 \u0000 \u2028 " \\ \n',
    "big": 2**70,
    "bigger": -(10**400),
    "float": 0.1 + 0.2,
    "tiny": 5e-324,
    "huge": 1.7976931348623157e308,
    "one": 1.0,
    "true": True,
    "null": None,
    "list": [1, [2.5, {"x": []}]],
    "Ünï": {"": {"a.b": [None]}},
    "empty": "",
}


def closed(**fields: Any) -> AttemptClosed:
    return AttemptClosed(
        step=STEP, number=0, attempt_id="id", start_time=timestamp(), **{"status": "SUCCESS", **fields}
    )


def test_values_come_back_with_their_types() -> None:
    record = closed(parameters=VALUES, metrics=VALUES)
    back = AttemptClosed.model_validate_json(record.model_dump_json())
    assert back == record
    assert back.parameters["one"] == 1
    assert isinstance(back.parameters["one"], float)
    assert back.parameters["true"] is True


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_in_json_comes_back(value: float) -> None:
    record = closed(parameters={"x": value, "list": [value]})
    back = AttemptClosed.model_validate_json(record.model_dump_json())
    assert str(back.parameters) == str(record.parameters)
    document = RunLog(run_id="r", dag_hash="", parameters={"x": value})
    assert str(RunLog.model_validate_json(document.to_json()).parameters["x"]) == str(value)
    assert str(json.loads(document.to_json())["parameters"]["x"]) == str(value)


def test_fields_of_a_later_version_are_kept() -> None:
    text = json.dumps({**json.loads(closed().model_dump_json()), "new_in_2030": {"a": 1}})
    assert json.loads(AttemptClosed.model_validate_json(text).model_dump_json())["new_in_2030"] == {"a": 1}


@pytest.mark.parametrize("field", ["message", "step_message"])
def test_a_message_with_stray_bytes_of_a_file_name_can_be_written(field: str) -> None:
    record = closed(**{field: "no file bad\udcff.csv"})
    back = AttemptClosed.model_validate_json(record.model_dump_json())
    assert getattr(back, field) == "no file bad\\udcff.csv"


def test_an_identity_with_stray_bytes_can_be_written() -> None:
    identity = CodeIdentity(code_identifier_type="git", code_identifier_message="changed: bad\udcff")
    assert CodeIdentity.model_validate_json(identity.model_dump_json()).code_identifier_message


def test_every_record_comes_back() -> None:
    entry = CatalogEntry(
        name="a/b", data_hash="0" * 64, catalog_relative_path="r/a/b", catalog_handler_location=".catalog", stage="put"
    )  # fmt: skip
    for record in (
        RunHeader(
            run_id="r", token="t", parameters=VALUES, definition={"steps": {}}, sub_definitions={"d": {"steps": {}}},
            reused=["a", "p.b"], shadowed={"a": ["f"]},
        ),
        AttemptOpened(
            step=STEP, number=7, attempt_id="id", scheduler={"try_number": 1}, branches=["1", "~e"], items=[1, ""]
        ),
        closed(data_catalog=[entry], code_identities=[CodeIdentity(code_identifier_type="git")]),
    ):  # fmt: skip
        assert type(record).model_validate_json(record.model_dump_json()) == record


def test_an_attempt_ends_with_all_that_it_began_with() -> None:
    opened = AttemptOpened(
        step=STEP, number=7, attempt_id="id", scheduler={"a": 1}, branches=["x"], items=[{"k": [1]}]
    )
    ended = opened.ended(status="FAIL", message="why")
    assert {name: getattr(ended, name) for name in AttemptOpened.model_fields} == {
        name: getattr(opened, name) for name in AttemptOpened.model_fields
    }
    assert (ended.status, ended.message, ended.is_attempt) == ("FAIL", "why", True)
    again = ended.ended(status="SUCCESS", branches=["y"])
    assert (again.status, again.message, again.branches, again.number) == ("SUCCESS", "", ["y"], 7)


def test_the_end_of_a_composite_step_is_no_attempt() -> None:
    whole = STEP.model_copy(update={"step_type": "loop"})
    opened = AttemptOpened(step=whole, number=0, attempt_id="id")
    assert not opened.ended(status="SUCCESS").is_attempt
    assert opened.ended(status="FAIL", is_attempt=True).is_attempt


def test_only_a_success_puts() -> None:
    entry = CatalogEntry(
        name="a", data_hash="0" * 64, catalog_relative_path="r/a", catalog_handler_location="", stage="put"
    )
    got = entry.model_copy(update={"stage": "get"})
    assert closed(data_catalog=[entry, got]).puts() == [entry]
    failed = closed(data_catalog=[entry, got], status="FAIL")
    assert failed.puts() == []
    whole = failed.model_copy(update={"step": STEP.model_copy(update={"step_type": "map"})})
    assert whole.puts() == [entry], "of a composite step it is what its successful steps have put"


def test_times_are_utc_with_the_zone_and_differ_as_the_seed_prints_it() -> None:
    assert timestamp().endswith("+00:00")
    assert len(timestamp()) == len("2022-01-18 11:46:08.530138+00:00")
    day = "2022-01-18 11:46:0"
    assert duration(f"{day}8.530138+00:00", f"{day}8.530561+00:00") == "0:00:00.000423"
    assert duration(f"{day}8.530138+00:00", "") == ""
