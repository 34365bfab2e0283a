"""`magnus runlog diff`: where two real runs part."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from airflow_magnus.runlog.records import RunLog
from pipelines import function, linear, shell

Execute = Callable[..., RunLog]
Magnus = Callable[..., tuple[int, str, str]]

PIPELINE = linear(
    {
        "prepare": shell("mkdir -p data; echo 1 > data/in.txt", catalog={"put": ["in.txt"]}),
        "train": shell("cp data/in.txt data/out.txt; cat seed >> data/out.txt",
                       catalog={"get": ["in.txt"], "put": ["out.txt"]}),
        "score": function("lambda rate: {'score': int(rate) * 2}"),
        "report": shell("cp data/out.txt data/report.txt", catalog={"get": ["out.txt"], "put": ["report.txt"]}),
    },
    parameters={"rate": 3},
)  # fmt: skip


def test_runs_part_at_the_step_whose_output_changed_by_itself(
    execute: Execute, magnus: Magnus, project: Path
) -> None:
    """A step reads a file that nobody declared: same definition, same inputs, other output."""
    (project / "seed").write_text("1")
    a = execute(PIPELINE, "--run-id", "a", "--tag", "monday")
    same = execute(PIPELINE, "--run-id", "same")
    (project / "seed").write_text("2")
    b = execute(PIPELINE, "--run-id", "b")
    assert {a.status, same.status, b.status} == {"SUCCESS"}

    code, out, err = magnus("runlog", "diff", "a", "same")
    assert (code, out.splitlines()[0]) == (0, "The runs are equal."), out + err

    code, out, _ = magnus("runlog", "diff", "a", "latest")
    assert code == 1
    head = " ".join(line.strip() for line in out.split("  A  ")[0].splitlines())
    assert head.startswith("The runs part at step 'train': same definition")
    assert head.endswith("other output (out.txt).")
    assert "step 'report' (task): other input (out.txt) → other output (report.txt)" in out
    assert out.endswith("3 of 5 steps are equal.\n")
    digests = [log.steps["train"].data_catalog[-1].data_hash for log in (a, b)]
    assert all(digest[:12] in out and digest not in out for digest in digests)
    assert magnus("runlog", "diff", "latest~2", "latest")[1] == out

    code, out, _ = magnus("runlog", "diff", "a", "b", "--json")
    found = json.loads(out)
    assert (code, found["is_equal"], found["first_difference"]["step"]) == (1, False, "train")
    outputs = {step["internal_name"]: step["outputs"] for step in found["steps"]}
    assert outputs["train"] == {"out.txt": {"a": digests[0], "b": digests[1]}}
    assert outputs["prepare"] == {}


def test_parameters_and_changed_definitions_are_causes(
    execute: Execute, magnus: Magnus, project: Path
) -> None:
    (project / "seed").write_text("1")
    execute(PIPELINE, "--run-id", "a")
    execute(PIPELINE, "--run-id", "b", "--rate", "4")
    execute(PIPELINE.replace("cp data/in.txt", "exit 1; cp data/in.txt"), "--run-id", "c")
    code, out, _ = magnus("runlog", "diff", "a", "b")
    assert code == 1
    lines = {" ".join(line.split()) for line in out.splitlines()}
    assert {"began with rate 3 | 4", "ended with score 6 | 8"} <= lines
    code, out, _ = magnus("runlog", "diff", "a", "c")
    assert code == 1
    assert out.startswith("The runs part at step 'train': other definition (command) → ")
    assert "only in A: score, report, success\nonly in B: fail\n" in out.replace("\n  report", " report")


def test_a_rerun_parts_from_its_run_where_it_ran_again(
    execute: Execute, magnus: Magnus, project: Path
) -> None:
    a = execute(PIPELINE, "--run-id", "a")
    assert a.status == "FAIL"
    (project / "seed").write_text("1")
    assert execute(PIPELINE, "--run-id", "b", "--use-cached", "a").status == "SUCCESS"
    code, out, _ = magnus("runlog", "diff", "a", "b")
    assert code == 1
    assert out.startswith("The runs part at step 'train': ")
    assert "status FAIL | SUCCESS" in " ".join(out.split())
    assert "1 of 6 steps is equal, 1 of them taken over from one run into the other." in out


def test_run_logs_in_files_are_compared_without_any_store(
    execute: Execute, magnus: Magnus, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "seed").write_text("1")
    execute(PIPELINE, "--run-id", "a")
    (project / "seed").write_text("2")
    execute(PIPELINE, "--run-id", "b")
    theirs = project / "theirs"
    theirs.mkdir()
    for run in ("a", "b"):
        (theirs / f"{run}.json").write_text(magnus("runlog", "show", run)[1])
    monkeypatch.chdir(theirs)
    code, out, err = magnus("runlog", "diff", "a.json", "../theirs/b.json")
    assert (code, err) == (1, "")
    assert out.startswith("The runs part at step 'train': ")
    assert magnus("runlog", "diff", "a.json", "./a.json")[0] == 0
    assert sorted(path.name for path in theirs.iterdir()) == ["a.json", "b.json"]


@pytest.mark.parametrize(
    ("wanted", "sentence"),
    [
        ("none", "no run 'none'"),
        ("latest", "no run 'latest': 0 run(s) are in the run log store at"),
        ("./none.json", "none.json cannot be read: No such file"),
        ("./", "cannot be read: Is a directory"),
        ("bad.json", "bad.json holds no run log"),
        ("bytes.json", "bytes.json holds no run log"),
    ],
)
def test_comparison_is_refused_when_a_run_cannot_be_read(
    magnus: Magnus, project: Path, wanted: str, sentence: str
) -> None:
    (project / "bad.json").write_text('{"run_id": "a"}')
    (project / "bytes.json").write_bytes(b"\xff\xfe")
    code, out, err = magnus("runlog", "diff", wanted, wanted)
    assert (code, out) == (2, "")
    assert sentence in err


def test_comparison_is_refused_when_a_run_log_in_the_store_is_damaged(
    execute: Execute, magnus: Magnus, project: Path
) -> None:
    """Exit status 1 would say that the runs differ."""
    (project / "seed").write_text("1")
    execute(PIPELINE, "--run-id", "a")
    (project / ".run_log_store" / "a.json").write_text("{}")
    code, _, err = magnus("runlog", "diff", "a", "a")
    assert (code, "cannot be read" in err) == (2, True), err
