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
    assert lines[0] == "pipeline: What it does"
    assert lines[1] == '  ▶ get "it" & go [shell: echo `a` | b …] → each, on failure → fail'
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
    assert rows[4].startswith("| each.\\*.end | task | `m.f` | success | fail |")
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {8}
