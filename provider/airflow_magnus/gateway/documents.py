"""The XML that S3 speaks: read with limits, and written."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, ParseError
from xml.sax.saxutils import escape

from airflow_magnus.gateway.faults import S3Error

LARGEST = 2 * 1024 * 1024
"""Bytes of a document that a client sends."""
_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
_HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n'
_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]")

_NOT_XML_BY_NUMBER = re.compile(r"&#(?:x0*(?:[0-8bcefBCEF]|1[0-9a-fA-F])|0*(?:[0-8]|1[124-9]|2\d|3[01]));")

Fields = Sequence[tuple[str, Any]]
"""Names and values of elements in their order; a value that is a list of such holds elements itself."""


def parse(data: bytes, *, is_lenient: bool = False) -> Element:
    """Read a document, without its namespaces.

    :param is_lenient: pass over characters that XML cannot hold and that some stores write all the same.
    :raises S3Error: when it is none, or declares a type: no entity is ever expanded.
    """
    try:
        text = data.decode("utf-8-sig")
        # Text, not bytes: whatever encoding the document claims is passed over.
        if "<!DOCTYPE" in text or "<!ENTITY" in text:
            raise S3Error("MalformedXML", "a document without a type declaration is expected")
        if is_lenient:
            text = _NOT_XML_BY_NUMBER.sub("\ufffd", _NOT_XML.sub("\ufffd", text))
        root = ElementTree.fromstring(text)
    except (UnicodeDecodeError, ParseError, ValueError):
        raise S3Error("MalformedXML", "the document is not well-formed XML in UTF-8") from None
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    return root


def rendered(name: str, fields: Fields, *, namespace: bool = True) -> bytes:
    """Write a document."""
    opening = f'{name} xmlns="{_NAMESPACE}"' if namespace else name
    return f"{_HEAD}<{opening}>{''.join(_elements(fields))}</{name}>".encode()


def as_fields(element: Element) -> list[tuple[str, Any]]:
    """What an element holds, to be written again."""
    return [(child.tag, as_fields(child) if len(child) else child.text or "") for child in element]


def error_document(fault: S3Error, resource: str, request_id: str) -> bytes:
    """Write a refusal as S3 does."""
    fields = [
        ("Code", fault.code),
        ("Message", fault.message),
        ("Resource", resource),
        ("RequestId", request_id),
    ]
    return rendered("Error", fields, namespace=False)


def _elements(fields: Fields) -> Iterable[str]:
    for name, value in fields:
        text = "".join(_elements(value)) if isinstance(value, list | tuple) else _text(value)
        yield f"<{name}>{text}</{name}>"


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return escape(_NOT_XML.sub("\ufffd", str(value)), {"\r": "&#13;"})
