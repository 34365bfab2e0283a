from __future__ import annotations

import random

import pytest

from airflow_magnus.runlog import layout

NAMES = [
    "train", "step parameters", "a/b", "a.b", ".", "..", "...", ".hidden", "%", "%2F", "%252F", "a%2Fb", "~", "@", "#", "?",
    "a\\b", "a\nb", "\0", "naïve", "日本語", "🙂", "e\u0301", "\u00e9", " x ", "[x]", "{'a': 1}", '"', "*", "<a|b>", "a:b",
    "0000.open.json", "run.json", "x" * 180, "CON", "a" * 500, "日" * 500, "b" * 500,
]  # fmt: skip


def test_segments_are_safe_and_differ() -> None:
    segments = [layout.segment(name) for name in NAMES]
    assert len(set(segments)) == len(NAMES)
    for segment in segments:
        assert segment not in (".", "..", "@", "")
        assert "/" not in segment
        assert segment.isascii()
        assert segment.isprintable()
        assert not set(segment) & set('#?*"<>|\\:%') - {"%"}
        assert len(segment) <= 180


def test_segments_can_be_read_back() -> None:
    for name in NAMES:
        if len(name) < 180:
            assert layout.name_of(layout.segment(name)) == name


def test_usual_names_stay_readable() -> None:
    for name in ("step parameters", "train-2", "a_b.c", "map[0]", "x=1,y=2"):
        assert layout.segment(name) == name


def test_long_names_that_begin_alike_differ() -> None:
    assert layout.segment("x" * 400 + "a") != layout.segment("x" * 400 + "b")


@pytest.mark.parametrize("kind", ["open", "close", "carry"])
def test_the_key_of_a_part_tells_what_it_is(kind: layout.PartKind) -> None:
    for name in NAMES:
        for graph in ("", f"step.{name}"):
            key = layout.part_key("run.1", graph, name, 12, kind)
            place = f"{layout.segment(graph) if graph else '@'}/{layout.segment(name)}"
            assert layout.parse_part(key) == (place, 12, kind)
            assert key.startswith(layout.step_prefix("run.1", graph, name) + "/")
            assert key.startswith(layout.graph_prefix("run.1", graph) + "/")
            assert key.startswith(layout.steps_prefix("run.1") + "/")


def test_more_than_ten_thousand_attempts_are_told_apart() -> None:
    assert layout.parse_part(layout.part_key("r", "", "s", 12_345, "open")) == ("@/s", 12_345, "open")


@pytest.mark.parametrize(
    "key",
    ["r/run.json", "r.json", "r/steps/@/s/0000.open", "r/steps/@/s/x.open.json", "r/steps/@/0000.json", ""],
)
def test_other_keys_are_no_parts(key: str) -> None:
    assert layout.parse_part(key) is None


def test_random_names_come_back() -> None:
    choose = random.Random(3)
    for _ in range(2_000):
        name = "".join(chr(choose.choice([*range(1, 128), 0xE9, 0x301, 0x65E5])) for _ in range(8))
        assert layout.name_of(layout.segment(name)) == name
