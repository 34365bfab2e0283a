"""Runs that take up an earlier one, and steps in folders of their own, by the command line. Contract 23, 24, 27."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import obstore  # noqa: TID253 - the test looks at the store beside the code under test
import pytest

from airflow_magnus.runlog.records import RunLog
from airflow_magnus.stores import catalog
from airflow_magnus.stores.owners import process_started
from pipelines import conditional, function, linear, loop, mapped, only, parallel, python, shell

Execute = Callable[..., RunLog]
Magnus = Callable[..., tuple[int, str, str]]


@pytest.fixture
def text(project: Path) -> str:
    """Two steps that succeed, and one that does when a file ``mended`` is there."""
    return linear(
        {
            "make": shell(
                "mkdir -p data; echo 1 > data/a.txt; echo 2 > data/unused.txt; echo run >> made",
                catalog={"put": ["*"]},
            ),
            "set": function("lambda: {'x': 1}"),
            "use": shell("test -e mended && test $(cat data/a.txt) = 1", catalog={"get": ["a.txt"]}),
        }
    )


def mocked(log: RunLog) -> list[str]:
    return [name for name, step in log.steps.items() if step.mock]


def made(project: Path) -> int:
    """How often the first step ran."""
    return len((project / "made").read_text().splitlines())


def test_steps_that_succeeded_are_not_run_again(execute: Execute, project: Path, text: str) -> None:
    assert execute(text, "--run-id", "r1").status == "FAIL"
    (project / "mended").touch()
    (project / "data" / "a.txt").unlink()
    log = execute(text, "--run-id", "r2", "--use-cached", "r1")
    assert log.status == "SUCCESS", log.steps["use"]
    assert (log.use_cached, log.original_run_id, mocked(log)) == (True, "r1", ["make", "set"])
    assert log.parameters == {"x": 1}
    assert log.steps["make"].attempts == []
    assert made(project) == 1
    assert (project / ".catalog" / "r2" / "a.txt").read_text() == "1\n"
    again = execute(text, "--run-id", "r3", "--use-cached", "r2")
    assert (again.status, mocked(again)) == ("SUCCESS", ["make", "set", "use"])


def test_changed_step_and_what_follows_run_again_with_a_warning(
    magnus: Magnus, execute: Execute, project: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    execute(text, "--run-id", "r1")
    (project / "mended").touch()
    (project / "pipeline.yaml").write_text(text.replace(": 1}", ": 2}"))
    code, out, _ = magnus("execute", "--use-cached", "r1")
    log = RunLog.model_validate(json.loads(out))
    assert (code, mocked(log), log.parameters) == (0, ["make"], {"x": 2})
    assert "has changed since run r1: step 'set' runs again" in caplog.text


@pytest.mark.parametrize("run", ["r1", "r2"])
def test_step_runs_again_when_a_file_that_is_needed_is_gone(
    execute: Execute, project: Path, text: str, run: str
) -> None:
    execute(text, "--run-id", "r1")
    execute(text, "--run-id", "r2", "--use-cached", "r1")
    (project / "mended").touch()
    (project / ".catalog" / run / "a.txt").unlink()
    log = execute(text, "--use-cached", run)
    assert log.status == "SUCCESS", [a.message for s in log.steps.values() for a in s.attempts]
    assert "make" not in mocked(log)
    assert made(project) == 2


@pytest.mark.parametrize("run", ["r1", "r2"])
def test_run_goes_on_when_a_file_that_nobody_needs_is_gone(
    execute: Execute, project: Path, text: str, run: str
) -> None:
    execute(text, "--run-id", "r1")
    execute(text, "--run-id", "r2", "--use-cached", "r1")
    (project / "mended").touch()
    (project / ".catalog" / run / "unused.txt").unlink()
    log = execute(text, "--use-cached", run)
    assert log.status == "SUCCESS", [a.message for s in log.steps.values() for a in s.attempts]
    assert mocked(log) == ["make", "set"]


def test_earlier_parameters_win_with_a_warning_that_has_both(
    magnus: Magnus, execute: Execute, project: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    execute(text, "--run-id", "r1", "--y", "old")
    code, out, _ = magnus("execute", "--use-cached", "r1", "--y", "new", "--z", "more")
    assert code == 1
    assert json.loads(out)["parameters"] == {"y": "old", "x": 1, "z": "more"}
    assert "'old' of run r1 wins over 'new'" in caplog.text


def test_run_that_still_goes_on_is_refused(
    magnus: Magnus, execute: Execute, project: Path, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute(text, "--run-id", "r1")
    (project / ".run_log_store" / "r1.json").unlink()
    for part in (project / ".run_log_store" / "r1" / "steps").rglob("fail/*"):
        part.unlink()
    code, out, err = magnus("execute", "--use-cached", "r1", "--run-id", "r2")
    assert (code, out) == (2, "")
    assert "'r1' still goes on" in err
    assert not (project / ".run_log_store" / "r2").exists()
    header = project / ".run_log_store" / "r1" / "run.json"
    started = process_started(json.loads(header.read_text())["scheduler"]["pid"])
    header.write_text(header.read_text().replace(f'"{started}"', '"of another process"'))
    assert magnus("execute", "--use-cached", "r1", "--run-id", "r2")[0] == 1


def test_run_by_the_handler_starts_again_at_the_failed_step(execute: Execute, project: Path) -> None:
    text = linear(
        {"a": shell("true"), "b": shell("test -e mended", on_failure="c", next="success"), "c": shell("true")}
    )
    assert list(execute(text, "--run-id", "r1").steps) == ["a", "b", "c", "success"]
    (project / "mended").touch()
    log = execute(text, "--use-cached", "r1")
    assert (list(log.steps), mocked(log)) == (["a", "b", "success"], ["a"])


# folders of their own


def test_forgotten_get_shows_when_steps_are_isolated(execute: Execute, project: Path) -> None:
    text = linear(
        {
            "make": shell("mkdir -p data; echo 1 > data/a.txt; echo 1 > beside", catalog={"put": ["*"]}),
            "use": shell("test -e data/a.txt"),
        }
    )
    assert execute(text, "--isolate").status == "FAIL"
    assert not (project / "beside").exists()
    assert execute(text).status == "SUCCESS"


def test_isolated_step_has_code_but_no_data_catalog_or_run_log(execute: Execute, project: Path) -> None:
    (project / "work.py").write_text(
        "import os\ndef main(): return {'names': sorted(n for n in os.listdir() if n != '__pycache__')}\n"
    )
    text = only(
        python("work.main", catalog={"put": ["*"]}),
        run_log_store={"type": "file-system", "config": {"log_folder": "logs"}},
        catalog={"type": "file-system", "config": {"catalog_location": "deep/catalog"}},
    )
    execute(text, "--run-id", "r1")
    (project / "deep" / "kept").write_text("1")
    log = execute(text, "--isolate")
    assert log.parameters["names"] == ["data", "deep", "pipeline.yaml", "work.py"]
    assert log.status == "SUCCESS"


# composite steps

ITEMS = ["a", "b", "c/d", 3]


def of_items(**keys: object) -> str:
    """A map of two steps for each item, of which the second fails for "b" until a file ``mended`` is there."""
    inner = {
        "make": shell(
            'mkdir -p data; echo "$MAGNUS_PRM_MAP_VARIABLE" > data/f; echo "make $MAGNUS_PRM_MAP_VARIABLE" >> ran',
            catalog={"put": ["f"]},
        ),
        "set": function("lambda item: {'x': item, 'of ' + str(item): 1}"),
        "use": shell(
            'echo "use $MAGNUS_PRM_MAP_VARIABLE" >> ran; case $MAGNUS_PRM_MAP_VARIABLE in *b*) test -e mended;; esac && '
            'grep -F "$MAGNUS_PRM_MAP_VARIABLE" data/f',
            catalog={"get": ["f"]},
        ),
    }
    after = shell("cp data/f found", catalog={"get": ["f"]})
    return linear({"m": mapped(inner), "after": after}, parameters={"items": ITEMS}, **keys)


def ran(project: Path) -> list[str]:
    """What ran since this was asked last."""
    path = project / "ran"
    found = path.read_text().splitlines() if path.exists() else []
    path.unlink(missing_ok=True)
    return found


def test_of_a_failed_map_only_the_items_that_failed_run_again(execute: Execute, project: Path) -> None:
    first = execute(of_items(), "--run-id", "r1")
    assert (first.status, len(ran(project))) == ("FAIL", 8)
    (project / "mended").touch()
    shutil.rmtree(project / "data")
    log = execute(of_items(), "--run-id", "r2", "--use-cached", "r1")
    assert log.status == "SUCCESS", log.steps["m"].message
    assert ran(project) == ['use {"item": "b"}']
    assert list(log.steps["m"].branches) == ["m.a", "m.b", "m.c/d", "m.3"]
    steps = {name: step for branch in log.steps["m"].branches.values() for name, step in branch.steps.items()}
    assert {name for name, s in steps.items() if not (s.mock or name.endswith("success"))} == {"m.b.use"}
    assert all(s.attempts == [] and s.data_catalog == [] for s in steps.values() if s.mock)
    assert not log.steps["m"].mock
    assert log.parameters == {**first.parameters, "x": 3}
    assert (project / "found").read_text() == '{"item": 3}\n', "of the last item, in the order of the list"
    assert (project / ".catalog" / "r2" / "f").read_text() == '{"item": 3}\n'
    again = execute(of_items(), "--run-id", "r3", "--use-cached", "r2")
    assert (mocked(again), ran(project), again.parameters) == (["m", "after"], [], log.parameters)
    assert again.steps["m"].branches == {}


def test_files_of_items_that_are_not_run_again_are_copied_by_the_store(
    execute: Execute, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No byte of theirs passes through this process."""
    execute(of_items(), "--run-id", "r1")
    (project / "mended").touch()
    sent: list[object] = []
    read: list[str] = []
    upload, get = catalog.upload, obstore.get
    monkeypatch.setattr(catalog, "upload", lambda *a, **k: sent.append(a) or upload(*a, **k))
    monkeypatch.setattr(obstore, "get", lambda store, path, **k: read.append(path) or get(store, path, **k))
    log = execute(of_items(), "--run-id", "r2", "--use-cached", "r1")
    assert log.status == "SUCCESS"
    assert sent == []
    assert len([path for path in read if path.startswith("r2/.versions/")]) == 2, "for b, and behind the map"


def test_item_runs_again_when_its_files_are_gone(execute: Execute, project: Path) -> None:
    execute(of_items(), "--run-id", "r1")
    (project / "mended").touch()
    ran(project)
    for path in (project / ".catalog" / "r1").rglob("f"):
        if path.read_text() == '{"item": "c/d"}\n':
            path.unlink()
    log = execute(of_items(), "--use-cached", "r1")
    assert log.status == "SUCCESS"
    assert ran(project) == ['use {"item": "b"}', 'make {"item": "c/d"}', 'use {"item": "c/d"}']


def test_of_a_new_list_the_items_that_were_in_the_old_one_are_reused(execute: Execute, project: Path) -> None:
    inner = {"s": function("lambda item: {'x': item}"), "t": {"type": "as-is"}}
    text = linear({"m": mapped(inner)}, parameters={"items": ITEMS})
    execute(text, "--run-id", "r1")
    (project / "new.yaml").write_text('items: [e, "3", b, 3]')  # "3" has the name that 3 had
    log = execute(text, "--use-cached", "r1", "--new-parameters", "-p", "new.yaml")
    steps = {name: s.mock for branch in log.steps["m"].branches.values() for name, s in branch.steps.items()}
    assert {name[:-2] for name, mock in steps.items() if mock} == {"m.b"}
    assert list(log.steps["m"].branches) == ["m.e", "m.3", "m.b", "m.3~2"]
    assert [b.steps[f"{name}.s"].parameters["x"] for name, b in log.steps["m"].branches.items()] == [
        "e",
        "3",
        "b",
        3,
    ]
    assert (log.status, log.parameters["x"]) == ("SUCCESS", 3)
    shells = linear(
        {"m": mapped({"s": shell('echo "$MAGNUS_PRM_MAP_VARIABLE" >> ran')})}, parameters={"items": [1, 2]}
    )
    execute(shells, "--run-id", "r2")
    ran(project)
    (project / "new.yaml").write_text("items: [2]")
    execute(shells, "--use-cached", "r2", "--new-parameters", "-p", "new.yaml")
    assert ran(project) == ['{"item": 2}'], "a shell step could read the list"


def test_branches_and_repetitions_that_succeeded_are_not_run_again(execute: Execute, project: Path) -> None:
    def note(text: str, then: str = "true") -> dict[str, object]:
        return shell(f"echo {text} >> ran; {then}")

    fails = "test -e mended"
    text = linear(
        {
            "p": parallel({"one": {"s": note("p1")}, "two": {"s": note("p2"), "t": note("t2", fails)}},
                          on_failure="c", next="c"),
            "c": conditional("v", {"x": {"s": note("x"), "t": note("tx")}}),
            "l": loop({"s": function("lambda n: {'n': n + 1}"), "t": note("l$MAGNUS_PRM_n", f"test $MAGNUS_PRM_n -lt 2 || {fails}")},
                      3),
            "last": note("last"),
        },
        parameters={"v": "x", "n": 0},
    )  # fmt: skip
    assert execute(text, "--run-id", "r1").status == "FAIL"
    assert ran(project) == ["p1", "p2", "t2", "x", "tx", "l1", "l2"]
    (project / "mended").touch()
    log = execute(text, "--run-id", "r2", "--use-cached", "r1")
    assert log.status == "SUCCESS"
    assert ran(project) == ["t2", "x", "tx", "l1", "l2", "l3", "last"], (
        "what follows the failed step runs again"
    )
    execute(text.replace("echo last", "false"), "--run-id", "r3", "--use-cached", "r2")
    assert ran(project) == []
    log = execute(text.replace("echo last", "echo end"), "--run-id", "r4", "--use-cached", "r3")
    assert (log.status, mocked(log), ran(project)) == ("SUCCESS", ["p", "c", "l"], ["end"])
    assert log.parameters["n"] == 3


def test_loop_goes_on_in_the_repetition_that_failed(execute: Execute, project: Path) -> None:
    inner = {
        "s": function("lambda n: {'n': n + 1, 'done': n == 2}"),
        "t": shell("echo $MAGNUS_PRM_n >> ran; test $MAGNUS_PRM_n -ne 2 || test -e mended"),
    }
    text = linear({"l": loop(inner, 5, break_on="done")}, parameters={"n": 0})
    assert execute(text, "--run-id", "r1").status == "FAIL"
    (project / "mended").touch()
    assert ran(project) == ["1", "2"]
    log = execute(text, "--run-id", "r2", "--use-cached", "r1")
    assert (log.status, ran(project), log.parameters["n"]) == ("SUCCESS", ["2", "3"], 3)
    steps = {name: step for branch in log.steps["l"].branches.values() for name, step in branch.steps.items()}
    assert [name for name, step in steps.items() if step.mock] == ["l.0.s", "l.0.t", "l.1.s"]
    assert mocked(execute(text, "--use-cached", "r2")) == ["l"]


def test_earlier_parameters_win_inside_maps_too(
    execute: Execute, project: Path, caplog: pytest.LogCaptureFixture
) -> None:
    inner = {"s": function("lambda item, y: {'seen': [item, y]}"), "t": shell("test -e mended")}
    text = linear({"m": mapped(inner)}, parameters={"items": ["a"]})
    execute(text, "--run-id", "r1", "--y", "old")
    (project / "mended").touch()
    log = execute(text, "--run-id", "r2", "--use-cached", "r1", "--y", "new")
    assert (log.status, log.parameters["seen"], log.parameters["y"]) == ("SUCCESS", ["a", "old"], "old")
    assert "'old' of run r1 wins over 'new'" in caplog.text
    log = execute(text, "--use-cached", "r1", "--y", "new", "--new-parameters")
    assert (log.parameters["seen"], log.parameters["y"]) == (["a", "new"], "new")
    assert not log.steps["m"].branches["m.a"].steps["m.a.s"].mock


def test_run_that_was_killed_in_a_map_goes_on_there(execute: Execute, magnus: Magnus, project: Path) -> None:
    inner = {
        "a": shell("echo a >> ran"),
        "b": shell(
            "echo b >> ran; case $MAGNUS_PRM_MAP_VARIABLE in *2*) test -e mended || { touch there; sleep 60; };; esac"
        ),
        "set": function("lambda item: {'last': item}"),
    }
    text = linear({"first": shell("echo first >> ran"), "m": mapped(inner)}, parameters={"items": [1, 2, 3]})
    (project / "pipeline.yaml").write_text(text)
    command = [sys.executable, "-m", "airflow_magnus", "execute", "-f", "pipeline.yaml", "--run-id", "r1"]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        deadline = time.monotonic() + 60
        while not (project / "there").exists():
            assert time.monotonic() < deadline
            time.sleep(0.1)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert ran(project) == ["first", "a", "b", "a", "b"]
    (project / "mended").touch()
    log = execute(text, "--run-id", "r2", "--use-cached", "r1")
    assert log.status == "SUCCESS", log.steps["m"].message
    assert ran(project) == ["b", "a", "b"]
    assert log.parameters["last"] == 3
    earlier = json.loads(magnus("runlog", "show", "r1")[1])
    assert earlier["status"] == "FAIL"
    (killed,) = earlier["steps"]["m"]["branches"]["m.2"]["steps"]["m.2.b"]["attempts"]
    assert "killed" in killed["message"]
