"""`magnus catalog …` on real runs."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG

from airflow_magnus.operators import rerun
from airflow_magnus.operators.settings import StepSettings
from airflow_magnus.operators.step import StepMixin
from airflow_magnus.runlog.records import OUTSIDE, RunLog
from pipelines import linear, parallel, shell

Execute = Callable[..., RunLog]
Magnus = Callable[..., tuple[int, str, str]]

TEXT = linear(
    {
        "make": shell("mkdir -p data/sub; echo 1 > data/a.txt; echo 2 > data/sub/b.txt; echo run >> made",
                      catalog={"put": ["a.txt", "sub/*"]}),
        "use": shell("test -e mended && cat data/a.txt > data/c.txt", catalog={"get": ["a.txt"], "put": ["c.txt"]}),
    }
)  # fmt: skip


@pytest.fixture
def runs(execute: Execute, project: Path) -> list[str]:
    """Three runs that have ended well; that of the middle failed at its second step."""
    (project / "mended").touch()
    execute(TEXT, "--run-id", "1")
    (project / "mended").unlink()
    execute(TEXT, "--run-id", "2")
    (project / "mended").touch()
    execute(TEXT, "--run-id", "10")
    return ["1", "2", "10"]


def test_list_tells_name_size_digest_step_and_key(magnus: Magnus, runs: list[str]) -> None:
    digest = hashlib.sha256(b"1\n").hexdigest()
    code, out, err = magnus("catalog", "list", "10")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        f"a.txt      2 B  {digest[:12]}  make  10/a.txt",
        f"c.txt      2 B  {digest[:12]}  use   10/c.txt",
        f"sub/b.txt  2 B  {hashlib.sha256(b'2' + os.linesep.encode()).hexdigest()[:12]}  make  10/sub/b.txt",
    ]
    found = json.loads(magnus("catalog", "list", "latest", "--json")[1])
    assert found[0] == {
        "name": "a.txt", "size": 2, "sha256": digest, "step": "make", "key": "10/a.txt", "location": ".catalog",
    }  # fmt: skip
    assert [row["name"] for row in json.loads(magnus("catalog", "list", "latest~1", "--json")[1])] == [
        "a.txt", "sub/b.txt",
    ]  # fmt: skip


def test_list_names_the_step_inside_a_composite_one(execute: Execute, magnus: Magnus) -> None:
    branches = {"left": {"x": shell("mkdir -p data; echo 1 > data/f", catalog={"put": ["f"]})}}
    execute(linear({"split": parallel(branches)}), "--run-id", "1")
    (row,) = json.loads(magnus("catalog", "list", "1", "--json")[1])
    assert (row["name"], row["step"]) == ("f", "split.left.x")


def test_get_brings_what_patterns_name(magnus: Magnus, runs: list[str], project: Path) -> None:
    shutil.rmtree(project / "data")
    assert magnus("catalog", "get", "10")[0] == 0
    assert (project / "data" / "sub" / "b.txt").read_text() == "2\n"
    code, out, err = magnus("catalog", "get", "10", "*.txt", "zz*", "--to", "there/deep")
    assert (code, out) == (1, "2 files, 4 B, of run 10 in there/deep\n")
    assert err == "magnus: 'zz*' matches no file of run 10\n"
    assert sorted(os.listdir("there/deep")) == ["a.txt", "c.txt"]


def test_get_of_a_damaged_file_leaves_the_local_one(magnus: Magnus, runs: list[str], project: Path) -> None:
    (project / ".catalog" / "10" / "a.txt").write_text("x\n")
    (project / "data" / "a.txt").write_text("mine")
    code, _, err = magnus("catalog", "get", "10", "a.txt")
    assert code == 1
    assert "was recorded when it was put" in err
    assert (project / "data" / "a.txt").read_text() == "mine"


def test_put_mends_a_file_and_a_rerun_takes_it_over(
    execute: Execute, magnus: Magnus, runs: list[str], project: Path
) -> None:
    (project / "in").mkdir()
    (project / "in" / "a.txt").write_text("mended\n")
    code, out, err = magnus("catalog", "put", "2", "a.txt", "--from", "in", "--step", "make")
    assert (code, err) == (0, "")
    assert out == "1 file, 7 B, of in in run 2 at .catalog, recorded for step 'make'\n"
    assert magnus("catalog", "verify", "2")[0] == 0
    shown = json.loads(magnus("runlog", "show", "2")[1])
    assert (shown["status"], "put from outside" in shown["steps"][OUTSIDE]["message"]) == ("FAIL", True)
    made = (project / "made").read_text()
    log = execute(TEXT, "--run-id", "3", "--use-cached", "2")
    assert log.status == "SUCCESS"
    assert (project / "made").read_text() == made, "step 'make' was not run again"
    assert (project / ".catalog" / "3" / "c.txt").read_text() == "mended\n"
    assert (project / ".catalog" / "2" / "a.txt").read_text() == "mended\n"


def test_put_without_a_match_or_a_folder_is_refused(magnus: Magnus, runs: list[str]) -> None:
    for arguments in (["nothing"], ["*", "--from", "nowhere"], ["a.txt", "--step", "nothing"]):
        code, out, err = magnus("catalog", "put", "1", *arguments)
        assert (code, out) == (2, ""), err
        assert "no" in err


def test_verify_tells_by_its_exit_status(magnus: Magnus, runs: list[str], project: Path) -> None:
    assert magnus("catalog", "verify", "--all")[:2] == (0, "3 runs, 8 files, 16 B: whole\n")
    (project / ".catalog" / "1" / "a.txt").unlink()
    (project / ".catalog" / "1" / "sub" / "b.txt").write_text("3\n")
    code, out, _ = magnus("catalog", "verify", "--all")
    lines = out.splitlines()
    assert code == 1
    assert lines[0] == "run 1: step 'make': a.txt: missing (1/a.txt)"
    assert lines[1].startswith("run 1: step 'make': sub/b.txt: has sha256 ")
    assert lines[2:] == ["3 runs, 8 files, 16 B: 2 missing or damaged"]
    assert magnus("catalog", "verify")[0] == 0, "the latest run"
    assert magnus("catalog", "verify", "nothing")[0] == 2
    assert magnus("catalog", "verify", "../../x")[0] == 2


def test_verify_of_another_catalog_is_refused(magnus: Magnus, runs: list[str], project: Path) -> None:
    (project / "other.yaml").write_text(
        "catalog:\n  type: file-system\n  config:\n    catalog_location: other\n"
    )
    code, out, err = magnus("catalog", "verify", "1", "-c", "other.yaml")
    assert (code, out) == (2, "")
    assert "are in the catalog .catalog" in err
    (project / "none.yaml").write_text("catalog:\n  type: do-nothing\n")
    code, _, err = magnus("catalog", "gc", "--older-than", "0s", "-c", "none.yaml")
    assert (code, "keeps no files" in err) == (2, True)


def test_gc_says_what_it_would_do_and_does_it(magnus: Magnus, runs: list[str], project: Path) -> None:
    before = sorted(project.rglob("*"))
    code, out, err = magnus("catalog", "gc", "--older-than", "0s", "--keep-last", "1", "--dry-run")
    assert (code, out.splitlines()) == (
        0, ["run 1  3 files  6 B", "run 2  2 files  4 B", "would free 10 B (10 bytes): 5 files of 2 runs"],
    )  # fmt: skip
    assert err == "kept: 1 run not old enough, or among the last\n"
    assert sorted(project.rglob("*")) == before
    assert magnus("catalog", "pin", "1")[0] == 0
    assert magnus("catalog", "pin")[1] == "1\n"
    code, out, err = magnus("catalog", "gc", "--older-than", "0s", "--pin", "latest")
    assert (code, out.splitlines()[-1]) == (0, "freed 4 B (4 bytes): 2 files of 1 run")
    assert "kept: run 1, 10: it is pinned" in err
    assert sorted(os.listdir(project / ".catalog")) == ["1", "10"]
    code, out, err = magnus("catalog", "list", "2")
    assert (code, out, "were removed by" in err) == (0, "", True)
    code, _, err = magnus("catalog", "get", "2")
    assert (code, "were removed by" in err) == (2, True)
    assert magnus("runlog", "show", "2")[0] == 0, "the run log stays"
    assert magnus("catalog", "unpin", "1")[0] == 0
    assert magnus("catalog", "gc", "--older-than", "2w")[1] == "freed 0 B (0 bytes): 0 files of 0 runs\n"
    assert magnus("catalog", "gc", "--older-than", "0s")[1].endswith("6 files of 2 runs\n")
    assert magnus("catalog", "verify", "--all")[0] == 0


@pytest.mark.parametrize(
    "arguments", [["30"], ["-1d"], ["soon"], ["1d", "--keep-last", "-1"], ["1d", "--pin", "typo"]]
)
def test_gc_refuses_what_it_does_not_understand(
    magnus: Magnus, runs: list[str], arguments: list[str]
) -> None:
    """A typo in a pin must not cost the run; and `30` would be seconds."""
    try:
        code = magnus("catalog", "gc", "--older-than", *arguments)[0]
    except SystemExit as ended:
        code = int(str(ended.code))
    assert code == 2
    assert magnus("catalog", "verify", "--all")[1].startswith("3 runs, 8 files")


def test_a_rerun_from_a_collected_run_says_so_and_makes_everything_again(
    execute: Execute, magnus: Magnus, runs: list[str], project: Path
) -> None:
    magnus("catalog", "gc", "--older-than", "0s")
    code, out, _ = magnus("plan", "pipeline.yaml", "--use-cached", "2")
    assert code == 0
    assert "the files of run 2 were removed by `magnus catalog gc`" in out
    log = execute(TEXT, "--run-id", "3", "--use-cached", "2")
    assert log.status == "SUCCESS"
    assert not log.steps["make"].mock
    assert magnus("catalog", "verify", "3")[1] == "1 run, 3 files, 6 B: whole\n"


def test_a_rerun_whose_run_is_collected_as_it_begins_fails_and_says_why(
    execute: Execute, magnus: Magnus, runs: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After it has found all files whole, and before its header says that it needs them."""
    plan = rerun.plan_of_rerun

    def planned(*arguments: Any, **options: Any) -> Any:
        found = plan(*arguments, **options)
        assert magnus("catalog", "gc", "--older-than", "0s")[0] == 0
        return found

    monkeypatch.setattr(rerun, "plan_of_rerun", planned)
    log = execute(TEXT, "--run-id", "3", "--use-cached", "2")
    assert log.status == "FAIL"
    message = log.steps["make"].attempts[-1].message
    assert "the files of run 2 were removed by" in message
    assert "start it again" in message


def test_a_run_that_was_made_from_another_keeps_it(execute: Execute, magnus: Magnus, runs: list[str]) -> None:
    execute(TEXT, "--run-id", "3", "--use-cached", "2")
    code, out, err = magnus("catalog", "gc", "--older-than", "0s", "--pin", "3")
    assert (code, out.splitlines()[-1]) == (0, "freed 12 B (12 bytes): 6 files of 2 runs")
    assert "kept: run 2: run 3 refers to it" in err


def test_a_cached_step_runs_again_when_its_result_was_collected(
    execute: Execute, magnus: Magnus, project: Path
) -> None:
    text = linear(
        {"make": shell("mkdir -p data; echo 1 > data/a.txt; echo run >> ../made", catalog={"put": ["a.txt"]}, cache=True)}
    )  # fmt: skip
    for command in (["init", "-q"], ["add", "pipeline.yaml"], ["commit", "-q", "-m", "x"]):
        (project / "pipeline.yaml").write_text(text)
        identity = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
        subprocess.run(["git", *identity, *command], cwd=project, check=True)
    (project / ".gitignore").write_text("*\n")

    def made() -> int:
        return len((project.parent / "made").read_text().splitlines())

    execute(text, "--run-id", "1")
    assert execute(text, "--run-id", "2").steps["make"].mock
    assert made() == 1
    magnus("catalog", "gc", "--older-than", "0s")
    log = execute(text, "--run-id", "3")
    assert (log.status, log.steps["make"].mock, made()) == ("SUCCESS", False, 2)
    assert execute(text, "--run-id", "4").steps["make"].mock
    assert made() == 2


def test_a_collection_that_is_killed_is_finished_by_the_next(
    magnus: Magnus, runs: list[str], project: Path
) -> None:
    """SIGKILL to the process itself, between two files."""
    code = (
        "import os, sys, time\n"
        "from pathlib import Path\n"
        "from airflow_magnus import cli\n"
        "unlink, gone = Path.unlink, []\n"
        "def slow(path, **options):\n"
        "    if '.catalog' not in path.parts: return unlink(path, **options)\n"
        "    if gone: print('one is gone', flush=True); time.sleep(60)\n"
        "    gone.append(unlink(path, **options))\n"
        "Path.unlink = slow\n"
        "cli.main(['catalog', 'gc', '--older-than', '0s', '--keep-last', '1'])\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=project)
    assert process.stdout is not None
    assert process.stdout.readline() == "one is gone\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert len([path for path in (project / ".catalog" / "1").rglob("*") if path.is_file()]) == 2
    code, out, err = magnus("catalog", "verify", "--all")  # type: ignore[assignment]
    assert (code, out) == (0, "3 runs, 3 files, 6 B: whole\n")
    assert "the files of run 1 are being removed, or were removed in part" in err
    code, out, _ = magnus("catalog", "gc", "--older-than", "30d")  # type: ignore[assignment]
    assert code == 0
    assert [" ".join(line.split()) for line in out.splitlines()] == [
        "run 1 2 files 4 B what an interrupted gc had left",
        "run 2 2 files 4 B what an interrupted gc had left",
        "freed 8 B (8 bytes): 4 files of 2 runs",
    ]
    assert os.listdir(project / ".catalog") == ["10"]


def test_a_run_that_goes_on_is_kept_and_one_whose_process_is_gone_goes(
    magnus: Magnus, runs: list[str], project: Path
) -> None:
    (project / "slow.yaml").write_text(
        linear(
            {
                "make": shell("mkdir -p data; echo 1 > data/a.txt", catalog={"put": ["a.txt"]}),
                "wait": shell("touch waiting; sleep 60"),
            }
        )
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "airflow_magnus", "execute", "-f", "slow.yaml", "--run-id", "slow"],
        cwd=project, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 60
        while not (project / "waiting").exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        _, _, err = magnus("catalog", "gc", "--older-than", "0s", "--pin", "1", "--pin", "2", "--pin", "10")
        assert f"kept: run slow: it goes on in process {process.pid}" in err
        assert magnus("catalog", "put", "slow", "a.txt")[0] == 2
        assert magnus("catalog", "verify", "slow")[1] == "1 run, 1 file, 2 B: whole\n"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert magnus("catalog", "gc", "--older-than", "0s", "--pin", "1", "--pin", "2", "--pin", "10")[
        1
    ].startswith("run slow  1 file")


class _Task(StepMixin, BashOperator):
    pass


def test_runs_of_airflow_are_found_where_airflow_keeps_them(
    run_dag: Callable[..., Any], magnus: Magnus
) -> None:
    """A DAG that is written by hand, without an end for its run log."""
    with DAG("upkeep", schedule=None) as made:
        _Task(task_id="make", bash_command="echo 1 > data/a.txt", cwd=".", step=StepSettings(put=["*"]))
    log, states = run_dag(made)
    assert states == {"make": "success"}
    code, out, err = magnus("catalog", "list", "--airflow", log.run_id)
    assert (code, out.split()[0]) == (0, "a.txt"), err
    assert magnus("catalog", "verify", "--airflow", log.scheduler["run_id"])[:2] == (
        0,
        "1 run, 1 file, 2 B: whole\n",
    )
    code, out, err = magnus("catalog", "gc", "--airflow", "--older-than", "0s", "--dry-run")
    assert f"run {log.run_id}" not in out
    assert f"`magnus runlog repair --airflow {log.run_id}`" in err
    assert magnus("runlog", "repair", "--airflow", log.run_id)[0] == 0
    out = magnus("catalog", "gc", "--airflow", "--older-than", "0s", "--dry-run")[1]
    assert f"run {log.run_id} " in out
    assert magnus("catalog", "list", log.run_id)[0] == 2, "the command line's own stores are others"
