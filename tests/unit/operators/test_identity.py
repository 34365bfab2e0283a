from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from airflow_magnus.operators.identity import (
    IMAGE_VARIABLE,
    code_identities,
    git_identity,
    without_credentials,
)


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    git_identity.cache_clear()
    yield
    git_identity.cache_clear()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    (folder / "pipelines").mkdir(parents=True)
    (folder / "pipelines/a.yaml").write_text("a: 1\n")
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "-c", "user.name=n", "-c", "user.email=e@x", "commit", "--quiet", "--message", "first")
    return folder


def git(folder: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", str(folder), *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()


def test_nothing_is_said_outside_a_repository(tmp_path: Path) -> None:
    assert code_identities(tmp_path) == []


def test_a_repository_without_a_commit_has_no_identity(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    assert code_identities(tmp_path) == []


def test_a_clean_repository_is_dependable_from_any_folder_of_it(repository: Path) -> None:
    (identity,) = code_identities(repository / "pipelines")
    assert identity.code_identifier == git(repository, "rev-parse", "HEAD")
    assert identity.code_identifier_type == "git"
    assert identity.code_identifier_dependable
    assert identity.code_identifier_message == ""
    assert identity.code_identifier_url is None


def test_changed_files_are_named_and_not_dependable(repository: Path) -> None:
    (repository / "pipelines/a.yaml").write_text("a: 2\n")
    (identity,) = code_identities(repository)
    assert not identity.code_identifier_dependable
    assert identity.code_identifier_message == "changed: pipelines/a.yaml"


def test_a_change_that_is_staged_counts(repository: Path) -> None:
    (repository / "pipelines/a.yaml").write_text("a: 2\n")
    git(repository, "add", ".")
    assert not code_identities(repository)[0].code_identifier_dependable


@pytest.mark.parametrize(
    "remote", ["https://user:p%40ss@host/team/code.git", "https://token@host/team/code.git"]
)
def test_user_and_password_of_a_remote_are_left_out(repository: Path, remote: str) -> None:
    git(repository, "remote", "add", "origin", remote)
    (identity,) = code_identities(repository)
    assert identity.code_identifier_url == "https://host/team/code.git"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://host:8443/a.git", "https://host:8443/a.git"),
        ("https://u:p@host:8443/a.git", "https://host:8443/a.git"),
        ("https://u:p@x@host/a", "https://host/a"),
        ("ssh://git@host:22/a", "ssh://host:22/a"),
        ("git@host:team/a.git", "git@host:team/a.git"),
        ("/srv/git/a.git", "/srv/git/a.git"),
        ("file:///srv/a@b.git", "file:///srv/a@b.git"),
        ("", ""),
    ],
)
def test_a_url_without_its_credentials(url: str, shown: str) -> None:
    assert without_credentials(url) == shown


def test_git_that_is_not_installed_is_no_fault(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert code_identities(repository) == []


def test_looking_changes_nothing_in_the_repository(repository: Path) -> None:
    os.utime(repository / "pipelines/a.yaml", (1, 1))
    before = (repository / ".git/index").stat().st_mtime_ns
    code_identities(repository)
    assert (repository / ".git/index").stat().st_mtime_ns == before


def test_an_image_and_a_bundle_are_identities(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(IMAGE_VARIABLE, "sha256:abc")
    bundle = SimpleNamespace(version="v1.2")
    found = code_identities(tmp_path, {"ti": SimpleNamespace(bundle_instance=bundle)})
    assert [(i.code_identifier_type, i.code_identifier) for i in found] == [
        ("docker", "sha256:abc"),
        ("airflow-bundle", "v1.2"),
    ]
    assert code_identities(tmp_path, {"ti": SimpleNamespace()})[1:] == []
