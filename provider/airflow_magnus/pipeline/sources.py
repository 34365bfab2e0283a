"""Where the data comes from that a step is given as a bucket: files of a run, of another one, of a digest, or a bucket."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from airflow_magnus.errors import ConfigurationError
from airflow_magnus.pipeline.cursor import Cursor, Report, described
from airflow_magnus.pipeline.model import DataSource, EndpointRequest, MountRequest
from airflow_magnus.pipeline.mounts import CATALOG_MOUNT_KEYS, MOUNT_KEYS, catalog_mount, engine_and_fallback
from airflow_magnus.pipeline.nodes import Place
from airflow_magnus.pipeline.text import Document
from airflow_magnus.pipeline.values import check_pattern

_ENDPOINT_KEYS = ("inputs", "out", "keep_failed")
_SOURCE_KEYS = ("files", "run", "pipeline", "digest", "bucket", "prefix", "conn_id")
_OF_SEED = {
    "glob": 'write from: with the pattern of the files, such as from: "results/**"',
    "repo": "write from: with the pattern of the files, or with run: or bucket:",
    "s3": "an input below s3 is a bucket anyway; remove it",
    "datum": "a step runs once over all its inputs; remove it, or make the step the branch of a map",
    "join": "joins are not there: name every input, and let the code join them",
    "group": "groups are not there: name every input, and let the code group them",
    "union": "unions are not there: give one input a list of patterns",
}
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_BUCKET_OF_STORE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}")
_URL = re.compile(r"s3[an]?://([^/]+)/?(.*)")
_DIGEST = re.compile(r"[0-9a-f]{64}")
OUT = "out"
"""The bucket that a step writes."""


def endpoint_request(step: Cursor) -> EndpointRequest | None:
    """Read ``s3`` or ``mount`` of a step; None when neither is there."""
    if step.has("s3") and step.has("mount"):
        step.at("mount").fault("cannot stand beside s3: write all inputs below one of them", at_key=True)
    mounted = catalog_mount(step)
    if step.has("mount"):
        section = step.at("mount")
        common = _request(section, (*_ENDPOINT_KEYS, *MOUNT_KEYS))
        if common is None:
            return None
        engine, fallback = engine_and_fallback(section)
        return MountRequest(common.inputs, common.out, common.keep_failed, engine, fallback)
    return _request(step.at("s3"), _ENDPOINT_KEYS) if step.has("s3") else mounted


def _request(section: Cursor, keys: tuple[str, ...]) -> EndpointRequest | None:
    if section.value is None:
        section.fault("is empty: name inputs, or write out: true", at_key=True)
        return None
    if section.as_mapping() is None:
        return None
    section.check_keys(keys)
    inputs: dict[str, DataSource] = {}
    if section.at("inputs").value is not None and section.at("inputs").as_mapping() is not None:
        for name, entry in section.at("inputs").items():
            if reason := name_fault(name):
                entry.fault(reason, at_key=True)
            source = _input(entry)
            if source is not None:
                inputs[name] = source
    has_out = _flag(section.at("out"))
    if not section.at("inputs").value and not has_out:
        section.fault("gives nothing: name inputs, or write out: true", at_key=True)
    return EndpointRequest(inputs, has_out, _flag(section.at("keep_failed")))


def endpoint_of(section: Mapping[str, Any], key: str = "s3") -> EndpointRequest:
    """The endpoint that code asks for by the same mapping that a file would have below ``s3``.

    :param key: ``mount`` for folders in its place, ``catalog`` for the compute data folder as one.
    :raises ConfigurationError: naming all that is wrong with it.
    """
    try:
        plain = json.loads(json.dumps(section))
    except (TypeError, ValueError) as error:
        raise ConfigurationError(
            f"{key}: {error}: write text, lists and mappings of them, true and false"
        ) from error
    report = Report()
    step = Cursor(Document(Path(key), "", {key: plain}, Place(None)), report, {key: plain})
    if key == "catalog" and step.at(key).as_mapping() is not None:
        step.at(key).check_keys(CATALOG_MOUNT_KEYS)
    found = endpoint_request(step)
    if report.faults or found is None:
        missing = f"{key} must be a mapping" + (' with "mode": "mount"' if key == "catalog" else "")
        reasons = [f"{fault.path}: {fault.message}" for fault in report.faults] or [missing]
        raise ConfigurationError("\n".join(reasons))
    return found


def _flag(entry: Cursor) -> bool:
    return entry.value is not None and bool(entry.as_flag())


def name_fault(name: str) -> str:
    """Why a bucket of a step cannot be called so; "" when it can."""
    if name == OUT:
        return '"out" is the bucket that the step writes: give the input another name, and write out: true for it'
    if not _BUCKET.fullmatch(name) or ".." in name or re.fullmatch(r"[0-9.]+", name):
        return f'"{name}" cannot be a bucket: 3 to 63 of a-z, 0-9, "." and "-" are allowed, with a letter'
    return ""


def _input(entry: Cursor) -> DataSource | None:
    if entry.as_mapping() is None:
        return None
    entry.check_keys(("from",), refused=_OF_SEED)
    if not entry.has("from"):
        entry.fault(
            'from is missing: write the files that it holds, such as {from: "results/**"}', at_key=True
        )
        return None
    return data_source(entry.at("from"))


def data_source(entry: Cursor) -> DataSource | None:
    """Read a ``from``: a pattern, a list of patterns, or a mapping."""
    if isinstance(entry.value, str | list):
        files = _files(entry)
        return DataSource(files=files) if files else None
    if not isinstance(entry.value, dict):
        entry.fault(
            f"must be a pattern of files, a list of patterns, or a mapping of {', '.join(_SOURCE_KEYS)}, "
            f"not {described(entry.value)}"
        )
        return None
    entry.check_keys(_SOURCE_KEYS, refused=_OF_SEED)
    values: dict[str, Any] = {}
    for key in _SOURCE_KEYS:
        value = entry.at(key)
        if value.value is not None:
            values[key] = _files(value) if key == "files" else value.as_text(empty=key == "prefix")
    if None in values.values():
        return None
    _check_together(entry, values)
    return DataSource(**values)


def _files(entry: Cursor) -> tuple[str, ...] | None:
    if isinstance(entry.value, str):
        _check_pattern(entry)
        text = entry.as_text()
        return None if text is None else (text,)
    patterns = entry.as_texts()
    for index in range(len(entry.value)) if isinstance(entry.value, list) else ():
        _check_pattern(entry.at(index))
    if patterns == ():
        entry.fault("must name a pattern at least")
    return patterns or None


def _check_pattern(entry: Cursor) -> None:
    url = _URL.fullmatch(str(entry.value))
    if url is not None:
        prefix = f", prefix: {url[2].rstrip('/')}" if url[2] else ""
        entry.fault(f"is no pattern of files: for a bucket write from: {{bucket: {url[1]}{prefix}}}")
    else:
        check_pattern(entry)


def _check_together(entry: Cursor, values: Collection[str]) -> None:
    """What cannot stand beside one another, and what must."""
    if "bucket" in values:
        if not _BUCKET_OF_STORE.fullmatch(str(entry.at("bucket").value)):
            entry.at("bucket").fault(
                f'"{entry.at("bucket").value}" is no name of a bucket: write the name alone, and prefix: for what is in front of keys'
            )
        _refuse(entry, values, ("run", "pipeline", "digest"), "bucket")
    else:
        for key in ("prefix", "conn_id"):
            if key in values:
                entry.at(key).fault(
                    f"{key} belongs to a bucket: write bucket: too, or remove it", at_key=True
                )
    if "digest" in values:
        _refuse(entry, values, ("run", "pipeline", "files"), "digest")
        digest = entry.at("digest")
        if not _DIGEST.fullmatch(str(digest.value)):
            digest.fault(f'"{digest.value}" is no sha256: 64 of 0-9 and a-f')


def _refuse(entry: Cursor, values: Collection[str], others: Collection[str], key: str) -> None:
    for other in others:
        if other in values:
            entry.at(other).fault(f"{other} cannot stand beside {key}: write one of them", at_key=True)
