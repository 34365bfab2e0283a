"""The servers of the external tests, as far as they need no server."""

from __future__ import annotations

from pathlib import Path

import pytest

from servers.ceph import ceph_server
from servers.postgres import postgres_server
from servers.programs import ServerFailedError, ServerMissingError, answers, ended_together, free_port


@pytest.mark.parametrize("serve", [ceph_server, postgres_server])
def test_a_server_that_is_not_installed_is_a_failure_that_says_what_to_do(
    serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("servers.postgres._DEBIAN", tmp_path)
    with pytest.raises(ServerMissingError, match="`make test-all` installs"), serve(tmp_path):
        pass


def test_a_server_that_ends_at_once_shows_its_log(tmp_path: Path) -> None:
    with ended_together(tmp_path) as programs:
        programs.start(["/bin/sh", "-c", "echo no memory for this; exit 1"])
        with pytest.raises(ServerFailedError, match=r"(?s)the server did not start.*no memory for this"):
            programs.wait_until(lambda: False, "the server")


def test_programs_have_ended_after_the_block(tmp_path: Path) -> None:
    import sys

    port = free_port()
    with ended_together(tmp_path) as programs:
        programs.start([sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"])
        programs.wait_until(lambda: answers(port), "the server")
    assert not answers(port)
