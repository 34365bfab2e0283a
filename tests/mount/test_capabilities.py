"""The table of the documentation says what each engine can do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mount_capabilities import PROBES
from mount_stage import MountStage

pytestmark = pytest.mark.external

PAGE = Path(__file__).parents[2] / "docs" / "pages" / "mount.md"


def _table() -> dict[str, dict[str, str]]:
    rows = [line.strip("| ").split(" | ") for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    return {row[0]: {"rclone": row[1], "s3fs": row[2]} for row in rows if len(row) == 3}


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.__name__)
def test_an_engine_can_do_what_the_table_says(
    stage: MountStage, engine: str, probe: Callable[[MountStage, str], str]
) -> None:
    assert probe(stage, engine) == _table()[probe.__doc__ or ""][engine]
