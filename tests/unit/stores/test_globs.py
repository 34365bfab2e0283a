from __future__ import annotations

import fnmatch
import os
import random
import string
import time
from pathlib import Path
from typing import Any

import pytest

from airflow_magnus.stores.globs import PARTIAL, files_below, matches, reaches_into

CASES = [
    ("*", "a.txt", True),
    ("*", ".hidden", True),
    ("*", "a/b.txt", False),
    ("*.csv", "a.csv", True),
    ("*.csv", "a.CSV", False),
    ("*.csv", "sub/a.csv", False),
    ("a.csv", "a.csv", True),
    ("a.csv", "aXcsv", False),
    ("?.csv", "a.csv", True),
    ("?.csv", "/.csv", False),
    ("?.csv", ".csv", False),
    ("sub/*", "sub/a", True),
    ("sub/*", "sub/a/b", False),
    ("sub/*", "subs/a", False),
    ("*/a", "x/a", True),
    ("*/a", "a", False),
    ("**", "a", True),
    ("**", "a/b/c", True),
    ("**/*", "a", True),
    ("**/*", "a/b/c", True),
    ("**/a", "a", True),
    ("**/a", "x/y/a", True),
    ("**/a", "xa", False),
    ("a/**", "a/b", True),
    ("a/**", "a/b/c", True),
    ("a/**", "a", False),
    ("a/**/z", "a/z", True),
    ("a/**/z", "a/b/c/z", True),
    ("a/**/z", "az", False),
    ("a**z", "abcz", True),
    ("a**z", "ab/cz", False),
    ("./a", "a", True),
    ("a//b", "a/b", True),
    ("a/./b", "a/b", True),
    ("/a", "etc/a", False),
    ("../a", "a", False),
    ("", "a", False),
    ("[ab]", "a", True),
    ("[ab]", "c", False),
    ("[a-c]x", "bx", True),
    ("[!a]", "b", True),
    ("[!a]", "a", False),
    ("[!a]", "/", False),
    ("[^a]", "^", True),
    ("[^a]", "b", False),
    ("[]]", "]", True),
    ("[]a]", "a", True),
    ("[!]]", "a", True),
    ("[!]]", "]", False),
    ("[!]a]", "b", True),
    ("[[]", "[", True),
    ("[[]x]", "[x]", True),
    ("[&&~~||--]", "&", True),
    ("[z-a]", "b", False),
    ("[!z-a]", "b", True),
    ("[a-]", "-", True),
    ("[-a]", "-", True),
    (r"[\d]", "5", False),
    (r"[\d]", "\\", True),
    ("[", "[", True),
    ("[]", "[]", True),
    ("[!]", "[!]", True),
    ("a[", "a[", True),
    ("a+b (1).$", "a+b (1).$", True),
    ("{a,b}", "{a,b}", True),
    ("*", "new\nline", True),
    ("ü*", "ünder", True),
    ("\u00e9", "e\u0301", False),
]


@pytest.mark.parametrize(("pattern", "name", "expected"), CASES)
def test_patterns(pattern: str, name: str, expected: bool) -> None:
    assert matches(pattern, name) is expected


def test_within_one_segment_patterns_mean_what_pythons_do() -> None:
    choose = random.Random(7)
    for _ in range(5_000):
        pattern = "".join(choose.choices("ab[]!-*?^\\", k=choose.randint(1, 7)))
        name = "".join(choose.choices("ab[]!-^\\", k=choose.randint(1, 4)))
        assert matches(pattern, name) == fnmatch.fnmatchcase(name, pattern), (pattern, name)


def test_a_pattern_of_many_stars_is_quick() -> None:
    started = time.monotonic()
    assert not matches("*a" * 12 + "***b", "a" * 200)
    assert time.monotonic() - started < 2


def test_files_are_found_at_any_depth_in_order(tmp_path: Path) -> None:
    for name in ("b", "a/z", "a/b/c", ".hidden/x", "a0"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    found = dict(files_below(tmp_path, ["**"]))
    assert sorted(found) == [".hidden/x", "a/b/c", "a/z", "a0", "b"]
    assert all(Path(entry.path).read_text() == name for name, entry in found.items())


def test_links_to_folders_and_halves_of_files_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret").write_text("x")
    folder = tmp_path / "folder"
    (folder / "linked-folder").symlink_to(tmp_path / "outside")
    (folder / f"{PARTIAL}1234").write_text("half")
    (folder / "file").write_text("x")
    assert [name for name, _ in files_below(folder, ["**"])] == ["file"]


@pytest.mark.parametrize(
    ("pattern", "folder", "expected"),
    [
        ("*", "a", False),
        ("a/*", "a", True),
        ("a/*", "b", False),
        ("a/*", "a/b", False),
        ("**", "a/b", True),
        ("a/**", "a/b/c", True),
        ("a/**", "b", False),
        ("*/x/**/z", "a/x", True),
        ("*/x/**/z", "a/y", False),
        ("./a//b", "a", True),
        ("[ab]/c", "b", True),
        ("[ab]/c", "c", False),
    ],
)
def test_only_folders_that_a_pattern_reaches_into_are_read(pattern: str, folder: str, expected: bool) -> None:
    assert reaches_into(pattern, folder) is expected


def test_folders_that_no_pattern_reaches_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/file").write_text("x")
    (tmp_path / "closed").mkdir()
    read: list[str] = []
    scan = os.scandir

    def scandir(path: Any) -> Any:
        read.append(Path(path).relative_to(tmp_path).as_posix())
        return scan(path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "scandir", scandir)
        assert [name for name, _ in files_below(tmp_path, ["a/*"])] == ["a/file"]
    assert read == [".", "a"]


def test_names_of_all_printable_characters_match_themselves_when_escaped() -> None:
    for char in string.printable.replace("/", ""):
        assert matches(f"x[{char}]" if char not in "!]" else f"x{char}", f"x{char}"), char
