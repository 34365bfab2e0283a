"""What a step says of mounts: its engine, what is done where there is none, the catalog as a folder."""

from __future__ import annotations

from pathlib import PurePosixPath

from airflow_magnus.pipeline.cursor import Cursor, unknown
from airflow_magnus.pipeline.model import CatalogMountRequest

ENGINES = ("rclone", "s3fs")
"""What mounts buckets; the first by default."""
FALLBACKS = ("copy",)
MODES = ("copy", "mount")
"""How the files of the catalog come to a step and back; the first by default."""
MOUNT_KEYS = ("engine", "fallback")
CATALOG_MOUNT_KEYS = ("mode", *MOUNT_KEYS)


def engine_and_fallback(section: Cursor) -> tuple[str, str]:
    """Read ``engine`` and ``fallback``; the second is "" when there is none."""
    return _chosen(section.at("engine"), ENGINES) or ENGINES[0], _chosen(section.at("fallback"), FALLBACKS)


def catalog_mount(step: Cursor) -> CatalogMountRequest | None:
    """Read ``mode`` of the ``catalog`` of a task, and what belongs to it; None when files are copied."""
    section = step.at("catalog")
    mode = _chosen(section.at("mode"), MODES)
    if mode != "mount":
        for key in MOUNT_KEYS:
            if section.has(key):
                section.at(key).fault("belongs to mode: mount: write that too, or remove it", at_key=True)
        return None
    for key in ("s3", "mount"):
        if step.has(key):
            section.at("mode").fault(
                f"mount cannot stand beside {key}: the folder of the catalog is the one that the step writes to;"
                " remove one of them"
            )
    folder = section.at("compute_data_folder").value
    if isinstance(folder, str) and not PurePosixPath(folder).parts:
        section.at("compute_data_folder").fault(
            "must be a folder below the working folder with mode: mount, such as data: the mount would hide the step's code"
        )
    engine, fallback = engine_and_fallback(section)
    return CatalogMountRequest(engine=engine, fallback=fallback)


def refuse_catalog_mount(step: Cursor) -> None:
    """Make sure that a step that runs no program of the user's asks for no mount."""
    for key in CATALOG_MOUNT_KEYS:
        if step.at("catalog").has(key):
            step.at("catalog").at(key).fault(
                f"has no effect on a step of type {step.at('type').value}, which runs nothing; remove it",
                at_key=True,
            )


def _chosen(entry: Cursor, allowed: tuple[str, ...]) -> str:
    """One of a few words; "" when there is none."""
    if entry.value is None:
        return ""
    text = entry.as_text() or ""
    if text and text not in allowed:
        entry.fault(unknown("value", text, allowed))
    return text
