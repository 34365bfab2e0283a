"""Writes attempts of a run over S3, and reads them: ``python -m bench.run_log_client JSON``."""

from __future__ import annotations

import functools
import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from airflow_magnus.pipeline.model import ServiceSettings
from airflow_magnus.runlog import layout
from airflow_magnus.runlog.records import CatalogEntry, RunHeader, StepIdentity
from airflow_magnus.stores.objects import open_object_store
from airflow_magnus.stores.runlogs import RunLogStore
from airflow_magnus.stores.services import open_run_log
from bench.client import BUCKET

_LOCATION = f"s3://{BUCKET}/run-log"
_THREADS = 16


def main() -> None:
    """Do the job of the command line."""
    job = json.loads(sys.argv[1])
    config = {"url": _LOCATION, "endpoint_url": job["endpoint"], "region": "us-east-1"}
    store = open_run_log(ServiceSettings("s3", config), folder=Path())
    report = {"fill": _fill, "attempts": _attempts, "read": _read}[job["do"]](store, job)
    Path(job["report"]).write_text(
        json.dumps({"wall": 0, "cpu": 0, "peak": 0, "added": 0, **report}), encoding="utf-8"
    )


def _fill(store: RunLogStore, job: dict[str, Any]) -> dict[str, Any]:
    """Runs of so many steps: each step has set one parameter and put one file."""
    for steps in job["sizes"]:
        run = _run(steps)
        store.claim(RunHeader(run_id=run, token="bench"))
        with ThreadPoolExecutor(_THREADS) as pool:
            list(pool.map(functools.partial(_attempt, store, run), [f"step-{n:05d}" for n in range(steps)]))
    return {}


def _attempts(store: RunLogStore, job: dict[str, Any]) -> dict[str, Any]:
    """Seconds of attempts in runs of all sizes, taking turns; each is removed, so that a run keeps its size."""
    sizes = job["sizes"]
    took: dict[str, list[float]] = {str(steps): [] for steps in sizes}
    objects = open_object_store(_LOCATION)
    for turn in range(job["repetitions"] + 1):
        start = turn % len(sizes)
        for steps in sizes[start:] + sizes[:start]:
            name, begun = f"extra-{turn:05d}", time.perf_counter()
            _attempt(store, _run(steps), name)
            if turn:  # the first one opens the connections
                took[str(steps)].append(time.perf_counter() - begun)
            if job.get("is_kept"):
                continue
            prefix = layout.step_prefix(_run(steps), "", name)
            for batch in objects.list(prefix=prefix):
                objects.delete([meta["path"] for meta in batch])
    return {"took": took}


def _read(store: RunLogStore, job: dict[str, Any]) -> dict[str, Any]:
    """Seconds that it takes to read all parameters of a run."""
    (steps,) = job["sizes"]
    begun = time.perf_counter()
    found = store.graph(_run(steps), "")
    parameters: dict[str, Any] = {}
    for history in found.values():
        if history.latest is not None and history.latest.closed is not None:
            parameters.update(history.latest.closed.parameters)
    took = time.perf_counter() - begun
    if len(parameters) < steps:
        raise RuntimeError(f"{len(parameters)} parameters of {steps} steps were found")
    return {"took": took}


def _attempt(store: RunLogStore, run_id: str, name: str) -> None:
    step = StepIdentity(name=name, internal_name=name, step_type="task", position=1)
    opened = store.open_attempt(run_id, step, f"attempt-{name}", {"task_id": name, "try_number": 1}).opened
    put = CatalogEntry(
        name=f"{name}.csv",
        data_hash="0" * 64,
        catalog_relative_path=f"{run_id}/{name}.csv",
        catalog_handler_location=_LOCATION,
        stage="put",
        size=1024,
    )
    store.close(run_id, opened.ended(status="SUCCESS", parameters={f"of_{name}": name}, data_catalog=[put]))


def _run(steps: int) -> str:
    return f"run-{steps}"


if __name__ == "__main__":
    main()
