from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path

import pytest

from airflow_magnus.errors import PipelineError, Position
from airflow_magnus.pipeline.nodes import dotted
from airflow_magnus.pipeline.text import read_document

Write = Callable[..., Path]


def _fault(path: Path):
    with pytest.raises(PipelineError) as caught:
        read_document(path)
    (fault,) = caught.value.faults
    return fault


def test_position_is_of_value_or_key_when_asked(write: Write) -> None:
    path = write("a:\n  b: [1, 22]\n  'ü': x\n")
    document = read_document(path)
    assert document.position(("a", "b", 1)) == Position(path, 2, 10)
    assert document.position(("a", "b"), of_key=True) == Position(path, 2, 3)
    assert document.position(("a", "ü")) == Position(path, 3, 8)
    assert document.position(("a", "b", "missing", "deeper")) == Position(path, 2, 3)
    assert dotted(("a", "b", 1)) == "a.b[1]"


def test_merges_and_anchors_work_when_used(write: Write) -> None:
    document = read_document(
        write("x: &x {a: 1, b: 2}\ny: &y {b: 3, c: 3}\nz: {<<: [*x, *y], a: 9}\nw: *x\n")
    )
    assert document.value["z"] == {"a": 9, "b": 2, "c": 3}
    assert document.value["w"] == {"a": 1, "b": 2}
    assert document.position(("z", "c")).line == 2


@pytest.mark.parametrize(
    ("text", "key"),
    [("1: x", "1"), ("1.50: x", "1.5"), ("no: x", "false"), ("~: x", "null"), ("'1': x", "1"), ("=: x", "=")],
)
def test_key_becomes_text_as_in_json_when_it_is_none(write: Write, text: str, key: str) -> None:
    assert read_document(write(text)).value == {key: "x"}


def test_scalars_are_those_of_pyyaml_when_written_plain(write: Write) -> None:
    value = read_document(write("[yes, 012, 1:30, 1e3, 2024-01-31, ~, '~', =]")).value
    assert value == [True, 10, 90, "1e3", datetime.date(2024, 1, 31), None, "~", "="]


def test_byte_order_mark_is_passed_over_when_present(write: Write) -> None:
    assert read_document(write(b"\xef\xbb\xbfa: 1")).value == {"a": 1}


def test_value_is_none_when_file_is_empty(write: Write) -> None:
    assert read_document(write("# nothing\n")).value is None


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("a: 1\nb: 2\na: 3", (3, 1), "is here twice, first in line 1"),
        ("1: x\n'1': y", (2, 1), "is here twice"),
        ("a: [1,\nb", (3, 1), "is not YAML"),
        ("a:\n\tb: 1", (2, 1), "is not YAML"),
        ("a: 1\n---\nb: 1", (2, 1), "single document"),
        (b"a: 1\nb: \xe9", (2, 4), "is not UTF-8 text (byte 0xe9)"),
        ("a: b\x00", (1, 5), "U+0000"),
        ("a: !foo b", (1, 4), "!foo"),
        ("a: !!python/object/apply:os.system [ls]", (1, 4), "is not supported"),
        ("a: !!int x", (1, 4), "is not a value of YAML"),
        ("a: 2024-13-45", (1, 4), "is not a value of YAML"),
        ("a: &a {b: *a}", (1, 4), "an alias stands inside"),
        ("a: &a {<<: *a}", (1, 4), "<< takes the mapping"),
        ("a: {<<: 3}", (1, 9), "<< takes a mapping"),
        ("? [a]\n: b", (1, 3), "a key must be a scalar"),
        ("2024-01-01: b", (1, 1), "is not text: write it in quotes"),
        ("[" * 700 + "]" * 700, (1, 150), "nested too deeply"),
    ],
)
def test_fault_says_where_and_why_when_text_is_bad(
    write: Write, text: str, place: tuple[int, int], message: str
) -> None:
    fault = _fault(write(text))
    assert (fault.position.line, fault.position.column) == place
    assert message in fault.message


def test_every_duplicate_is_reported_when_there_are_several(write: Write) -> None:
    with pytest.raises(PipelineError) as caught:
        read_document(write("a: 1\na: 2\nb: {c: 1, c: 2}\n"))
    assert [fault.path for fault in caught.value.faults] == ["a", "b.c"]


def test_aliases_are_refused_when_they_grow_beyond_measure(write: Write) -> None:
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    assert "holds more than 1000000 values" in _fault(write("\n".join(lines))).message


def test_fault_names_file_when_it_is_missing_or_a_folder(tmp_path: Path) -> None:
    assert "there is no such file" in _fault(tmp_path / "none.yaml").message
    assert "none.yaml" in _fault(tmp_path / "none.yaml").message
    assert "is a folder" in _fault(tmp_path).message
