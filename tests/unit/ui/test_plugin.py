"""The plugin is imported in every process of Airflow."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points


def test_plugin_loads_no_page_and_no_store() -> None:
    code = (
        "import sys, airflow.plugins_manager; before = set(sys.modules)\n"
        "from airflow_magnus.ui.plugin import MagnusPlugin\n"
        "heavy = ('fastapi', 'jinja2', 'boto3', 'obstore', 'sqlalchemy', 'airflow_magnus.ui.app')\n"
        "print([n for n in heavy if n in set(sys.modules) - before])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().splitlines()[-1] == "[]"


def test_airflow_finds_the_plugin() -> None:
    from airflow_magnus.ui.plugin import MagnusPlugin

    found = [entry for entry in entry_points(group="airflow.plugins") if entry.name == "magnus"]
    assert [entry.load() for entry in found] == [MagnusPlugin]
