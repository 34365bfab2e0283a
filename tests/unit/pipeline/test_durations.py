from __future__ import annotations

from datetime import timedelta

import pytest

from airflow_magnus.pipeline.durations import parse_duration


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (0, 0),
        (90, 90),
        (1.5, 1.5),
        ("90", 90),
        ("90s", 90),
        ("5m", 300),
        ("1h30m", 5400),
        ("1d 2h 3m 4s", 93784),
        ("2w", 1209600),
        ("1.5h", 5400),
        (" 5M ", 300),
        ("00:05:00", 300),
        ("26:00:00", 93600),
    ],
)
def test_duration_is_read_when_form_is_known(value: str | float, seconds: float) -> None:
    assert parse_duration(value) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "value", ["", " ", "5x", "1y", "1:30", "00:60:00", "-5m", -1, True, float("nan"), "m", "1e400", 1e300]
)
def test_duration_is_refused_with_forms_when_unknown(value: str | float) -> None:
    with pytest.raises(ValueError, match="1h30m"):
        parse_duration(value)
