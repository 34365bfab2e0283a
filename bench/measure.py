"""Interleaved repetitions in forked processes, their medians and ratios, and tables of them.

The DAG processor parses each file in a process that it forks, with Airflow imported and the heap frozen. A measured
action runs the same way: what it imports and keeps is gone afterwards, so that each repetition is a first one.
"""

from __future__ import annotations

import functools
import gc
import os
import pickle
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, BinaryIO

Action = Callable[[], object]


@dataclass(frozen=True)
class Sample:
    """One repetition, in milliseconds."""

    cpu: float
    wall: float


@dataclass(frozen=True)
class Result:
    """All repetitions of one case."""

    name: str
    samples: tuple[Sample, ...]

    @property
    def cpu(self) -> float:
        """Median of CPU time, milliseconds."""
        return median(sample.cpu for sample in self.samples)

    @property
    def wall(self) -> float:
        """Median of elapsed time, milliseconds."""
        return median(sample.wall for sample in self.samples)

    @property
    def spread(self) -> tuple[float, float]:
        """The quickest and the slowest repetition, CPU milliseconds."""
        times = sorted(sample.cpu for sample in self.samples)
        return times[0], times[-1]


def forked(action: Action) -> Any:
    """Give what an action returns in a process of its own.

    :raises RuntimeError: when it raised; its traceback is on stderr.
    """
    reading, writing = os.pipe()
    sys.stdout.flush()
    process = os.fork()
    if not process:
        os.close(reading)
        _answer(action, os.fdopen(writing, "wb"))
    os.close(writing)
    with os.fdopen(reading, "rb") as answer:
        data = answer.read()
    os.waitpid(process, 0)
    if not data:
        raise RuntimeError("the action failed in its process; its traceback is above")
    return pickle.loads(data)


def _answer(action: Action, pipe: BinaryIO) -> None:
    status = 1
    try:
        with pipe:
            pickle.dump(action(), pipe)
        status = 0
    except BaseException:  # a child never returns into its parent's code
        traceback.print_exc()
    finally:
        os._exit(status)


def timed(action: Action, before: Action | None = None) -> Sample:
    """Time one run of an action in this process.

    :param before: done first, and not measured.
    """
    if before is not None:
        before()
    wall, cpu = time.perf_counter(), time.process_time()
    action()
    return Sample((time.process_time() - cpu) * 1000, (time.perf_counter() - wall) * 1000)


def interleaved(
    actions: Mapping[str, Action], repetitions: int, warm_up: Mapping[str, Action] | None = None
) -> dict[str, Result]:
    """Run every action once, in a forked process, then every one again, each round beginning with another one.

    :param warm_up: what is done before the action of the same name in its process, and not measured.
    """
    gc.collect()
    gc.freeze()  # as the DAG processor does before it forks
    names = list(actions)
    samples: dict[str, list[Sample]] = {name: [] for name in names}
    for turn in range(repetitions):
        start = turn % len(names)
        for name in names[start:] + names[:start]:
            before = (warm_up or {}).get(name)
            samples[name].append(forked(functools.partial(timed, actions[name], before)))
    gc.unfreeze()
    return {name: Result(name, tuple(taken)) for name, taken in samples.items()}


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, aligned for a terminal: the first column to the left, the others to the right."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    first, *others = widths
    lines = [head, *rows]
    texts = [
        "| "
        + " | ".join([line[0].ljust(first), *(t.rjust(w) for t, w in zip(line[1:], others, strict=True))])
        for line in lines
    ]
    rule = "| " + " | ".join(["-" * first, *("-" * (width - 1) + ":" for width in others)])
    return "\n".join(f"{line} |" for line in (texts[0], rule, *texts[1:])) + "\n"
