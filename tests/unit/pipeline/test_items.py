"""Names of map branches: all different, fit for internal names, and the item's text again when they are read."""

from __future__ import annotations

import itertools
import json
import random

import pytest

from airflow_magnus.pipeline.items import branch_names, item_text, text_of
from airflow_magnus.pipeline.model import MAP_PLACEHOLDER

PIECES = ["~", "~~", ".", "%", "2", "~2", "~e", "~d", "e", "d", "b", "m", "u", "d800", " ", "\n", "ß"]
PIECES += ["\ud800", "\udfff", MAP_PLACEHOLDER, "a", "/", "-"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a b/c", "a b/c"),
        ("", ""),
        ("null", "null"),
        (None, "null"),
        (True, "true"),
        (False, "false"),
        (1, "1"),
        (-2.50, "-2.5"),
        (1.0, "1.0"),
        (["ö", 1, {}], '["ö",1,{}]'),
        ({"b": {"d": 1, "c": 2}, "a": None}, '{"a":null,"b":{"c":2,"d":1}}'),
    ],
)
def test_text_is_compact_json_when_item_is_no_text(value: object, text: str) -> None:
    assert item_text(value) == text


@pytest.mark.parametrize("text", ["a", "a b/c", "größe", "-", "2", " a ", "x=1&y", "日本", "C:\\x"])
def test_name_is_the_text_when_it_is_plain(text: str) -> None:
    assert branch_names([text]) == [text]


@pytest.mark.parametrize(
    ("items", "names"),
    [
        (["a", "b", "a", "a"], ["a", "b", "a~2", "a~3"]),
        ([1, "1", 1.0, True, "true"], ["1", "1~2", "1~d0", "true", "true~2"]),
        (["a~2", "a", "a"], ["a~~2", "a", "a~2"]),
        (["eu.west", "50%", "~"], ["eu~dwest", "50~p", "~~"]),
        (["", "~e", "", " ", "\t"], ["~e", "~~e", "~e~2", "~b ", "~b\t"]),
        ([MAP_PLACEHOLDER, f"x{MAP_PLACEHOLDER}"], ["~m", "x~m"]),
        ([{"v": 1.5}], ['{"v":1~d5}']),
        (["\ud83d", "~ud83d"], ["~ud83d", "~~ud83d"]),
        ([], []),
    ],
)
def test_names_are_these_when_items_are_special(items: list[object], names: list[str]) -> None:
    assert branch_names(items) == names


def _check(items: list[object]) -> None:
    names = branch_names(items)
    assert len(set(names)) == len(names) == len(items)
    assert [text_of(name) for name in names] == [item_text(item) for item in items]
    for name in names:
        assert name.strip()
        assert not {".", "%"} & set(name)
        assert MAP_PLACEHOLDER not in name
        name.encode()


def test_names_differ_and_read_back_when_texts_are_all_that_the_pieces_give() -> None:
    texts = ["".join(parts) for length in range(4) for parts in itertools.product(PIECES, repeat=length)]
    assert len(texts) > len(PIECES) ** 3
    _check([*texts, *texts])


def test_names_differ_and_read_back_when_items_are_random_json() -> None:
    chance = random.Random(8)

    def value(depth: int) -> object:
        kind = chance.randrange(7 if depth else 5)
        if kind == 5:
            return [value(depth - 1) for _ in range(chance.randrange(3))]
        if kind == 6:
            return {value_text(): value(depth - 1) for _ in range(chance.randrange(3))}
        return [None, chance.random() < 0.5, chance.randrange(-5, 5), chance.random(), value_text()][kind]

    def value_text() -> str:
        return "".join(chance.choices(PIECES, k=chance.randrange(6)))

    for _ in range(300):
        items = json.loads(json.dumps([value(3) for _ in range(chance.randrange(40))]))
        _check(items)
        assert branch_names(json.loads(json.dumps(items, sort_keys=True))) == branch_names(items)


def test_name_does_not_change_when_other_items_come_behind() -> None:
    items = ["a", 1, "a", None, "1"]
    assert branch_names([*items, "a", "~"])[: len(items)] == branch_names(items)
