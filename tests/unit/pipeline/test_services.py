from __future__ import annotations

import logging
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from airflow_magnus.errors import PipelineError
from airflow_magnus.pipeline.model import ServiceSettings
from airflow_magnus.pipeline.services import resolve_services


def test_first_file_that_names_a_service_is_used_whole_when_several_do(write, tmp_path: Path) -> None:
    config = write(
        "catalog: {type: file-system, config: {compute_data_folder: d1}}\nsecrets:\n", "config.yaml"
    )
    write(
        "defaults:\n  catalog: {type: file-system, config: {catalog_location: c3}}\n"
        "  executor: {type: local, config: {enable_parallel: 'true'}}\n  secrets: {type: dotenv}\n",
        "magnus-config.yaml",
    )
    in_pipeline = {"catalog": ServiceSettings("do-nothing"), "run_log_store": ServiceSettings("file-system")}
    assert resolve_services(config, in_pipeline, tmp_path, {}) == {
        "catalog": ServiceSettings("file-system", {"compute_data_folder": "d1"}),
        "run_log_store": ServiceSettings("file-system"),
        "executor": ServiceSettings("local", {"enable_parallel": True}),
        "secrets": ServiceSettings("dotenv"),
    }


def test_nothing_is_named_when_no_file_does(tmp_path: Path) -> None:
    assert resolve_services(None, {}, tmp_path, {}) == {}


def test_variables_are_substituted_when_config_file_uses_them(write, tmp_path: Path) -> None:
    config = write(
        "catalog: {type: s3, config: {s3_bucket: $b, use_credentials: 'False', prefix: null}}", "config.yaml"
    )
    services = resolve_services(config, {}, tmp_path, {"b": "bucket"})
    assert services["catalog"].config == {"s3_bucket": "bucket", "use_credentials": False}


@pytest.mark.parametrize(
    "section",
    [
        "mode: {type: local}\nexecutor: {type: local}",
        "run_log_store: {type: buffered}",
        "run_log_store: {type: chunked-fs, config: {log_folder: x}}",
        "run_log_store: {type: chunked-s3, config: {url: 's3://b/p', aws_conn_id: c, max_concurrency: 3}}",
        "run_log_store: {type: db, config: {connection_string: 'sqlite://'}}",
        "catalog: {type: do-nothing, config: {compute_data_folder: x}}",
        "catalog: {type: s3, config: {s3_bucket: b, prefix: '', endpoint_url: 'http://x', addressing_style: path}}",
        "secrets: {type: env-secrets-manager}",
        "secrets: {type: aws-secrets-manager, config: {secret_arn: a, region: r}}",
        "experiment_tracker: {type: do-nothing}",
        "x-anchor: {a: 1}",
    ],
)
def test_service_is_accepted_when_type_and_config_are_known(write, tmp_path: Path, section: str) -> None:
    services = resolve_services(write(section, "config.yaml"), {}, tmp_path, {})
    assert set(services) <= {"executor", "run_log_store", "catalog", "secrets"}


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        (
            "catalog: {type: file-sytem}",
            '1:17: catalog.type: unknown type of catalog "file-sytem"; the nearest is "file-system"; allowed: do-nothing',
        ),
        ("catalog: {typ: s3}", '1:11: catalog.typ: unknown key "typ"; the nearest is "type"'),
        ("catalog: {config: {}}", "1:1: catalog: needs a type; allowed: do-nothing, file-system, s3"),
        ("catalog: file-system", "must be a mapping"),
        ("catalog: {type: s3}", "1:1: catalog: catalog of type s3 needs s3_bucket or url"),
        ("catalog: {type: s3, config: {bucket: b}}", 'unknown key "bucket"; the nearest is "s3_bucket"'),
        (
            "catalog: {type: s3, config: {s3_bucket: 3}}",
            'must be text, not the number 3: write it in quotes, "3"',
        ),
        (
            "catalog: {type: s3, config: {url: u, addressing_style: pth}}",
            'the nearest is "path"; allowed: auto, path, virtual',
        ),
        ("catalog: {type: s3, config: {url: u, max_concurrency: 0}}", "integer of at least 1"),
        (
            "catalog: {type: file-system, config: {compute_data_folder: ../x}}",
            "leads out of the working folder",
        ),
        ("catalog: {type: k8s-pvc}", "write file-system and point its folder"),
        ("run_log_store: {type: buffered, config: {x: 1}}", 'unknown key "x": none is allowed here'),
        ("run_log_store: {type: db}", "needs connection_string"),
        ("secrets: {type: aws-secrets-manager}", "needs secret_arn"),
        ("mode: {type: argo}", '"argo" is not supported: write local and run the pipeline on Airflow itself'),
        ("executor: {type: slurm}", "executor_config.airflow.queue"),
        ("executor: {type: local, config: {enable_parallel: 3}}", "must be true or false"),
        (
            "mode: {type: local}\nexecutor: {type: local, config: {enable_parallel: true}}",
            "2:1: executor: mode and executor name different executors",
        ),
        ("experiment_tracker: {type: mlflow}", "write do-nothing"),
        ("experiment_tracker: {type: other}", "write do-nothing"),
        ("run_log: {type: file-system}", "write run_log_store"),
        ("catalogue: {}", 'unknown key "catalogue"; the nearest is "catalog"'),
        ("- a", "must be a mapping"),
    ],
)
def test_fault_says_what_is_allowed_when_service_is_refused(
    write, tmp_path: Path, section: str, expected: str
) -> None:
    with pytest.raises(PipelineError) as caught:
        resolve_services(write(section, "config.yaml"), {}, tmp_path, {})
    (fault,) = caught.value.faults
    assert expected in str(fault)


def test_faults_of_both_files_are_reported_when_both_are_faulty(write, tmp_path: Path) -> None:
    write("defaults: {catalog: {type: x}}\nother: 1\n", "magnus-config.yaml")
    with pytest.raises(PipelineError) as caught:
        resolve_services(tmp_path / "none.yaml", {}, tmp_path, {})
    assert len(caught.value.faults) == 3


def test_extensions_are_a_warning_when_named(write, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write("extensions: [my.module]\n", "magnus-config.yaml")
    with caplog.at_level(logging.WARNING):
        assert resolve_services(None, {}, tmp_path, {}) == {}
    assert "entry points" in caplog.text


def test_type_of_another_package_is_accepted_when_its_entry_point_is_installed(
    write, tmp_path: Path, load, step_text, monkeypatch
) -> None:
    def installed(group: str) -> list[EntryPoint]:
        return [EntryPoint("mine", "my.module:Thing", group)]

    monkeypatch.setattr("airflow_magnus.pipeline.extensions.entry_points", installed)
    config = write("catalog: {type: mine, config: {anything: [1]}}", "config.yaml")
    assert resolve_services(config, {}, tmp_path, {}) == {
        "catalog": ServiceSettings("mine", {"anything": [1]})
    }
    assert (
        load(step_text("command_config: {x: 1}").replace("shell", "mine")).graph.steps["a"].command_type
        == "mine"
    )
