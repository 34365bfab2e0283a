"""What a DAG tells of its stores in Airflow's database."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_magnus.hooks.description import Description, describe, read_description
from airflow_magnus.hooks.services import ServiceSources
from airflow_magnus.pipeline.model import ServiceSettings


def sources(**settings: ServiceSettings) -> ServiceSources:
    return ServiceSources(settings, {"catalog": "my_catalog"}, Path("/pipelines"))


def test_description_is_read_as_it_was_written() -> None:
    run_log = ServiceSettings("s3", {"s3_bucket": "b", "endpoint_url": "http://s3", "aws_conn_id": "aws"})
    given = sources(run_log_store=run_log)
    text = describe(given, dag_hash="h", scope="group")
    assert read_description(text) == Description(given, "h", "group")


def test_folder_and_executor_are_not_told_where_no_page_needs_them() -> None:
    given = sources(executor=ServiceSettings("local", {"enable_parallel": True}))
    read = read_description(describe(given))
    assert read == Description(ServiceSources({}, {"catalog": "my_catalog"}))


@pytest.mark.parametrize(
    ("connection_string", "is_told"),
    [
        ("postgresql://u:${pw}@h/db", True),
        ("postgresql://u@h/db", True),
        ("sqlite:///runs.db", True),
        ("postgresql://u:pw@h/db", False),
        ("postgresql://u:a${pw}@h/db", False),
        ("postgresql://h/db?user=u&password=pw", False),
        ("postgresql://[u:pw@h/db", False),
    ],
)
def test_password_is_never_told(connection_string: str, is_told: bool) -> None:
    given = sources(run_log_store=ServiceSettings("db", {"connection_string": connection_string}))
    text = describe(given)
    read = read_description(text)
    assert read is not None
    assert ("run_log_store" in read.sources.settings) is is_told
    assert ("run_log_store" in read.withheld) is not is_told
    assert is_told or "pw" not in text


def test_settings_of_another_packages_store_are_not_told() -> None:
    text = describe(sources(catalog=ServiceSettings("vault", {"key": "k-123"})))
    read = read_description(text)
    assert read is not None
    assert list(read.withheld) == ["catalog"]
    assert "k-123" not in text


@pytest.mark.parametrize(
    "text", [None, "", "words", "[]", "{}", '{"magnus": 1}', '{"magnus": {"settings": {"catalog": {}}}}']
)
def test_other_documentation_of_a_task_is_no_description(text: str | None) -> None:
    assert read_description(text) is None
