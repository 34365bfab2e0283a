"""``magnus runlog list``, ``find`` and ``reindex`` after runs of the command line."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from airflow_magnus.runlog.records import RunLog
from pipelines import linear, shell

Magnus = Callable[..., tuple[int, str, str]]
TEXT = linear(
    {
        "make": shell("mkdir -p data; echo 1 > data/made.txt", catalog={"put": ["*"]}),
        "use": shell("test -s data/made.txt", catalog={"get": ["made.txt"]}),
    }
)


def test_runs_are_listed_found_and_indexed_anew(
    execute: Callable[..., RunLog], magnus: Magnus, project: Path
) -> None:
    execute(TEXT, "--run-id", "b-first", "--tag", "nightly")
    execute(TEXT, "--run-id", "a-second")
    code, listed, err = magnus("runlog", "list")
    assert (code, err) == (0, "")
    rows = [line.split() for line in listed.splitlines()]
    assert [(row[0], row[1], *row[3:]) for row in rows] == [
        ("b-first", "SUCCESS", "pipeline", "nightly"), ("a-second", "SUCCESS", "pipeline"),
    ]  # fmt: skip
    digest = hashlib.sha256(b"1\n").hexdigest()
    code, found, err = magnus("runlog", "find", digest[:10])
    assert (code, err) == (0, "")
    assert [line.split()[:6] for line in found.splitlines()] == [
        [digest, "2", direction, "made.txt", run_id, step]
        for run_id in ("a-second", "b-first")
        for direction, step in (("put", "make"), ("get", "use"))
    ]
    assert magnus("runlog", "find", "MADE.") == (0, found, "")
    assert magnus("runlog", "find", "nothing-like-it") == (1, "", "")
    index = project / ".run_log_store" / ".index"
    for text in index.rglob("*.json"):
        text.write_text("torn")
    code, out, err = magnus("runlog", "reindex")
    assert (code, err) == (0, "")
    assert out.startswith("2 runs and 4 uses of files are in the index of ")
    assert out.endswith("1 text written, 4 texts removed\n")
    assert magnus("runlog", "list") == (0, listed, "")
    (project / ".run_log_store" / "a-second" / "run.json").write_text("{")
    code, out, err = magnus("runlog", "reindex")
    assert (code, out.startswith("1 run and 2 uses")) == (1, True)
    assert "left out: run a-second: " in err
