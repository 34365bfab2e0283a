"""Many processes that write to one run log at the same moment: nothing is lost, nothing is given twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_magnus.runlog import layout
from airflow_magnus.runlog.history import Visible, before_first_step, left_by, merged, visible
from airflow_magnus.runlog.records import RunHeader
from contract_writers import Place, claim, claim_airflow_run, in_processes, open_in_turn, record, walk_branch
from servers.s3 import S3Server

EXTERNAL = pytest.mark.external
PLACES = [
    "folder", "sqlite", "moto", pytest.param("ceph", marks=EXTERNAL), pytest.param("postgres", marks=EXTERNAL),
    pytest.param("rclone", marks=EXTERNAL),
]  # fmt: skip
"""The last one ignores the conditions of a write: there keys are bidden for, which takes its time."""
RUN = "run-1"
WRITERS, RECORDS = 32, 100


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """An empty part store of each kind."""
    if request.param == "folder":
        return Place("folder", str(tmp_path / "runs"))
    if request.param == "sqlite":
        return Place("sqlite", f"sqlite:///{tmp_path}/runs.db")
    if request.param == "postgres":
        return Place("postgres", request.getfixturevalue("postgres").make_database())
    server: S3Server = request.getfixturevalue(request.param)
    return Place(request.param, f"s3://{server.make_bucket()}/some/prefix", server)


def test_one_of_many_processes_gets_each_run_id(place: Place) -> None:
    run_ids = ["1", "10", "é", "e\u0301", "A", "a", *(f"run-{number}" for number in range(14))]
    run_ids = run_ids[-14:] if place.name == "rclone" else run_ids  # where é and its two halves are one name
    got = in_processes(claim, [(place, writer, run_ids) for writer in range(16)])
    store = place.run_log()
    for run_id in run_ids:
        winners = [writer for writer, taken in enumerate(got) if run_id in taken]
        assert len(winners) == 1, (run_id, winners)
        header = store.header(run_id)
        assert (header.run_id, header.token) == (run_id, f"writer {winners[0]}")
    assert store.run_ids() == sorted(run_ids)


def test_processes_of_one_airflow_run_find_one_run_and_those_of_two_never_share_one(place: Place) -> None:
    """Two runs of one Airflow id: the DAG was deleted and made again, or two deployments use one bucket."""
    runs = [
        {"dag_id": "dag", "run_id": "run", "run_after": "09", "first_start": start} for start in ("10", "11")
    ]
    found = in_processes(claim_airflow_run, [(place, writer, runs[writer % 2]) for writer in range(16)])
    first, second = set(found[::2]), set(found[1::2])
    assert (len(first), len(second)) == (1, 1), "all tasks of a run agree on its id"
    assert {run_id for run_id, _ in first | second} == {"dag.run", "dag.run.2"}
    assert place.run_log().run_ids() == ["dag.run", "dag.run.2"]


def test_attempts_of_one_step_are_given_to_one_process_each(place: Place) -> None:
    each = 1 if place.name == "rclone" else 4
    numbers = in_processes(open_in_turn, [(place, RUN, writer, each) for writer in range(8)])
    assert sorted(number for some in numbers for number in some) == list(range(8 * each))
    history = place.run_log().graph(RUN, "")["wanted"]
    assert sorted(history.attempts) == list(range(8 * each))
    owners = {
        number: f"writer {writer}, {n}"
        for writer, some in enumerate(numbers)
        for n, number in enumerate(some)
    }
    assert {number: attempt.opened.attempt_id for number, attempt in history.attempts.items()} == owners


@pytest.mark.parametrize(
    "place", [*PLACES[:-2], PLACES[-1]], indirect=True
)  # PostgreSQL: test_database_failures.py
def test_every_record_of_32_writers_is_kept_and_in_the_document(place: Place) -> None:
    # moto answers 200 requests a second, whoever asks; a bid takes half a second
    records = {"moto": 10, "rclone": 4}.get(place.name, RECORDS)
    store = place.run_log()
    store.claim(RunHeader(run_id=RUN, token="mine", parameters={"x": 0}))
    in_processes(record, [(place, RUN, writer, records) for writer in range(WRITERS)])
    written = store.write_document(RUN)
    wanted = {f"w{w:02}-{n:03}": n for w in range(WRITERS) for n in range(records)}
    assert store.read(RUN) == written
    assert set(written.steps) == set(wanted)
    assert {name: log.parameters[name] for name, log in written.steps.items()} == wanted
    assert {(log.status, len(log.attempts)) for log in written.steps.values()} == {("SUCCESS", 1)}
    assert {name: written.parameters[name] for name in wanted} == wanted
    assert written.parameters["x"] == 0
    assert written.parameters["shared"] == max(wanted), "the last one in the order of the file wins"
    assert len(place.open().list_keys(layout.steps_prefix(RUN))) == len(wanted)


def test_parallel_branches_never_undo_each_others_parameters(place: Place) -> None:
    store = place.run_log()
    store.claim(RunHeader(run_id=RUN, token="mine", parameters={"x": 0, "counter": "before"}))
    branches = [f"b{number}" for number in range(8)]
    in_processes(walk_branch, [(place, RUN, branch, 5) for branch in branches])
    graphs = store.graphs(RUN, [f"p.{branch}" for branch in branches])
    left: list[tuple[str, Visible]] = [
        (branch, left_by([f"s{n}" for n in range(5)], graphs[f"p.{branch}"])) for branch in branches
    ]
    together, _ = merged(left)
    own = {f"{branch}-{number}": number for branch in branches for number in range(5)}
    assert together.parameters == {**own, "shared": "b7", "counter": 4}
    before = before_first_step(store.header(RUN))
    for branch, seen in left:
        inside = {**visible(before, [], {}).parameters, **seen.parameters}
        assert inside == {
            "x": 0, "shared": branch, "counter": 4, **{f"{branch}-{number}": number for number in range(5)}
        }, "no branch sees a sibling's"  # fmt: skip
