"""The folder of runs in Jupyter's contents manager, over runs that there really were."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Coroutine
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from tornado.web import HTTPError

from airflow_magnus.jupyter import JupyterS3
from airflow_magnus.runlog.records import RunLog
from jupyter_stage import manager_of
from pipelines import linear, shell
from servers.s3 import S3Server

pytestmark = pytest.mark.anyio

TEXT = linear(
    {
        "make": shell(
            "mkdir -p data/sub; printf 1 > data/a.txt; printf 2 > 'data/sub/b c.txt'", catalog={"put": ["**"]}
        )
    }
)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def in_folders(_: S3Server, __: str, project: Path) -> dict[str, Any]:
    return {"run_log": str(project / ".run_log_store"), "catalog": str(project / ".catalog")}


def in_s3(server: S3Server, bucket: str, project: Path) -> dict[str, Any]:
    config = {"endpoint_url": server.endpoint, "region": server.region, "use_credentials": True}
    services = {
        name: {"type": "s3", "config": {"url": f"s3://{bucket}/{name}", **config}}
        for name in ("run_log_store", "catalog")
    }
    services["run_log_store"]["type"] = "chunked-s3"
    (project / "magnus-config.yaml").write_text(yaml.safe_dump({"defaults": services}))
    return {"run_log": f"s3://{bucket}/run_log_store", "catalog": f"s3://{bucket}/catalog"}


@pytest.fixture(params=[in_folders, in_s3], ids=["folders", "s3"])
def manager(
    request: pytest.FixtureRequest,
    moto_server: str,
    project: Path,
    execute: Callable[..., RunLog],
    monkeypatch: pytest.MonkeyPatch,
) -> JupyterS3:
    """A contents manager that shows two runs."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test-access")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test-secret")
    server = S3Server(moto_server, "test-access", "test-secret")
    bucket = server.make_bucket()
    settings = request.param(server, bucket, project)
    for run_id in ("first run", "second"):
        assert execute(TEXT, "--run-id", run_id).status == "SUCCESS"
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    return manager_of(server, bucket, "notebooks/", **settings)


async def names(manager: JupyterS3, path: str) -> list[str]:
    return [entry["name"] for entry in (await manager.get(path))["content"]]


async def status_of(call: Coroutine[Any, Any, Any]) -> int:
    with pytest.raises(HTTPError) as refused:
        await call
    return refused.value.status_code


async def test_files_of_runs_are_shown_and_cannot_be_changed(manager: JupyterS3) -> None:
    assert await names(manager, "") == ["runs"]
    assert await names(manager, "runs") == ["pipeline"]
    [day] = await names(manager, "runs/pipeline")
    assert (datetime.now(UTC).date() - date.fromisoformat(day)).days in (0, 1)
    assert await names(manager, f"runs/pipeline/{day}") == ["first run", "second"]
    run = f"runs/pipeline/{day}/first run"
    assert await names(manager, run) == ["a.txt", "sub"]
    assert await names(manager, f"{run}/sub") == ["b c.txt"]
    found = await manager.get(f"{run}/sub/b c.txt", require_hash=True)
    assert (found["content"], found["size"], found["writable"]) == ("2", 1, False)
    assert found["hash"] == hashlib.sha256(b"2").hexdigest()
    assert abs((datetime.now(UTC) - found["last_modified"]).total_seconds()) < 300
    assert await manager.file_exists(f"{run}/a.txt")
    assert await manager.dir_exists(f"{run}/sub")
    for path in ("runs/none", f"{run}/none", f"runs/pipeline/{day}/none", f"{run}/a.txt/x"):
        assert not await manager.exists(path)
        assert await status_of(manager.get(path)) == 404
    text = {"type": "file", "format": "text", "content": "x"}
    for refused in (
        manager.save(text, f"{run}/a.txt"),
        manager.save({"type": "directory"}, "runs/new"),
        manager.delete(f"{run}/a.txt"),
        manager.delete("runs"),
        manager.rename(f"{run}/a.txt", "a.txt"),
        manager.rename("a.txt", f"{run}/x.txt"),
        manager.create_checkpoint(f"{run}/a.txt"),
        manager.new_untitled(run),
    ):
        assert await status_of(refused) == 403
    assert await manager.list_checkpoints(f"{run}/a.txt") == []
    copied = await manager.copy(f"{run}/a.txt", "")
    assert (copied["path"], (await manager.get("a.txt"))["content"]) == ("a.txt", "1")


@pytest.mark.parametrize("manager", [in_folders], indirect=True)
async def test_file_that_is_not_what_was_recorded_is_refused(manager: JupyterS3, project: Path) -> None:
    day = (await names(manager, "runs/pipeline"))[0]
    catalog = project / ".catalog" / "second"
    (catalog / "a.txt").write_text("other bytes")
    (catalog / "sub" / "b c.txt").unlink()
    for path, said in (("a.txt", "other bytes than the run log says"), ("sub/b c.txt", "has it no more")):
        with pytest.raises(HTTPError, match=said):
            await manager.get(f"runs/pipeline/{day}/second/{path}")


async def test_both_settings_are_needed(manager: JupyterS3) -> None:
    manager.catalog = ""
    with pytest.raises(HTTPError, match="set catalog too"):
        await manager.get("runs")
