"""Checkpoints beside their files."""

from __future__ import annotations

from typing import Any

import pytest
from tornado.web import HTTPError

from jupyter_stage import Stage, stage_of
from servers.memory import MemoryServer

pytestmark = pytest.mark.anyio


def text(content: str) -> dict[str, Any]:
    return {"type": "file", "format": "text", "content": content}


async def ids(stage: Stage, path: str) -> list[str]:
    return [found["id"] for found in await stage.manager.list_checkpoints(path)]


async def test_several_checkpoints_are_kept_and_restored(stage: Stage) -> None:
    made = []
    for content in ("one", "two", "three"):
        await stage.manager.save(text(content), "f/a b.txt")
        made.append((await stage.manager.create_checkpoint("f/a b.txt"))["id"])
    assert await ids(stage, "f/a b.txt") == made
    assert stage.all_keys("f/a b.txt/") == [f"f/a b.txt/.checkpoints/{number}" for number in made]
    await stage.manager.restore_checkpoint(made[1], "f/a b.txt")
    assert stage.read("f/a b.txt") == b"two"
    await stage.manager.delete_checkpoint(made[1], "f/a b.txt")
    assert await ids(stage, "f/a b.txt") == [made[0], made[2]]
    with pytest.raises(HTTPError) as refused:
        await stage.manager.restore_checkpoint(made[1], "f/a b.txt")
    assert refused.value.status_code == 404


async def test_checkpoints_follow_their_file_and_end_with_it(stage: Stage) -> None:
    await stage.manager.save(text("x"), "f/a.txt")
    made = (await stage.manager.create_checkpoint("f/a.txt"))["id"]
    await stage.manager.rename("f/a.txt", "f/b.txt")
    assert await ids(stage, "f/b.txt") == [made]
    await stage.manager.rename("f", "g")
    assert await ids(stage, "g/b.txt") == [made]
    await stage.manager.copy("g/b.txt", "")
    assert await ids(stage, "b.txt") == []
    await stage.manager.delete("g/b.txt")
    assert stage.all_keys("g") == ["g/"]


async def test_oldest_checkpoints_are_removed_when_there_are_more_than_the_setting(quick: Stage) -> None:
    quick.manager.checkpoints.max_checkpoints = 3
    await quick.manager.save(text("x"), "a.txt")
    made = [(await quick.manager.create_checkpoint("a.txt"))["id"] for _ in range(5)]
    assert await ids(quick, "a.txt") == made[2:]


async def test_checkpoints_lie_elsewhere_where_keys_below_objects_are_refused(memory: MemoryServer) -> None:
    stage = stage_of(memory)
    memory.set_rules(refuses_below=True)
    await stage.manager.save(text("one"), "f/a.txt")
    made = (await stage.manager.create_checkpoint("f/a.txt"))["id"]
    assert stage.all_keys() == [f"f/.checkpoints/a.txt/{made}", "f/a.txt"]
    await stage.manager.save(text("two"), "f/a.txt")
    await stage.manager.restore_checkpoint(made, "f/a.txt")
    assert stage.read("f/a.txt") == b"one"
    assert [m["name"] for m in (await stage.manager.get("f"))["content"]] == ["a.txt"]
    await stage.manager.rename("f/a.txt", "b.txt")
    assert await ids(stage, "b.txt") == [made]
    assert stage.all_keys() == [f".checkpoints/b.txt/{made}", "b.txt", "f/"]
    await stage.manager.new_untitled(type="notebook")
    assert len(stage.all_keys(".checkpoints/Untitled.ipynb/")) == 1
    await stage.manager.delete("b.txt")
    assert stage.all_keys("b.txt") == stage.all_keys(".checkpoints/b.txt") == []


async def test_notebook_whose_object_others_have_removed_can_be_saved_again(quick: Stage) -> None:
    await quick.manager.new_untitled(type="notebook")
    opened = await quick.manager.get("Untitled.ipynb")
    quick.client.delete_object(Bucket=quick.bucket, Key=f"{quick.prefix}Untitled.ipynb")
    quick.manager.forget("Untitled.ipynb")
    await quick.manager.save(opened, "Untitled.ipynb")
    assert await quick.manager.file_exists("Untitled.ipynb")
