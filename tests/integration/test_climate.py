"""Iris reads and writes netCDF by plain paths: the example of mounts, and what it leaves on a server."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from airflow_magnus.runlog.records import RunLog
from pipelines import linear, shell
from servers.clients import environment_of
from servers.s3 import S3Server

pytestmark = pytest.mark.external

Execute = Callable[..., RunLog]
EXAMPLES = Path(__file__).resolve().parents[2] / "dags_examples" / "pipelines"
AGAIN = "import iris, sys; iris.save(iris.load_cube(sys.argv[1]), sys.argv[2])"
SAME = """
import iris, numpy, sys
one, other = (iris.load_cube(path) for path in sys.argv[1:])
assert (one.name(), one.units, one.shape) == (other.name(), other.units, other.shape)
assert numpy.array_equal(one.data, other.data)
for left, right in zip(one.coords(), other.coords(), strict=True):
    assert left.name() == right.name() and numpy.array_equal(left.points, right.points)
"""


@pytest.fixture(scope="module")
def iris(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the programs of an environment with Iris."""
    return environment_of(tmp_path_factory.mktemp("iris") / "venv", "scitools-iris", "matplotlib")


@pytest.fixture
def bucket(ceph: S3Server, iris: Path, project: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty bucket; the example and its program are in the current folder, and Iris is the Python of its steps."""
    monkeypatch.setenv("PATH", f"{iris}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ceph.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", ceph.secret_key)
    shutil.copy(EXAMPLES / "climate.py", project)
    return ceph.make_bucket()


def catalog(server: S3Server, bucket: str) -> dict[str, object]:
    config = {"s3_bucket": bucket, "endpoint_url": server.endpoint, "region": server.region}
    return {"type": "s3", "config": config}


def on_server(server: S3Server, bucket: str, key: str) -> bytes:
    data: bytes = server.client().get_object(Bucket=bucket, Key=key)["Body"].read()
    return data


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def entries(log: RunLog, step: str) -> dict[str, str]:
    return {entry.name: entry.data_hash for entry in log.steps[step].data_catalog if entry.stage == "put"}


def test_example_leaves_on_the_server_what_it_leaves_in_a_folder(
    execute: Execute, ceph: S3Server, bucket: str, iris: Path, project: Path
) -> None:
    text = yaml.safe_load((EXAMPLES / "mount.yaml").read_text())
    log = execute(yaml.safe_dump({"catalog": catalog(ceph, bucket), **text}), "--isolate", "--run-id", "r1")
    assert log.status == "SUCCESS", log.to_json()
    plain = project / "plain"
    plain.mkdir()
    for arguments in (["simulate", "plain/temperature.nc"], ["analyse", "plain/temperature.nc", "plain"]):
        subprocess.run([iris / "python", "climate.py", *arguments], cwd=project, check=True)
    recorded = entries(log, "simulate") | entries(log, "analyse")
    for name in ("temperature.nc", "warming.nc"):
        there = sha256(on_server(ceph, bucket, f"r1/{name}"))
        assert there == sha256((plain / name).read_bytes()), name
        assert there == recorded[name]
    assert sha256(on_server(ceph, bucket, "r1/warming.png")) == recorded["warming.png"]
    (read,) = [one for one in log.steps["analyse"].objects if one.action == "read"]
    assert read.key == "temperature.nc"


@pytest.mark.parametrize("way", ["mount", "catalog"])
def test_file_that_is_loaded_and_saved_is_the_same(
    execute: Execute, ceph: S3Server, bucket: str, iris: Path, project: Path, way: str
) -> None:
    (project / "again.py").write_text(AGAIN)
    if way == "mount":
        places = "mnt/model/temperature.nc mnt/out/again.nc"
        keys: dict[str, object] = {"mount": {"inputs": {"model": {"from": "*.nc"}}, "out": True}}
    else:
        places = "data/temperature.nc data/again.nc"
        keys = {"catalog": {"mode": "mount", "get": ["*.nc"], "put": ["again.nc"]}}
    make = shell("python climate.py simulate data/temperature.nc", catalog={"put": ["*.nc"]})
    steps = {"make": make, "again": shell(f"python again.py {places}", **keys)}
    log = execute(linear(steps, catalog=catalog(ceph, bucket)), "--isolate", "--run-id", "r1")
    assert log.status == "SUCCESS", log.to_json()
    for name in ("temperature.nc", "again.nc"):
        (project / name).write_bytes(on_server(ceph, bucket, f"r1/{name}"))
    subprocess.run([iris / "python", "again.py", "temperature.nc", "plain.nc"], cwd=project, check=True)
    subprocess.run([iris / "python", "-c", SAME, "temperature.nc", "again.nc"], cwd=project, check=True)
    digest = sha256((project / "again.nc").read_bytes())
    assert digest == sha256((project / "plain.nc").read_bytes())
    assert entries(log, "again") == {"again.nc": digest}
