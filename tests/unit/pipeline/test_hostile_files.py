"""Pipeline files made to crash, to stall or to fill the memory of whoever reads them: Airflow reads all it finds."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Write = Callable[..., Path]

SECONDS, MEBIBYTES = 2, 256
_READER = """
import json, sys, time
from pathlib import Path
from airflow_magnus.pipeline.parser import check_pipeline
started, status = time.process_time(), Path("/proc/self/status")
faults, _ = check_pipeline(Path(sys.argv[1]))
print(json.dumps({
    "faults": [str(fault)[:500] for fault in faults],
    "seconds": time.process_time() - started,
    # not ru_maxrss: that begins with the memory of the process which started this one
    "mebibytes": int(status.read_text().split("VmHWM:")[1].split()[0]) / 1024 if status.exists() else 0,
}))
"""


def read(file: Path) -> dict[str, Any]:
    """Check the file in a process of its own, which may crash."""
    done = subprocess.run(
        [sys.executable, "-c", _READER, str(file)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, f"the reader ended with {done.returncode}: {done.stderr[-2000:]}"
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def laughs(levels: int = 9) -> str:
    lines = ["a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, levels + 1)]
    return "\n".join(lines)


BOMBS = {
    "billion laughs": (laughs(), "holds more than 1000000 values"),
    "laughs of keys": (
        "\n".join(
            ["a0: &a0 {k0: 1, k1: 1, k2: 1}"]
            + [f"a{n}: &a{n} {{x: *a{n - 1}, y: *a{n - 1}, z: *a{n - 1}}}" for n in range(1, 40)]
        ),
        "holds more than 1000000 values",
    ),
    "a long text, many times": (
        f"text: &text '{'x' * 1_000_000}'\nmany: [{', '.join(['*text'] * 50_000)}]",
        "holds more than 1000000 values",
    ),
    "merges of merges": (
        "\n".join(
            ["m0: &m0 {k: 1}"]
            + [f"m{n}: &m{n} {{<<: [{', '.join([f'*m{n - 1}'] * 10)}]}}" for n in range(1, 12)]
        ),
        "unknown key",  # they come to one key: nothing is wrong but that m0 is no section
    ),
    "merges of many keys": (
        "\n".join(
            ["m0: &m0 {" + ", ".join(f"k{n}: 1" for n in range(2_000)) + "}"]
            + [f"m{n}: &m{n} {{<<: *m{n - 1}, n{n}: 1}}" for n in range(1, 2_000)]
        ),
        "holds more than 1000000 values",
    ),
    "an alias in itself": ("a: &a [*a]", "an alias stands inside the value that it refers to"),
    "aliases in each other": ("a: &a {b: &b {c: *a, d: *b}}", "an alias stands inside"),
    "a merge of itself": ("a: &a {<<: *a}", "<< takes the mapping that it stands in"),
    "a merge of what it is in": ("a: &a {b: {<<: *a}}", "<< takes the mapping that it stands in"),
    "lists in lists": ("[" * 100_000, "nested too deeply"),
    "mappings in mappings": ("{a: " * 100_000, "nested too deeply"),
    "blocks in blocks": ("- " * 100_000, "nested too deeply"),
    "deep by aliases": (
        "a0: &a0 [1]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 5_000)),
        "nested too deeply",
    ),
    "deep by merges": (
        "m: " + "{<<: " * 5_000 + "{}" + "}" * 5_000,
        "nested too deeply",
    ),
    "a number in base 60": ("a: 1" + ":1" * 500_000, "is a number of 1000001 characters"),
    "a number that is no text again": ("a: 0x" + "f" * 5_000, "is a number of 5002 characters"),
    "digits": ("a: " + "9" * 100_000, "is a number of 100000 characters"),
    "a tag that runs code": ("a: !!python/object/apply:os.system [exit 9]", "is not supported"),
    "a tag that imports": ("a: !!python/name:os.system", "is not supported"),
    "a tag of an object": ("dag: !!python/object/new:subprocess.Popen [[touch, x]]", "is not supported"),
    "a key twice": ("dag: {}\ndag: {}", 'the key "dag" is here twice, first in line 1'),
    "a key twice, said otherwise": ('a: {"b": 1, b: 2}', 'the key "b" is here twice'),
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_at_once_in_little_memory(write: Write, name: str) -> None:
    text, message = BOMBS[name]
    found = read(write(text))
    assert any(message in fault for fault in found["faults"]), found["faults"][:3]
    assert found["seconds"] < SECONDS
    assert found["mebibytes"] < MEBIBYTES


def test_a_file_of_100_mb_is_refused_without_reading_all_of_it(write: Write) -> None:
    file = write("dag: {}\n# ")
    with file.open("r+b") as stream:
        stream.truncate(100_000_000)
    found = read(file)
    assert "is larger than 32 MiB" in found["faults"][0]
    assert (found["seconds"] < SECONDS, found["mebibytes"] < MEBIBYTES) == (True, True)


def test_a_tree_that_grows_too_large_is_given_up_while_it_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow_magnus.pipeline import nodes

    monkeypatch.setattr(nodes, "MAX_VALUES", 1_000)
    loader = nodes.Loader("a: [" + "1," * 4_000 + "]")
    with pytest.raises(nodes.TooMuchError):
        loader.get_single_node()


def test_100_000_steps_are_refused_in_a_sentence(write: Write) -> None:
    """Airflow would make a task of each; the file itself is read."""
    steps = "".join(f"    s{n}: {{type: as-is, next: s{n + 1}}}\n" for n in range(100_000))
    ends = "    s100000: {type: success}\n    fail: {type: fail}\n"
    found = read(write(f"dag:\n  start_at: s0\n  steps:\n{steps}{ends}"))
    assert ["more than 50000 steps" in fault for fault in found["faults"]] == [True]
    assert found["seconds"] < 10 * SECONDS
    assert found["mebibytes"] < 3 * MEBIBYTES


def test_the_same_alias_often_is_fine_when_it_stays_small(write: Write) -> None:
    from airflow_magnus.pipeline.text import read_document

    value = read_document(write("x: &x {a: [1, 2]}\ny: [" + "*x, " * 1_000 + "]")).value
    assert value["y"] == [{"a": [1, 2]}] * 1_000


def test_own_keys_win_over_merged_ones_and_keep_their_places(write: Write) -> None:
    from airflow_magnus.pipeline.text import read_document

    value = read_document(write("x: &x {a: 1, b: 2}\ny: {c: 0, <<: *x, b: 9}")).value
    assert list(value["y"].items()) == [("a", 1), ("b", 9), ("c", 0)]
