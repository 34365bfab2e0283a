"""Programs and libraries that speak S3 and know nothing of a gateway; all but obstore are in an environment of their own."""

from __future__ import annotations

import os
import subprocess
import textwrap
from pathlib import Path
from typing import Any

import obstore
import pytest
from obstore.exceptions import AlreadyExistsError, PermissionDeniedError
from obstore.store import S3Store

from gateway_stage import OBJECTS, Stage
from servers.clients import clients_environment


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the clients' programs."""
    return clients_environment(tmp_path_factory.mktemp("clients") / "venv")


def _environment(stage: Stage, folder: Path) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    return {**kept, **stage.gateway.environment(), "HOME": str(folder), "KEY": folder.name}


def _shell(stage: Stage, programs: Path, folder: Path, command: str) -> str:
    environment = _environment(stage, folder)
    environment["PATH"] = f"{programs}:{environment['PATH']}"
    done = subprocess.run(
        ["sh", "-euc", command], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _python(stage: Stage, programs: Path, folder: Path, code: str) -> str:
    path = folder / "code.py"
    path.write_text("import os\nkey = os.environ['KEY']\n" + textwrap.dedent(code))
    return _shell(stage, programs, folder, "python code.py")


def _put(stage: Stage, key: str) -> bytes:
    body: bytes = stage.client.get_object(Bucket="out", Key=key)["Body"].read()
    return body


@pytest.mark.external
def test_the_commands_of_the_seed(stage: Stage, programs: Path, tmp_path: Path) -> None:
    """Source: seed 004, with folders of the test's own."""
    command = f"""
        set -x && mkdir -p {tmp_path}/result && aws --endpoint-url $S3_ENDPOINT s3 ls &&
        aws --endpoint-url $S3_ENDPOINT s3 cp s3://lab/ {tmp_path}/result/ --recursive &&
        aws --endpoint-url $S3_ENDPOINT s3 cp {tmp_path}/result/ s3://out --recursive
    """
    assert "labresults" not in _shell(stage, programs, tmp_path, command)
    written = {output.name for output in stage.gateway.outputs()}
    assert written >= OBJECTS.keys()
    assert _put(stage, "dir/sub/c.bin") == OBJECTS["dir/sub/c.bin"]
    _shell(stage, programs, tmp_path, "aws s3 rm s3://out --recursive")
    assert not stage.gateway.outputs()


@pytest.mark.external
@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("aws s3 ls", "lab"),
        ("aws s3 ls s3://lab/dir/", "PRE sub/"),
        ("aws s3 ls --recursive s3://lab", "dir/sub/c.bin"),
        ("aws s3api head-object --bucket lab --key a.txt", '"ContentLength": 5'),
        ("aws s3api list-objects-v2 --bucket lab --max-items 3", "NextToken"),
        ("aws s3 cp s3://lab/a.txt -", "alpha"),
        ('curl -sf "$(aws s3 presign s3://lab/a.txt)"', "alpha"),
        ("echo hi | aws s3 cp - s3://out/$KEY && aws s3 cp s3://out/$KEY -", "hi"),
        (
            "aws s3 sync s3://lab/many many && aws s3 sync many s3://out/$KEY && aws s3 ls s3://out/$KEY/",
            "024.txt",
        ),
        ("aws s3 cp s3://lab/a.txt s3://out/$KEY/c && aws s3 mv s3://out/$KEY/c s3://out/$KEY/d", "move"),
        (
            "aws s3 cp --recursive s3://lab/many s3://out/$KEY/m && aws s3 rm --recursive s3://out/$KEY/m",
            "delete",
        ),
        (
            "head -c 20000000 /dev/urandom > big && aws s3 cp big s3://out/$KEY/big && "
            "aws s3 cp s3://out/$KEY/big again && cmp big again && echo same",
            "same",
        ),
        (
            "head -c 20000000 /dev/urandom > big && aws s3 cp big s3://out/$KEY/big && "
            "aws s3 cp s3://out/$KEY/big s3://out/$KEY/copy && aws s3 cp s3://out/$KEY/copy again && "
            "cmp big again && echo same",
            "same",
        ),
        ("aws s3 cp --checksum-algorithm SHA256 code s3://out/$KEY && echo done", "done"),
        ("! aws s3 cp code s3://lab/new 2>&1", "AccessDenied"),
        ("! aws s3 ls s3://other 2>&1", "NoSuchBucket"),
        ("! aws s3 mb s3://other 2>&1", "AccessDenied"),
        ("! aws s3 rb s3://out 2>&1", "AccessDenied"),
        ("! AWS_SECRET_ACCESS_KEY=x aws s3 ls 2>&1", "SignatureDoesNotMatch"),
    ],
)
def test_the_aws_command(stage: Stage, programs: Path, tmp_path: Path, command: str, said: str) -> None:
    (tmp_path / "code").write_text("x")
    assert said in _shell(stage, programs, tmp_path, command)


@pytest.mark.external
@pytest.mark.parametrize(
    "code",
    [
        "assert sorted(fs.ls('')) == ['chosen', 'lab', 'out']",
        "assert fs.ls('lab/dir') == ['lab/dir/b.txt', 'lab/dir/sub'], fs.ls('lab/dir')",
        "assert len(fs.find('lab')) == 30, fs.find('lab')",
        "assert fs.glob('lab/many/00*.txt')[0] == 'lab/many/000.txt'",
        "assert fs.cat('lab/a.txt') == b'alpha' and fs.info('lab/a.txt')['size'] == 5",
        "assert fs.exists('lab/a.txt') and not fs.exists('lab/none') and fs.isdir('lab/dir')",
        "f = fs.open('lab/dir/sub/c.bin'); f.seek(300000); assert f.read(3) == bytes([224, 225, 226])",
        "fs.pipe(f'out/{key}', b'x'); assert fs.cat(f'out/{key}') == b'x'",
        "f = fs.open(f'out/{key}', 'wb', block_size=5*2**20); [f.write(bytes(2**20)) for _ in range(12)]; f.close(); "
        "assert fs.info(f'out/{key}')['size'] == 12*2**20",
        "fs.copy('lab/a.txt', f'out/{key}/a'); assert fs.cat(f'out/{key}/a') == b'alpha'",
        "fs.pipe({f'out/{key}/{n}': b'x' for n in range(5)}); fs.rm(f'out/{key}', recursive=True); "
        "assert not fs.exists(f'out/{key}')",
        "fs.get('lab/many', 'many', recursive=True); fs.put('many', f'out/{key}', recursive=True); "
        "assert len(fs.find(f'out/{key}')) == 25",
        "refused(lambda: fs.pipe('lab/a.txt', b'x'))",
        "import urllib.request as r; assert r.urlopen(fs.sign('lab/a.txt')).read() == b'alpha'",
    ],
)
def test_s3fs(stage: Stage, programs: Path, tmp_path: Path, code: str) -> None:
    head = """
        import s3fs

        def refused(call):
            try:
                call()
            except PermissionError:
                return
            raise SystemExit("not refused")

        fs = s3fs.S3FileSystem()
        """
    _python(stage, programs, tmp_path, textwrap.dedent(head) + code)


@pytest.mark.external
@pytest.mark.parametrize(
    "code",
    [
        "assert len(fs.get_file_info(pyfs.FileSelector('lab', recursive=True))) == 34",
        "assert fs.get_file_info('lab/a.txt').size == 5 and fs.get_file_info('lab/dir').type == pyfs.FileType.Directory",
        "assert fs.open_input_file('lab/dir/sub/c.bin').read_at(3, 300000) == bytes([224, 225, 226])",
        "f = fs.open_output_stream(f'out/{key}'); f.write(b'x' * 100); f.close(); "
        "assert fs.open_input_stream(f'out/{key}').read() == b'x' * 100",
        "f = fs.open_output_stream(f'out/{key}'); [f.write(bytes(2**20)) for _ in range(23)]; f.close(); "
        "assert fs.get_file_info(f'out/{key}').size == 23 * 2**20",
        "fs.copy_file('lab/a.txt', f'out/{key}'); assert fs.open_input_stream(f'out/{key}').read() == b'alpha'",
        "fs.create_dir(f'out/{key}/d'); fs.open_output_stream(f'out/{key}/d/e').close(); fs.delete_dir(f'out/{key}/d'); "
        "assert fs.get_file_info(f'out/{key}/d/e').type == pyfs.FileType.NotFound",
        "fs.copy_file('lab/a.txt', f'out/{key}'); fs.move(f'out/{key}', f'out/{key}2'); fs.delete_file(f'out/{key}2')",
        "import pyarrow as pa, pyarrow.parquet as pq, pyarrow.dataset as ds\n"
        "t = pa.table({'a': list(range(200000)), 'b': [str(n) for n in range(200000)]})\n"
        "pq.write_table(t, f'out/{key}/t.parquet', filesystem=fs)\n"
        "assert pq.read_table(f'out/{key}/t.parquet', filesystem=fs, columns=['b']).num_rows == 200000\n"
        "ds.write_dataset(t, f'out/{key}/ds', format='parquet', filesystem=fs, max_rows_per_file=50000, max_rows_per_group=50000)\n"
        "assert ds.dataset(f'out/{key}/ds', filesystem=fs).count_rows() == 200000",
        "refused(lambda: fs.open_output_stream('lab/new').close())",
        "refused(lambda: fs.create_dir('other'))",
    ],
)
def test_pyarrow(stage: Stage, programs: Path, tmp_path: Path, code: str) -> None:
    head = """
        import pyarrow.fs as pyfs

        def refused(call):
            try:
                call()
            except OSError:
                return
            raise SystemExit("not refused")

        endpoint = os.environ["S3_ENDPOINT"].removeprefix("http://")
        fs = pyfs.S3FileSystem(endpoint_override=endpoint, scheme="http", region="eu-central-1", allow_bucket_creation=True)
        """
    _python(stage, programs, tmp_path, textwrap.dedent(head) + code)


@pytest.mark.external
@pytest.mark.parametrize("form", ["csv", "parquet", "json"])
def test_pandas(stage: Stage, programs: Path, tmp_path: Path, form: str) -> None:
    code = f"""
        import pandas as pd
        frame = pd.DataFrame({{"a": range(1000), "b": [str(n) for n in range(1000)]}})
        frame.to_{form}(f"s3://out/{{key}}/t.{form}"{", index=False" if form == "csv" else ""})
        again = pd.read_{form}(f"s3://out/{{key}}/t.{form}")
        assert len(again) == 1000 and list(again.a) == list(range(1000))
        """
    _python(stage, programs, tmp_path, code)


def _store(stage: Stage, bucket: str) -> Any:
    return S3Store(
        bucket,
        endpoint=stage.gateway.endpoint,
        access_key_id=stage.gateway.token,
        secret_access_key=stage.gateway.token,
        region="eu-central-1",
        client_options={"allow_http": True},
        retry_config={"max_retries": 0},
    )


def test_obstore_reads(stage: Stage) -> None:
    store = _store(stage, "lab")
    listed = {meta["path"]: meta["size"] for batch in obstore.list(store) for meta in batch}
    assert listed == {key: len(data) for key, data in OBJECTS.items()}
    assert bytes(obstore.get(store, "dir/b.txt").bytes()) == OBJECTS["dir/b.txt"]
    ranges = obstore.get_ranges(store, "dir/sub/c.bin", starts=[0, 300_000], lengths=[3, 4])
    assert [bytes(part) for part in ranges] == [bytes([0, 1, 2]), bytes([224, 225, 226, 227])]
    found = obstore.list_with_delimiter(store)
    assert sorted(found["common_prefixes"]) == ["dir", "many", "odd"]
    with pytest.raises(FileNotFoundError):
        obstore.head(store, "nothing")


def test_obstore_writes(stage: Stage, key: str) -> None:
    store = _store(stage, "out")
    obstore.put(store, key, b"x", mode="create", use_multipart=False)
    with pytest.raises(AlreadyExistsError):
        obstore.put(store, key, b"y", mode="create", use_multipart=False)
    obstore.put(store, f"{key}/large", bytes(12_000_000), chunk_size=5 * 1024 * 1024)
    assert obstore.head(store, f"{key}/large")["size"] == 12_000_000
    obstore.copy(store, key, f"{key}/copy")
    obstore.rename(store, f"{key}/copy", f"{key}/moved")
    assert bytes(obstore.get(store, f"{key}/moved").bytes()) == b"x"
    obstore.delete(store, [key, f"{key}/moved", f"{key}/large"])
    assert not [meta for batch in obstore.list(store, prefix=key) for meta in batch]


def test_obstore_cannot_write_inputs(stage: Stage) -> None:
    with pytest.raises(PermissionDeniedError):
        obstore.put(_store(stage, "lab"), "new", b"x", use_multipart=False)
