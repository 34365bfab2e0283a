"""``s3`` of a step, and its inputs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from airflow_magnus.errors import ConfigurationError
from airflow_magnus.operators.settings import StepSettings
from airflow_magnus.pipeline.model import (
    CatalogMountRequest,
    CatalogRequest,
    DataSource,
    EndpointRequest,
    MountRequest,
)
from airflow_magnus.pipeline.parser import check_pipeline, load_pipeline

_PIPELINE = """\
dag:
  start_at: copy
  steps:
    copy:
      type: task
      command_type: shell
      command: "true"
      next: success
      s3: {s3}
    success: {{type: success}}
    fail: {{type: fail}}
"""


def _file(folder: Path, s3: str) -> Path:
    file = folder / "pipeline.yaml"
    file.write_text(_PIPELINE.format(s3=s3))
    return file


@pytest.mark.parametrize(
    ("s3", "expected"),
    [
        ("{out: true}", EndpointRequest(out=True)),
        (
            '{inputs: {labresults: {from: "results/**"}}, out: true}',
            EndpointRequest({"labresults": DataSource(("results/**",))}, out=True),
        ),
        (
            '{inputs: {ab.c-1: {from: ["a/*", "b"]}}}',
            EndpointRequest({"ab.c-1": DataSource(("a/*", "b"))}),
        ),
        (
            "{inputs: {old: {from: {run: latest, pipeline: train, files: model.bin}}}}",
            EndpointRequest({"old": DataSource(("model.bin",), run="latest", pipeline="train")}),
        ),
        (
            f"{{inputs: {{one: {{from: {{digest: {'ab' * 32}}}}}}}, keep_failed: true}}",
            EndpointRequest({"one": DataSource(digest="ab" * 32)}, keep_failed=True),
        ),
        (
            "{inputs: {raw: {from: {bucket: lab, prefix: in/, conn_id: lab_s3}}}}",
            EndpointRequest({"raw": DataSource(bucket="lab", prefix="in/", conn_id="lab_s3")}),
        ),
    ],
)
def test_an_endpoint_is_read(tmp_path: Path, s3: str, expected: EndpointRequest) -> None:
    step = load_pipeline(_file(tmp_path, s3)).graph.steps["copy"]
    assert step.endpoint == expected


@pytest.mark.parametrize(
    ("s3", "message"),
    [
        ("null", "is empty: name inputs, or write out: true"),
        ("{inputs: {10.0.0.1: {from: a}}}", '"10.0.0.1" cannot be a bucket'),
        ('{inputs: {abc: {from: "s3://lab/in/"}}}', "write from: {bucket: lab, prefix: in}"),
        ('{inputs: {abc: {from: {bucket: "s3://lab/in"}}}}', "write the name alone, and prefix:"),
        ("{}", "gives nothing: name inputs, or write out: true"),
        ("{out: false}", "gives nothing"),
        ("{out: maybe}", "must be true or false"),
        ("{outs: true}", 'unknown key "outs"'),
        ("{inputs: {out: {from: a}}}", '"out" is the bucket that the step writes'),
        ("{inputs: {Lab: {from: a}}}", '"Lab" cannot be a bucket: 3 to 63 of'),
        ("{inputs: {ab: {from: a}}}", '"ab" cannot be a bucket'),
        ("{inputs: {abc: {}}}", "from is missing"),
        ("{inputs: {abc: {glob: /, from: a}}}", "write from: with the pattern of the files"),
        ("{inputs: {abc: {from: a, join: b}}}", "joins are not there"),
        ("{inputs: {abc: {from: ../a}}}", "leads out of the compute data folder"),
        ("{inputs: {abc: {from: []}}}", "must name a pattern at least"),
        (
            "{inputs: {abc: {from: 7}}}",
            "must be a pattern of files, a list of patterns, or a mapping of files",
        ),
        ("{inputs: {abc: {from: {digest: abc}}}}", "is no sha256"),
        (f"{{inputs: {{abc: {{from: {{digest: {'a' * 64}, run: x}}}}}}}}", "run cannot stand beside digest"),
        ("{inputs: {abc: {from: {bucket: lab, run: x}}}}", "run cannot stand beside bucket"),
        ("{inputs: {abc: {from: {prefix: lab}}}}", "prefix belongs to a bucket"),
        ("{inputs: {abc: {from: {runs: x}}}}", 'unknown key "runs"; the nearest is "run"'),
    ],
)
def test_faults_say_what_to_write(tmp_path: Path, s3: str, message: str) -> None:
    faults, _ = check_pipeline(_file(tmp_path, s3))
    assert message in " ".join(str(fault) for fault in faults)


def _mount(folder: Path, mount: str) -> Path:
    file = _file(folder, mount)
    file.write_text(file.read_text().replace("      s3: ", "      mount: "))
    return file


def test_folders_are_read(tmp_path: Path) -> None:
    file = _mount(tmp_path, "{inputs: {lab: {from: a}}, out: true, engine: s3fs, fallback: copy}")
    step = load_pipeline(file).graph.steps["copy"]
    assert step.endpoint == MountRequest(
        {"lab": DataSource(("a",))}, out=True, engine="s3fs", fallback="copy"
    )
    assert load_pipeline(_mount(tmp_path, "{out: true}")).graph.steps["copy"].endpoint == MountRequest(
        out=True
    )


@pytest.mark.parametrize(
    ("mount", "message"),
    [
        (
            "{out: true, engine: rclon}",
            'unknown value "rclon"; the nearest is "rclone"; allowed: rclone, s3fs',
        ),
        ("{out: true, fallback: true}", "fallback"),
        ("{out: true, engines: s3fs}", 'unknown key "engines"'),
        ("null", "is empty"),
    ],
)
def test_faults_of_folders(tmp_path: Path, mount: str, message: str) -> None:
    faults, _ = check_pipeline(_mount(tmp_path, mount))
    assert message in " ".join(str(fault) for fault in faults)


def test_folders_and_endpoint_do_not_stand_together(tmp_path: Path) -> None:
    file = _file(tmp_path, "{out: true}\n      mount: {out: true}")
    faults, _ = check_pipeline(file)
    assert "cannot stand beside s3" in str(faults[0])


def test_only_steps_that_run_a_command_have_an_endpoint(tmp_path: Path) -> None:
    file = _file(tmp_path, "{out: true}")
    file.write_text(file.read_text().replace("type: task", "type: as-is"))
    faults, _ = check_pipeline(file)
    assert '"s3" has no place on a step of type as-is' in str(faults[0])


def _catalog(folder: Path, catalog: str) -> Path:
    file = _file(folder, catalog)
    file.write_text(file.read_text().replace("      s3: ", "      catalog: ", 1))
    return file


def test_a_mounted_catalog_is_read(tmp_path: Path) -> None:
    file = _catalog(tmp_path, "{mode: mount, engine: s3fs, fallback: copy, get: [a], put: [b]}")
    step = load_pipeline(file).graph.steps["copy"]
    assert step.endpoint == CatalogMountRequest(engine="s3fs", fallback="copy")
    assert step.catalog == CatalogRequest(None, ("a",), ("b",))
    assert load_pipeline(_catalog(tmp_path, "{mode: copy}")).graph.steps["copy"].endpoint is None


@pytest.mark.parametrize(
    ("catalog", "message"),
    [
        ("{mode: munt}", 'unknown value "munt"; the nearest is "mount"'),
        ("{mode: 3}", "must be text"),
        ("{engine: rclone}", "belongs to mode: mount"),
        ("{mode: copy, fallback: copy}", "belongs to mode: mount"),
        ("{mode: mount, engine: nfs}", 'unknown value "nfs"'),
        ("{mode: mount, compute_data_folder: .}", "must be a folder below the working folder"),
        ("{mode: mount}\n      s3: {out: true}", "cannot stand beside s3"),
        ("{mode: mount}\n      mount: {out: true}", "cannot stand beside mount"),
    ],
)
def test_faults_of_a_mounted_catalog(tmp_path: Path, catalog: str, message: str) -> None:
    faults, _ = check_pipeline(_catalog(tmp_path, catalog))
    assert [fault for fault in faults if message in fault.message], faults


def test_step_that_runs_nothing_has_no_mounted_catalog(tmp_path: Path) -> None:
    file = _catalog(tmp_path, "{mode: mount}")
    file.write_text(file.read_text().replace("type: task", "type: as-is"))
    faults, _ = check_pipeline(file)
    assert [fault for fault in faults if "which runs nothing" in fault.message], faults


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"catalog": {"mode": "copy"}}, 'catalog must be a mapping with "mode": "mount"'),
        ({"catalog": {"mode": "mount", "get": ["a"]}}, 'unknown key "get"'),
        ({"catalog": {"mode": "mount"}, "s3": {"out": True}}, "s3 and catalog cannot stand on one step"),
    ],
)
def test_faults_of_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        StepSettings(**settings).endpoint  # noqa: B018 - the property checks
