"""Check and remove the files of runs, on every kind of object store."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import obstore  # noqa: TID253 - the tests look at the store beside the code under test
import pytest

from airflow_magnus.errors import StoreError
from airflow_magnus.runlog import layout
from airflow_magnus.runlog.records import RunHeader
from airflow_magnus.runlog.retention import Policy
from airflow_magnus.stores.marks import RunMarks
from airflow_magnus.stores.objects import open_object_store
from airflow_magnus.stores.parts import PartStore
from airflow_magnus.stores.run_folders import ObjectFolders, run_folders
from contract_backends import ObjectBackend
from upkeep_bench import MAKE, MONTH, OLD, YOUNG, Upkeep

MANY = 2_500


@pytest.fixture
def upkeep(objects: ObjectBackend) -> Upkeep:
    return Upkeep(objects.store)


@pytest.fixture
def memory() -> Upkeep:
    """For what the kind of store has no part in."""
    return Upkeep(open_object_store("memory://"))


@pytest.fixture
def local(tmp_path: Path) -> Upkeep:
    return Upkeep(open_object_store(str(tmp_path / "catalog")))


# verify


def test_a_whole_run_is_whole(upkeep: Upkeep) -> None:
    upkeep.run("1", files={"a/f": b"12", "g": b""})
    found = upkeep.verify("1")
    assert (found.is_whole, found.files, found.size, found.unnamed) == (True, 2, 2, {})


def test_what_is_missing_or_damaged_is_named(upkeep: Upkeep) -> None:
    files = {"missing": b"1", "longer": b"22", "same size": b"333", "whole": b"4"}
    upkeep.run("1", files=files)
    upkeep.run("10", files={"missing": b"1"})
    obstore.delete(upkeep.objects.store, "1/missing")
    upkeep.write({"1/longer": b"22222", "1/same size": b"xxx"})
    found = upkeep.verify("1")
    assert [(d.step, d.name, d.key) for d in found.damages] == [
        ("make", name, f"1/{name}") for name in ("longer", "missing", "same size")
    ]
    told = {d.name: d.what for d in found.damages}
    assert (told["missing"], told["longer"]) == ("missing", "has 5 bytes, recorded were 2")
    assert "has sha256 cd2eb083" in told["same size"], told
    assert upkeep.verify("10").is_whole


def test_a_settled_run_is_whole_with_all_that_its_attempts_put(upkeep: Upkeep) -> None:
    """After settling a plain key holds other bytes than the record that named it first."""
    upkeep.run("1", files={"f": b"first"}, is_ended=False)
    upkeep.write({"1/.versions/two/f": b"second", "1/.versions/first/f": b"first", "1/f": b"second"})
    upkeep.record("1", MAKE, data_catalog=[upkeep.entry("1/.versions/two/f", "f", b"second")])
    assert upkeep.verify("1").is_whole
    obstore.delete(upkeep.objects.store, "1/.versions/first/f")
    assert list(upkeep.damages("1")) == ["f"]


def test_a_run_that_settles_while_it_is_looked_at_is_whole(
    memory: Upkeep, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.run("1", files={"f": b"first"}, is_ended=False)
    sizes = ObjectFolders.sizes

    def listed(folders: ObjectFolders, run_id: str) -> Mapping[str, int]:
        found = sizes(folders, run_id)
        memory.write({"1/.versions/first/f": b"first", "1/f": b"other"})
        return found

    monkeypatch.setattr(ObjectFolders, "sizes", listed)
    assert memory.verify("1").is_whole


def test_files_that_another_run_holds_are_looked_for_there(upkeep: Upkeep) -> None:
    upkeep.run("1", files={"f": b"x"})
    upkeep.run("2", files={}, entries=[upkeep.entry("1/f", "f", b"x")])
    assert upkeep.verify("2").is_whole
    obstore.delete(upkeep.objects.store, "1/f")
    assert upkeep.damages("2") == {"f": "missing"}


def test_what_no_record_names_is_no_damage(upkeep: Upkeep) -> None:
    upkeep.run("1", files={"f": b"x"})
    upkeep.write({"1/foreign.txt": b"abc", "1/.versions/dead/f": b"y", "10/foreign": b"z"})
    found = upkeep.verify("1")
    assert found.is_whole
    assert found.unnamed == {"1/foreign.txt": 3, "1/.versions/dead/f": 1}


def test_keys_that_lead_elsewhere_are_not_followed(upkeep: Upkeep) -> None:
    entries = [upkeep.entry(key, key, b"x") for key in ("../../x", "/etc/passwd", "1/../2/f")]
    upkeep.run("1", files={}, entries=entries)
    upkeep.run("2", files={"f": b"x"})
    assert len(upkeep.verify("1").damages) == 3


def test_verify_writes_nothing(local: Upkeep) -> None:
    local.run("1", is_ended=False, scheduler=_process("0"))  # whoever reads it by `find` ends its run log
    before = local.texts()
    assert local.verify("1").is_whole
    assert local.texts() == before


def test_files_in_another_catalog_are_not_called_missing(memory: Upkeep) -> None:
    entry = memory.entry("1/f", "f", b"x").model_copy(update={"catalog_handler_location": "s3://other"})
    memory.run("1", files={"g": b"y"}, entries=[entry])
    found = memory.verify("1")
    assert (found.is_whole, found.files, found.elsewhere) == (True, 1, {"s3://other": 1})


def test_records_that_cannot_be_read_are_a_fault_of_the_store(memory: Upkeep) -> None:
    memory.run("1")
    (key, *_) = [key for key in memory.parts.list_keys("1/steps") if key.endswith(".close.json")]
    memory.parts.put(key, "[" * 100_000)
    with pytest.raises(StoreError, match=r"records of run '1' .* cannot be read"):
        memory.verify("1")


# gc: what goes and what stays


def test_old_runs_lose_their_folder_and_nothing_beside_it(upkeep: Upkeep, objects: ObjectBackend) -> None:
    upkeep.run("1", files={"a/f": b"x", "g": b"yy"})
    upkeep.run("10", YOUNG)
    upkeep.run("1a", YOUNG)
    upkeep.write({"1/foreign.txt": b"abc", "1/.versions/x/f": b"y", "orphan/f": b"o", "1.json": b"j"})
    outside = ["1/a/f", "some/1/a/f", "some/prefix1/a/f"]
    if objects.client:
        for key in outside:
            objects.client.put_object(Bucket=objects.bucket, Key=key, Body=b"x")
    done = upkeep.gc()
    assert upkeep.gone(done) == ["1"]
    assert (len(done.runs[0].sizes), done.runs[0].size) == (4, 7)
    assert upkeep.keys() == ["1.json", "10/a/f.txt", "1a/a/f.txt", "orphan/f"]
    if objects.client:
        there = {o["Key"] for o in objects.client.list_objects_v2(Bucket=objects.bucket)["Contents"]}
        assert set(outside) <= there
    assert upkeep.run_log.read("1").status == "SUCCESS", "run logs stay"
    mark = upkeep.mark("1")
    assert mark is not None
    assert (mark.state, mark.files, mark.size) == ("removed", 4, 7)
    found = upkeep.verify("1")
    assert (found.is_whole, found.files, found.collected) == (True, 0, 2)
    assert upkeep.gone(upkeep.gc()) == [], "what is gone is not looked at again"


def test_many_files_go_many_at_a_time(upkeep: Upkeep, monkeypatch: pytest.MonkeyPatch) -> None:
    upkeep.run("1", files={f"part-{number % 7}/{number:05}": b"%d" % number for number in range(MANY)})
    upkeep.run("10", YOUNG)
    assert upkeep.verify("1").files == MANY
    calls: list[int] = []
    delete = obstore.delete
    monkeypatch.setattr(obstore, "delete", lambda store, keys: [calls.append(len(keys)), delete(store, keys)])
    done = upkeep.gc()
    assert len(done.runs[0].sizes) == MANY
    assert upkeep.keys() == ["10/a/f.txt"]
    assert calls in ([1000, 1000, 500], []), "a folder has no requests to save"


def test_runs_that_go_on_stay_and_what_to_do_is_said(memory: Upkeep) -> None:
    memory.run("airflow", is_ended=False)
    memory.run("elsewhere", is_ended=False, scheduler={"type": "command", "hostname": "gone", "pid": 7})
    memory.run("here", is_ended=False, scheduler=_process())
    memory.run("dead", is_ended=False, scheduler=_process("0"))
    memory.run("by hand", is_ended=False, scheduler={})
    memory.run("again")
    memory.run_log.reopen("again")  # its tasks were cleared
    done = memory.gc()
    assert memory.gone(done) == ["dead"]
    why = memory.why(done)
    assert "`magnus runlog repair --airflow airflow`" in why["airflow"]
    assert "process 7 of gone" in why["elsewhere"]
    assert set(why) == {"airflow", "elsewhere", "here", "by hand", "again"}
    assert memory.gone(memory.gc(ended=["elsewhere"])) == ["elsewhere"]


def test_a_run_that_a_kept_one_was_made_from_stays(memory: Upkeep) -> None:
    memory.run("first")
    memory.run("second", original_run_id="first", reused=["make"])
    memory.run("third", YOUNG, original_run_id="second", reused=["make"])
    memory.run("fourth", original_run_id="first", reused=["make"])
    done = memory.gc()
    assert memory.gone(done) == ["fourth"]
    assert memory.why(done)["second"] == "run third refers to it"


def test_a_run_whose_files_a_kept_one_names_stays(memory: Upkeep) -> None:
    """Also where the document does not show them: those of a step that was taken over from another run."""
    memory.run("1", files={"f": b"x"})
    memory.run("10", YOUNG, files={})
    memory.record("10", MAKE, mock=True, data_catalog=[memory.entry("1/f", "f", b"x")])
    assert memory.gone(memory.gc()) == []


def test_pinned_runs_stay(memory: Upkeep) -> None:
    for run_id in ("a", "b", "c"):
        memory.run(run_id)
    memory.run_log.marks.pin("a")
    memory.run_log.marks.pin("b")
    memory.run_log.marks.pin("b", is_pinned=False)
    done = memory.gc(pins=["c"])
    assert memory.gone(done) == ["b"]
    assert memory.why(done) == {"a": "it is pinned", "c": "it is pinned"}


def test_the_folder_of_the_wrong_catalog_is_noticed(memory: Upkeep) -> None:
    """Nothing is marked as gone that lies somewhere else."""
    memory.run("1")
    config = {"type": "file-system", "config": {"catalog_location": "other"}}
    memory.run("2", run_config={"catalog": config})
    memory.run("3", run_config={"catalog": {"type": "do-nothing", "config": {}}}, files={})
    memory.objects = Upkeep(open_object_store("memory://")).objects
    done = memory.gc()
    assert memory.gone(done) == []
    assert "is this the catalog that it used?" in memory.why(done)["1"]
    assert "in the catalog other" in memory.why(done)["2"]
    assert memory.run_log.marks.collections() == {}


def test_tasks_that_ran_again_after_their_run_was_collected_count_anew(memory: Upkeep) -> None:
    memory.run("1", files={"f": b"x"})
    assert memory.gone(memory.gc()) == ["1"]
    memory.record("1", MAKE, data_catalog=memory.put("1", {"f": b"new"}))
    memory.run_log.write_document("1")
    found = memory.verify("1")
    assert (found.is_whole, found.files, found.collected) == (True, 1, 1)
    obstore.delete(memory.objects.store, "1/f")
    assert memory.damages("1") == {"f": "missing"}
    memory.write({"1/f": b"new"})
    assert memory.gone(memory.gc()) == [], "it is young again"
    assert memory.keys("1") == ["1/f"]
    assert memory.gone(memory.gc(older_than=MONTH * 0)) == ["1"]
    assert memory.keys("1") == []


# gc: hostile input


@pytest.mark.parametrize("run_id", ["..", "../../x", ".versions", "", "a/b", "a\\b", "a\nb"])
def test_hostile_run_ids_name_no_folder(tmp_path: Path, run_id: str) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "f").write_text("1")
    for store in (open_object_store("memory://"), open_object_store(str(tmp_path / "catalog" / "c"))):
        folders = run_folders(store, "c")
        with pytest.raises(StoreError, match="cannot be the name of a run's folder"):
            folders.sizes(run_id)
        with pytest.raises(StoreError, match="cannot be the name of a run's folder"):
            folders.remove(run_id, [], lambda count: None)
    assert (tmp_path / "x" / "f").exists()


@pytest.mark.parametrize("key", ["10/f", "1", "1/../10/f", "1/./f", "1//f", "/1/f", "../1/f"])
def test_keys_outside_the_folder_are_refused(upkeep: Upkeep, key: str) -> None:
    upkeep.run("10")
    folders = run_folders(upkeep.objects.store, "c")
    with pytest.raises(ValueError, match="does not lie in the folder of run '1'"):
        folders.remove("1", ["1/f", key], lambda count: None)
    assert upkeep.keys() == ["10/a/f.txt"]


def test_a_header_that_claims_to_be_of_another_run_moves_nothing(memory: Upkeep) -> None:
    memory.run("young", YOUNG)
    header = RunHeader(
        run_id="young", token="t", started="2020-01-01 00:00:00+00:00", scheduler=_process("0")
    )
    memory.parts.put(layout.header_key("poison"), header.model_dump_json())
    memory.parts.put(layout.header_key("broken"), '{"run_id": ' + "[" * 100_000)
    memory.run("1")
    collector = memory.collector()
    choice = collector.choose(Policy(MONTH))
    assert [one.run_id for one in choice.chosen] == ["1"]
    assert set(choice.unreadable) == {"poison", "broken"}
    assert "header is that of run 'young'" in choice.unreadable["poison"]


def test_an_object_that_is_no_text_concerns_its_own_run_alone(
    memory: Upkeep, monkeypatch: pytest.MonkeyPatch
) -> None:
    for run_id in ("header", "document", "part", "whole", "young"):
        memory.run(run_id, YOUNG if run_id in ("part", "young") else OLD)
    (part, *_) = [key for key in memory.parts.list_keys("part/steps") if key.endswith(".close.json")]
    broken = {layout.header_key("header"), layout.document_key("document"), part}
    read = memory.parts.read

    def checked(keys: Iterable[str]) -> Mapping[str, str]:
        wanted = list(keys)
        if broken & set(wanted):
            raise ValueError("no UTF-8")
        return read(wanted)

    monkeypatch.setattr(memory.parts, "read", checked)
    choice = memory.collector().choose(Policy(MONTH))
    assert [one.run_id for one in choice.chosen] == ["whole"]
    assert choice.unreadable == dict.fromkeys(["header", "document", "part"], "no UTF-8")


def test_links_are_removed_and_never_followed(local: Upkeep, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "precious").write_text("1")
    local.run("1", files={"f": b"x"})
    local.run("2", files={"f": b"x"})
    catalog = tmp_path / "catalog"
    (catalog / "1" / "folder").symlink_to(home)
    (catalog / "1" / "file").symlink_to(home / "precious")
    (catalog / "1" / "sub").mkdir()
    (catalog / "2").rename(tmp_path / "moved")
    (catalog / "2").symlink_to(tmp_path / "moved")
    done = local.gc()
    assert local.gone(done) == ["1"]
    assert "is a link to" in local.why(done)["2"]
    assert not (catalog / "1").exists()
    assert (home / "precious").exists()
    assert (tmp_path / "moved" / "f").exists()


@pytest.mark.skipif(os.getuid() == 0, reason="root may remove everything")
def test_files_that_cannot_be_removed_are_a_failure_and_the_others_go(local: Upkeep, tmp_path: Path) -> None:
    local.run("1")
    local.run("2")
    folder = tmp_path / "catalog" / "1" / "a"
    folder.chmod(0o500)
    try:
        done = local.gc()
    finally:
        folder.chmod(0o700)
    assert (local.gone(done), list(done.failed)) == (["2"], ["1"])
    assert "Permission denied" in done.failed["1"]
    assert local.gone(local.gc()) == ["1"]


# gc: killed, and others meanwhile


class Killed(BaseException):
    """What no handler of ours catches."""


def test_killed_at_any_moment_it_is_finished_by_the_next(
    upkeep: Upkeep, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before its first write, its second, and so on, and between any two removals."""
    moment = 0
    while True:
        runs = [f"{moment}-{number}" for number in range(2)]
        for run_id in runs:
            upkeep.run(run_id, files={"a": b"1", "b/c": b"2", "b/d": b"3"})
        upkeep.run(f"{moment}-young", YOUNG)
        with monkeypatch.context() as patch:
            countdown = _Countdown(moment)
            patch.setattr("airflow_magnus.stores.run_folders._AT_ONCE", 1)
            patch.setattr(upkeep.parts, "put", countdown.before(upkeep.parts.put))
            patch.setattr(obstore, "delete", countdown.before(obstore.delete))
            patch.setattr(Path, "unlink", countdown.before(Path.unlink))
            try:
                upkeep.gc()
            except Killed:
                is_killed = True
            else:
                is_killed = False
        for run_id in runs:
            mark = upkeep.mark(run_id)
            is_complete = len(upkeep.keys(run_id)) == 3
            assert is_complete or mark is not None, "files are gone, and nobody would know why"
            assert upkeep.verify(run_id).is_whole
            if mark is not None and mark.state == "removed":
                assert upkeep.keys(run_id) == []
        upkeep.gc(older_than=MONTH * 1000)
        for run_id in runs:
            mark = upkeep.mark(run_id)
            assert upkeep.keys(run_id) == [] if mark else len(upkeep.keys(run_id)) == 3
        assert upkeep.verify(f"{moment}-young").files == 1
        if not is_killed:
            break
        moment += 1
    told = 2  # a mark, and the index of it
    assert moment == 2 * told + 2 * (3 + told), "two marks first; of each run its files, then its mark"


class _Countdown:
    def __init__(self, left: int) -> None:
        self._left = left

    def before(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **options: Any) -> Any:
            self._left -= 1
            if self._left < 0:
                raise Killed
            return call(*arguments, **options)

        return counted


@pytest.mark.parametrize("what", ["re-run", "names a file", "pin", "attempt", "goes on again"])
def test_a_run_that_is_needed_in_the_last_moment_stays(memory: Upkeep, what: str) -> None:
    memory.run("1", files={"f": b"x"})
    memory.run("2")

    def meanwhile() -> None:
        if what == "re-run":
            memory.run("new", YOUNG, is_ended=False, original_run_id="1", reused=["make"])
        elif what == "names a file":
            memory.run("new", YOUNG, files={}, entries=[memory.entry("1/f", "f", b"x")])
        elif what == "pin":
            memory.run_log.marks.pin("1")
        elif what == "attempt":
            memory.run_log.open_attempt("1", MAKE, "cleared", {})
        else:
            memory.run_log.reopen("1")

    done = memory.collect(memory.collector(), Policy(MONTH), meanwhile)
    assert memory.gone(done) == ["2"]
    assert memory.mark("1") is None
    assert (memory.verify("1").is_whole, memory.verify("1").files) == (True, 1)


def test_what_was_collected_before_stays_known_when_a_collection_is_withdrawn(memory: Upkeep) -> None:
    memory.run("1", files={"old": b"x"})
    memory.gc()
    earlier = memory.mark("1")
    memory.record("1", MAKE, data_catalog=memory.put("1", {"new": b"y"}))
    memory.run_log.write_document("1")
    done = memory.collect(memory.collector(), Policy(MONTH * 0), lambda: memory.run_log.marks.pin("1"))
    assert memory.gone(done) == []
    assert memory.mark("1") == earlier
    assert memory.verify("1").is_whole


def test_what_is_put_after_the_run_was_looked_at_is_not_removed(memory: Upkeep) -> None:
    memory.run("1", files={"f": b"x"})
    memory.collect(memory.collector(), Policy(MONTH), lambda: memory.write({"1/late": b"y"}))
    assert memory.keys("1") == ["1/late"]


def test_two_collections_at_once_do_no_harm(upkeep: Upkeep) -> None:
    upkeep.run("1", files={"a": b"1", "b": b"2"})
    first = upkeep.collector()
    choice = first.choose(Policy(MONTH))
    assert upkeep.gone(upkeep.gc()) == ["1"]
    done = first.collect(choice.chosen)
    assert (upkeep.gone(done), done.failed) == (["1"], {})
    assert upkeep.verify("1").is_whole


def test_a_marker_of_a_folder_that_another_tool_made_is_no_obstacle(
    upkeep: Upkeep, objects: ObjectBackend
) -> None:
    if not objects.client or not objects.is_conditional:
        pytest.skip("only S3 has them")
    upkeep.run("1", files={"sub/f": b"x"})
    for key in ("some/prefix/1/", "some/prefix/1/sub/"):
        objects.client.put_object(Bucket=objects.bucket, Key=key)
    done = upkeep.gc()
    assert (upkeep.gone(done), done.failed) == (["1"], {})


# marks


def test_marks_are_kept_by_every_kind_of_store(parts: PartStore) -> None:
    marks = RunMarks(parts)
    upkeep = Upkeep(open_object_store("memory://"), parts)
    upkeep.run("1")
    upkeep.run("10", OLD)
    assert (marks.pinned(), marks.collections(), marks.collection("1")) == ([], {}, None)
    marks.pin("1")
    marks.pin("10")
    marks.pin("10", is_pinned=False)
    assert marks.pinned() == ["1"]
    assert upkeep.gone(upkeep.gc()) == ["10"]
    assert list(marks.collections()) == ["10"]
    assert upkeep.run_log.run_ids() == ["1", "10"], "marks are no runs"


def test_a_pin_that_cannot_be_read_stops_the_collection(memory: Upkeep) -> None:
    memory.run("1")
    memory.parts.put(layout.pin_key("1"), "{")
    with pytest.raises(StoreError, match=r"\.pins/1\.json cannot be read"):
        memory.gc()
    assert memory.keys("1")


def _process(started: str | None = None) -> dict[str, Any]:
    """An owner of a run on this machine: this process, or one that was there at another time."""
    from airflow_magnus.stores.owners import process_started

    started = process_started(os.getpid()) if started is None else started
    return {"type": "command", "hostname": socket.gethostname(), "pid": os.getpid(), "started": started}
