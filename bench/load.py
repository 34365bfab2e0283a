"""A pipeline of 1,000 steps, and a folder of 200 pipelines: all that the DAG processor does, against its limits."""

from __future__ import annotations

import functools
from pathlib import Path

from bench import dag_files, processor
from bench.measure import forked, interleaved, table

STEPS = 1000
PIPELINES, STEPS_EACH = 200, 10


def report(folder: Path, repetitions: int) -> str:
    """Measure and give the table as Markdown.

    :param folder: an empty one.
    """
    from airflow.configuration import conf

    names = {
        f"1 pipeline of {STEPS:,} steps": _write(folder / "one", 1, STEPS),
        f"{PIPELINES} pipelines of {STEPS_EACH} steps": _write(folder / "many", PIPELINES, STEPS_EACH),
    }
    counts = [forked(functools.partial(processor.parse, file)) for file in names.values()]
    assert counts == [1, PIPELINES]
    actions = {}
    for name, file in names.items():
        actions[f"{name}: the file is imported"] = functools.partial(processor.execute, file)
        actions[f"{name}: and its DAGs are serialised"] = functools.partial(processor.parse, file)
    results = interleaved(actions, repetitions)
    limits = (
        conf.getfloat("core", "dagbag_import_timeout"),
        conf.getfloat("dag_processor", "dag_file_processor_timeout"),
    )
    rows = []
    for number, (name, result) in enumerate(results.items()):
        limit = limits[number % 2]
        seconds = result.wall / 1000
        rows.append(
            [name, f"{result.cpu / 1000:.2f}", f"{seconds:.2f}", f"{limit:g}", f"{seconds / limit:.1%}"]
        )
    head = ("what", "CPU s", "wall s", "Airflow's default limit, s", "of it")
    return (
        "## Within the DAG processor's limits\n\n"
        "A process with Airflow imported and nothing of this package, as the DAG processor forks it for each file.\n\n"
        + table(head, rows)
    )


def _write(folder: Path, pipelines: int, steps: int) -> Path:
    (folder / "pipelines").mkdir(parents=True)
    for number in range(pipelines):
        file = folder / "pipelines" / f"pipeline_{number}.yaml"
        file.write_text(dag_files.pipeline(steps), encoding="utf-8")
    dag_file = folder / "dags.py"
    dag_file.write_text(dag_files.loader("pipelines"), encoding="utf-8")
    return dag_file
