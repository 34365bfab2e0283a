"""Runs with files for the tests of the catalog's upkeep, told in few words."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import obstore  # noqa: TID253 - the tests look at the store beside the code under test

from airflow_magnus.runlog.marks import Collection
from airflow_magnus.runlog.records import AttemptOpened, CatalogEntry, RunHeader, StepIdentity
from airflow_magnus.runlog.retention import Policy
from airflow_magnus.stores.collection import Collected, Collector
from airflow_magnus.stores.parts import ObjectParts, PartStore
from airflow_magnus.stores.run_facts import Asked
from airflow_magnus.stores.run_folders import run_folders
from airflow_magnus.stores.runlogs import RunLogStore
from airflow_magnus.stores.services import CatalogObjects
from airflow_magnus.stores.verification import Verified, verify

DEFINITION = {
    "start_at": "make",
    "steps": {
        "make": {"type": "task", "next": "success", "catalog": {"put": ["**"]}},
        "success": {"type": "success"},
        "fail": {"type": "fail"},
    },
}
MAKE = StepIdentity(name="make", internal_name="make", step_type="task")
END = StepIdentity(name="success", internal_name="success", step_type="success", position=1)
MONTH = timedelta(days=30)
OLD, YOUNG = 90, 1


class Upkeep:
    """A run log in memory and a catalog on any object store."""

    def __init__(self, store: Any, parts: PartStore | None = None) -> None:
        from obstore.store import MemoryStore

        self.memory = MemoryStore()
        self.parts = parts or ObjectParts(self.memory, "memory")
        self.run_log = RunLogStore(self.parts)
        self.objects = CatalogObjects(store, "the catalog")

    # runs

    def run(
        self,
        run_id: str,
        age: float = OLD,
        files: Mapping[str, bytes] | None = None,
        *,
        is_ended: bool = True,
        entries: Iterable[CatalogEntry] = (),
        **header: Any,
    ) -> None:
        """A run that ended so many days ago, and put files."""
        time = (datetime.now(UTC) - timedelta(days=age)).isoformat(sep=" ", timespec="microseconds")
        header = {
            "pipeline": "p",
            "definition": DEFINITION,
            "started": time,
            "scheduler": {"type": "airflow"},
            **header,
        }
        self.run_log.claim(RunHeader(run_id=run_id, token="t", **header))
        put = self.put(run_id, {"a/f.txt": run_id.encode()} if files is None else files)
        self.record(run_id, MAKE, time, data_catalog=[*put, *entries])
        if is_ended:
            self.record(run_id, END, time)
            self.run_log.write_document(run_id)

    def record(self, run_id: str, step: StepIdentity, time: str = "", **outcome: Any) -> None:
        if not time:
            self.run_log.record(run_id, step, f"{step.name}-id", {}, status="SUCCESS", **outcome)
            return
        opened = AttemptOpened(step=step, number=0, attempt_id=f"{step.name}-id", start_time=time)
        self.run_log.append(run_id, opened.ended(status="SUCCESS", end_time=time, **outcome))

    def put(self, run_id: str, files: Mapping[str, bytes]) -> list[CatalogEntry]:
        self.write({f"{run_id}/{name}": content for name, content in files.items()})
        return [self.entry(f"{run_id}/{name}", name, content) for name, content in files.items()]

    def entry(self, key: str, name: str, content: bytes) -> CatalogEntry:
        return CatalogEntry(
            name=name,
            data_hash=hashlib.sha256(content).hexdigest(),
            catalog_relative_path=key,
            catalog_handler_location="the catalog",
            stage="put",
            size=len(content),
        )

    # objects

    def write(self, objects: Mapping[str, bytes]) -> None:
        with ThreadPoolExecutor(8) as pool:
            list(
                pool.map(
                    lambda item: obstore.put(self.objects.store, *item, use_multipart=False), objects.items()
                )
            )

    def texts(self) -> dict[str, str]:
        """The whole run log."""
        return dict(self.parts.read([meta["path"] for metas in obstore.list(self.memory) for meta in metas]))

    def keys(self, run_id: str = "") -> list[str]:
        listed = obstore.list(self.objects.store, prefix=run_id or None)
        return sorted(meta["path"] for metas in listed for meta in metas)

    # what is tested

    def gc(self, older_than: timedelta = MONTH, keep_last: int = 0, **asked: Any) -> Collected:
        return self.collect(self.collector(**asked), Policy(older_than, keep_last))

    def collector(self, **asked: Any) -> Collector:
        return Collector(self.run_log, run_folders(self.objects.store, self.objects.location), Asked(**asked))

    def collect(
        self, collector: Collector, policy: Policy, between: Callable[[], Any] = lambda: None
    ) -> Collected:
        """Choose and collect, with something that happens between; what was kept at first is told too."""
        choice = collector.choose(policy)
        between()
        done = collector.collect(choice.chosen)
        done.kept[:0] = choice.kept
        return done

    def gone(self, done: Collected) -> list[str]:
        return sorted(one.run_id for one in done.runs)

    def why(self, done: Collected) -> dict[str, str]:
        return {verdict.run_id: verdict.why for verdict in done.kept}

    def mark(self, run_id: str) -> Collection | None:
        return self.run_log.marks.collection(run_id)

    def verify(self, run_id: str) -> Verified:
        return verify(self.run_log, self.objects, run_id, mark=self.mark(run_id))

    def damages(self, run_id: str) -> dict[str, str]:
        """Name → what is wrong."""
        return {damage.name: damage.what for damage in self.verify(run_id).damages}
