"""Names and values that mean something to Jinja, to a shell or to a path are text, wherever they pass through."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from airflow_magnus.runlog.records import RunLog
from pipelines import function, graph, linear, mapped, parallel, python, shell

Execute = Callable[..., RunLog]

SPELLS = [
    "{{ ds }}", "{{ 1 / 0 }}", "{% for x in y %}", "{# gone", "{{ ''.__class__.__mro__ }}", "{{ var.value.x }}",
    "$(touch pwned)", "`touch pwned`", "${HOME}", "$HOME", "; touch pwned", "' ; touch pwned ; '", '" ; touch pwned ; "',
    "&& touch pwned", "| touch pwned", "> pwned", "a\ntouch pwned", "\\$(touch pwned)", "../../x", "/etc/passwd", "-rf",
    "%s%n", "~", "*", "\u202eabc", "🙂", "e\u0301", "NULL", "", " ", "\t", "#", "!!python/object/apply:os.system [ls]",
]  # fmt: skip


def nothing_was_run(project: Path) -> None:
    assert not list(project.parent.rglob("pwned*"))


def test_values_of_parameters_stay_text_through_every_kind_of_step(execute: Execute, project: Path) -> None:
    (project / "work.py").write_text("def back(v): return {'from_python': v}\n")
    (project / "show.sh").write_text(
        'import json, os\njson.dump(os.environ["MAGNUS_PRM_v"], open("seen.json", "w"))\n'
    )
    (project / "values.yaml").write_text(
        json.dumps({"v": SPELLS, "d": {spell: spell for spell in SPELLS}}, ensure_ascii=False)
    )
    echo = 'python3 show.sh; printf %s "$MAGNUS_PRM_v" > printed; cp "$MAGNUS_PARAMETERS_FILE" all.json'
    steps = {
        "lambda": function("lambda v, d: {'from_lambda': v, 'again': d}"),
        "python": python("work.back"),
        "shell": shell(echo),
    }
    log = execute(linear(steps), "--parameters-file", "values.yaml")
    assert log.status == "SUCCESS", log.steps
    for name in ("v", "from_lambda", "from_python"):
        assert log.parameters[name] == SPELLS
    assert log.parameters["d"] == log.parameters["again"] == {spell: spell for spell in SPELLS}
    assert json.loads(json.loads((project / "seen.json").read_text())) == SPELLS
    assert json.loads((project / "printed").read_text()) == SPELLS
    assert json.loads((project / "all.json").read_text())["v"] == SPELLS
    nothing_was_run(project)


def test_a_value_of_the_command_line_or_the_environment_stays_text(
    execute: Execute, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for index, spell in enumerate(SPELLS):
        monkeypatch.setenv(f"MAGNUS_PRM_e{index}", spell)
    options = [f"--o{index}={spell}" for index, spell in enumerate(SPELLS)]
    log = execute(
        linear({"only": shell("true")}, parameters={"d": "{{ ds }} $(touch pwned) ${HOME}"}), *options
    )
    assert log.parameters["d"] == "{{ ds }} $(touch pwned) ${HOME}"
    for index, spell in enumerate(SPELLS):
        assert log.parameters[f"o{index}"] == spell, "an option is text"
        as_json = spell.strip('"') if spell.startswith('"') else spell  # what is JSON is read as JSON
        assert log.parameters[f"e{index}"] == as_json
    nothing_was_run(project)


NAMES = [
    "{{ ds }}", "{% if x %}", "{# x #}", "$(touch pwned)", "`touch pwned`", "${HOME}", "; touch pwned", "' touch '", '"', "a\\b", "-x",
    "../x" , "🙂", "é", "e\u0301", "A", "a", "%(x)s", "~", "*", "[x]", "<b>", "a&b", "#", "@", "x" * 255,
]  # fmt: skip


def test_names_of_steps_stay_text(execute: Execute, project: Path) -> None:
    """Those that a name of a step may be; the others are refused when the file is read."""
    from airflow_magnus.pipeline.grammar import name_fault

    names = [name for name in NAMES if not name_fault(name)]
    assert len(names) > 15
    steps = {
        name: shell("printf %s \"$MAGNUS_PRM_n\" > seen; mkdir -p data; date > data/f", catalog={"put": ["f"]})
        for name in names
    }  # fmt: skip
    log = execute(linear(steps, parameters={"n": 1}))
    assert log.status == "SUCCESS"
    assert list(log.steps) == [*names, "success"]
    assert [step.name for step in log.steps.values()] == [*names, "success"]
    nothing_was_run(project)


def test_names_of_branches_and_items_of_maps_stay_text(execute: Execute, project: Path) -> None:
    from airflow_magnus.pipeline.grammar import name_fault

    names = [name for name in NAMES if not name_fault(name)][:8]
    items = SPELLS[::3]
    steps = {
        "p": parallel({name: {"inside": function("lambda: {'x': 1}")} for name in names}),
        "m": mapped({"inside": function("lambda item: {'last': item}")}, over="items"),
        "shell": mapped(
            {"inside": shell('printf "%s\\n" "$MAGNUS_PRM_MAP_VARIABLE" >> items.txt')}, over="items"
        ),
    }
    (project / "values.yaml").write_text(json.dumps({"items": items}, ensure_ascii=False))
    log = execute(linear(steps), "--parameters-file", "values.yaml")
    assert log.status == "SUCCESS", [step.message for step in log.steps.values()]
    assert [key.removeprefix("p.") for key in log.steps["p"].branches] == names
    assert len(log.steps["m"].branches) == len(items)
    assert log.parameters["last"] == items[-1]
    lines = (project / "items.txt").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [{"item": spell} for spell in items]
    nothing_was_run(project)


FILES = [
    "{{ ds }}.txt", "{% x %}", "$(touch pwned)", "`touch pwned`", "${HOME}", "; touch pwned", "-rf", "a\\b", "%00", "%2e%2e",
    "..x", "x..", "é", "e\u0301", "A", "a", "~", "#", "f" * 240, "🙂" * 60,
]  # fmt: skip


def test_names_of_files_stay_text(execute: Execute, project: Path) -> None:
    (project / "work.py").write_text(
        "import json, pathlib\n"
        "def make(files):\n"
        "    for name in files:\n"
        "        path = pathlib.Path('data') / name / name\n"
        "        path.parent.mkdir(parents=True, exist_ok=True)\n"
        "        path.write_text(name)\n"
        "def look(files):\n"
        "    assert all((pathlib.Path('data') / n / n).read_text() == n for n in files)\n"
        "    return {'found': len([p for p in pathlib.Path('data').rglob('*') if p.is_file()])}\n"
    )
    (project / "values.yaml").write_text(json.dumps({"files": FILES}, ensure_ascii=False))
    move: dict[str, Any] = {"get": ["**"]}
    steps = {
        "make": python("work.make", catalog={"put": ["**"]}),
        "clean": shell("rm -r data"),
        "look": python("work.look", catalog=move),
        "one": shell("true", catalog={"get": ["{{ ds }}.txt/*", "$(touch pwned)/*"]}),
    }
    log = execute(linear(steps), "--parameters-file", "values.yaml")
    assert log.status == "SUCCESS", [a.message for step in log.steps.values() for a in step.attempts]
    assert log.parameters["found"] == len(FILES)
    assert sorted(e.name for e in log.steps["make"].data_catalog) == sorted(
        f"{name}/{name}" for name in FILES
    )
    assert sorted(e.name for e in log.steps["one"].data_catalog) == [
        "$(touch pwned)/$(touch pwned)", "{{ ds }}.txt/{{ ds }}.txt"
    ]  # fmt: skip
    assert not list(project.parent.rglob("pwned"))


@pytest.mark.parametrize("spell", ["{{ ds }}", "$(touch pwned)", "`touch pwned`", "' || touch pwned '"])
def test_tags_and_run_ids_stay_text(execute: Execute, project: Path, spell: str) -> None:
    command = 'printf %s "$MAGNUS_RUN_ID" > seen'
    log = execute(linear({"only": shell(command)}), "--tag", spell, "--run-id", spell)
    assert (log.run_id, log.tag, log.status) == (spell, spell, "SUCCESS")
    assert (project / "seen").read_text() == spell
    nothing_was_run(project)


def test_a_definition_is_not_rendered(execute: Execute, project: Path) -> None:
    """Not what Airflow shows of it either: descriptions and documentation come from the file as they are."""
    section = {**graph({"only": shell("true")}), "description": "{{ 1 / 0 }} $(touch pwned) <script>"}
    log = execute(yaml.safe_dump({"dag": section}, sort_keys=False))
    assert log.status == "SUCCESS"
    nothing_was_run(project)
