"""Which headers pass between a step and a real store; all others stay on their side."""

from __future__ import annotations

from airflow_magnus.gateway.call import CONDITIONS, META, STORED
from airflow_magnus.gateway.payload import CHECKSUM
from airflow_magnus.gateway.upstream import Answer

READING = (*CONDITIONS, "range", "x-amz-checksum-mode", "x-amz-object-attributes", "x-amz-max-parts",
            "x-amz-part-number-marker")  # fmt: skip
WRITING = (
    "content-md5",
    "if-match",
    "if-none-match",
    "x-amz-checksum-algorithm",
    "x-amz-checksum-type",
    "x-amz-copy-source-range",
    "x-amz-metadata-directive",
    "x-amz-mp-object-size",
    "x-amz-sdk-checksum-algorithm",
    "x-amz-storage-class",
    "x-amz-tagging",
    "x-amz-tagging-directive",
)
WRITING_PREFIXES = (CHECKSUM, "x-amz-copy-source-if-")
_ANSWERED = frozenset(
    (*STORED, "accept-ranges", "content-length", "content-range", "etag", "last-modified",
     "x-amz-copy-source-version-id", "x-amz-delete-marker", "x-amz-missing-meta", "x-amz-mp-parts-count",
     "x-amz-object-size", "x-amz-server-side-encryption", "x-amz-storage-class", "x-amz-tagging-count",
     "x-amz-version-id")
)  # fmt: skip


def answered(answer: Answer, *, without_length: bool = False) -> dict[str, str]:
    """The headers of a store's answer that the step sees."""
    return {
        name: value
        for name, value in answer.headers.items()
        if (name.lower() in _ANSWERED or name.lower().startswith((META, CHECKSUM)))
        and not (without_length and name.lower() == "content-length")
    }
