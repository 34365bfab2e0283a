from __future__ import annotations

from pathlib import Path

import pytest

from airflow_magnus.operators.calling import executed_copy


@pytest.mark.parametrize(
    ("output", "items", "path"),
    [
        (None, [], "deep/report_out.ipynb"),
        ("o.ipynb", [], "o.ipynb"),
        (None, ["a"], "deep/report_out_a.ipynb"),
        ("out/o.ipynb", ["a b", "~e", "ü~2"], "out/o_a b_~e_ü~2.ipynb"),
        ("o.ipynb", ["~d~d/x", "a/b\\c\0*"], "o_~d~d%2Fx_a%2Fb%5Cc%00%2A.ipynb"),
    ],
)
def test_executed_copy_is_named_for_the_items_in_the_same_folder(
    output: str | None, items: list[str], path: str
) -> None:
    assert executed_copy("deep/report.ipynb", output, items) == path


def test_names_of_long_items_fit_and_differ() -> None:
    names = {executed_copy("report.ipynb", None, ["ü" * 500 + end, "b"]) for end in "xy"}
    assert len(names) == 2
    for name in names:
        assert len(Path(name).name.encode()) < 200
        assert name.startswith("report_out_üü")
