"""The run log and the catalog that a command's options name."""

from __future__ import annotations

import argparse
import logging
import sys
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_magnus.cli_runlog import add_config_file
from airflow_magnus.errors import ConfigurationError

if TYPE_CHECKING:
    from airflow_magnus.hooks.services import OpenServices
    from airflow_magnus.runlog.contents import Held
    from airflow_magnus.stores.services import CatalogObjects

RUN = "run id, an Airflow run id, or `latest`, `latest~1`, …"
"""What is said of an argument that names a run."""


def add_stores(parser: argparse.ArgumentParser) -> None:
    """Add the options that name a run log and a catalog."""
    add_config_file(parser)
    parser.add_argument("--run-log-conn-id", metavar="ID", help="Airflow connection of the run log")
    parser.add_argument("--catalog-conn-id", metavar="ID", help="Airflow connection of the catalog")
    parser.add_argument("--airflow", action="store_true", help="run log and catalog as this Airflow has them")


class Stores:
    """The run log and the catalog that the options name; opened when they are first needed."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options

    @cached_property
    def _opened(self) -> tuple[OpenServices, CatalogObjects | None]:
        from airflow_magnus.dags.reading import services_and_objects

        options = self._options
        logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
        return services_and_objects(
            Path.cwd(),
            options.config_file,
            options.run_log_conn_id,
            options.catalog_conn_id,
            of_airflow=options.airflow,
        )

    @property
    def services(self) -> OpenServices:
        """The services of the options."""
        return self._opened[0]

    @property
    def objects(self) -> CatalogObjects:
        """The objects of the catalog.

        :raises ConfigurationError: when it is one that keeps nothing.
        """
        found = self._opened[1]
        if found is None:
            raise ConfigurationError(
                "the catalog is of type do-nothing and keeps no files: name another configuration by --config-file"
            )
        return found

    def find(self, wanted: str) -> str:
        """The id of a run; nothing is written."""
        return self.services.run_log.locate(wanted)

    def contents(self, run_id: str) -> tuple[dict[str, Held], int, str]:
        """The files of a run by name; how many were removed as old, and the sentence that says so."""
        from airflow_magnus.stores.contents import contents_of

        found = contents_of(self.services.run_log, run_id)
        mark = self.services.run_log.marks.collection(run_id)
        if mark is None:
            return found, 0, ""
        there = {name: held for name, held in found.items() if not mark.covers(held.recorded)}
        return there, len(found) - len(there), mark.told
