"""Documents of a real store as the step sees them: visible names in place of real ones, nothing of whom they belong to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote_plus
from xml.etree.ElementTree import Element

from airflow_magnus.gateway.documents import parse, rendered

OWNER = [("ID", "magnus"), ("DisplayName", "magnus")]
_KEYS = {"Key", "Prefix", "Marker", "NextMarker", "StartAfter", "KeyMarker", "NextKeyMarker"}
_OF_ONE_KEY = {"Contents", "CommonPrefixes", "Upload", "Version", "DeleteMarker", "Deleted"}
_BUCKET = {"Name", "Bucket", "BucketName"}
_LEFT_OUT = {"HostId", "Endpoint", "EncodingType", "RequestId"}


class _ElsewhereError(Exception):
    """A key that does not lie below the prefix of the view."""


@dataclass(frozen=True)
class Names:
    """How real names become visible ones.

    :param prefix: what real keys begin with.
    :param is_url: whether the client asked for keys in percent-encoding.
    :param location: the URL of the object that the request is about.
    """

    bucket: str
    prefix: str
    is_url: bool = False
    location: str = ""


def rewritten(document: bytes, names: Names) -> bytes:
    """The document of an answer as the step sees it; keys outside the prefix are left out of it."""
    root = parse(document, is_lenient=True)
    fields = _Rewriter(names, is_encoded=root.findtext("EncodingType") == "url").fields(root)
    count = sum(name in ("Contents", "CommonPrefixes") for name, _ in fields)
    fields = [(name, str(count) if name == "KeyCount" else value) for name, value in fields]
    if names.is_url:
        fields.append(("EncodingType", "url"))
    return rendered(root.tag, fields, namespace=root.tag != "Error")


class _Rewriter:
    def __init__(self, names: Names, *, is_encoded: bool) -> None:
        self._names, self._is_encoded = names, is_encoded

    def fields(self, element: Element) -> list[tuple[str, Any]]:
        found: list[tuple[str, Any]] = []
        for child in element:
            try:
                found += self._field(child)
            except _ElsewhereError:
                if element.tag in _OF_ONE_KEY:
                    raise
                found.append((child.tag, ""))
        return found

    def _field(self, child: Element) -> list[tuple[str, Any]]:
        text = child.text or ""
        if child.tag in _LEFT_OUT:
            return []
        if child.tag in ("Owner", "Initiator"):
            return [(child.tag, OWNER)]
        if child.tag in _BUCKET:
            return [(child.tag, self._names.bucket)]
        if child.tag == "Location":
            return [(child.tag, self._names.location)]
        if child.tag in _KEYS:
            visible = self._visible(self._read(text))
            if child.tag == "Key" and not visible:  # a marker of the prefix itself
                raise _ElsewhereError
            return [(child.tag, self._written(visible))]
        if child.tag == "Delimiter":
            return [(child.tag, self._written(self._read(text)))]
        if not len(child):
            return [(child.tag, text)]
        try:
            return [(child.tag, self.fields(child))]
        except _ElsewhereError:
            return []

    def _visible(self, key: str) -> str:
        if key and not key.startswith(self._names.prefix):
            raise _ElsewhereError
        return key.removeprefix(self._names.prefix)

    def _read(self, text: str) -> str:
        return unquote_plus(text) if self._is_encoded else text

    def _written(self, text: str) -> str:
        return quote(text, safe="/") if self._names.is_url else text
