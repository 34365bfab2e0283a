"""What all parts of the contents manager stand on: the bucket, the folder of runs, and what was opened here."""

from __future__ import annotations

import functools
import gc
from collections import OrderedDict
from functools import cached_property
from typing import TYPE_CHECKING, Any

from jupyter_server.services.contents.manager import AsyncContentsManager

from airflow_magnus.jupyter.bucket import Bucket
from airflow_magnus.jupyter.connection import Connection
from airflow_magnus.jupyter.errors import read_only
from airflow_magnus.jupyter.paths import Keys, checked, is_same_or_below
from airflow_magnus.jupyter.settings import S3Settings
from airflow_magnus.jupyter.tree import Tree

if TYPE_CHECKING:
    from airflow_magnus.jupyter.runs import Runs

_REMEMBERED = 10_000


@functools.cache
def _freeze_what_was_imported() -> None:
    """Let garbage collections pass over what is there when the server has started.

    That is some 200,000 objects of modules, and a list of 10,000 files makes so many new ones that all are gone through:
    for 0.1 s nobody else would be answered.
    """
    gc.freeze()


class ContentsBase(S3Settings, AsyncContentsManager):
    """The contents manager without what Jupyter asks of it."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.store()  # a server without a bucket does not start

    @cached_property
    def connection(self) -> Connection:
        """The bucket's connection; nothing is asked before it is used."""
        _freeze_what_was_imported()
        return Connection(self.store(), lambda: self.authentication_class(parent=self))

    @cached_property
    def tree(self) -> Tree:
        """Files and folders of the bucket."""
        return Tree(Bucket(self.connection), Keys(self.prefix), self.multipart_copy_above)

    @cached_property
    def runs(self) -> Runs | None:
        """The folder of runs; None when none is shown."""
        if not self.run_log:
            return None
        from airflow_magnus.jupyter.runs import Runs

        return Runs.of(self)

    @cached_property
    def _etags(self) -> OrderedDict[str, str]:
        """Of files that were opened or saved here, the newest last."""
        return OrderedDict()

    def remember(self, path: str, etag: str) -> None:
        """Note what a file was when it was opened or saved here."""
        self._etags[path] = etag
        self._etags.move_to_end(path)
        while len(self._etags) > _REMEMBERED:
            self._etags.popitem(last=False)

    def forget(self, path: str) -> None:
        """Note that a file, or a folder, is not what it was."""
        for known in [known for known in self._etags if is_same_or_below(known, path)]:
            del self._etags[known]

    def is_of_runs(self, path: str) -> bool:
        """Whether a path is the folder of runs, or in it."""
        return bool(self.run_log) and is_same_or_below(path, self.runs_folder)

    def own(self, path: str) -> str:
        """A path of the bucket.

        :raises HTTPError: 404, when it is none; 403, when it is of the folder of runs.
        """
        path = checked(path)
        if self.is_of_runs(path):
            raise read_only(path)
        return path
