"""Executor ``k8s-job``. There is no cluster here: the pod that is asked for is looked at, and then run as a container of
the fake engine, with the folders of the claim that it mounts. What Kubernetes itself does is not tested."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.providers.common.compat.sdk import AirflowException
from kubernetes.client import ApiException

from airflow_magnus.runlog.records import RunLog
from pipelines import function, linear, only, python, shell, task
from servers.engine import Container, FakeEngine, Image, fake_engine

Execute = Callable[..., RunLog]
Magnus = Callable[..., tuple[int, str, str]]
SECRET = "long-enough-secret"


class FakeCluster:
    """Runs pods one after the other, and remembers what it was asked."""

    namespace = "default"

    def __init__(self, engine: FakeEngine, claim: Path) -> None:
        self.engine = engine
        self.claim = claim
        self.pods: list[Any] = []
        self.secrets: dict[str, dict[str, str]] = {}
        self.created: list[str] = []
        self.refuses = ""

    def create_namespaced_secret(self, namespace: str, body: Any) -> None:
        if self.refuses:
            raise ApiException(status=403, reason="Forbidden")
        self.secrets[body.metadata.name] = dict(body.string_data)
        self.created.append(body.metadata.name)

    def delete_namespaced_secret(self, name: str, namespace: str) -> None:
        del self.secrets[name]

    def run(self, pod: Any, operator: Any) -> None:
        self.pods.append(pod)
        base = pod.spec.containers[0]
        mounts = [
            {"Target": m.mount_path, "Source": str(self.claim / m.sub_path)} for m in base.volume_mounts or ()
        ]
        variables = {e.name: e.value for e in base.env or ()}
        for source in base.env_from or ():
            variables |= self.secrets[source.secret_ref.name]
        config = {
            "Env": [f"{n}={v}" for n, v in variables.items()], "Entrypoint": base.command, "Cmd": base.args,
            "WorkingDir": base.working_dir, "HostConfig": {"Mounts": mounts},
        }  # fmt: skip
        image = Image(environment={"PATH": self.engine.path})
        container = Container(len(self.pods), config, image, self.engine.folder / "pods")
        assert container.start() == ""
        assert container.process is not None
        output, _ = container.process.communicate()
        for line in output.decode().splitlines():
            operator.log_formatter("base", line)
        terminated = SimpleNamespace(exit_code=container.status(), reason="Error")
        status = SimpleNamespace(name="base", state=SimpleNamespace(terminated=terminated))
        operator.remote_pod = SimpleNamespace(status=SimpleNamespace(container_statuses=[status]))
        container.remove()


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeCluster]:
    """A cluster whose claim is mounted at ``claim`` in the test's folder."""
    (tmp_path / "claim").mkdir()
    with fake_engine() as engine:
        cluster = FakeCluster(engine, tmp_path / "claim")
        hook = SimpleNamespace(is_in_cluster=False, core_v1_client=cluster, get_namespace=lambda: None)

        def execute_sync(self: Any, context: Any) -> None:
            pod = self.build_pod_request_obj(context)
            cluster.run(self.get_or_create_pod(pod, context), self)
            if self._exit_status():
                raise AirflowException(f"Pod {pod.metadata.name} returned a failure.")

        monkeypatch.setattr(KubernetesPodOperator, "hook", hook)
        monkeypatch.setattr(KubernetesPodOperator, "execute_sync", execute_sync)
        monkeypatch.setattr(KubernetesPodOperator, "get_or_create_pod", lambda self, pod, context: pod)
        yield cluster


def executor(claim: Path | None = None, **config: Any) -> dict[str, Any]:
    """The section of the executor."""
    shared = {"persistent_volume_claim": "work", "mount_path": str(claim)} if claim else {}
    return {"executor": {"type": "k8s-job", "config": {"docker_image": "tools:1", **shared, **config}}}


def container(command: str, **config: Any) -> dict[str, Any]:
    return task(command, "container", command_config={"image": "own:1", **config})


def message_of(log: RunLog, step: str = "only") -> str:
    assert log.status == "FAIL", log
    return log.steps[step].attempts[-1].message


def attempts(log: RunLog) -> dict[str, Any]:
    return {name: [a.message for a in step.attempts] for name, step in log.steps.items()}


def test_every_kind_of_command_runs_in_a_pod(execute: Execute, cluster: FakeCluster, project: Path) -> None:
    (project / "helper.py").write_text("FACTOR = 10\n")
    (project / "work.py").write_text(
        "import os\nfrom helper import FACTOR\n"
        "def main(x, y=5):\n"
        "    open('data/p.txt', 'w').write('p')\n"
        "    return {'sum': int(x) * FACTOR + y}\n"
    )
    source = 'import json; json.dump({"of_image": open("/ctx/in/p.txt").read()}, open("/ctx/parameters.json", "w"))'
    log = execute(
        linear(
            {
                "function": python("work.main", catalog={"put": ["p.txt"]}),
                "lambda": function("lambda sum: {'double': sum * 2}"),
                "shell": shell('test "$MAGNUS_PRM_double" = 30 && cp data/p.txt data/s.txt', catalog={"get": ["*"], "put": ["s.txt"]}),
                "image": {**container(f"python3 -c '{source}'", context_path="/ctx", data_folder="in"), "catalog": {"get": ["*"]}},
            },
            **executor(cluster.claim),
        ),
        "--x", "1", "--run-id", "r1",
    )  # fmt: skip
    assert log.status == "SUCCESS", attempts(log)
    assert log.parameters == {"x": "1", "sum": 15, "double": 30, "of_image": "p"}
    assert (project / ".catalog" / "r1" / "s.txt").read_text() == "p"
    assert list(cluster.claim.iterdir()) == []
    assert [p.spec.containers[0].image for p in cluster.pods] == ["tools:1"] * 3 + ["own:1"]


def test_pod_mounts_no_more_of_the_claim_than_its_folders(execute: Execute, cluster: FakeCluster) -> None:
    execute(only(function("lambda: {}"), **executor(cluster.claim)), "--run-id", "r1")
    [pod] = cluster.pods
    base = pod.spec.containers[0]
    assert [v.persistent_volume_claim.claim_name for v in pod.spec.volumes] == ["work"]
    mounts = {m.mount_path: m.sub_path for m in base.volume_mounts}
    assert set(mounts) == {"/opt/magnus", "/opt/magnus-step"}
    assert all(path and not path.startswith(("/", "..")) for path in mounts.values())
    assert (base.command, base.args[0], base.working_dir) == (
        ["python3"],
        "/opt/magnus-step/calling.py",
        "/opt/magnus",
    )
    assert pod.metadata.annotations == {"airflow-magnus/run-id": "r1", "airflow-magnus/step": "only"}
    assert set(base.security_context) == {"runAsUser", "runAsGroup"}
    assert pod.spec.restart_policy == "Never"


def test_settings_are_those_of_the_pod(execute: Execute, cluster: FakeCluster, project: Path) -> None:
    (project / "template.yaml").write_text(
        "apiVersion: v1\nkind: Pod\nmetadata: {labels: {of: template}}\n"
        "spec:\n  containers: [{name: base, image: of-template:1}]\n  dnsPolicy: Default\n"
    )
    config = {
        "namespace": "lab", "service_account_name": "runner", "image_pull_policy": "Always",
        "image_pull_secrets": ["registry"], "labels": {"team": "a"}, "annotations": {"note": "b"},
        "node_selector": {"disk": "ssd"}, "priority_class_name": "low", "active_deadline_seconds": 60,
        "container_resources": {"requests": {"cpu": "1"}, "limits": {"memory": "1Gi"}},
        "container_security_context": {"runAsUser": 5}, "pod_template_file": str(project / "template.yaml"),
        "environment": {"A": "1", "B": "1"},
    }  # fmt: skip
    own = {"docker_image": "other:1", "environment": {"B": "2"}, "namespace": "mine"}
    step = shell('test "$A$B" = 12', executor_config={"k8s-job": own})
    assert execute(only(step, **executor(cluster.claim, **config))).status == "SUCCESS"
    [pod] = cluster.pods
    base = pod.spec.containers[0]
    assert (pod.metadata.namespace, pod.metadata.labels["team"], pod.metadata.labels["of"]) == (
        "mine",
        "a",
        "template",
    )
    assert pod.metadata.annotations["note"] == "b"
    assert (base.image, base.image_pull_policy) == ("other:1", "Always")
    assert (base.resources.requests, base.resources.limits) == ({"cpu": "1"}, {"memory": "1Gi"})
    assert base.security_context == {"runAsUser": 5}
    assert pod.spec.service_account_name == "runner"
    assert [s.name for s in pod.spec.image_pull_secrets] == ["registry"]
    assert (pod.spec.node_selector, pod.spec.priority_class_name) == ({"disk": "ssd"}, "low")
    assert (pod.spec.active_deadline_seconds, pod.spec.dns_policy) == (60, "Default")


def test_pod_needs_no_claim_when_it_shares_nothing(execute: Execute, cluster: FakeCluster) -> None:
    steps = {
        "shell": shell('test "$MAGNUS_PRM_x" = \'"1"\''),
        "image": container("/bin/sh -c 'test $MAGNUS_RUN_ID = r1'"),
    }
    log = execute(linear(steps, **executor()), "--x", "1", "--run-id", "r1")
    assert log.status == "SUCCESS", attempts(log)
    for pod in cluster.pods:
        assert not pod.spec.volumes
        assert not pod.spec.containers[0].volume_mounts
    assert cluster.pods[0].spec.containers[0].args == ["-c", 'test "$MAGNUS_PRM_x" = \'"1"\'']


@pytest.mark.parametrize(
    ("step", "config", "sentence"),
    [
        (function("lambda: {}"), {}, "the step runs Python code of the pipeline, and a pod shares no folder"),
        (python("work.main"), {}, "write persistent_volume_claim and mount_path"),
        (shell("true", catalog={"put": ["*"]}), {}, "the step gets or puts files"),
        (container("true", output_parameters_file="p.json"), {}, "the step sets parameters by a file"),
        (shell("true"), {"mount_path": "/x"}, "persistent_volume_claim and mount_path belong together"),
        (shell("true"), {"container_resources": {"cpu": 1}}, "unexpected keyword argument 'cpu'"),
        (shell("true"), {"namespce": "x"}, 'unknown key "namespce"; the nearest is "namespace"'),
        (shell("true", executor_config={"k8s-job": {"imag": 1}}), {}, 'unknown key "imag"'),
    ],
)
def test_pipeline_is_refused_when_a_pod_could_not_run_it(
    magnus: Magnus,
    project: Path,
    cluster: FakeCluster,
    step: dict[str, Any],
    config: dict[str, Any],
    sentence: str,
) -> None:
    (project / "pipeline.yaml").write_text(only(step, **executor(**config)))
    status, out, err = magnus("execute")
    assert (status, out) == (2, "")
    assert sentence in err


def test_message_names_the_place_when_claim_is_not_mounted(
    execute: Execute, cluster: FakeCluster, tmp_path: Path
) -> None:
    log = execute(only(container("true"), **executor(tmp_path / "none")))
    assert f"the claim 'work' is not mounted at {tmp_path / 'none'} on this worker" in message_of(log)
    assert not (tmp_path / "none").exists()


def test_secret_reaches_the_pod_by_reference_and_is_removed(
    magnus: Magnus, cluster: FakeCluster, project: Path
) -> None:
    (project / ".env").write_text(f"TOKEN={SECRET}\n")
    step = container("/bin/sh -c 'echo has $TOKEN; test ${#TOKEN} = 18'", secrets=["TOKEN"])
    (project / "pipeline.yaml").write_text(only(step, secrets={"type": "dotenv"}, **executor(cluster.claim)))
    status, out, err = magnus("execute", "--log-level", "DEBUG")
    assert status == 0, out
    [pod] = cluster.pods
    assert SECRET not in str(pod.to_dict()) + out + err
    assert cluster.created == [pod.metadata.name]
    assert cluster.secrets == {}


def test_message_says_which_rights_are_needed_when_cluster_refuses(
    execute: Execute, cluster: FakeCluster, project: Path
) -> None:
    (project / ".env").write_text(f"TOKEN={SECRET}\n")
    cluster.refuses = "secrets"
    log = execute(only(container("true", secrets=["TOKEN"]), secrets={"type": "dotenv"}, **executor()))
    assert "answered 403 Forbidden" in message_of(log)
    assert "the right to create, read and delete pods" in message_of(log)
    assert cluster.pods == []


def test_message_has_exit_status_and_last_lines_when_pod_fails(
    execute: Execute, cluster: FakeCluster
) -> None:
    message = message_of(execute(only(shell("seq 100; exit 3"), **executor())))
    assert message.splitlines()[0] == "container of tools:1 exited with status 3"
    assert message.splitlines()[-1] == "100"
    assert "\n5\n" not in message


def test_message_says_why_not_when_code_in_a_pod_calls_the_api(
    execute: Execute, cluster: FakeCluster, project: Path
) -> None:
    (project / "work.py").write_text("import magnus\ndef main(): magnus.get_secret('TOKEN')\n")
    message = message_of(execute(only(python("work.main"), **executor(cluster.claim))))
    assert "get_secret: not available here, as a pod cannot call the worker" in message


def test_pod_is_deleted_when_task_is_ended_from_outside(cluster: FakeCluster) -> None:
    from airflow_magnus.operators.jobs import ImageJob
    from airflow_magnus.operators.pod import PodStep

    deleted: list[dict[str, Any]] = []
    cluster.delete_namespaced_pod = lambda **kwargs: deleted.append(kwargs)  # type: ignore[attr-defined]
    step = PodStep(task_id="only", image="tools:1", job=ImageJob(command="sleep 60"))
    step.pod = SimpleNamespace(metadata=SimpleNamespace(name="p", namespace="n"))
    with pytest.raises(BaseException, match="ended from outside"):
        step.on_kill()
    assert deleted == [{"name": "p", "namespace": "n"}]


def test_step_runs_on_the_worker_when_it_says_so(execute: Execute, cluster: FakeCluster) -> None:
    step = shell("true", executor_config={"k8s-job": {"run_in_local": True}}, catalog={"get": ["*"]})
    assert execute(only(step, **executor())).status == "SUCCESS"
    assert cluster.pods == []


def test_run_log_has_the_executor(execute: Execute, cluster: FakeCluster) -> None:
    log = execute(only(shell("true"), **executor(namespace="lab")))
    assert json.loads(log.to_json())["run_config"]["executor"] == {
        "type": "k8s-job", "config": {"docker_image": "tools:1", "namespace": "lab"},
    }  # fmt: skip
