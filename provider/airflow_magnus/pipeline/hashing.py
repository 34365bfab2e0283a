"""The identities of a pipeline: the hash of its ``dag`` section and the digest of its files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any


def dag_hash(definition: Mapping[str, Any]) -> str:
    """Give the sha1 hex, 40 characters, of a ``dag`` section after substitution. Source: seed 001, spec 2.3."""
    text = json.dumps(definition, sort_keys=True)
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


def texts_digest(texts: Iterable[str]) -> str:
    """Give the sha256 hex, 64 characters, over texts in their order; where one ends counts."""
    digest = hashlib.sha256()
    for text in texts:
        digest.update(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest())
    return digest.hexdigest()
