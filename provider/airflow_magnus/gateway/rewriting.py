"""Documents of a real store as the step sees them: visible names in place of real ones, nothing of whom they belong to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote_plus
from xml.etree.ElementTree import Element

from airflow_magnus.gateway.documents import as_fields, parse, rendered

OWNER = [("ID", "magnus"), ("DisplayName", "magnus")]
_KEYS = {"Key", "Prefix", "Marker", "NextMarker", "StartAfter", "KeyMarker", "NextKeyMarker"}
_OF_ONE_KEY = {"Contents", "CommonPrefixes", "Upload", "Version", "DeleteMarker", "Deleted"}
_LAST = {"NextMarker", "NextKeyMarker"}
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
    :param asked: what the request said of a list, by the element that says it again: stores differ in its encoding.
    """

    bucket: str
    prefix: str
    is_url: bool = False
    location: str = ""
    asked: Mapping[str, str] = field(default_factory=dict)


def rewritten(document: bytes, names: Names) -> bytes:
    """The document of an answer as the step sees it; keys outside the prefix are left out of it."""
    root = parse(document, is_lenient=True)
    rewriter = _Rewriter(names, root)
    fields = [
        (name, rewriter.written(names.asked[name]) if name in names.asked else value)
        for name, value in rewriter.fields(root)
    ]
    count = sum(name in ("Contents", "CommonPrefixes") for name, _ in fields)
    fields = [(name, str(count) if name == "KeyCount" else value) for name, value in fields]
    if names.is_url:
        fields.append(("EncodingType", "url"))
    return rendered(root.tag, fields, namespace=root.tag != "Error")


class _Rewriter:
    def __init__(self, names: Names, root: Element) -> None:
        self._names, self._is_encoded = names, root.findtext("EncodingType") == "url"
        self._page = {
            self._read(item.findtext("Key", item.findtext("Prefix", "")))
            for item in root
            if item.tag in _OF_ONE_KEY
        }

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
        if child.tag == "TagSet":  # its keys are no names of objects
            return [(child.tag, as_fields(child))]
        if child.tag in _KEYS:
            visible = self._visible(self._last(text) if child.tag in _LAST else self._read(text))
            if child.tag == "Key" and not visible:  # a marker of the prefix itself
                raise _ElsewhereError
            return [(child.tag, self.written(visible))]
        if child.tag == "Delimiter":
            return [(child.tag, self.written(self._read(text)))]
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
        """A name; where a store says that it encodes and does not, it may be known by the prefix."""
        plain, prefix = unquote_plus(text) if self._is_encoded else text, self._names.prefix
        return text if text.startswith(prefix) and not plain.startswith(prefix) else plain

    def _last(self, text: str) -> str:
        """The name that a page ends with, which Ceph does not encode: the last of those on the page."""
        plain = self._read(text)
        return max((name for name in (text, plain) if name in self._page), default=plain)

    def written(self, text: str) -> str:
        """A name as the client has asked for it."""
        return quote(text, safe="/") if self._names.is_url else text
