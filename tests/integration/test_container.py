"""Steps of the command type ``container``, against an engine that really runs what it is told. Spec §7.5."""

from __future__ import annotations

import gc
import json
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_magnus.runlog.records import RunLog
from pipelines import linear, only, python, shell
from servers.engine import FakeEngine, fake_engine

Execute = Callable[..., RunLog]
Magnus = Callable[..., tuple[int, str, str]]
SECRET = 'pa$$"w0rd#/=ü'


pytestmark = [
    # docker-py leaves sockets to the garbage collector: of a pull, and of an engine that is not there.
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """Leaves no such socket to other tests."""
    yield
    gc.collect()


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeEngine]:
    """The engine that steps find by the environment."""
    with fake_engine() as engine:
        monkeypatch.setenv("DOCKER_HOST", engine.url)
        yield engine


def container(
    command: str | None = None, docker: dict[str, Any] | None = None, **config: Any
) -> dict[str, Any]:
    """A container step; ``docker`` goes to ``optional_docker_args``, unknown keys of a step stay keys of the step."""
    keys = {name: config.pop(name) for name in ("catalog", "retry", "s3") if name in config}
    step: dict[str, Any] = {
        "type": "task", "command_type": "container", "command_config": {"image": "tools:1", **config}, **keys,
    }  # fmt: skip
    if command is not None:
        step["command_config"]["command"] = command
    if docker is not None:
        step["executor_config"] = {"local": {"optional_docker_args": docker}}
    return step


def script(source: str) -> str:
    """The command that runs a Python script; the container has the standard library alone."""
    assert "'" not in source
    return f"python3 -c '{source}'"


def message_of(log: RunLog, step: str = "only") -> str:
    assert log.status == "FAIL", log
    return log.steps[step].attempts[-1].message


def test_container_is_given_parameters_and_gives_others(execute: Execute, engine: FakeEngine) -> None:
    source = """
import json, os
file = json.load(open(os.environ["MAGNUS_PARAMETERS_FILE"]))
x = json.loads(os.environ["MAGNUS_PRM_x"])
out = {"y": [x, file["x"], file["long"] == "a" * 200000, os.environ["MAGNUS_RUN_ID"], os.environ["MAGNUS_RUN_TAG"]]}
json.dump(out, open("/opt/magnus/parameters.json", "w"))
"""
    steps = {"make": python("work.make"), "only": container(script(source))}
    Path("work.py").write_text("def make(): return {'long': 'a' * 200000}")
    log = execute(linear(steps), "--x", "ü", "--run-id", "r1", "--tag", "t1")
    assert log.status == "SUCCESS", log
    assert log.parameters["y"] == ["ü", "ü", True, "r1", "t1"]
    assert "parameter 'long' is too long for an environment variable" in log.steps["only"].message


def test_container_sees_nothing_of_the_worker_s_environment(
    execute: Execute, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OF_THE_WORKER", "1")
    monkeypatch.setenv("AIRFLOW_CONN_PROD", "postgres://me:secret@host/db")
    engine.add_image("tools:1", environment={"OF_THE_IMAGE": "kept"})
    source = (
        'import json, os; json.dump({"names": sorted(os.environ)}, open("/opt/magnus/parameters.json", "w"))'
    )
    log = execute(only(container(script(source), docker={"environment": {"MINE": "1"}})))
    expected = ["MAGNUS_PARAMETERS_FILE", "MAGNUS_RUN_ID", "MAGNUS_RUN_TAG", "MINE", "OF_THE_IMAGE", "PATH"]
    names = [n for n in log.parameters["names"] if n not in ("HOME", "LC_CTYPE")]
    assert names == expected


def test_files_come_and_go_by_the_data_folder(execute: Execute, engine: FakeEngine, project: Path) -> None:
    steps = {
        "make": shell("mkdir -p data/sub; echo 1 > data/sub/a.txt; echo 2 > data/b.txt", catalog={"put": ["**"]}),
        "only": container(
            "/bin/sh -c 'cat /box/files/sub/a.txt > /box/files/c.txt; ls /box/files >> /box/files/c.txt'",
            context_path="/box", data_folder="files",
            catalog={"get": ["sub/*"], "put": ["c.txt"]},
        ),
    }  # fmt: skip
    log = execute(linear(steps), "--run-id", "r1", "--isolate")
    assert log.status == "SUCCESS", log
    assert [(e.stage, e.name) for e in log.steps["only"].data_catalog] == [
        ("get", "sub/a.txt"),
        ("put", "c.txt"),
    ]
    assert (project / ".catalog" / "r1" / "c.txt").read_text() == "1\nc.txt\nsub\n"
    targets = [m["Target"] for m in engine.last.mounts]
    assert targets == ["/box", "/box/files"]


def test_image_s_own_program_runs_when_no_command_is_given(execute: Execute, engine: FakeEngine) -> None:
    engine.add_image("own:2", entrypoint=["/bin/sh", "-c"], command=["echo of the image; exit 4"])
    message = message_of(execute(only(container(image="own:2"))))
    assert message.splitlines() == ["container of own:2 exited with status 4", "of the image"]


def test_command_of_the_step_itself_is_run(execute: Execute, engine: FakeEngine) -> None:
    step = container()
    step["command"] = "/bin/sh -c 'exit 5'"
    assert "exited with status 5" in message_of(execute(only(step)))


def test_message_has_exit_status_and_last_lines_when_container_fails(
    magnus: Magnus, engine: FakeEngine, project: Path
) -> None:
    command = '/bin/sh -c \'seq 100; echo "zuletzt: ü" >&2; echo "{" > /opt/magnus/parameters.json; exit 3\''
    (project / "pipeline.yaml").write_text(only(container(command, catalog={"put": ["**"]})))
    status, out, err = magnus("execute")
    log = RunLog.model_validate(json.loads(out))
    assert status == 1
    lines = message_of(log).splitlines()
    assert lines[0] == "container of tools:1 exited with status 3"
    assert lines[-1] == "zuletzt: ü"
    assert "100" in lines
    assert "5" not in lines
    assert log.parameters == {}
    assert "\n5\n" in err


def test_message_says_so_when_container_needs_more_memory(execute: Execute, engine: FakeEngine) -> None:
    engine.is_short_of_memory = True
    message = message_of(execute(only(container("/bin/sh -c 'kill -9 $$'"))))
    assert message == "container of tools:1 exited with status 137 (it needed more memory than it may have)"


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        ("[1]", "it holds list: write a JSON object"),
        ("{", "cannot be read as JSON"),
        (None, "it is no file"),
    ],
)
def test_step_fails_when_output_parameters_are_no_object(
    execute: Execute, engine: FakeEngine, tmp_path: Path, written: str | None, sentence: str
) -> None:
    (tmp_path / "private.json").write_text('{"x": "of the worker"}')
    command = (
        f"ln -s {tmp_path}/private.json /opt/magnus/out/p.json"
        if written is None
        else f"/bin/sh -c 'echo \"{written}\" > /opt/magnus/out/p.json'"
    )
    log = execute(only(container(command, output_parameters_file="out/p.json")))
    assert sentence in message_of(log)
    assert "/opt/magnus/out/p.json" in message_of(log)
    assert log.parameters == {}


def test_no_output_parameters_are_no_parameters(execute: Execute, engine: FakeEngine) -> None:
    log = execute(only(container("true")))
    assert (log.status, log.parameters) == ("SUCCESS", {})


# secrets


@pytest.fixture
def secrets(project: Path) -> dict[str, Any]:
    (project / ".env").write_text(f"TOKEN='{SECRET}'\nOTHER=not-asked-for\n")
    return {"secrets": {"type": "dotenv"}}


def test_asked_for_secret_is_a_variable_and_nowhere_else(
    magnus: Magnus, engine: FakeEngine, project: Path, secrets: dict[str, Any]
) -> None:
    source = """
import json, os, sys
print("says", os.environ["TOKEN"])
line = open("/proc/self/cmdline").read()
json.dump({"seen": [len(os.environ["TOKEN"]), "OTHER" in os.environ, os.environ["TOKEN"] in line]},
          open("/opt/magnus/parameters.json", "w"))
"""
    (project / "pipeline.yaml").write_text(only(container(script(source), secrets=["TOKEN"]), **secrets))
    status, out, err = magnus("execute", "--log-level", "DEBUG")
    assert status == 0, out
    assert json.loads(out)["parameters"] == {"seen": [len(SECRET), False, False]}
    assert "says ***" in err
    written = "".join(
        p.read_text(errors="replace") for p in project.rglob("*") if p.is_file() and p.name != ".env"
    )
    for text in (out, err, written):
        assert SECRET not in text
        assert json.dumps(SECRET)[1:-1] not in text
    assert "TOKEN" in engine.last.variables
    assert SECRET not in json.dumps(engine.last.argv, ensure_ascii=False)


def test_step_fails_when_container_gives_a_secret_back(
    execute: Execute, engine: FakeEngine, secrets: dict[str, Any]
) -> None:
    source = (
        'import json, os; json.dump({"y": os.environ["TOKEN"]}, open("/opt/magnus/parameters.json", "w"))'
    )
    log = execute(only(container(script(source), secrets=["TOKEN"]), **secrets))
    assert "'TOKEN'" in message_of(log)
    assert SECRET not in log.to_json()


def test_secret_is_masked_in_the_message_when_container_fails(
    execute: Execute, engine: FakeEngine, secrets: dict[str, Any]
) -> None:
    log = execute(only(container("/bin/sh -c 'echo has $TOKEN; exit 1'", secrets=["TOKEN"]), **secrets))
    assert "has ***" in message_of(log)


def test_no_container_is_made_when_a_secret_is_unknown(
    execute: Execute, engine: FakeEngine, secrets: dict[str, Any]
) -> None:
    log = execute(only(container("true", secrets=["NONE"]), **secrets))
    assert "no secret 'NONE'" in message_of(log)
    assert engine.containers == []


# the engine


def test_message_says_what_to_do_when_there_is_no_engine(
    execute: Execute, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    message = message_of(execute(only(container("true"))))
    assert f"no container engine answers at unix://{tmp_path}/none.sock" in message
    assert "DOCKER_HOST" in message


def test_message_names_the_folder_to_share_when_engine_runs_elsewhere(
    execute: Execute, engine: FakeEngine
) -> None:
    engine.sees_nothing = True
    message = message_of(execute(only(container("true"))))
    assert "does not see this machine's folders" in message
    assert "[magnus] work_folder" in message


def test_image_is_pulled_when_it_is_not_there(execute: Execute, engine: FakeEngine) -> None:
    engine.add_image("far:3", is_local=False)
    assert execute(only(container("true", image="far:3"))).status == "SUCCESS"
    assert engine.pulled == ["far:3"]


@pytest.mark.parametrize(
    ("image", "command", "sentence"),
    [
        ("none:1", "true", "image 'none:1' cannot be found or pulled"),
        ("tools:1", "no-such-program", "image 'tools:1' cannot run its command"),
    ],
)
def test_message_names_the_image_when_it_cannot_be_run(
    execute: Execute, engine: FakeEngine, image: str, command: str, sentence: str
) -> None:
    assert sentence in message_of(execute(only(container(command, image=image))))


def test_nothing_is_left_when_container_has_ended(execute: Execute, engine: FakeEngine) -> None:
    execute(linear({"a": container("true"), "b": container("false")}))
    assert [c.is_removed for c in engine.containers] == [True, True]
    for one in engine.containers:
        assert not Path(one.mounts[0]["Source"]).exists()


def test_container_has_worker_s_user_host_network_and_labels(execute: Execute, engine: FakeEngine) -> None:
    log = execute(only(container("true")), "--run-id", "r1")
    config = engine.last.config
    assert config["User"] == f"{os.getuid()}:{os.getgid()}"
    assert config["HostConfig"]["NetworkMode"] == "host"
    assert config["Labels"] == {"airflow-magnus.run-id": "r1", "airflow-magnus.step": "only"}
    identities = {i.code_identifier_type: i.code_identifier for i in log.steps["only"].code_identities}
    assert identities["docker"] == engine.images["tools:1"].id("tools:1")


def test_container_has_root_when_engine_is_rootless(execute: Execute, engine: FakeEngine) -> None:
    engine.is_rootless = True
    execute(only(container("true")))
    assert engine.last.config["User"] == "0:0"


def test_arguments_are_passed_on_to_docker(execute: Execute, engine: FakeEngine, tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    docker = {
        "network_mode": "bridge", "user": "", "mem_limit": "1g", "hostname": "box",
        "mounts": [{"target": "/more", "source": str(tmp_path / "more"), "type": "bind"}],
    }  # fmt: skip
    log = execute(
        only(container("/bin/sh -c 'echo 1 > /more/a; echo 1 > /opt/magnus/data/b'", docker=docker))
    )
    assert log.status == "SUCCESS", log
    config = engine.last.config
    assert (config.get("User"), config["Hostname"]) == (None, "box")
    assert (config["HostConfig"]["NetworkMode"], config["HostConfig"]["Memory"]) == ("bridge", 1024**3)
    assert (tmp_path / "more" / "a").read_text() == "1\n"


@pytest.mark.parametrize(
    ("docker", "sentence"),
    [
        ({"mem_limt": "1g"}, 'unknown argument of DockerOperator "mem_limt"; the nearest is "mem_limit"'),
        ({"image": "x"}, "'image' cannot be set: the step's own keys say it"),
        ({"auto_remove": "perhaps"}, "Invalid `auto_remove` value"),
        ({"port_bindings": {"80": 80}}, "Port bindings"),
    ],
)
def test_pipeline_is_refused_when_docker_has_no_such_argument(
    magnus: Magnus, project: Path, engine: FakeEngine, docker: dict[str, Any], sentence: str
) -> None:
    (project / "pipeline.yaml").write_text(only(container("true", docker=docker)))
    status, out, err = magnus("execute")
    assert (status, out) == (2, "")
    assert sentence in err
    assert "pipeline.yaml:" in err
    assert "dag.steps.only" in err


def test_container_is_stopped_and_removed_when_time_is_out(execute: Execute, engine: FakeEngine) -> None:
    step = container("sleep 60")
    step["executor_config"] = {"airflow": {"execution_timeout": "1s"}}
    started = time.monotonic()
    assert "AirflowTaskTimeout" in message_of(execute(only(step)))
    assert time.monotonic() - started < 30
    assert engine.last.is_removed
    assert engine.last.process is not None
    assert engine.last.process.poll() is not None


@pytest.mark.parametrize(
    ("command", "ended_by"),
    [
        ("sleep 60", signal.SIGTERM),
        ("/bin/sh -c 'trap \"\" TERM; sleep 60 & wait; sleep 60'", signal.SIGKILL),
    ],
)
def test_container_is_stopped_and_removed_when_task_is_ended_from_outside(
    magnus: Magnus, engine: FakeEngine, project: Path, command: str, ended_by: int
) -> None:
    def end() -> None:
        while not (engine.containers and engine.last.started.is_set()):
            time.sleep(0.05)
        time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=end)
    thread.start()
    started = time.monotonic()
    (project / "pipeline.yaml").write_text(only(container(command)))
    assert magnus("execute", "--run-id", "ended")[0] == 128 + signal.SIGTERM
    thread.join()
    message = message_of(RunLog.model_validate_json((project / ".run_log_store" / "ended.json").read_bytes()))
    assert "ended from outside" in message
    assert time.monotonic() - started < 30
    assert engine.last.stopped_with == ended_by
    assert engine.last.grace < 5  # when Airflow kills the task itself
    assert engine.last.is_removed


def test_example_runs(magnus: Magnus, engine: FakeEngine, project: Path) -> None:
    examples = Path(__file__).parents[2] / "dags_examples" / "pipelines"
    shutil.copytree(examples, project, dirs_exist_ok=True)
    engine.add_image("python:3.12-slim")
    status, out, err = magnus("execute", "--isolate", "--file", "container.yaml")
    assert status == 0, err
    log = RunLog.model_validate_json(out)
    assert log.parameters["regions"] == 4
    assert log.parameters["told"] == f"{log.parameters['lines']} orders of 4 regions"
    assert "lines.txt" in [entry.name for entry in log.steps["count"].data_catalog]


@pytest.mark.parametrize(
    ("missing", "executor"),
    [
        ("airflow.providers.docker.operators.docker", {"type": "local"}),
        (
            "airflow.providers.cncf.kubernetes.operators.pod",
            {"type": "k8s-job", "config": {"docker_image": "tools:1"}},
        ),
    ],
)
def test_pipeline_is_refused_with_the_command_to_type_when_extra_is_missing(
    magnus: Magnus, project: Path, monkeypatch: pytest.MonkeyPatch, missing: str, executor: dict[str, Any]
) -> None:
    for module in ("container", "pod"):
        monkeypatch.delitem(sys.modules, f"airflow_magnus.operators.{module}", raising=False)
    monkeypatch.setitem(sys.modules, missing, None)
    (project / "pipeline.yaml").write_text(only(container("true"), executor=executor))
    status, _, err = magnus("execute")
    assert status == 2
    assert "pip install 'airflow-provider-magnus[container]'" in err
    assert "dag.steps.only" in err


def test_container_finds_the_s3_endpoint_of_its_step_and_nobody_sees_the_token(
    execute: Execute, engine: FakeEngine
) -> None:
    source = """
import json, os, urllib.request, urllib.error
try:
    status = urllib.request.urlopen(os.environ["S3_ENDPOINT"] + "/lab").status
except urllib.error.HTTPError as error:
    status = error.code
names = ["S3_ENDPOINT", "AWS_ENDPOINT_URL_S3", "AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"]
out = {"status": status, "there": [name in os.environ for name in names]}
json.dump(out, open("/opt/magnus/parameters.json", "w"))
"""
    log = execute(only(container(script(source), s3={"inputs": {"lab": {"from": "**"}}})))
    assert log.status == "SUCCESS", log
    assert log.parameters == {"status": 403, "there": [True] * 5}, (
        "it answers, and unsigned requests are refused"
    )


def test_s3_beside_a_container_needs_the_network_of_the_host(magnus: Magnus, project: Path) -> None:
    (project / "p.yaml").write_text(only(container("true", {"network_mode": "bridge"}, s3={"out": True})))
    code, _, err = magnus("execute", "-f", "p.yaml")
    assert code != 0
    assert "s3 beside a container needs the network of the host" in err
