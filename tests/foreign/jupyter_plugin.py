"""Lets suites of Jupyter's contents run on our contents manager. Loaded by ``-p``, before the suite's modules.

These suites make and look at files of this machine. So the managers that they name are replaced by one that keeps a
folder and its prefix of the bucket alike: what a test has put into the folder is in the bucket before each call, and
what the call has changed there is in the folder after it. The environment names the bucket (``SUITE_S3_…``) and the
file for what came of each test (``SUITE_REPORT``).
"""

from __future__ import annotations

import asyncio
import functools
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from jupyter_server.services.contents import filecheckpoints, filemanager, largefilemanager
from traitlets import Bool, TraitError, Unicode, default, validate

from airflow_magnus.jupyter import S3Checkpoints, S3ContentsManager
from airflow_magnus.jupyter.authentication import JupyterS3SecretAccessKeyAuthentication

_outcomes: dict[str, tuple[str, str]] = {}
_CALLS = ("copy", "create_checkpoint", "delete", "delete_checkpoint", "delete_file", "dir_exists", "exists",
          "file_exists", "get", "is_hidden", "list_checkpoints", "new", "new_untitled", "rename", "rename_file",
          "restore_checkpoint", "save", "trust_notebook", "update")  # fmt: skip


class Keys(JupyterS3SecretAccessKeyAuthentication):
    """The keys of the server."""

    @default("aws_access_key_id")
    def _default_key(self) -> str:
        return os.environ["SUITE_S3_KEY"]

    @default("aws_secret_access_key")
    def _default_secret(self) -> str:
        return os.environ["SUITE_S3_SECRET"]


class Mirror:
    """A folder, and what it was when it was the same as the prefix."""

    def __init__(self, folder: Path, prefix: str) -> None:
        from botocore.session import Session

        self._folder, self._prefix, self._bucket = folder, prefix, os.environ["SUITE_S3_BUCKET"]
        self._client: Any = Session().create_client(
            "s3",
            endpoint_url=os.environ["SUITE_S3_ENDPOINT"],
            region_name="us-east-1",
            aws_access_key_id=os.environ["SUITE_S3_KEY"],
            aws_secret_access_key=os.environ["SUITE_S3_SECRET"],
        )
        self._known: dict[str, Any] = {}
        self._etags: dict[str, str] = {}

    def push(self) -> None:
        """Let the bucket be as the folder."""
        there = self._in_folder()
        for name, seen in there.items():
            if self._known.get(name) != seen:
                body = b"" if name.endswith("/") else (self._folder / name).read_bytes()
                put = self._client.put_object(Bucket=self._bucket, Key=self._prefix + name, Body=body)
                self._etags[name] = put["ETag"]
        for name in self._known.keys() - there.keys():
            self._client.delete_object(Bucket=self._bucket, Key=self._prefix + name)
        self._known = there

    def pull(self) -> None:
        """Let the folder be as the bucket."""
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=self._prefix
        )
        items = {item["Key"]: item for page in pages for item in page.get("Contents", ())}
        names = {key.removeprefix(self._prefix): item for key, item in items.items()}
        names = {name: item for name, item in names.items() if "/.checkpoints/" not in name}
        for name in sorted(self._known.keys() - names.keys(), reverse=True):
            path = self._folder / name
            if path.is_dir() and not path.is_symlink():
                if not any(path.iterdir()):
                    path.rmdir()
            else:
                path.unlink(missing_ok=True)
        for name, item in names.items():
            path, seen = self._folder / name, item["LastModified"].timestamp()
            if name.endswith("/"):
                path.mkdir(parents=True, exist_ok=True)
            elif not path.is_file() or self._etags.get(name) != item["ETag"]:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(self._read(item["Key"]))
                os.utime(path, (seen, seen))
                self._etags[name] = item["ETag"]
        self._known = self._in_folder()

    def _read(self, key: str) -> bytes:
        return bytes(self._client.get_object(Bucket=self._bucket, Key=key)["Body"].read())

    def _in_folder(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for path in sorted(self._folder.rglob("*")):
            name = path.relative_to(self._folder).as_posix()
            if path.is_dir() and not path.is_symlink():
                found[f"{name}/"] = True
            elif path.is_file():
                stat = path.stat()
                found[name] = (stat.st_mtime_ns, stat.st_size)
        return found


class Mirrored(S3ContentsManager):
    """Our manager, with a folder beside it."""

    use_atomic_writing = Bool(True, config=True)
    delete_to_trash = Bool(True, config=True)
    always_delete_dir = Bool(False, config=True)
    root_dir = Unicode(config=True)

    @default("root_dir")
    def _default_root_dir(self) -> str:
        return str(self.parent.root_dir)

    @validate("root_dir")
    def _root_is_a_folder(self, proposal: dict[str, str]) -> str:
        if not Path(proposal["value"]).is_dir():
            raise TraitError(f"{proposal['value']} is no directory")
        return proposal["value"]

    @default("aws_s3_bucket")
    def _default_bucket(self) -> str:
        return os.environ["SUITE_S3_BUCKET"]

    @default("aws_s3_host")
    def _default_host(self) -> str:
        return os.environ["SUITE_S3_ENDPOINT"]

    @default("prefix")
    def _default_prefix(self) -> str:
        return f"suite/{uuid4().hex}/"

    @default("authentication_class")
    def _default_authentication(self) -> type[Keys]:
        return Keys

    @functools.cached_property
    def mirror(self) -> Mirror:
        """The folder."""
        return Mirror(Path(self.root_dir), self.prefix)

    def _get_os_path(self, path: str) -> str:
        return os.path.join(self.root_dir, *[part for part in path.split("/") if part])


def _in_step(name: str) -> Callable[..., Any]:
    """A method that keeps folder and bucket alike. Calls that it makes itself see the bucket alone."""

    async def call(self: Mirrored, *args: Any, **options: Any) -> Any:
        method = getattr(super(Mirrored, self), name)
        if self.__dict__.get("is_inside"):
            return await method(*args, **options)
        self.__dict__["is_inside"] = True
        try:
            await asyncio.to_thread(self.mirror.push)
            return await method(*args, **options)
        finally:
            await asyncio.to_thread(self.mirror.pull)
            self.__dict__["is_inside"] = False

    return call


for _name in _CALLS:
    setattr(Mirrored, _name, _in_step(_name))


def _replace() -> None:
    for module in (filemanager, largefilemanager):
        for name in (
            "FileContentsManager",
            "AsyncFileContentsManager",
            "LargeFileManager",
            "AsyncLargeFileManager",
        ):
            if hasattr(module, name):
                setattr(module, name, Mirrored)
    for name in (
        "FileCheckpoints",
        "AsyncFileCheckpoints",
        "GenericFileCheckpoints",
        "AsyncGenericFileCheckpoints",
    ):
        setattr(filecheckpoints, name, S3Checkpoints)
    from jupyter_server import serverapp

    serverapp.AsyncLargeFileManager = serverapp.AsyncFileContentsManager = Mirrored
    serverapp.FileContentsManager = Mirrored


_replace()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """Remember what came of each test."""
    report = yield
    if report.when == "call" or report.failed or report.skipped:
        why = str(call.excinfo.value).partition("\n")[0][:200] if call.excinfo else ""
        if _outcomes.get(item.nodeid, ("", ""))[0] != "failed":
            _outcomes[item.nodeid] = (report.outcome, why)
    return report


def pytest_sessionfinish() -> None:
    """Write it down."""
    Path(os.environ["SUITE_REPORT"]).write_text(json.dumps(_outcomes))
