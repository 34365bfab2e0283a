"""Executor ``local-container``: every command in a container of an image that has nothing of this package."""

from __future__ import annotations

import gc
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from airflow_magnus.runlog.records import RunLog
from pipelines import function, linear, only, python, shell, task
from servers.engine import FakeEngine, fake_engine

Execute = Callable[..., RunLog]
Magnus = Callable[..., tuple[int, str, str]]

pytestmark = [
    # docker-py leaves sockets to the garbage collector: of a pull, and of an engine that is not there.
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeEngine]:
    """The engine that steps find by the environment; its image has no package but Python's own."""
    with fake_engine() as engine:
        monkeypatch.setenv("DOCKER_HOST", engine.url)
        yield engine
    gc.collect()


def executor(**config: Any) -> dict[str, Any]:
    """The section of the executor."""
    return {"executor": {"type": "local-container", "config": {"docker_image": "tools:1", **config}}}


def message_of(log: RunLog, step: str = "only") -> str:
    assert log.status == "FAIL", log
    return log.steps[step].attempts[-1].message


def attempts(log: RunLog) -> dict[str, Any]:
    return {name: [a.message for a in step.attempts] for name, step in log.steps.items()}


@pytest.mark.parametrize("isolate", [(), ("--isolate",)])
def test_every_kind_of_command_runs_in_a_container(
    execute: Execute, engine: FakeEngine, project: Path, isolate: tuple[str, ...]
) -> None:
    (project / "helper.py").write_text("FACTOR = 10\n")
    (project / "work.py").write_text(
        "import importlib.util, os\n"
        "from helper import FACTOR\n"
        "def main(x, y=5, *args, z=6, **rest):\n"
        "    assert args == () and rest == {}\n"
        "    os.makedirs('data', exist_ok=True)\n"
        "    open('data/from_python.txt', 'w').write('p')\n"
        "    found = importlib.util.find_spec('airflow_magnus')\n"
        "    return {'sum': int(x) * FACTOR + y + z, 'package': found is not None, 'home': 'HOME' in os.environ}\n"
    )
    log = execute(
        linear(
            {
                "function": python("work.main", catalog={"put": ["*"]}),
                "lambda": function("lambda sum: {'double': sum * 2}"),
                "shell": shell(
                    'test "$MAGNUS_PRM_double" = 42 && cat data/from_python.txt > data/from_shell.txt',
                    catalog={"get": ["from_python.txt"], "put": ["from_shell.txt"]},
                ),
                "stub": {"type": "as-is", "catalog": {"get": ["from_shell.txt"]}},
            },
            **executor(),
        ),
        "--x", "1", "--run-id", "r1", *isolate,
    )  # fmt: skip
    assert log.status == "SUCCESS", attempts(log)
    assert (log.parameters["sum"], log.parameters["double"], log.parameters["package"]) == (21, 42, False)
    assert (project / ".catalog" / "r1" / "from_shell.txt").read_text() == "p"
    assert len(engine.containers) == 3
    assert log.run_config["executor"] == {"type": "local-container", "config": {"docker_image": "tools:1"}}
    assert {i.code_identifier_type for i in log.steps["shell"].code_identities} == {"docker"}
    assert log.steps["stub"].code_identities == []


def test_item_of_a_map_reaches_the_container(execute: Execute, engine: FakeEngine) -> None:
    inner = {
        "f": function("lambda item: {'last': item * 2}"),
        "s": shell("echo $MAGNUS_PRM_MAP_VARIABLE | grep item"),
    }
    branch = yaml.safe_load(linear(inner))["dag"]
    steps = {
        "list": function("lambda: {'items': [1, 2]}"),
        "each": {"type": "map", "iterate_on": "items", "iterate_as": "item", "branch": branch},
    }
    log = execute(linear(steps, **executor()))
    assert log.status == "SUCCESS", attempts(log)
    assert log.parameters == {"items": [1, 2], "last": 4}
    assert len(engine.containers) == 5


def test_api_works_in_the_container(execute: Execute, engine: FakeEngine, project: Path) -> None:
    (project / ".env").write_text("TOKEN=long-enough-secret\n")
    (project / "work.py").write_text(
        "import magnus, os, pathlib, subprocess, sys\n"
        "def first():\n"
        "    os.makedirs('data', exist_ok=True)\n"
        "    pathlib.Path('data/a.txt').write_text('a')\n"
        "    magnus.put_in_catalog('data/a.txt')\n"
        "    magnus.put_object({1: (2, 3)}, 'thing')\n"
        "    magnus.store_parameter(stored=[magnus.get_parameter('x'), magnus.get_run_id(), magnus.get_tag()])\n"
        "    magnus.track_this(score=0.5)\n"
        "    os.environ['MAGNUS_PRM_by_hand'] = '[1]'\n"
        "    os.environ['MAGNUS_TRACK_by_hand'] = '2'\n"
        "    code = 'import magnus; magnus.store_parameter(of_child=magnus.get_run_id())'\n"
        "    subprocess.run([sys.executable, '-c', code], check=True)\n"
        "    return {'length': len(magnus.get_secret('TOKEN'))}\n"
        "def second():\n"
        "    magnus.get_from_catalog('a.txt', 'elsewhere')\n"
        "    magnus.get_from_catalog('a.txt')\n"
        "    texts = [pathlib.Path(f, 'a.txt').read_text() for f in ('elsewhere', 'data')]\n"
        "    return {'texts': texts, 'thing': magnus.get_object('thing')[1]}\n"
    )
    steps = {
        "first": python("work.first"),
        "second": python("work.second"),
        "child": shell("python3 -c 'import magnus; magnus.store_parameter(of_shell=magnus.get_tag())'"),
    }
    log = execute(
        linear(steps, secrets={"type": "dotenv"}, **executor()),
        "--x",
        "1",
        "--run-id",
        "r1",
        "--tag",
        "t1",
        "--isolate",
    )
    assert log.status == "SUCCESS", attempts(log)
    assert log.parameters == {
        "x": "1", "stored": ["1", "r1", "t1"], "by_hand": [1], "of_child": "r1", "length": 18,
        "texts": ["a", "a"], "thing": [2, 3], "of_shell": "t1",
    }  # fmt: skip
    assert log.steps["first"].user_defined_metrics == {"score": 0.5, "by_hand": 2}
    assert "long-enough-secret" not in log.to_json()
    assert all("long-enough-secret" not in json.dumps(c.config) for c in engine.containers)


@pytest.mark.parametrize(
    "call",
    [
        "put_in_catalog('/etc/hostname')",
        "get_from_catalog('a.txt', '/tmp/outside')",
        "put_in_catalog('link/passwd')",
        "put_in_catalog('data/../../../../../../etc/passwd')",
    ],
)
def test_container_reaches_no_file_of_the_worker_by_the_api(
    execute: Execute, engine: FakeEngine, project: Path, call: str
) -> None:
    (project / "work.py").write_text(
        f"import magnus, os\ndef main():\n    os.symlink('/etc', 'link')\n    magnus.{call}\n"
    )
    message = message_of(execute(only(python("work.main"), **executor())))
    assert "lies in the container alone: only files below /opt/magnus" in message


def test_secret_that_the_container_returns_fails_the_step(
    execute: Execute, engine: FakeEngine, project: Path
) -> None:
    (project / ".env").write_text("TOKEN=long-enough-secret\n")
    (project / "work.py").write_text("import magnus\ndef main(): return {'y': magnus.get_secret('TOKEN')}\n")
    log = execute(only(python("work.main"), secrets={"type": "dotenv"}, **executor()))
    assert "'TOKEN'" in message_of(log)
    assert "long-enough-secret" not in log.to_json()


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ("work.main", "ZeroDivisionError"),
        ("work.none", "has no function 'none'; it has: give, main, objects, wants"),
        ("nothing.main", "No module named 'nothing'"),
        ("work.wants", "missing parameters: needed; this run has: x"),
        ("work.give", "the step returned list: return a dict"),
        ("work.objects", "parameter 'y' has a value of type object that cannot be stored"),
    ],
)
def test_message_has_the_reason_when_function_fails(
    execute: Execute, engine: FakeEngine, project: Path, command: str, sentence: str
) -> None:
    (project / "work.py").write_text(
        "def main(): 1 / 0\ndef wants(needed): pass\ndef give(): return [1]\ndef objects(): return {'y': object()}\n"
    )
    message = message_of(execute(only(python(command), **executor()), "--x", "1"))
    assert message.startswith("container of tools:1 exited with status 1\n")
    assert sentence in message


def test_message_says_so_when_image_has_no_python(execute: Execute, engine: FakeEngine) -> None:
    engine.add_image("bare:1", path="/no-such-folder")
    message = message_of(execute(only(function("lambda: {}"), **executor(docker_image="bare:1"))))
    assert "image 'bare:1' cannot run python3" in message


def test_code_beside_the_pipeline_file_is_found(magnus: Magnus, engine: FakeEngine, project: Path) -> None:
    (project / "pipelines").mkdir()
    (project / "pipelines" / "beside.py").write_text("def main(): return {'y': 1}\n")
    (project / "pipelines" / "p.yaml").write_text(only(python("beside.main"), **executor()))
    status, out, _ = magnus("execute", "-f", "pipelines/p.yaml")
    assert status == 0, out
    assert json.loads(out)["parameters"] == {"y": 1}


def test_step_s_own_settings_are_laid_over_those_of_the_executor(
    execute: Execute, engine: FakeEngine, project: Path
) -> None:
    engine.add_image("other:1")
    echo = "echo $A $B > out.txt; echo $0 >> out.txt"
    config = executor(
        environment={"A": "1", "B": "1"}, optional_docker_args={"hostname": "h", "mem_limit": "1g"}
    )
    own = {"docker_image": "other:1", "environment": {"B": "2"}, "optional_docker_args": {"hostname": "own"}}
    log = execute(only(shell(echo, executor_config={"local-container": own}), **config))
    assert log.status == "SUCCESS", attempts(log)
    assert (project / "out.txt").read_text().splitlines()[0] == "1 2"
    container = engine.last.config
    assert (container["Image"], container["Hostname"]) == ("other:1", "own")
    assert container["HostConfig"]["Memory"] == 1024**3


def test_older_mode_config_counts_too(execute: Execute, engine: FakeEngine) -> None:
    engine.add_image("other:1")
    assert (
        execute(only(shell("true", mode_config={"docker_image": "other:1"}), **executor())).status
        == "SUCCESS"
    )
    assert engine.last.config["Image"] == "other:1"


@pytest.mark.parametrize(
    "keys",
    [
        {"executor_config": {"local-container": {"run_in_local": True}}},
        {"mode_config": {"run_in_local": "true"}},
    ],
)
def test_step_runs_on_the_worker_when_it_says_so(
    execute: Execute, engine: FakeEngine, keys: dict[str, Any]
) -> None:
    assert execute(only(shell("true", **keys), **executor())).status == "SUCCESS"
    assert engine.containers == []


def test_container_step_uses_the_executor_s_docker_arguments(execute: Execute, engine: FakeEngine) -> None:
    step = task("true", "container", command_config={"image": "tools:1"})
    assert execute(only(step, **executor(optional_docker_args={"hostname": "h"}))).status == "SUCCESS"
    assert engine.last.config["Hostname"] == "h"
    assert engine.last.argv == ["true"]


def test_run_log_may_be_buffered(execute: Execute, engine: FakeEngine) -> None:
    log = execute(only(function("lambda: {'y': 1}"), run_log_store={"type": "buffered"}, **executor()))
    assert log.parameters == {"y": 1}


def test_links_of_the_working_copy_lead_somewhere(
    run_dag: Callable[..., Any], engine: FakeEngine, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_magnus.dags.builder import pipeline_dag

    monkeypatch.setenv("AIRFLOW__MAGNUS__LINK_WORKING_COPY", "True")
    (project / "work.py").write_text("import os\ndef main(): return {'link': os.path.islink('work.py')}\n")
    (project / "linked.yaml").write_text(only(python("work.main"), **executor()))
    log, states = run_dag(pipeline_dag(project / "linked.yaml", start_date=None, schedule=None))
    assert states["only"] == "success", attempts(log)
    assert log.parameters == {"link": True}
    assert str(project) in [m["Target"] for m in engine.last.mounts]


NOTEBOOK = {
    "cells": [
        {
            "cell_type": "code", "id": f"c{i}", "metadata": {"tags": ["parameters"] if i == 0 else []},
            "source": source, "outputs": [], "execution_count": None,
        }
        for i, source in enumerate(["x = 'default'", "import magnus\nmagnus.store_parameter(y=x + '!')"])
    ],
    "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
    "nbformat": 4,
    "nbformat_minor": 5,
}  # fmt: skip


def test_notebook_runs_where_the_image_has_papermill(
    execute: Execute, engine: FakeEngine, project: Path
) -> None:
    (project / "report.ipynb").write_text(json.dumps(NOTEBOOK))
    engine.add_image("notebooks:1", path=f"{Path(sys.executable).parent}:{os.defpath}")
    text = only(
        task("report.ipynb", "notebook"),
        **executor(docker_image="notebooks:1", environment={"HOME": str(project)}),
    )
    log = execute(text, "--x", "ü", "--run-id", "r1")
    assert log.status == "SUCCESS", attempts(log)
    assert log.parameters["y"] == "ü!"
    assert [(e.stage, e.name) for e in log.steps["only"].data_catalog] == [("put", "report_out.ipynb")]


def test_message_names_papermill_when_the_image_has_none(
    execute: Execute, engine: FakeEngine, project: Path
) -> None:
    (project / "report.ipynb").write_text(json.dumps(NOTEBOOK))
    log = execute(only(task("report.ipynb", "notebook"), **executor()))
    assert "notebook steps need papermill and ipykernel in the image" in message_of(log)


@pytest.mark.parametrize(
    ("section", "sentence"),
    [
        ({"type": "local-container"}, "executor of type local-container needs docker_image"),
        (
            {"type": "local-container", "config": {"docker_imag": "x"}},
            'unknown key "docker_imag"; the nearest is "docker_image"',
        ),
        (
            {"type": "local-container", "config": {"docker_image": "x", "optional_docker_args": {"mem": 1}}},
            'unknown argument of DockerOperator "mem"',
        ),
    ],
)
def test_pipeline_is_refused_when_executor_cannot_be_used(
    magnus: Magnus, project: Path, section: dict[str, Any], sentence: str
) -> None:
    (project / "pipeline.yaml").write_text(only(shell("true"), executor=section))
    status, _, err = magnus("execute")
    assert status == 2
    assert sentence in err


def test_image_of_python_without_this_package_is_what_is_tested(engine: FakeEngine) -> None:
    import subprocess

    python = shutil.which("python3", path=engine.path)
    assert python is not None
    done = subprocess.run([python, "-c", "import airflow_magnus"], env={}, check=False, capture_output=True)
    assert done.returncode == 1
