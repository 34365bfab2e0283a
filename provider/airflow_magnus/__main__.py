"""``python -m airflow_magnus``: the command line."""

from __future__ import annotations

import sys

from airflow_magnus.cli import main

if __name__ == "__main__":
    sys.exit(main())
