"""Files that a person puts into a run that has ended, on every kind of object store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import obstore  # noqa: TID253 - the tests look at the store beside the code under test
import pytest

from airflow_magnus.errors import CatalogError, StoreError
from airflow_magnus.runlog.marks import Collection
from airflow_magnus.runlog.records import OUTSIDE
from airflow_magnus.stores import outside
from airflow_magnus.stores.catalog import CatalogStore, Moved
from airflow_magnus.stores.contents import contents_of
from airflow_magnus.stores.objects import open_object_store
from contract_backends import ObjectBackend
from upkeep_bench import MAKE, MONTH, Upkeep

RUN = "1"


class Bench(Upkeep):
    """A run that has put ``f`` and ``g``, and a folder to put from."""

    def __init__(self, backend: ObjectBackend, folder: Path) -> None:
        super().__init__(backend.store)
        self.catalog = CatalogStore(backend.store, self.objects.location, is_known=backend.is_known)
        self.catalog.is_conditional = self.catalog.find_out_conditional()
        self.source, self.target = folder / "in", folder / "out"
        self.source.mkdir()
        self.run(RUN, files={"f": b"old", "g": b"kept"})

    def add(self, *patterns: str, step: str | None = None, **files: bytes) -> Moved:
        for name, content in files.items():
            (self.source / name).write_bytes(content)
        before = self.run_log.read(RUN)
        chosen = patterns or tuple(files)
        return outside.put_from_outside(self.run_log, self.catalog, before, self.source, chosen, step=step)

    def held(self) -> dict[str, tuple[str, bytes]]:
        """Name → step, and the bytes that a get brings."""
        found = contents_of(self.run_log, RUN)
        entries = self.catalog.located(RUN, [held.entry for held in found.values()])
        self.catalog.get({entry.name: entry for entry in entries}, self.target, ["**"])
        return {name: (held.step, (self.target / name).read_bytes()) for name, held in found.items()}


@pytest.fixture
def bench(objects: ObjectBackend, tmp_path: Path) -> Bench:
    return Bench(objects, tmp_path)


@pytest.fixture
def memory(tmp_path: Path) -> Bench:
    return Bench(ObjectBackend("memory", open_object_store("memory://")), tmp_path)


def test_what_is_put_is_seen_and_nothing_recorded_is_lost(bench: Bench) -> None:
    bench.add(f=b"new", h=b"more")
    bench.add(h=b"even more")
    assert bench.held() == {"f": (OUTSIDE, b"new"), "g": ("make", b"kept"), "h": (OUTSIDE, b"even more")}
    assert bench.verify(RUN).is_whole
    assert bench.verify(RUN).files == 5, "all that was ever recorded is still there"
    plain = {name: bytes(obstore.get(bench.objects.store, f"{RUN}/{name}").bytes()) for name in "fgh"}
    assert plain == {"f": b"new", "g": b"kept", "h": b"even more"}, "the run's folder shows the final files"


def test_the_run_log_says_who_put_what_and_keeps_its_end(memory: Bench) -> None:
    memory.add(f=b"new")
    log = memory.run_log.read(RUN)
    assert (log.status, list(log.steps)) == ("SUCCESS", ["make", "success", OUTSIDE])
    step = log.steps[OUTSIDE]
    assert step.message.startswith("1 files put from outside by ")
    assert [(attempt.status, "user" in attempt.scheduler) for attempt in step.attempts] == [("SUCCESS", True)]
    ended = log.model_copy(update={"status": "FAIL"})  # a run without an end of its own
    memory.run_log.keep_document(ended)
    memory.add(f=b"newer")
    assert memory.run_log.read(RUN).status == "FAIL"


def test_a_step_that_is_given_files_hands_them_on(memory: Bench) -> None:
    memory.add(f=b"new", step="make")
    history = memory.run_log.graph(RUN, "")["make"]
    closed = history.latest.closed
    assert closed is not None
    assert {entry.name: entry.size for entry in closed.puts()} == {"f": 3, "g": 4}
    assert closed.fingerprint == ""
    assert memory.held()["f"] == ("make", b"new")
    assert len(memory.run_log.read(RUN).steps["make"].attempts) == 1, "it was not run again"


def test_damaged_and_missing_files_are_mended(bench: Bench) -> None:
    bench.write({f"{RUN}/f": b"xxx"})
    obstore.delete(bench.objects.store, f"{RUN}/g")
    assert set(bench.damages(RUN)) == {"f", "g"}
    bench.add(f=b"old", g=b"kept")
    assert bench.verify(RUN).is_whole
    assert {name: content for name, (_, content) in bench.held().items()} == {"f": b"old", "g": b"kept"}


def test_a_plain_key_that_somebody_has_removed_does_not_mix_up_versions(bench: Bench) -> None:
    """The run has settled, so a record with the plain key means what is kept of the first bytes."""
    bench.write({f"{RUN}/.versions/first/f": b"old", f"{RUN}/.versions/x/f": b"second"})
    bench.record(RUN, MAKE, data_catalog=[bench.entry(f"{RUN}/.versions/x/f", "f", b"second")])
    obstore.delete(bench.objects.store, f"{RUN}/f")
    bench.add(f=b"third")
    assert bench.held()["f"] == (OUTSIDE, b"third")
    assert bench.verify(RUN).is_whole


@pytest.mark.parametrize(
    ("patterns", "step", "message"),
    [
        (("f", "nothing*"), None, r"'nothing\*' matches no file"),
        (("f",), "nowhere", "no step 'nowhere' .*; there are: 'make'"),
        (("f",), "success", "no step 'success'"),
        (("f",), OUTSIDE, "no step '%put'"),
    ],
)
def test_what_cannot_be_done_as_asked_is_refused_as_a_whole(
    memory: Bench, patterns: tuple[str, ...], step: str | None, message: str
) -> None:
    before = memory.keys(), memory.parts.list_keys(RUN)
    with pytest.raises(CatalogError, match=message):
        memory.add(*patterns, step=step, f=b"new")
    assert (memory.keys(), memory.parts.list_keys(RUN)) == before


def test_links_that_lead_out_are_refused(memory: Bench, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("1")
    (memory.source / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(CatalogError, match="leads out"):
        memory.add("link")


def test_a_run_that_goes_on_is_left_to_its_steps(memory: Bench) -> None:
    memory.run_log.reopen(RUN)
    with pytest.raises(CatalogError, match="goes on"):
        memory.add(f=b"new")


def test_a_put_that_fails_says_so_and_changes_nothing_else(
    memory: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> Moved:
        raise StoreError("no room")

    monkeypatch.setattr(memory.catalog, "put", fail)
    with pytest.raises(StoreError, match="no room"):
        memory.add(f=b"new")
    step = memory.run_log.read(RUN).steps[OUTSIDE]
    assert (step.status, step.attempts[0].message) == ("FAIL", "no room")
    assert memory.held()["f"] == ("make", b"old")


class Killed(BaseException):
    """What no handler of ours catches."""


@pytest.mark.parametrize("step", [None, "make"])
@pytest.mark.parametrize("name", ["put", "settle"])
def test_a_put_that_is_killed_leaves_the_run_whole(
    memory: Bench, monkeypatch: pytest.MonkeyPatch, name: str, step: str | None
) -> None:
    def kill(*_: Any, **__: Any) -> Moved:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(memory.catalog, name, kill)
        with pytest.raises(Killed):
            memory.add(f=b"new", step=step)
    assert memory.verify(RUN).is_whole
    assert memory.held()["f"][1] == (b"old" if name == "put" else b"new")
    memory.add(f=b"newer", step=step)
    assert memory.held()["f"][1] == b"newer"
    assert memory.verify(RUN).is_whole


def test_a_put_waits_for_a_collection_that_goes_on(memory: Bench) -> None:
    memory.run_log.marks.set_collection(Collection(run_id=RUN))
    with pytest.raises(CatalogError, match="are being removed"):
        memory.add(f=b"new")
    assert f"{RUN}/.versions" not in " ".join(memory.keys())


def test_a_put_after_a_collection_is_kept(memory: Bench) -> None:
    assert memory.gone(memory.gc()) == [RUN]
    memory.add(f=b"new")
    found = memory.verify(RUN)
    assert (found.is_whole, found.files, found.collected) == (True, 1, 2)
    assert memory.gone(memory.gc(older_than=MONTH)) == [], "the put is young"


def test_a_put_that_has_begun_holds_a_collection_up(memory: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """It begins after the run was chosen, and is at its upload when the marks are written."""
    from airflow_magnus.runlog.retention import Policy

    collector = memory.collector()
    choice = collector.choose(Policy(MONTH))
    put = memory.catalog.put
    done = []

    def slow(*arguments: Any, **options: Any) -> Moved:
        moved = put(*arguments, **options)
        done.append(collector.collect(choice.chosen))
        return moved

    monkeypatch.setattr(memory.catalog, "put", slow)
    memory.add(f=b"new")
    assert memory.gone(done[0]) == []
    assert memory.why(done[0]) == {RUN: "something was recorded of it meanwhile"}
    assert memory.verify(RUN).is_whole
    assert memory.held()["f"][1] == b"new"
