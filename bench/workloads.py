"""The folders of files that are moved: ``1000x16K`` is 1,000 files of 16 KiB."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

_UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3}
_NAMES = {"": "B", "K": "KiB", "M": "MiB", "G": "GiB"}
_BLOCK = 16 * 1024**2


@dataclass(frozen=True)
class Workload:
    """Files of one size.

    :param letter: names the folder; the null server wants one letter.
    """

    letter: str
    count: int
    size: int
    name: str

    @property
    def total(self) -> int:
        """Bytes of all files."""
        return self.count * self.size

    @property
    def kind(self) -> str:
        """``small``, ``mid`` or ``large``: what is aimed at differs."""
        if self.size < 1024**2:
            return "small"
        return "mid" if self.count > 1 else "large"

    def write(self, data: Path) -> Path:
        """Write the files, no two of them the same, into a folder of their own below ``data``; returns it."""
        folder = data / self.letter
        folder.mkdir(parents=True)
        block = os.urandom(min(self.size, _BLOCK))
        for number in range(self.count):
            with (folder / f"file-{number:05d}").open("wb") as file:
                file.write(number.to_bytes(8) + block[8:])
                for start in range(len(block), self.size, len(block)):
                    file.write(block[: self.size - start])
        return folder

    def is_whole(self, folder: Path) -> bool:
        """Whether a folder holds as many files of this size."""
        with os.scandir(folder) as found:
            sizes = [entry.stat().st_size for entry in found]
        return sizes == [self.size] * self.count


def workloads(texts: str) -> list[Workload]:
    """The workloads that a text names, separated by commas.

    :raises ValueError: when a part of it is none.
    """
    made = []
    for letter, text in zip("abcdefgh", texts.split(","), strict=False):
        match = re.fullmatch(r"(\d{1,4})x(\d+)([KMG]?)", text.strip())
        if match is None:
            raise ValueError(
                f"{text!r} is no workload: write 1000x16K for 1,000 files of 16 KiB, at most 8000 files"
            )
        count, size = int(match[1]), int(match[2]) * _UNITS[match[3]]
        made.append(Workload(letter, count, size, f"{count:,} × {match[2]} {_NAMES[match[3]]}"))
    return made
