"""Files, folders and notebooks on every kind of server."""

from __future__ import annotations

import base64
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from nbformat.v4 import new_code_cell, new_notebook
from tornado.web import HTTPError

from jupyter_stage import Stage, manager_of, stage_of
from servers.memory import MemoryServer

pytestmark = pytest.mark.anyio

ODD = ["with space.txt", "a+b.txt", "ünï cödé.txt", "100%.txt", "q?&=#.txt", "emoji 🎈.txt", "x'y\"z.txt"]


def text(content: str) -> dict[str, Any]:
    return {"type": "file", "format": "text", "content": content}


def notebook(source: str = "1 + 1") -> dict[str, Any]:
    return {"type": "notebook", "content": new_notebook(cells=[new_code_cell(source)])}


async def names(stage: Stage, path: str = "") -> set[str]:
    model = await stage.manager.get(path)
    return {entry["name"] for entry in model["content"]}


async def status_of(call: Any) -> int:
    with pytest.raises(HTTPError) as refused:
        await call
    return refused.value.status_code


async def test_folder_is_an_empty_object_with_a_slash(stage: Stage) -> None:
    await stage.manager.save({"type": "directory"}, "made here")
    assert stage.all_keys() == ["made here/"]
    assert stage.read("made here/") == b""
    assert await stage.manager.dir_exists("made here")
    assert await names(stage) == {"made here"}
    assert await names(stage, "made here") == set()


async def test_folder_is_there_as_soon_as_a_key_lies_below_it(stage: Stage) -> None:
    stage.put("run/data/result.csv", b"1,2")
    assert await names(stage) == {"run"}
    assert await names(stage, "run") == {"data"}
    assert await stage.manager.dir_exists("run/data")
    assert (await stage.manager.get("run/data/result.csv"))["content"] == "1,2"


@pytest.mark.parametrize("name", ODD)
async def test_any_name_is_kept(stage: Stage, name: str) -> None:
    await stage.manager.save(text(name), f"földer +/{name}")
    assert stage.all_keys() == [f"földer +/{name}"]
    assert (await stage.manager.get(f"földer +/{name}"))["content"] == name
    assert await names(stage, "földer +") == {name}
    await stage.manager.rename(f"földer +/{name}", f"2 {name}")
    assert (await stage.manager.get(f"2 {name}"))["content"] == name
    await stage.manager.delete(f"2 {name}")
    assert not await stage.manager.file_exists(f"2 {name}")


async def test_any_file_is_given_as_it_was_uploaded(stage: Stage) -> None:
    body = bytes(range(256)) * 1000
    model = {"type": "file", "format": "base64", "content": base64.encodebytes(body).decode()}
    await stage.manager.save(model, "picture.png")
    assert stage.read("picture.png") == body
    found = await stage.manager.get("picture.png")
    assert (found["format"], found["mimetype"], found["size"]) == ("base64", "image/png", len(body))
    assert base64.b64decode(found["content"]) == body
    head = stage.client.head_object(Bucket=stage.bucket, Key=f"{stage.prefix}picture.png")
    assert head["ContentType"] == "image/png"


async def test_notebook_is_saved_read_and_has_a_checkpoint(stage: Stage) -> None:
    saved = await stage.manager.save(notebook(), "n.ipynb")
    found = await stage.manager.get("n.ipynb")
    assert found["content"]["cells"][0]["source"] == "1 + 1"
    assert found["last_modified"] == saved["last_modified"]
    assert [key for key in stage.all_keys() if key.startswith("n.ipynb/.checkpoints/")]
    assert await names(stage) == {"n.ipynb"}
    assert (await stage.manager.get("n.ipynb", type="file"))["type"] == "file"
    assert await status_of(stage.manager.get("n.ipynb", type="directory")) == 400


async def test_time_and_hash_do_not_change_without_a_change(stage: Stage) -> None:
    await stage.manager.save(notebook(), "n.ipynb")
    opened = await stage.manager.get("n.ipynb", require_hash=True)
    looked = await stage.manager.get("n.ipynb", content=False, require_hash=True)
    listed = next(m for m in (await stage.manager.get(""))["content"] if m["name"] == "n.ipynb")
    assert opened["hash"] == looked["hash"]
    assert opened["last_modified"] == looked["last_modified"] == listed["last_modified"]
    stage.put("n.ipynb", b"{}")
    assert (await stage.manager.get("n.ipynb", content=False, require_hash=True))["hash"] != opened["hash"]


async def test_hash_is_a_digest_where_that_is_asked_for(stage: Stage) -> None:
    stage.manager.hash_algorithm = "sha256"
    await stage.manager.save(text("abc"), "a.txt")
    for content in (True, False):
        found = await stage.manager.get("a.txt", content=content, require_hash=True)
        assert found["hash"] == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.mark.parametrize("kind", ["memory", pytest.param("ceph", marks=pytest.mark.external)])
async def test_deleting_and_renaming_2500_objects_touches_no_neighbour(
    kind: str, request: pytest.FixtureRequest
) -> None:
    stage = stage_of(request.getfixturevalue(kind))
    beside = ["data-2/x", "data.txt", "data0", "database/x", "datb", "dat/x", "dat", "dataa/data/x"]
    below = [f"data/{n % 7}/{n:04}.txt" for n in range(2500)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(stage.put, [*beside, *below]))
    await stage.manager.rename("data", "moved")
    assert stage.all_keys() == sorted([*beside, *(f"moved{key.removeprefix('data')}" for key in below)])
    await stage.manager.delete("moved")
    assert stage.all_keys() == sorted(beside)


async def test_prefix_is_compared_by_whole_segments(stage: Stage) -> None:
    stage.client.put_object(Bucket=stage.bucket, Key="data/own.txt", Body=b"x")
    stage.client.put_object(Bucket=stage.bucket, Key="database/other.txt", Body=b"x")
    manager = manager_of(stage.server, stage.bucket, "data")
    assert [entry["path"] for entry in (await manager.get(""))["content"]] == ["own.txt"]


@pytest.mark.parametrize("path", ["..", "../x", "a/../../x", "a/./b", "a\0b"])
async def test_nothing_outside_of_the_root_is_reached(quick: Stage, memory: MemoryServer, path: str) -> None:
    memory.set_rules()
    assert await status_of(quick.manager.get(path)) == 404
    assert await status_of(quick.manager.save(text("x"), path)) == 404
    assert await status_of(quick.manager.delete(path)) == 404
    assert await status_of(quick.manager.rename(path, "y")) == 404
    assert memory.log() == []


async def test_hidden_files_cannot_be_reached(quick: Stage) -> None:
    quick.put(".secret/a.txt")
    quick.put("seen/.b.txt")
    manager = quick.manager
    assert await names(quick) == {"seen"}
    assert await names(quick, "seen") == set()
    for path in (".secret/a.txt", "seen/.b.txt", ".secret"):
        assert await status_of(manager.get(path)) == 404
        assert await status_of(manager.delete(path)) == 400
        assert await status_of(manager.rename(path, "x")) == 400
        assert await status_of(manager.save(text("x"), path)) == 400
        assert await status_of(manager.copy(path, "seen")) == 404
    assert quick.all_keys() == [".secret/a.txt", "seen/.b.txt"]
    manager.allow_hidden = True
    assert (await manager.get("seen/.b.txt"))["content"] == "x"


async def test_copies_get_names_of_their_own(stage: Stage) -> None:
    await stage.manager.save(notebook(), "n.ipynb")
    stage.put("f/g/data.tar.gz", b"zz")
    assert (await stage.manager.copy("n.ipynb"))["path"] == "n-Copy1.ipynb"
    assert (await stage.manager.copy("n.ipynb", "f"))["path"] == "f/n.ipynb"
    assert (await stage.manager.copy("f/g/data.tar.gz"))["path"] == "f/g/data-Copy1.tar.gz"
    assert (await stage.manager.copy("f/g", ""))["path"] == "g"
    assert stage.read("g/data-Copy1.tar.gz") == b"zz"
    assert stage.all_keys("g/") == ["g/", "g/data-Copy1.tar.gz", "g/data.tar.gz"]
    assert await status_of(stage.manager.copy("f", "f/g")) == 400
    stage.manager.max_copy_folder_size_mb = 1
    stage.put("f/large", bytes(2 * 1024**2))
    assert await status_of(stage.manager.copy("f", "")) == 400


async def test_folder_outlives_what_was_last_in_it(stage: Stage) -> None:
    stage.put("a/b/c.txt")
    await stage.manager.delete("a/b/c.txt")
    assert stage.all_keys() == ["a/b/"]
    await stage.manager.rename("a/b", "d")
    assert stage.all_keys() == ["a/", "d/"]


async def test_what_is_there_is_not_overwritten(stage: Stage) -> None:
    stage.put("a.txt")
    stage.put("b.txt")
    stage.put("f/x")
    assert await status_of(stage.manager.rename("a.txt", "b.txt")) == 409
    assert await status_of(stage.manager.rename("a.txt", "f")) == 409
    assert await status_of(stage.manager.rename("f", "f/g")) == 400
    assert await status_of(stage.manager.save(text("x"), "f")) == 400
    assert await status_of(stage.manager.save({"type": "directory"}, "a.txt")) == 400
    assert await status_of(stage.manager.rename("none", "x")) == 404


async def test_change_in_the_store_is_not_overwritten_unseen(stage: Stage) -> None:
    stage.manager.conditional_saves = True
    await stage.manager.save(text("one"), "a.txt")
    opened = await stage.manager.get("a.txt")
    stage.put("a.txt", b"of a pipeline")
    assert await status_of(stage.manager.save(opened, "a.txt")) == 409
    assert stage.read("a.txt") == b"of a pipeline"
    await stage.manager.get("a.txt")
    await stage.manager.save(text("two"), "a.txt")
    assert stage.read("a.txt") == b"two"


async def test_untitled_names_count_on(quick: Stage, memory: MemoryServer) -> None:
    for number in ("", "1", "2"):
        assert (await quick.manager.new_untitled(type="notebook"))["path"] == f"Untitled{number}.ipynb"
    memory.set_rules()
    assert await quick.manager.increment_filename("Untitled.ipynb") == "Untitled3.ipynb"
    assert len(memory.log()) == 1


async def test_file_wins_where_keys_lie_below_its_name(quick: Stage) -> None:
    quick.put("both", b"file")
    quick.put("both/below.txt")
    assert [(m["name"], m["type"]) for m in (await quick.manager.get(""))["content"]] == [("both", "file")]
    assert (await quick.manager.get("both"))["content"] == "file"


async def test_objects_above_the_limit_are_copied_in_parts(stage: Stage) -> None:
    part = 6 * 1024**2
    stage.manager.multipart_copy_above = part
    body = bytes(range(256)) * (2 * part // 256) + b"tail of it"
    stage.client.put_object(
        Bucket=stage.bucket,
        Key=f"{stage.prefix}a.bin",
        Body=body,
        ContentType="text/x-own",
        Metadata={"k": "v"},
    )
    await stage.manager.rename("a.bin", "b.bin")
    assert stage.all_keys() == ["b.bin"]
    assert stage.read("b.bin") == body
    head = stage.client.head_object(Bucket=stage.bucket, Key=f"{stage.prefix}b.bin")
    assert (head["ContentType"], head["Metadata"]) == ("text/x-own", {"k": "v"})
    assert head["ETag"].endswith('-3"')
    kept = await stage.manager.create_checkpoint("b.bin")
    key = f"{stage.prefix}b.bin/.checkpoints/{kept['id']}"
    assert stage.client.head_object(Bucket=stage.bucket, Key=key)["ETag"].endswith('-3"')
    stage.put("b.bin", b"worse")
    await stage.manager.restore_checkpoint(kept["id"], "b.bin")
    assert stage.read("b.bin") == body
