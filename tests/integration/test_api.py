"""The user's API, from wherever a step's code may run."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import airflow_magnus
from airflow_magnus.runlog.records import RunLog
from pipelines import linear, only, python, shell

Execute = Callable[..., RunLog]
CALLS = """
import magnus, os, sys
from pathlib import Path

def calls():
    Path("made.txt").write_text("made")
    magnus.store_parameter(a={"b": [1, None]}, x="changed")
    magnus.set_parameter(update=False, x="ignored", new=1)
    magnus.track_this(loss=0.5, step=3)
    magnus.track_this(score=[1, 2])
    magnus.put_in_catalog("made.txt")
    magnus.put_in_catalog(Path("data/sub/deep.txt"))
    magnus.put_object({"any": {1, 2}}, "thing")
    magnus.put_object("second", "odd [name]*")
    assert magnus.get_parameter("a") == {"b": [1, None]}
    assert magnus.get_parameter()["x"] == "changed"
    assert (magnus.get_run_id(), magnus.get_tag()) == ("r1", "t1")
    for wrong, kind in (
        (lambda: magnus.get_parameter("no"), "ParameterError"),
        (lambda: magnus.get_from_catalog("no*"), "CatalogEntryNotFoundError"),
        (lambda: magnus.get_object("no"), "CatalogEntryNotFoundError"),
        (lambda: magnus.put_in_catalog("no.txt"), "CatalogError"),
        (lambda: magnus.store_parameter(bad=object()), "TypeError"),
    ):
        try:
            wrong()
        except Exception as error:
            assert type(error).__name__ == kind, (type(error), error)
        else:
            raise AssertionError(kind)

if __name__ == "__main__":
    calls()
"""
FORK = """
import multiprocessing
from calls import calls

def forked():
    process = multiprocessing.get_context("fork").Process(target=calls)
    process.start()
    process.join()
    assert process.exitcode == 0

def threaded():
    import concurrent.futures
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        pool.submit(calls).result()
"""
LOOK = """
import magnus
from pathlib import Path

def look():
    magnus.get_from_catalog("*.txt")
    magnus.get_from_catalog("sub/*", destination_folder="new/folder")
    assert Path("data/made.txt").read_text() == "made"
    assert Path("new/folder/sub/deep.txt").read_text() == "deep"
    assert magnus.get_object("thing") == {"any": {1, 2}}
    assert magnus.get_object("odd [name]*") == "second"
"""


@pytest.mark.parametrize(
    "step",
    [
        python("calls.calls"),
        python("fork.forked"),
        python("fork.threaded"),
        shell("python3 calls.py"),
    ],
    ids=["function", "fork", "thread", "script"],
)
def test_calls_work_wherever_code_of_a_step_runs(
    execute: Execute, project: Path, step: dict[str, Any]
) -> None:
    (project / "data" / "sub").mkdir(parents=True)
    (project / "data" / "sub" / "deep.txt").write_text("deep")
    for name, text in (("calls", CALLS), ("fork", FORK), ("look", LOOK)):
        (project / f"{name}.py").write_text(text)
    log = execute(
        linear({"calls": step, "look": python("look.look")}), "--x", "1", "--run-id", "r1", "--tag", "t1"
    )
    assert log.status == "SUCCESS", [a.message for s in log.steps.values() for a in s.attempts]
    assert log.parameters == {"a": {"b": [1, None]}, "x": "changed", "new": 1}
    assert log.steps["calls"].user_defined_metrics == {"3_loss": 0.5, "score": [1, 2]}
    assert [(e.stage, e.name) for e in log.steps["calls"].data_catalog] == [
        ("put", "made.txt"), ("put", "sub/deep.txt"), ("put", "thing.pickle"), ("put", "odd [name]*.pickle"),
    ]  # fmt: skip
    assert [e.stage for e in log.steps["look"].data_catalog] == ["get"] * 4


def test_calls_after_the_step_has_ended_are_refused(execute: Execute, project: Path) -> None:
    (project / "late.py").write_text(
        textwrap.dedent("""
        import magnus, time
        time.sleep(2)
        try:
            magnus.store_parameter(late=1)
        except RuntimeError as error:
            open("late.txt", "w").write(str(error))
        """)
    )
    log = execute(linear({"a": shell("python3 late.py >/dev/null 2>&1 &"), "b": shell("sleep 3")}))
    assert log.parameters == {}
    assert "has ended" in (project / "late.txt").read_text()


def test_calls_outside_a_step_say_so() -> None:
    for call in (
        airflow_magnus.get_run_id,
        airflow_magnus.get_parameter,
        lambda: airflow_magnus.track_this(a=1),
        lambda: airflow_magnus.put_object(1, "a"),
    ):
        with pytest.raises(RuntimeError, match="does not run inside a step"):
            call()


def test_original_magnus_is_imported_when_it_is_installed(execute: Execute, project: Path) -> None:
    (project / "magnus.py").write_text("def get_run_id(): return 'the original'\n")
    (project / "work.py").write_text("import magnus\ndef main(): return {'id': magnus.get_run_id()}\n")
    assert execute(only(python("work.main"))).parameters == {"id": "the original"}
