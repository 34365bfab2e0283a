"""Lists of a bucket that passes requests on."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from urllib.parse import unquote_plus
from xml.etree.ElementTree import Element

from aiohttp import web

from airflow_magnus.gateway.call import Call
from airflow_magnus.gateway.documents import parse
from airflow_magnus.gateway.faults import S3Error, not_implemented
from airflow_magnus.gateway.listing import Fact, list_document, refuse_gaps
from airflow_magnus.gateway.passing import PassedOn
from airflow_magnus.gateway.passing_copies import Copied

_PASSED = ("list-type", "delimiter", "max-keys", "continuation-token", "fetch-owner", "max-uploads",
           "upload-id-marker", "version-id-marker")  # fmt: skip
_KEYS = ("prefix", "marker", "start-after", "key-marker")
_SAID_AGAIN = {"Prefix": "prefix", "Delimiter": "delimiter", "Marker": "marker", "StartAfter": "start-after",
               "KeyMarker": "key-marker"}  # fmt: skip
_FEW = 8
"""Up to so many objects of one folder are asked for one by one, more by listing it."""
_AT_ONCE = 16


class Listed(Copied):
    """With its lists."""

    _facts: asyncio.Task[dict[str, Fact]] | None = None

    async def list(self, call: Call) -> web.StreamResponse:
        """ListObjects and ListObjectsV2."""
        if self.keys is None:
            return await self.list_passed(call, {})
        facts = await self._known(self.keys)
        if self.is_recorded:
            refuse_gaps(self.keys, facts)
        document = list_document(self.name, call.target.query, sorted(facts), facts)
        return await call.reply(200, document)

    async def facts(self, prefix: str) -> dict[str, Fact]:
        """What is known of the objects whose keys begin with a prefix. Cost: of chosen ones that of the first list."""
        if self.keys is not None:
            known = await self._known(self.keys)
            return {key: fact for key, fact in known.items() if key.startswith(prefix)}
        found = contents(self, self.prefix + prefix)
        return {key.removeprefix(self.prefix): _fact(item) async for key, item in found}

    async def _known(self, keys: Mapping[str, str]) -> dict[str, Fact]:
        """What is known of the chosen objects: found out once, however many ask and whoever loses patience."""
        if self._facts is None:
            self._facts = asyncio.create_task(_facts_of(self, keys))
        facts = self._facts
        try:
            return await asyncio.shield(facts)
        except S3Error:
            if self._facts is facts:
                self._facts = None  # the next one asks again
            raise

    async def list_passed(self, call: Call, kind: Mapping[str, str]) -> web.StreamResponse:
        """A list that the store makes.

        :param kind: ``uploads`` or ``versions``; nothing: objects.
        """
        if self.keys is not None:
            raise not_implemented("versions and uploads of chosen objects")
        query = call.target.query
        is_url = query.get("encoding-type", "") == "url"
        if query.get("encoding-type", "") not in ("", "url"):
            raise S3Error("InvalidArgument", "encoding-type is url")
        asked = {name: query[name] for name in _PASSED if name in query}
        asked |= {name: self.prefix + query[name] for name in _KEYS if query.get(name)}
        asked |= {"prefix": self.prefix + query.get("prefix", ""), **kind}
        if "uploads" not in kind:  # of these Ceph encodes the keys and does not say so
            asked["encoding-type"] = "url"
        async with self.upstream.ask(self.store, "GET", None, query=asked) as answer:
            if answer.status != 200:
                return await self.refused(call, answer)
            said = {element: query.get(name, "") for element, name in _SAID_AGAIN.items()}
            return await self.documented(call, answer, is_url=is_url, asked=said)


async def _facts_of(bucket: PassedOn, keys: Mapping[str, str]) -> dict[str, Fact]:
    """What is known of the chosen objects; those that are gone are left out.

    Cost: 1 HEAD each, or 1 LIST for each 1,000 objects of a folder of which many were chosen.
    """
    real = {bucket.prefix + below: name for name, below in keys.items()}
    visible: dict[str, list[str]] = defaultdict(list)
    for name, below in keys.items():
        visible[bucket.prefix + below].append(name)
    folders: dict[str, list[str]] = defaultdict(list)
    for key in real:
        folders[_folder(key, bucket.prefix)].append(key)
    found: dict[str, Fact] = {}
    gate = asyncio.Semaphore(_AT_ONCE)

    async def look(key: str) -> None:
        async with gate:
            fact = await _head(bucket, key)
        if fact is not None:
            found[key] = fact

    async def look_into(folder: str, chosen: list[str]) -> None:
        if len(chosen) <= _FEW:
            await asyncio.gather(*(look(key) for key in chosen))
        else:
            async with gate:
                there = await _listed(bucket, folder, set(chosen))
            found.update(there)

    await asyncio.gather(*(look_into(folder, chosen) for folder, chosen in folders.items()))
    return {name: fact for key, fact in found.items() for name in visible[key]}


def _folder(key: str, prefix: str) -> str:
    """The folder directly below the prefix that holds the key: in a catalog that of a run."""
    head, slash, _ = key.removeprefix(prefix).partition("/")
    return f"{prefix}{head}/" if slash else prefix


async def _head(bucket: PassedOn, key: str) -> Fact | None:
    async with bucket.upstream.ask(bucket.store, "HEAD", key) as answer:
        if answer.status == 404:
            return None
        if answer.status != 200:
            raise S3Error(
                "InternalError", f"the store answered {answer.status} to a HEAD", status=answer.status
            )
        modified = parsedate_to_datetime(answer.headers["Last-Modified"]).timestamp()
        return Fact(int(answer.headers["Content-Length"]), answer.headers.get("ETag", ""), modified)


async def _listed(bucket: PassedOn, folder: str, chosen: set[str]) -> dict[str, Fact]:
    found: dict[str, Fact] = {}
    async for key, item in contents(bucket, folder):
        if key in chosen:
            found[key] = _fact(item)
            if len(found) == len(chosen):
                break
    return found


def _fact(item: Element) -> Fact:
    changed = datetime.fromisoformat(item.findtext("LastModified", "")).timestamp()
    return Fact(int(item.findtext("Size", "0")), item.findtext("ETag", ""), changed)


async def contents(bucket: PassedOn, prefix: str) -> AsyncIterator[tuple[str, Element]]:
    """Give the real keys below a prefix, each with what the store says of it. Cost: 1 LIST for each 1,000.

    :raises S3Error: when the store refuses to list.
    """
    token = ""
    while True:
        query = {"list-type": "2", "prefix": prefix, "encoding-type": "url"}
        query |= {"continuation-token": token} if token else {}
        async with bucket.upstream.ask(bucket.store, "GET", None, query=query) as answer:
            if answer.status != 200:
                raise S3Error(
                    "InternalError", f"the store answered {answer.status} to a list", status=answer.status
                )
            root = parse(await answer.document())
        is_url = root.findtext("EncodingType") == "url"
        for item in root.iter("Contents"):
            key = item.findtext("Key", "")
            key = unquote_plus(key) if is_url else key
            if key.startswith(prefix):
                yield key, item
        token = root.findtext("NextContinuationToken", "")
        if not token:
            return
