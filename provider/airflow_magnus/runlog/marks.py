"""Marks on runs, beside their records: pinned, collected. What is marked can change, so a mark is written over."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from airflow_magnus.runlog.records import Record, timestamp


class Pin(Record):
    """Whether the files of a run are kept whatever its age.

    :param at: when that was said.
    """

    run_id: str
    is_pinned: bool
    at: str = Field(default_factory=timestamp)


class Collection(Record):
    """That the files of a run were removed from the catalog.

    :param state: ``removing`` before the first file goes; ``removed`` after the last; ``withdrawn``: none was removed,
        as the run turned out to be needed.
    :param at: when the removal began: what was recorded later is not concerned.
    :param files: how many were removed.
    :param size: their bytes.
    """

    run_id: str
    state: Literal["removing", "removed", "withdrawn"] = "removing"
    at: str = Field(default_factory=timestamp)
    files: int = 0
    size: int = 0

    def covers(self, recorded: str) -> bool:
        """Whether the files of a record are gone, or may go at any moment.

        :param recorded: when it was written, as the run log writes times; "" when nobody knows.
        """
        if self.state == "withdrawn":
            return False
        return not recorded or datetime.fromisoformat(recorded) <= datetime.fromisoformat(self.at)

    @property
    def told(self) -> str:
        """For people: what has become of the files of which run."""
        when = f"`magnus catalog gc` of {self.at[:16]} UTC"
        if self.state == "removing":
            return f"the files of run {self.run_id} are being removed, or were removed in part, by {when}"
        return f"the files of run {self.run_id} were removed by {when}"
