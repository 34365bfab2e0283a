"""A process that fills a run log with runs and asks the JSON API for them: what ``bench.index`` measures."""

from __future__ import annotations

import json
import math
import os
import resource
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

BUCKET, DAG_ID = "runs", "daily"
_BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


class Server:
    """The S3 server, if there is one."""

    def __init__(self, endpoint: str, delay: float) -> None:
        self._endpoint, self._delay = endpoint, delay

    def slow(self, is_slow: bool = True) -> None:
        """Let it wait before each answer, and forget what it was asked."""
        if self._endpoint:
            self._ask("/-/rules", {"delay": self._delay if is_slow else 0.0})

    def asked(self) -> int:
        """Requests since then."""
        return len(json.loads(self._ask("/-/log"))) if self._endpoint else 0

    def _ask(self, path: str, body: Any = None) -> bytes:
        data = None if body is None else json.dumps(body).encode()
        asked = urllib.request.Request(self._endpoint + path, data, method="PUT" if data else "GET")
        with urllib.request.urlopen(asked) as answer:
            found: bytes = answer.read()
            return found


def measured(job: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Times and requests of each case."""
    from airflow_magnus.dags import embedded

    home, server = Path(os.environ["AIRFLOW_HOME"]), Server(job.get("endpoint", ""), job.get("delay", 0.0))
    home.mkdir(exist_ok=True)
    embedded.set_environment(home)
    embedded.make_home(home)
    from airflow_magnus.hooks.services import ServiceSources, open_services
    from ui_site import client_of, run_of, served

    text = "dag:\n  start_at: a\n  steps:\n    a: {type: task, command: 'true', command_type: shell, next: success}\n"
    text += "    success: {type: success}\n    fail: {type: fail}\n"
    run_of(
        home, Path("p.yaml"), text, DAG_ID
    )  # Airflow knows the DAG; its other runs are of another day and place
    if job.get("endpoint"):
        extra = {"endpoint_url": job["endpoint"], "url": f"s3://{BUCKET}/log", "region_name": "us-east-1"}
        told = {"conn_type": "magnus_run_log", "login": "a", "password": "b", "extra": extra}
        os.environ["AIRFLOW_CONN_MAGNUS_RUN_LOG_DEFAULT"] = json.dumps(told)
    server.slow(False)
    run_log = open_services(ServiceSources()).run_log
    _fill(run_log, job["runs"], job["files"])
    with served(home) as app:
        return _answers(client_of(app, "admin"), run_log, server, job)


def _fill(run_log: Any, runs: int, files: int) -> None:
    """Runs as they were before there was an index: headers and documents."""
    from airflow_magnus.runlog import layout

    def one(number: int) -> None:
        header, log = _run(number, files)
        run_log.parts.put(layout.header_key(header.run_id), header.model_dump_json())
        run_log.parts.put(layout.document_key(header.run_id), log.to_json())

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(one, range(runs)))


def _run(number: int, files: int) -> Any:
    from airflow_magnus.runlog.records import (
        AttemptLog,
        CatalogEntry,
        CodeIdentity,
        RunHeader,
        RunLog,
        StepLog,
    )

    run_id, began = f"{DAG_ID}.run-{number:05}", _BEGAN + timedelta(minutes=number)
    start, end = str(began), str(began + timedelta(seconds=30))
    scheduler = {"type": "airflow", "dag_id": DAG_ID, "airflow_dag_id": DAG_ID, "run_id": f"run-{number:05}"}
    status = "FAIL" if number % 10 == 0 else "SUCCESS"
    code = CodeIdentity(
        code_identifier="c5d2f4aa8dd354740d1b2f94b6ee5c904da5e63c", code_identifier_type="git"
    )
    made = [
        CatalogEntry(
            name=f"part-{number}-{n}.csv" if n else "all.csv",
            data_hash=f"{number * files + n:064x}",
            catalog_relative_path=f"{run_id}/{n}",
            catalog_handler_location="s3://data/catalog",
            stage="put",
            size=1000,
        )
        for n in range(files)
    ]
    half = files // 2
    read = [entry.model_copy(update={"stage": "get"}) for entry in made[:half]]
    attempt = AttemptLog(
        attempt_number=0, start_time=start, end_time=end, duration="0:00:30", status="SUCCESS"
    )
    steps = {
        name: StepLog(
            name=name,
            internal_name=name,
            status="SUCCESS",
            step_type="task",
            code_identities=[code],
            attempts=[attempt],
            data_catalog=entries,
        )
        for name, entries in (("make", made[:half]), ("use", [*read, *made[half:]]))
    }
    parameters = {"day": number, "region": "north"}
    header = RunHeader(
        run_id=run_id, token="t", pipeline="p", started=start, parameters=parameters, scheduler=scheduler
    )
    log = RunLog(
        run_id=run_id, dag_hash="h", status=status, steps=steps, parameters=parameters, scheduler=scheduler
    )  # type: ignore[arg-type]
    return header, log


def _answers(client: Any, run_log: Any, server: Server, job: dict[str, Any]) -> dict[str, dict[str, float]]:
    from airflow_magnus.runlog import layout
    from airflow_magnus.stores import run_index
    from airflow_magnus.stores.reindexing import reindex
    from airflow_magnus.ui import open_indexes

    found: dict[str, list[tuple[float, int]]] = {}

    def timed(case: str, work: Callable[[], Any], prepare: Callable[[], Any] = lambda: None) -> None:
        for _ in range(1 if case == "reindex" else job["repetitions"]):
            prepare()
            server.slow()
            began = time.perf_counter()
            work()
            found.setdefault(case, []).append((time.perf_counter() - began, server.asked()))

    def get(path: str) -> Any:
        answer = client.get(f"/magnus/api/v1/{path}")
        assert answer.status_code == 200, answer.text
        assert answer.json().get("total", 1), answer.text
        assert answer.json().get("files", [1]), answer.text

    timed("reindex", lambda: reindex(run_log))
    client.get("/magnus/api/docs")  # the first request loads the pages
    before = _resident()
    timed("cold", lambda: get("runs"), open_indexes._all.cache_clear)
    memory = _resident() - before
    for case, path in _warm(job["runs"], job["files"]):
        timed(case, lambda path=path: get(path))
    numbers: Iterator[int] = iter(range(job["runs"], 2 * job["runs"]))

    def end_a_run() -> None:
        header, log = _run(next(numbers), job["files"])
        run_log.claim(header)
        run_log.keep_document(log)

    run_index.YOUNG = 0.0
    timed("fresh", lambda: get("runs"), end_a_run)

    def age() -> None:
        for memory in open_indexes._all()._memories.values():
            memory.compared_at = -math.inf

    timed("compared", lambda: get("runs"), age)
    texts = run_log.parts.read(run_log.parts.list_keys(layout.INDEX))
    told = {
        case: {"wall": median(wall for wall, _ in runs), "requests": median(asked for _, asked in runs)}
        for case, runs in found.items()
    }
    return {**told, "sizes": {"stored": sum(map(len, texts.values())), "texts": len(texts), "memory": memory}}


def _warm(runs: int, files: int) -> Iterator[tuple[str, str]]:
    some = runs // 3
    digest = f"{some * files + files - 1:064x}"
    yield "list", "runs?limit=50"
    yield "status", "runs?status=FAIL"
    yield "parameter", f"runs?parameter=day={some}"
    yield "digest", f"files?q={digest}"
    yield "name", f"files?q=part-{some}-3.csv"
    yield "names", "files?q=all.csv"
    yield "provenance", f"provenance/{digest}"


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


if __name__ == "__main__":
    print(json.dumps(measured(json.loads(sys.argv[1]))))
