"""A gateway whose buckets can be mounted, for each test; and that nothing is left behind any of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mount_stage import MountStage, mount_stage, within


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[MountStage]:
    """A gateway; when the test is over there must be nothing of its mounts."""
    with mount_stage(tmp_path) as made:
        yield made
        assert within(6, lambda: not made.left()), made.left()


@pytest.fixture(params=["rclone", "s3fs"])
def engine(request: pytest.FixtureRequest) -> str:
    """Each engine."""
    return str(request.param)
