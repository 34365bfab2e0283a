from __future__ import annotations

import re

from airflow_magnus.pipeline.describe import as_markdown, as_mermaid, as_text

TEXT = """
dag:
  description: What it does
  start_at: get "it" & go
  steps:
    get "it" & go: {type: task, command_type: shell, command: "echo `a` | b\\nsecond", next: each, catalog: {get: ['*'], put: [x]}}
    each:
      type: map
      iterate_on: items
      iterate_as: item
      next: success
      on_failure: repair
      branch:
        start_at: end
        steps:
          end: {type: task, command: m.f, next: success}
          success: {type: success}
          fail: {type: fail}
    repair: {type: as-is, next: success}
    success: {type: success}
    fail: {type: fail}
"""


def test_text_names_every_step_and_way_when_branches_are_nested(load) -> None:
    lines = as_text(load(TEXT)).splitlines()
    assert lines[:3] == ["name: pipeline", "description: What it does", "steps:"]
    assert lines[3] == '  ▶ get "it" & go [shell: echo `a` | b …] → each, on failure → fail'
    assert "      gets *" in lines
    assert "  each [map: item of items] → success, on failure → repair" in lines
    assert "    ├ for each item" in lines
    assert "      ▶ end [python: m.f] → success, on failure → fail" in lines


def test_mermaid_ids_are_safe_and_labels_escaped_when_names_are_odd(load) -> None:
    text = as_mermaid(load(TEXT))
    assert text.startswith("flowchart TD\n")
    assert '["get #quot;it#quot; #amp; go<br/>shell: echo #96;a#96; | b …"]' in text
    assert "n_each -.->|on failure| n_repair" in text
    assert "n_each --> n_success" in text
    assert 'subgraph n_each["each (map)"]' in text
    assert text.count("subgraph") == 2 == len(re.findall(r"^ *end$", text, re.M))
    assert all(re.fullmatch(r"n_[A-Za-z0-9_]+", identifier) for identifier in re.findall(r"\bn_\w+", text))


def test_markdown_table_has_a_row_for_each_step_when_commands_hold_pipes(load) -> None:
    lines = as_markdown(load(TEXT)).splitlines()
    rows = [line for line in lines if line.startswith("| ")]
    assert len(rows) == 2 + 4
    assert "What it does" in lines
    assert rows[2] == '| get "it" & go | task | ``echo `a` \\| b …`` | each | fail | `*` | `x` |'
    assert rows[3].startswith("| each | map | item of items | success | repair |")
    assert rows[5].startswith("| repair | as-is |  | success | fail |")
    assert rows[4].startswith("| each.\\*.end | task | `m.f` | success | fail |")
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {8}


BRANCH = "{start_at: s, steps: {s: {type: task, command: m.f, next: success}, success: {type: success}, fail: {type: fail}}}"
CHOICES = f"""
dag:
  start_at: choose
  steps:
    choose:
      type: conditional
      parameter: colour
      next: again
      branches: {{light red: {BRANCH}, default: {BRANCH}}}
    again:
      type: loop
      max_iterations: 4
      break_on: is_done
      next: success
      branch: {BRANCH}
    success: {{type: success}}
    fail: {{type: fail}}
"""


def test_text_names_values_and_shows_a_loop_once_when_steps_are_conditional_and_loop(load) -> None:
    lines = as_text(load(CHOICES)).splitlines()
    assert lines[2] == "  ▶ choose [conditional: by colour] → again, on failure → fail"
    assert [line.strip() for line in lines if "├" in line] == [
        "├ when light red",
        "├ when default",
        "├ repeat at most 4 times until is_done",
    ]
    assert "  again [loop: at most 4 times until is_done] → success, on failure → fail" in lines
    assert len([line for line in lines if "m.f" in line]) == 3


def test_default_is_called_otherwise_when_it_is_no_value(load) -> None:
    text = CHOICES.replace("default: ", "blue: ").replace(
        "next: again", f"next: again\n      default: {BRANCH}"
    )
    titles = [line.strip() for line in as_text(load(text)).splitlines() if "├" in line]
    assert titles[:3] == ["├ when light red", "├ when blue", "├ otherwise"]


def test_title_is_short_when_a_loop_runs_once_and_nothing_ends_it(load) -> None:
    text = CHOICES.replace("iterations: 4", "iterations: 1").replace("break_on: is_done", "break_on: null")
    assert "    ├ repeat at most 1 time" in as_text(load(text)).splitlines()


def test_mermaid_shows_a_loop_once_when_steps_are_conditional_and_loop(load) -> None:
    text = as_mermaid(load(CHOICES))
    assert 'subgraph n_choose["choose (conditional: by colour)"]' in text
    assert 'subgraph n_choose_2e_light_20_red["when light red"]' in text
    assert 'subgraph n_again["again (loop)"]' in text
    assert 'subgraph n_again_2e_0["repeat at most 4 times until is_done"]' in text
    assert text.count("python: m.f") == 3


def test_markdown_has_one_row_for_a_loops_step_when_steps_are_conditional_and_loop(load) -> None:
    rows = [line for line in as_markdown(load(CHOICES)).splitlines() if line.startswith("| ")][2:]
    assert [row.split(" | ")[0] for row in rows] == [
        "| choose",
        "| choose.light red.s",
        "| choose.default.s",
        "| again",
        "| again.\\*.s",
    ]
    assert rows[0] == "| choose | conditional | by colour | again | fail |  |  |"
    assert rows[3] == "| again | loop | at most 4 times until is\\_done | success | fail |  |  |"
