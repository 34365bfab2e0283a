from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import pytest

from airflow_magnus.operators.workspace import Workspace, WorkspaceSettings

FILES: Mapping[str, str] = {
    "pipeline.yaml": "p",
    "code/train.py": "c",
    ".env": "hidden",
    ".git/HEAD": "ref",
    "sub/.git/HEAD": "ref",
    ".catalog/run/a": "x",
    ".run_log_store/run.json": "x",
    "code/__pycache__/train.pyc": "x",
    "data/old.csv": "x",
    "code/data/kept.csv": "k",
}
KEPT = {"pipeline.yaml", "code/train.py", ".env", "code/data/kept.csv"}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def files(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


def test_the_current_folder_is_used_as_it_is(source: Path) -> None:
    workspace = Workspace(WorkspaceSettings(source=source, is_private=False), "data")
    workspace.open()
    assert workspace.folder == source
    assert workspace.data == source / "data"
    workspace.close()
    assert files(source) == set(FILES)


def test_a_private_folder_is_a_copy_without_repository_and_data(source: Path, tmp_path: Path) -> None:
    workspace = Workspace(WorkspaceSettings(source=source, parent=tmp_path / "work"), "data")
    workspace.open()
    assert workspace.folder.parent == tmp_path / "work"
    assert files(workspace.folder) == KEPT
    assert workspace.data.is_dir()
    assert list(workspace.data.iterdir()) == []
    (workspace.folder / "pipeline.yaml").write_text("changed by the step")
    workspace.close()
    assert not workspace.folder.exists()
    assert (source / "pipeline.yaml").read_text() == "p"


def test_two_steps_have_two_folders(source: Path, tmp_path: Path) -> None:
    settings = WorkspaceSettings(source=source, parent=tmp_path / "work")
    one, two = Workspace(settings, "data"), Workspace(settings, "data")
    one.open()
    two.open()
    assert one.folder != two.folder
    one.close()
    assert files(two.folder) == KEPT
    two.close()


def test_links_instead_of_copies(source: Path, tmp_path: Path) -> None:
    workspace = Workspace(WorkspaceSettings(source=source, parent=tmp_path / "w", has_links=True), "data")
    workspace.open()
    assert files(workspace.folder) == KEPT
    assert (workspace.folder / "code/train.py").is_symlink()
    assert not (workspace.folder / "code").is_symlink()
    workspace.close()
    assert files(source) == set(FILES)


def test_an_empty_folder_where_there_is_no_source(tmp_path: Path) -> None:
    workspace = Workspace(WorkspaceSettings(parent=tmp_path), "deep/data")
    workspace.open()
    assert files(workspace.folder) == set()
    assert workspace.data == workspace.folder / "deep/data"
    assert workspace.data.is_dir()
    workspace.close()


def test_a_folder_that_is_kept_is_named(
    source: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    workspace = Workspace(WorkspaceSettings(source=source, parent=tmp_path / "w", is_kept=True), "data")
    workspace.open()
    with caplog.at_level(logging.INFO):
        workspace.close()
    assert workspace.folder.is_dir()
    assert str(workspace.folder) in caplog.text


def test_closing_what_was_never_opened_removes_nothing(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(source)
    Workspace(WorkspaceSettings(source=source), "data").close()
    Workspace(WorkspaceSettings(), "data").close()
    assert files(source) == set(FILES)


def test_links_of_the_source_are_followed_or_passed_over(source: Path, tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared/file.txt").write_text("shared")
    (source / "link.txt").symlink_to(tmp_path / "shared/file.txt")
    (source / "broken").symlink_to("nowhere")
    workspace = Workspace(WorkspaceSettings(source=source, parent=tmp_path / "w"), "data")
    workspace.open()
    assert (workspace.folder / "link.txt").read_text() == "shared"
    assert not (workspace.folder / "link.txt").is_symlink()
    assert files(workspace.folder) == KEPT | {"link.txt"}
    workspace.close()


def test_a_folder_of_the_source_that_is_a_link_is_there(source: Path, tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared/helper.py").write_text("h")
    (source / "lib").symlink_to(tmp_path / "shared")
    workspace = Workspace(WorkspaceSettings(source=source, parent=tmp_path / "w"), "data")
    workspace.open()
    assert (workspace.folder / "lib/helper.py").read_text() == "h"
    workspace.close()
