"""What importing the contents manager costs others."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("airflow", "boto3", "botocore", "obstore", "sqlalchemy", "pydantic")


@pytest.mark.parametrize("extra", ["", "j.JupyterS3(aws_s3_bucket='b').connection"])
def test_neither_airflow_nor_boto3_is_imported(extra: str) -> None:
    code = f"import sys; import airflow_magnus.jupyter as j; {extra or None}; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_missing_extra_is_named() -> None:
    code = "import sys; sys.modules['jupyter_server'] = None; import airflow_magnus.jupyter"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "pip install 'airflow-provider-magnus[jupyter]'" in done.stderr
