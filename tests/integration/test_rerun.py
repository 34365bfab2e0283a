"""Runs that take up an earlier one, and steps in folders of their own, by the command line. Contract 23, 24, 27."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from airflow_magnus.runlog.records import RunLog
from airflow_magnus.stores.owners import process_started
from pipelines import function, linear, only, python, shell

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
