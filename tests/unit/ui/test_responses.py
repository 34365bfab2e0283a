"""What is said of errors."""

from __future__ import annotations

import pytest

from airflow_magnus.ui.responses import PageError


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("looked for in /opt/airflow/magnus/run_log, as", "looked for in …/run_log, as"),
        ("cannot read '/srv/a b'", "cannot read '…/a b'"),
        ("in file:///srv/run_log (gone)", "in …/run_log (gone)"),
        (
            "in s3://bucket/run_log/x and at http://host/a/b",
            "in s3://bucket/run_log/x and at http://host/a/b",
        ),
        ("the file raw/a.csv of /", "the file raw/a.csv of /"),
    ],
)
def test_errors_show_no_folder_of_the_server(text: str, shown: str) -> None:
    assert PageError(404, text, text).what_to_do == PageError(404, text, text).title == shown
