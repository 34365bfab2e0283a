"""Runs that are killed at one of their requests, and what must hold whatever the request was.

The processes that are killed import this module: it holds what they do, and what the tests look at afterwards.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow_magnus.runlog.definition import graph_of, recorded_path
from airflow_magnus.runlog.history import before_first_step, visible
from airflow_magnus.runlog.records import RunHeader, RunLog, StepIdentity
from airflow_magnus.stores.catalog import CatalogStore
from airflow_magnus.stores.objects import open_object_store
from airflow_magnus.stores.parts import ObjectParts
from airflow_magnus.stores.runlogs import RunLogStore
from airflow_magnus.stores.services import CatalogObjects
from airflow_magnus.stores.verification import verify
from servers.s3 import S3Server

RUN = "run-1"
CATALOG, RUN_LOG = "catalog", "runs"
DEFINITION = {
    "start_at": "make",
    "steps": {
        "make": {"type": "task", "next": "change"},
        "change": {"type": "task", "next": "success"},
        "success": {"type": "success"},
        "fail": {"type": "fail"},
    },
}
BIG = b"0123456789abcdef" * (17 * 1024 * 1024 // 16)
"""More than goes into one request."""
MADE: Mapping[str, bytes] = {"a.txt": b"one\n", "sub/b.txt": b"b" * 200_000, "sub/big.bin": BIG}
CHANGED: Mapping[str, bytes] = {"a.txt": b"one\ntwo\n", "c.txt": b"c"}
WHOLE = {hashlib.sha256(content).hexdigest() for content in (*MADE.values(), *CHANGED.values())}


@dataclass(frozen=True)
class Bucket:
    """An empty bucket of a server, with a catalog and a run log in it."""

    server: S3Server
    name: str

    def store(self, prefix: str) -> Any:
        return open_object_store(f"s3://{self.name}/{prefix}", self.server.options)

    def run_log(self) -> RunLogStore:
        return RunLogStore(ObjectParts(self.store(RUN_LOG), RUN_LOG))

    def catalog(self) -> CatalogStore:
        return CatalogStore(self.store(CATALOG), CATALOG)

    def objects(self) -> Mapping[str, bytes]:
        """What anyone sees below the catalog, read by another client."""
        client = self.server.client()
        found = client.list_objects_v2(Bucket=self.name, Prefix=f"{CATALOG}/").get("Contents", [])
        return {o["Key"]: client.get_object(Bucket=self.name, Key=o["Key"])["Body"].read() for o in found}


def killed(bucket: Bucket, folder: Path, pgid_file: Path) -> None:
    """Begin a run in a process group of its own, which the proxy kills at some request."""
    os.setsid()
    pgid_file.write_text(str(os.getpid()))
    walk(bucket, folder, "killed")


def walk(bucket: Bucket, folder: Path, owner: str) -> RunLog:
    """What the tasks of a run of two steps ask of the stores; steps that have succeeded are passed over, as by Airflow."""
    store, catalog = bucket.run_log(), bucket.catalog()
    header = store.claim_for(
        RunHeader(
            run_id=RUN,
            token=owner,
            definition=DEFINITION,
            parameters={"x": 1},
            scheduler={"run_id": "airflow's"},
        ),
        lambda candidate: candidate,
    )
    for position, (name, files) in enumerate((("make", MADE), ("change", CHANGED))):
        identity = StepIdentity(name=name, internal_name=name, step_type="task", position=position)
        history = store.graph(RUN, "", [name]).get(name)
        if history is not None and history.status == "SUCCESS":
            continue
        opened = store.open_attempt(RUN, identity, f"{owner}-{name}", {}).opened
        data = folder / owner / name
        seen = visible(before_first_step(header), ["make"] if position else [], store.graph(RUN, ""))
        got = catalog.get(seen.entries, data, ["**"] if position else [])
        for file, content in files.items():
            (data / file).parent.mkdir(parents=True, exist_ok=True)
            (data / file).write_bytes(content)
        put = catalog.put(RUN, data, ["**"], attempt_id=opened.attempt_id, known=seen.entries)
        entries = [*got.entries, *put.entries]
        store.close(RUN, opened.ended(status="SUCCESS", parameters={name: owner}, data_catalog=entries))
    success = StepIdentity(name="success", internal_name="success", step_type="success", position=2)
    store.record(RUN, success, f"{owner}-end", {}, status="SUCCESS")
    top = store.graph(RUN, "")
    path = recorded_path(graph_of(header, ""), top) or []
    catalog.settle(RUN, visible(before_first_step(header), path, top).entries.values())
    return store.write_document(RUN)


def check_whole(bucket: Bucket, whole: set[str] = WHOLE) -> None:
    """Every run log that can be read names whole objects with the right digest, and no half of a file is there."""
    store = bucket.run_log()
    assert {log.run_id for log in store.summaries()} == set(store.run_ids())
    for run_id in store.run_ids():
        store.assemble(run_id)
        found = verify(store, CatalogObjects(bucket.store(CATALOG), CATALOG), run_id)
        assert found.is_whole, found.damages
        for history in store.graph(run_id, "").values():
            for attempt in history.attempts.values():
                assert (
                    attempt.closed is None or attempt.status == "SUCCESS" or not attempt.closed.data_catalog
                )
    halves = {
        key: len(content)
        for key, content in bucket.objects().items()
        # a probe that was killed leaves its own object, which is no file of anybody's
        if hashlib.sha256(content).hexdigest() not in whole and "/.magnus-probe-" not in key
    }
    assert halves == {}, halves
