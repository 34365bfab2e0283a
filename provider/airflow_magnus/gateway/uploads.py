"""Uploads in parts, for buckets that the gateway itself keeps."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any
from xml.etree.ElementTree import Element

from airflow_magnus.gateway.documents import rendered
from airflow_magnus.gateway.faults import S3Error
from airflow_magnus.gateway.held import Held, Written, joined, now
from airflow_magnus.gateway.listing import page_size, timestamp
from airflow_magnus.gateway.rewriting import OWNER

_SMALLEST_PART = 5 * 1024 * 1024
_MOST_PARTS = 10_000
_MOST_ENDED = 1_000


@dataclass
class _Upload:
    key: str
    headers: Mapping[str, str]
    begun: float
    parts: dict[int, Held] = field(default_factory=dict)
    is_joining: bool = False


class Uploads:
    """The uploads that have begun and not ended.

    :param written: where the parts lie, and the object in the end.
    """

    def __init__(self, written: Written) -> None:
        self._written = written
        self._uploads: dict[str, _Upload] = {}
        self._ended: dict[str, tuple[str, str]] = {}

    def begin(self, key: str, headers: Mapping[str, str]) -> str:
        """Give the id of a new upload."""
        number = secrets.token_hex(16)
        self._uploads[number] = _Upload(key, headers, now())
        return number

    def find(self, number: str, key: str) -> _Upload:
        """An upload of a key.

        :raises S3Error: when there is none of this id.
        """
        upload = self._uploads.get(number)
        if upload is None or upload.key != key:
            raise S3Error("NoSuchUpload", "there is no such upload of this key")
        return upload

    def set_part(self, query: Mapping[str, str], key: str, held: Held) -> None:
        """Take a part, in place of an earlier one of its number."""
        text = query["partNumber"]
        if not text.isascii() or not text.isdigit() or not 1 <= int(text[:6]) <= _MOST_PARTS:
            raise S3Error("InvalidArgument", f"partNumber is 1 to {_MOST_PARTS}")
        upload = self.find(query["uploadId"], key)
        before = upload.parts.get(int(text))
        upload.parts[int(text)] = held
        if before is not None:
            before.path.unlink(missing_ok=True)

    def abort(self, number: str, key: str) -> None:
        """Forget an upload and its parts."""
        for held in self.find(number, key).parts.values():
            held.path.unlink(missing_ok=True)
        del self._uploads[number]

    def forget(self) -> None:
        """Forget all uploads, whose parts are gone."""
        self._uploads.clear()
        self._ended.clear()

    def end(self, number: str, key: str, etag: str) -> None:
        """Note that an upload has become an object; the last thousand are known."""
        self._ended[number] = key, etag
        if len(self._ended) > _MOST_ENDED:
            del self._ended[next(iter(self._ended))]

    def ended(self, number: str, key: str) -> str:
        """The ETag of what an upload has become, for a client that asks again because it got no answer; "" for others."""
        of, etag = self._ended.get(number, ("", ""))
        return etag if of == key else ""

    async def complete(self, number: str, key: str, asked: Element) -> Held:
        """Make one object of the parts that are asked for; the others are removed.

        :raises S3Error: when they are not those that came.
        """
        upload = self.find(number, key)
        if upload.is_joining:
            raise S3Error("ServiceUnavailable", "the parts of this upload are being joined: ask again later")
        parts = _chosen(upload, asked)
        upload.is_joining = True
        path, file = self._written.new_file()
        try:
            with file:
                sources = [part.path for part in parts]
                sha256 = await asyncio.get_running_loop().run_in_executor(None, joined, file, sources)
        except BaseException:
            upload.is_joining = False
            path.unlink(missing_ok=True)
            raise
        if self._uploads.get(number) is not upload:
            path.unlink(missing_ok=True)
            raise S3Error("NoSuchUpload", "the upload was ended meanwhile")
        digest = hashlib.md5(usedforsecurity=False)
        for part in parts:
            digest.update(bytes.fromhex(part.etag.strip('"')))
        sizes = tuple(part.size for part in parts)
        held = Held(
            path, sum(sizes), f'"{digest.hexdigest()}-{len(parts)}"', now(), upload.headers, sha256, sizes
        )
        self.abort(number, key)
        return held

    def document(self, bucket: str, query: Mapping[str, str]) -> bytes:
        """The answer to ListMultipartUploads; all uploads are one page."""
        prefix = query.get("prefix", "")
        found = sorted(
            (upload.key, number, upload)
            for number, upload in self._uploads.items()
            if upload.key.startswith(prefix)
        )
        uploads: list[tuple[str, Any]] = [
            ("Upload", [
                ("Key", key), ("UploadId", number), ("Initiator", OWNER), ("Owner", OWNER),
                ("StorageClass", "STANDARD"), ("Initiated", timestamp(upload.begun)),
            ])
            for key, number, upload in found
        ]  # fmt: skip
        fields = [("Bucket", bucket), ("Prefix", prefix), ("MaxUploads", 1000), ("IsTruncated", False)]
        return rendered("ListMultipartUploadsResult", [*fields, *uploads])

    def parts_document(self, bucket: str, key: str, query: Mapping[str, str]) -> bytes:
        """The answer to ListParts."""
        upload = self.find(query["uploadId"], key)
        most, text = page_size(query, "max-parts"), query.get("part-number-marker") or "0"
        if not text.isascii() or not text.isdigit():
            raise S3Error("InvalidArgument", "part-number-marker is the number of a part")
        after = int(text[:6])
        numbers = [number for number in sorted(upload.parts) if number > after]
        shown = numbers[:most]
        parts: list[tuple[str, Any]] = [
            ("Part", [
                ("PartNumber", number), ("LastModified", timestamp(upload.parts[number].modified)),
                ("ETag", upload.parts[number].etag), ("Size", upload.parts[number].size),
            ])
            for number in shown
        ]  # fmt: skip
        fields = [
            ("Bucket", bucket), ("Key", key), ("UploadId", query["uploadId"]), ("Initiator", OWNER), ("Owner", OWNER),
            ("StorageClass", "STANDARD"), ("PartNumberMarker", after),
            ("NextPartNumberMarker", shown[-1] if shown else 0), ("MaxParts", most),
            ("IsTruncated", len(numbers) > len(shown)),
        ]  # fmt: skip
        return rendered("ListPartsResult", [*fields, *parts])


def _chosen(upload: _Upload, asked: Element) -> list[Held]:
    wanted = [(item.findtext("PartNumber", ""), item.findtext("ETag", "")) for item in asked.iter("Part")]
    if not wanted or not all(number.isascii() and number.isdigit() for number, _ in wanted):
        raise S3Error("MalformedXML", "an upload is completed with the numbers and ETags of its parts")
    numbers = [int(number[:6]) for number, _ in wanted]
    if any(left >= right for left, right in pairwise(numbers)):
        raise S3Error("InvalidPartOrder", "the parts are not in the order of their numbers")
    found = []
    for number, (_, etag) in zip(numbers, wanted, strict=True):
        held = upload.parts.get(number)
        if held is None or held.etag.strip('"') != etag.strip('"'):
            raise S3Error("InvalidPart", f"part {number} did not come, or has another ETag")
        found.append(held)
    if any(held.size < _SMALLEST_PART for held in found[:-1]):
        raise S3Error("EntityTooSmall", f"all parts but the last have at least {_SMALLEST_PART} bytes")
    return found
