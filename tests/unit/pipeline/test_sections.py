"""The sections beside ``dag``: the DAG's settings, connections, parameters as declared."""

from __future__ import annotations

import datetime

import pytest

from airflow_magnus.pipeline.model import Parameter


def test_airflow_settings_are_kept_when_correct(load, step_text) -> None:
    pipeline = load(
        step_text()
        + "airflow: {dag_id: a.b-c, schedule: null, start_date: 2024-01-01, end_date: '2025-01-01T00:00:00Z', catchup: 'false',"
        " tags: [x], owner: null, default_args: {queue: q}, dagrun_timeout: 1h, timezone: Europe/Berlin}\n"
        "connections: {catalog: c, run_log: r, secrets: null}\nx-shared: &x {a: 1}\n.hidden: *x\n"
    )
    assert pipeline.airflow == {
        "dag_id": "a.b-c",
        "schedule": None,
        "start_date": datetime.date(2024, 1, 1),
        "end_date": "2025-01-01T00:00:00Z",
        "catchup": False,
        "tags": ["x"],
        "default_args": {"queue": "q"},
        "dagrun_timeout": "1h",
        "timezone": "Europe/Berlin",
    }
    assert pipeline.connections == {"catalog": "c", "run_log": "r"}


@pytest.mark.parametrize(
    "schedule",
    [
        "'@daily'",
        "'0 6 * * *'",
        "{assets: ['s3://a', b]}",
        "{assets: [a, {pipeline: orders, file: out/report.csv}]}",
        "{cron: '@hourly', timezone: UTC}",
    ],
)
def test_schedule_is_accepted_when_form_is_known(load, step_text, schedule: str) -> None:
    assert "schedule" in load(f"{step_text()}airflow: {{schedule: {schedule}}}\n").airflow


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        ("airflow: {ownr: x}", '7:11 airflow.ownr: unknown key "ownr"; the nearest is "owner"'),
        ("airflow: {dag_id: a b}", '7:19 airflow.dag_id: "a b" is no DAG id'),
        ("airflow: {fail_fast: true}", "a failed step takes its on_failure"),
        ("airflow: {params: {}}", "write parameters at the top level"),
        ("airflow: {schedule: '@dayly'}", 'unknown preset "@dayly"; the nearest is "@daily"'),
        ("airflow: {schedule: 0 6 *}", "is no cron text"),
        ("airflow: {schedule: 5}", "must be cron text"),
        ("airflow: {schedule: {assets: []}}", "must name at least one asset"),
        ("airflow: {schedule: {assets: a}}", "write a list, ['a']"),
        ("airflow: {schedule: {assets: [5]}}", "must be text, not the number 5"),
        ("airflow: {schedule: {assets: [{pipeline: a}]}}", "airflow.schedule.assets[0]: file is missing"),
        ("airflow: {schedule: {assets: [{pipelines: a, file: b}]}}", 'the nearest is "pipeline"'),
        ("airflow: {schedule: {assets: [{pipeline: a, file: 'b/*'}]}}", '"b/*" is no name of one file'),
        ("airflow: {schedule: {asets: [a]}}", 'unknown key "asets"; the nearest is "assets"'),
        ("airflow: {schedule: {cron: '@daily', timezone: Mars}}", '"Mars" is no time zone'),
        ("airflow: {start_date: soon}", "must be a date such as 2024-01-31"),
        ("airflow: {catchup: 1}", "must be true or false, not the number 1"),
        ("airflow: {tags: x}", "write a list, ['x']"),
        ("airflow: {max_active_runs: 0}", "integer of at least 1"),
        ("airflow: {dagrun_timeout: 1y}", "is not a length of time"),
        ("airflow: {default_args: {trigger_rule: all_done}}", "trigger_rule cannot be set"),
        ("airflow: [a]", "airflow: must be a mapping"),
        ("connections: {catalg: x}", 'unknown key "catalg"; the nearest is "catalog"'),
        ("connections: {catalog: 3}", "must be text"),
        ("parameters: {a=b: 1}", "cannot name a parameter"),
        ("parameters: {a: 2024-01-01}", "must be a JSON value, not the date 2024-01-01"),
        (
            "parameters: {a: {type: integer, maximum: 3, default: 5}}",
            "7:54 parameters.a.default: the default does not fit its schema: 5 is greater",
        ),
        ("parameters: {a: {type: linear}}", "is no JSON Schema: 'linear'"),
        ("parameters: [a]", "must be a mapping"),
        (
            "dagg: {}",
            'dagg: unknown key "dagg"; the nearest is "dag"; allowed: airflow, catalog, connections, dag',
        ),
        ("run_log: {}", "write run_log_store"),
        ("steps: {}", "belongs below dag"),
        ("defaults: {}", "belongs into magnus-config.yaml"),
    ],
)
def test_fault_says_what_to_write_when_a_section_is_faulty(
    faults, step_text, section: str, expected: str
) -> None:
    (fault,) = faults(f"{step_text()}{section}\n")
    assert fault.startswith("7:")
    assert expected in fault


def test_schedule_names_both_ways_when_mapping_has_both_or_none(faults, step_text) -> None:
    assert "either assets" in faults(step_text() + "airflow: {schedule: {}}")[0]
    assert "either assets" in faults(step_text() + "airflow: {schedule: {assets: [a], cron: '@daily'}}")[0]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("3", Parameter("x", 3)),
        ("null", Parameter("x", None)),
        ("[1, a]", Parameter("x", [1, "a"])),
        ("{a: 1}", Parameter("x", {"a": 1})),
        ("{type: a, kind: b}", Parameter("x", {"type": "a", "kind": "b"})),
        ("{title: a}", Parameter("x", {"title": "a"})),
        ("{type: integer}", Parameter("x", None, {"type": "integer"}, False)),
        ("{enum: [1, 2], default: 2}", Parameter("x", 2, {"enum": [1, 2]}, True)),
        (
            "{type: [string, 'null'], default: null, section: s}",
            Parameter("x", None, {"type": ["string", "null"], "section": "s"}),
        ),
    ],
)
def test_mapping_is_schema_when_only_schema_words_stand_in_it(
    load, step_text, value: str, expected: Parameter
) -> None:
    assert load(f"{step_text()}parameters: {{x: {value}}}").parameters == {"x": expected}
