"""Which part of a long list a page shows, and the addresses of the pages before and after."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode


@dataclass(frozen=True)
class Pager:
    """One page of a list.

    :param wanted: number of the page, from 1; one that is not there stands for the nearest.
    :param query: of the page's address, without its number.
    """

    total: int
    size: int
    wanted: int
    query: Mapping[str, str]

    @property
    def pages(self) -> int:
        """How many there are, at least 1."""
        return max(1, -(-self.total // self.size))

    @property
    def number(self) -> int:
        """Which one is shown, from 1."""
        return min(max(1, self.wanted), self.pages)

    @property
    def part(self) -> slice:
        """The part of the list."""
        return slice((self.number - 1) * self.size, self.number * self.size)

    @property
    def first(self) -> int:
        """Number of the first row that is shown, from 1; 0 of an empty list."""
        return min((self.number - 1) * self.size + 1, self.total)

    @property
    def last(self) -> int:
        """Number of the last row that is shown."""
        return min(self.number * self.size, self.total)

    @property
    def before(self) -> str:
        """Address of the page before; "" on the first."""
        return self._address(self.number - 1) if self.number > 1 else ""

    @property
    def after(self) -> str:
        """Address of the page after; "" on the last."""
        return self._address(self.number + 1) if self.number < self.pages else ""

    def _address(self, number: int) -> str:
        given = {key: value for key, value in self.query.items() if value and key != "number"}
        return "?" + urlencode({**given, "number": str(number)})
