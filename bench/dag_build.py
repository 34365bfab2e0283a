"""From YAML to a DAG, against the same DAG written by hand and against dag-factory, for 10, 100 and 1,000 tasks."""

from __future__ import annotations

import functools
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from bench import dag_files, processor
from bench.measure import Action, Result, forked, interleaved, table

SIZES = (10, 100, 1000)
MOST_OF_HAND = 1.1
MOST_OF_DAG_FACTORY = 0.25

OURS, ANEW, BY_HAND = "pipeline file", "pipeline file, checked anew", "written by hand"
DAG_FACTORY, PLAIN = "dag-factory, the same operators", "dag-factory, BashOperator"


@dataclass(frozen=True)
class Files:
    """The DAG files of one size."""

    ours: Path
    by_hand: Path
    dag_factory: Path
    plain: Path

    def actions(self) -> dict[str, Action]:
        """What is measured, by name."""
        actions: dict[str, Action] = {
            OURS: functools.partial(processor.execute, self.ours),
            ANEW: functools.partial(processor.execute, self.ours),
            BY_HAND: functools.partial(processor.execute, self.by_hand),
        }
        if has_dag_factory():
            actions[DAG_FACTORY] = functools.partial(processor.execute, self.dag_factory)
            actions[PLAIN] = functools.partial(processor.execute, self.plain)
        return actions


def report(folder: Path, repetitions: int) -> str:
    """Measure and give the tables as Markdown.

    :param folder: an empty one.
    """
    files = {size: write(folder, size) for size in (1, *SIZES)}
    for action in files[1].actions().values():
        action()  # every module is imported: what importing costs is another table
    before = {**files[1].actions(), ANEW: functools.partial(_without_plans, files[1].ours)}
    rows = []
    for size in SIZES:
        results = interleaved(files[size].actions(), repetitions, before)
        rows += [_row(size, name, results) for name in results]
    head = (
        "tasks",
        "DAG made of",
        "CPU ms",
        "wall ms",
        "CPU min–max",
        "× by hand",
        "× dag-factory",
        "× BashOperator",
    )
    return (
        "## Building DAGs\n\n"
        "A DAG file of each kind is imported in a process forked for it, where one of a single task was imported before:\n"
        "what importing modules and forking cost is left out.\n"
        f"Promised: at most {MOST_OF_HAND} × written by hand with the same operators, arguments and edges, and "
        f"{MOST_OF_DAG_FACTORY} × dag-factory.\n"
        "A pipeline file is checked when it was changed; else the plan that was kept is taken.\n"
        "dag-factory builds the same tasks and edges; with BashOperator, the steps alone as its users write them: less.\n\n"
        + table(head, rows)
    ) + ("" if has_dag_factory() else "\ndag-factory is not installed: `make bench` installs it.\n")


def write(folder: Path, size: int) -> Files:
    """Write the three DAG files of one size, and make sure that ours and the one by hand are the same DAG."""
    dag_id = f"tasks_{size}"
    here = folder / dag_id
    (here / "pipelines").mkdir(parents=True)
    (here / "pipelines" / f"{dag_id}.yaml").write_text(dag_files.pipeline(size), encoding="utf-8")
    files = Files(
        *(here / f"{name}.py" for name in ("ours", "by_hand", "dag_factory_same", "dag_factory_plain"))
    )
    files.ours.write_text(dag_files.loader("pipelines"), encoding="utf-8")
    by_hand, same = forked(functools.partial(_texts, files.ours, dag_id))
    files.by_hand.write_text(by_hand, encoding="utf-8")
    for file, text in (
        (files.dag_factory, same),
        (files.plain, dag_files.dag_factory(f"{dag_id}_plain", size)),
    ):
        file.with_suffix(".yaml").write_text(text, encoding="utf-8")
        file.write_text(dag_files.dag_factory_loader(file.with_suffix(".yaml")), encoding="utf-8")
    shape = forked(functools.partial(_shape, files.ours))
    assert shape == forked(functools.partial(_shape, files.by_hand)), "what is written by hand is another DAG"
    if has_dag_factory():
        edges = [(task_id, rule, below) for task_id, _, rule, below in shape]
        assert edges == [
            (task_id, rule, below)
            for task_id, _, rule, below in forked(functools.partial(_shape, files.dag_factory))
        ]
        assert len(forked(functools.partial(_shape, files.plain))) == size
    return files


def _without_plans(file: Path) -> None:
    os.environ["AIRFLOW__MAGNUS__CACHE_PLANS"] = "False"
    processor.execute(file)


def _texts(file: Path, dag_id: str) -> tuple[str, str]:
    dag = processor.execute(file)[dag_id]
    if "invalid" in dag.tags:
        raise ValueError(dag.doc_md)
    return dag_files.by_hand(dag), dag_files.dag_factory_of(dag)


def _shape(file: Path) -> list[tuple[str, str, str, list[str]]]:
    (dag,) = processor.execute(file).values()
    return [
        (task.task_id, type(task).__name__, str(task.trigger_rule), sorted(task.downstream_task_ids))
        for task in sorted(dag.tasks, key=lambda task: task.task_id)
    ]


def has_dag_factory() -> bool:
    """Whether dag-factory can be imported: it is in a folder of its own, no part of the environment."""
    packages = str(Path(__file__).parents[1] / ".bench" / "packages")
    if packages not in sys.path:
        sys.path.append(packages)
    return importable("dagfactory")


@functools.cache
def importable(name: str) -> bool:
    """Whether there is a package of this name."""
    from importlib.util import find_spec

    return find_spec(name) is not None


def _row(size: int, name: str, results: dict[str, Result]) -> list[str]:
    result = results[name]
    low, high = result.spread
    return [
        f"{size:,}",
        name,
        f"{result.cpu:.1f}",
        f"{result.wall:.1f}",
        f"{low:.1f}–{high:.1f}",
        *(
            f"{result.cpu / results[other].cpu:.2f}" if other in results else "–"
            for other in (BY_HAND, DAG_FACTORY, PLAIN)
        ),
    ]
