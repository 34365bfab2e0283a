"""One client in one process: puts or gets a folder, and writes down what that took: ``python -m bench.client JSON``.

What it imports, and the making of its client, is not part of it.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

BUCKET, PREFIX = "bkt", "p"
_THREADS = 16
_MANY_REQUESTS = 8 * 1024**2

Work = Callable[[], Any]


def main() -> None:
    """Do the job of the command line."""
    job = json.loads(sys.argv[1])
    made: dict[str, Any] = {}
    if job.get("has_no_fsync"):
        from airflow_magnus.stores import landing

        landing._sync = landing._sync_all = lambda path: None
    work = _CLIENTS[job["client"]](job, made)
    report = measured(work)
    if entries := made.pop("entries", None):  # for a get of the same files; no part of the put
        Path(job["entries"]).write_text(json.dumps([e.model_dump() for e in entries]), encoding="utf-8")
    Path(job["report"]).write_text(json.dumps({**report, **made}), encoding="utf-8")


def measured(work: Work) -> dict[str, float]:
    """What a call takes of this process and of its children: seconds and bytes."""
    base = _memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak is that of the work, not of the imports
    cpu, wall = _cpu(), time.perf_counter()
    work()
    took = {"wall": time.perf_counter() - wall, "cpu": _cpu() - cpu}
    return {
        **took,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "added": _memory("VmHWM") - base,
    }


def _memory(name: str) -> int:
    """Bytes, by the name that Linux has for them."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return int(next(line for line in lines if line.startswith(f"{name}:")).split()[1]) * 1024


def _cpu() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def catalog(endpoint: str) -> Any:
    """Our catalog, as a service of a pipeline file opens it."""
    from airflow_magnus.pipeline.model import ServiceSettings
    from airflow_magnus.stores.services import open_catalog

    config = {"url": f"s3://{BUCKET}/{PREFIX}", "endpoint_url": endpoint, "region": "us-east-1"}
    return open_catalog(ServiceSettings("s3", config), folder=Path())


def _ours(job: dict[str, Any], made: dict[str, Any]) -> Work:
    from airflow_magnus.runlog.records import CatalogEntry

    store, folder, run = catalog(job["endpoint"]), Path(job["folder"]), job["run"]

    def put(known: dict[str, CatalogEntry]) -> dict[str, CatalogEntry]:
        moved = store.put(run, folder, ["**"], attempt_id=run, known=known)
        made.update(files=len(moved.entries), sent=moved.files, size=moved.size)
        return {entry.name: entry for entry in moved.entries}

    def first() -> None:
        entries = put({})
        if job.get("entries"):
            made["entries"] = list(entries.values())

    if job["op"] == "put":
        return first
    stored = [CatalogEntry(**entry) for entry in json.loads(Path(job["entries"]).read_text(encoding="utf-8"))]
    known = {entry.name: entry for entry in stored}
    if job["op"] == "again":
        return lambda: put(known)

    def get() -> None:
        moved = store.get(known, folder, ["**"])
        made.update(files=moved.files, size=moved.size)

    return get


def _boto3(job: dict[str, Any], made: dict[str, Any]) -> Work:
    import boto3
    from boto3.s3.transfer import TransferConfig
    from botocore.config import Config

    folder, prefix = Path(job["folder"]), f"{PREFIX}/{job['run']}/"
    options = Config(max_pool_connections=2 * _THREADS, s3={"addressing_style": "path"})
    client = boto3.client("s3", endpoint_url=job["endpoint"], region_name="us-east-1", config=options)
    # The other transfer client passes over endpoint_url.
    transfer = TransferConfig(max_concurrency=_THREADS, preferred_transfer_client="classic")

    def put(path: Path) -> None:
        if path.stat().st_size > _MANY_REQUESTS:
            client.upload_file(str(path), BUCKET, f"{prefix}{path.name}", Config=transfer)
        else:
            client.put_object(Bucket=BUCKET, Key=f"{prefix}{path.name}", Body=path.read_bytes())

    def get(found: dict[str, Any]) -> None:
        target = folder / found["Key"].rpartition("/")[2]
        if found["Size"] > _MANY_REQUESTS:
            client.download_file(BUCKET, found["Key"], str(target), Config=transfer)
        else:
            target.write_bytes(client.get_object(Bucket=BUCKET, Key=found["Key"])["Body"].read())

    def work() -> None:
        with ThreadPoolExecutor(_THREADS) as pool:
            if job["op"] == "put":
                made["files"] = len(list(pool.map(put, sorted(folder.iterdir()))))
                return
            pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
            made["files"] = len(list(pool.map(get, [one for page in pages for one in page["Contents"]])))

    return work


def _s3hook(job: dict[str, Any], made: dict[str, Any]) -> Work:
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook

    hook, folder, prefix = S3Hook(aws_conn_id=None), Path(job["folder"]), f"{PREFIX}/{job['run']}/"
    hook.get_conn()

    def put() -> None:
        files = sorted(folder.iterdir())
        for path in files:
            hook.load_file(str(path), f"{prefix}{path.name}", BUCKET, replace=True)
        made["files"] = len(files)

    def get() -> None:
        keys = hook.list_keys(BUCKET, prefix)
        for key in keys:
            hook.download_file(
                key, BUCKET, str(folder), preserve_file_name=True, use_autogenerated_subdir=False
            )
        made["files"] = len(keys)

    return put if job["op"] == "put" else get


_CLIENTS: dict[str, Callable[[dict[str, Any], dict[str, Any]], Work]] = {
    "ours": _ours,
    "boto3": _boto3,
    "S3Hook": _s3hook,
}

if __name__ == "__main__":
    main()
