"""What the DAG processor does with a file, without its manager and without a database."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import logging
import os
import sys
from pathlib import Path
from typing import Any


def prepare(home: Path) -> None:
    """Import what the DAG processor and most DAG files import.

    :param home: becomes AIRFLOW_HOME; nothing of the user's own is read.
    """
    (home / "dags").mkdir(parents=True)
    for name in [name for name in os.environ if name.startswith(("AIRFLOW__", "MAGNUS_"))]:
        del os.environ[name]
    os.environ |= {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
        "AIRFLOW__DAG_FACTORY__ENABLE_TELEMETRY": "False",
        "DO_NOT_TRACK": "1",
    }
    import airflow.dag_processing.manager
    import airflow.dag_processing.processor
    import airflow.providers.standard.operators.bash
    import airflow.providers.standard.operators.python
    import airflow.sdk  # noqa: F401

    logging.disable(logging.WARNING)


def execute(file: Path) -> dict[str, Any]:
    """Import a DAG file as Airflow's importer does: compiled bytecode is taken when there is some.

    :returns: its DAGs.
    """
    from airflow.sdk import DAG

    name = f"bench_{file.stem}"
    file_loader = importlib.machinery.SourceFileLoader(name, str(file))
    spec = importlib.util.spec_from_loader(name, file_loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    file_loader.exec_module(module)
    return {value.dag_id: value for value in vars(module).values() if isinstance(value, DAG)}


def parse(file: Path) -> int:
    """All that the process of one file does: import it, check its DAGs and serialise them.

    :returns: how many DAGs it has.
    :raises RuntimeError: when the file does not load as it should.
    """
    import structlog
    from airflow.dag_processing.processor import DagFileParseRequest, _parse_file

    request = DagFileParseRequest(file=str(file), bundle_path=file.parent, bundle_name="bench")
    result = _parse_file(request, structlog.get_logger())
    if result is None or result.import_errors:
        raise RuntimeError(f"{file}: {result and result.import_errors}")
    sent = result.model_dump_json()
    assert sent
    return len(result.serialized_dags)
