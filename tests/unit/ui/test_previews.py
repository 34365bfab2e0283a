"""Looks into files: what each kind shows, what is cut, and that nothing of a file is live."""

from __future__ import annotations

import base64
import gzip
import io
import json
import struct
import sys
from html.parser import HTMLParser
from typing import Any

import pytest

from airflow_magnus.stores.reading import StoredFile, stored_file
from airflow_magnus.ui.previews.binary import BinaryPreview
from airflow_magnus.ui.previews.choice import Preview, preview_of
from airflow_magnus.ui.previews.image import LARGEST, ImagePreview, image_type
from airflow_magnus.ui.previews.markup import of_markdown, sanitised
from airflow_magnus.ui.previews.notebook import NotebookPreview
from airflow_magnus.ui.previews.parquet import ParquetPreview
from airflow_magnus.ui.previews.sample import MOST, sample_of
from airflow_magnus.ui.previews.table import TablePreview
from airflow_magnus.ui.previews.text import TextPreview
from stored_files import catalog_of, entry_of

PNG = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", 3, 2) + b"\x08\x02\0\0\0"


def stored(name: str, data: bytes) -> StoredFile:
    """A file in a catalog in memory."""
    return stored_file(catalog_of({name: data}), entry_of(name, data))


def look(name: str, data: bytes) -> Preview:
    file = stored(name, data)
    return preview_of(sample_of(file), file)


def rendered(preview: Preview) -> str:
    """The part of the page."""
    from airflow_magnus.ui.responses import _templates

    template = _templates().get_template(preview.template)
    return template.render(preview=preview, image="/i", file={"name": "n"})


@pytest.mark.parametrize(
    ("data", "text", "encoding"),
    [
        ("Grüße\n".encode(), "Grüße\n", "UTF-8"),
        ("Grüße\n".encode("utf-8-sig"), "Grüße\n", "UTF-8"),
        ("Grüße\n".encode("utf-16"), "Grüße\n", "UTF-16"),
        ("Grüße\n".encode("utf-32"), "Grüße\n", "UTF-32"),
        ("Grüße\n".encode("cp1252"), "Grüße\n", "Windows-1252, by guess"),
        (b"", "", "UTF-8"),
    ],
)
def test_text_is_shown_whatever_its_encoding(data: bytes, text: str, encoding: str) -> None:
    assert look("a.txt", data) == TextPreview(f"Text, {encoding}", text, False)


def test_text_that_is_cut_amid_a_character_is_text_all_the_same() -> None:
    found = look("a.txt", b"x" + "é".encode() * MOST)
    assert isinstance(found, TextPreview)
    assert (found.text[:3], found.is_cut, "Windows" in found.what) == ("xéé", True, False)


def test_what_is_no_text_is_shown_in_hexadecimal() -> None:
    found = look("a.bin", bytes(range(32)) * 40)
    assert isinstance(found, BinaryPreview)
    assert found.text.startswith(
        "00000000  00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f  ................\n"
    )
    assert found.is_cut


def test_gzip_is_shown_as_what_is_inside_and_bombs_are_cut() -> None:
    found = look("a.csv.gz", gzip.compress(b"a,b\n1,2\n"))
    assert isinstance(found, TablePreview)
    assert found.rows == [["1", "2"]]
    bomb = sample_of(stored("b.txt.gz", gzip.compress(b"0" * 50 * MOST)))
    assert (len(bomb.data), bomb.is_whole, bomb.is_unpacked) == (MOST, False, True)
    assert isinstance(look("a.gz", b"\x1f\x8b\x08 and no more"), BinaryPreview)


@pytest.mark.parametrize(
    ("name", "data", "heads", "rows"),
    [
        ("a.csv", b'a,b\n1,"x, y"\n', ["a", "b"], [["1", "x, y"]]),
        ("a.csv", b"a;b\n1,5;2\n", ["a", "b"], [["1,5", "2"]]),
        ("A.TSV", b"a\tb\n1\t2\n", ["a", "b"], [["1", "2"]]),
        ("a.csv", b'a\n"x\ny"\n', ["a"], [["x\ny"]]),
        ("a.csv", b"=cmd|' /C calc'!A0\n<script>alert(1)</script>\n", ["=cmd", "' /C calc'!A0"], None),
    ],
)
def test_table_has_its_rows(name: str, data: bytes, heads: list[str], rows: list[list[str]] | None) -> None:
    found = look(name, data)
    assert isinstance(found, TablePreview)
    assert found.heads == heads
    assert rows is None or found.rows == rows
    assert "<script" not in rendered(found)


def test_table_is_cut_to_whole_rows_and_some_columns() -> None:
    line = ",".join(["x" * 400] * 60) + "\n"
    found = look("a.csv", line.encode() * 500)
    assert isinstance(found, TablePreview)
    assert (found.columns, found.hidden, found.is_cut) == (60, 10, True)
    assert {len(row) for row in found.rows} == {50}
    assert {cell for row in found.rows for cell in row} == {"x" * 300 + "…"}
    many = look("a.csv", b"a\n" * 5000)
    assert isinstance(many, TablePreview)
    assert (len(many.rows), many.is_cut) == (100, True)


def test_table_that_cannot_be_read_is_shown_as_text() -> None:
    assert isinstance(look("a.csv", b'"' + b"x" * 200_000 + b'"\n'), TextPreview)
    assert isinstance(look("a.csv", b""), TextPreview)


def test_json_is_set_out() -> None:
    found = look("a.json", '{"a": [1, "é"]}'.encode())
    assert (found.what, found.text) == ("JSON", '{\n  "a": [\n    1,\n    "é"\n  ]\n}')  # type: ignore[union-attr]


@pytest.mark.parametrize("data", [b"{not", b"[" * 100_000, b"9" * 10_000, b'{"a": ' + b'"x"' * MOST])
def test_json_that_cannot_be_read_is_shown_as_text(data: bytes) -> None:
    found = look("a.json", data)
    assert isinstance(found, TextPreview)
    assert found.what == "Text, UTF-8"


def test_pictures_are_told_by_their_bytes() -> None:
    assert look("wrong-name.txt", PNG) == ImagePreview("PNG picture, 3 × 2")
    assert image_type(sample_of(stored("a.jpg", b"\xff\xd8\xff\xe0JFIF"))) == "image/jpeg"
    svg = b'<?xml version="1.0"?>\n<!-- a --><svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
    assert image_type(sample_of(stored("a.svg", svg))) == "image/svg+xml"
    assert image_type(sample_of(stored("a.html", svg))) == ""
    assert image_type(sample_of(stored("a.svg", b"<html><svg></svg></html>"))) == ""
    assert "<script" not in rendered(look("a.svg", svg))


def test_pictures_that_are_too_large_are_not_shown() -> None:
    bomb = PNG[:16] + struct.pack(">II", 60_000, 60_000) + PNG[24:]
    assert "too many pixels" in rendered(look("a.png", bomb))
    assert "too large" in rendered(look("a.png", PNG + bytes(LARGEST)))


def parquet(**columns: list[Any]) -> bytes:
    import pyarrow as pa
    from pyarrow import parquet

    written = io.BytesIO()
    parquet.write_table(pa.table(columns), written)
    return written.getvalue()


def test_parquet_shows_its_columns() -> None:
    found = look("a.parquet", parquet(when=[1, 2, None], **{"<b>": ["x", "y", "z"]}))
    assert isinstance(found, ParquetPreview)
    assert (found.rows, found.groups, found.count) == (3, 1, 2)
    assert [(c.name, c.type, c.is_nullable) for c in found.columns] == [
        ("when", "int64", True),
        ("<b>", "string", True),
    ]
    assert "<b>" not in rendered(found)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda data: data[:-4], "cut or damaged"),
        (lambda data: data[:-8] + b"\xff\xff\xff\xffPAR1", "cut or damaged"),
        (lambda data: data[:-8] + b"\x08\0\0\0PAR1", "cannot be read"),
        (lambda data: data[:-4] + b"PARE", "encrypted"),
        (lambda data: b"PARE" + data[4:], "encrypted"),
        (lambda data: data[:20] + b"\xff" * (len(data) - 28) + data[-8:], "cannot be read"),
        (lambda data: data[:4] + bytes(9_000_000) + struct.pack("<I", 9_000_000) + b"PAR1", "too large"),
    ],
)
def test_damaged_parquet_says_what_is_wrong(change: Any, reason: str) -> None:
    assert reason in rendered(look("a.parquet", change(parquet(a=[1]))))


def test_parquet_says_how_to_install_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    data = parquet(a=[1])
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert "pip install &#39;airflow-provider-magnus[parquet]&#39;" in rendered(look("a.parquet", data))


def notebook(*cells: dict[str, Any]) -> bytes:
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": list(cells)}).encode()


def code(*outputs: dict[str, Any], source: Any = "1") -> dict[str, Any]:
    return {"cell_type": "code", "source": source, "execution_count": 7, "outputs": list(outputs)}


def display(**data: Any) -> dict[str, Any]:
    return {"output_type": "display_data", "data": {k.replace("__", "/"): v for k, v in data.items()}}


def test_notebook_is_shown_with_what_its_cells_gave() -> None:
    found = look(
        "out.ipynb",
        notebook(
            {"cell_type": "markdown", "source": ["# Title\n", "*so*"]},
            code(
                {"output_type": "stream", "text": ["\x1b[31mred\x1b[0m\n"]},
                {"output_type": "error", "ename": "E", "evalue": "v", "traceback": ["\x1b[0;31mE\x1b[0m: v"]},
                display(text__html="<table><tr><td>9</td></tr></table>", text__plain="nine"),
                display(image__png=base64.b64encode(PNG).decode(), text__plain="a figure"),
                display(application__json={"a": 1}),
                source=["x = 1\n", "x"],
            ),
        ),
    )
    assert isinstance(found, NotebookPreview)
    title, run = found.cells
    assert str(title.html) == "<h1>Title</h1>\n<p><em>so</em></p>\n"
    assert (run.source, run.prompt) == ("x = 1\nx", "[7]")
    stream, error, table, figure, other = run.outputs
    assert (stream.text, error.text, error.is_error) == ("red\n", "E: v", True)
    assert "<td>9</td>" in str(table.html)
    assert figure.picture == f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
    assert other.text == "Something that cannot be shown here."


@pytest.mark.parametrize(
    "data",
    [
        b"{}",
        b"not json",
        json.dumps({"nbformat": 3, "worksheets": []}).encode(),
        json.dumps({"nbformat": 4, "cells": [{"cell_type": "code", "outputs": 7}]}).encode(),
        b"[" * 50_000,
    ],
)
def test_what_is_no_notebook_is_shown_as_text(data: bytes) -> None:
    assert isinstance(look("a.ipynb", data), TextPreview)


def test_notebook_that_is_larger_than_a_sample_is_read_whole() -> None:
    found = look("a.ipynb", notebook(*[code(source="x" * 3_000)] * 300))
    assert isinstance(found, NotebookPreview)
    assert (len(found.cells), found.count) == (200, 300)
    assert "100 more cells are not shown" in rendered(found)


HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<img src=https://elsewhere.example/a.png>",
    '<img src="data:text/html,<script>alert(1)</script>">',
    '<img src="data:image/svg+xml;base64,PHN2Zz4=">',
    "<svg onload=alert(1)><script>alert(1)</script></svg>",
    "<a href='javascript:alert(1)'>x</a>",
    "<a href=' JaVaScRiPt:alert(1)'>x</a>",
    "<a href='data:text/html,<script>alert(1)</script>'>x</a>",
    "<a href='/magnus/rerun/x/y'>x</a>",
    "<iframe src='https://elsewhere.example'></iframe>",
    "<form action='https://elsewhere.example'><input name=a><button>go</button></form>",
    "<style>*{display:none}</style>",
    "<p style='position:fixed' class=button id=x onclick='alert(1)'>x</p>",
    "<math><mtext><script>alert(1)</script></mtext></math>",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>",
    "<meta http-equiv=refresh content='0;url=https://elsewhere.example'>",
    "<base href='https://elsewhere.example'>",
    "<object data=x></object><embed src=x>",
    "[x](javascript:alert(1))",
    "![x](https://elsewhere.example/a.png)",
    "<!-- --!><script>alert(1)</script> -->",
]
_NAMES = "a blockquote br code div em h1 img li ol p pre strong table tbody td th thead tr ul"
_TAGS = set(_NAMES.split())
_ATTRIBUTES = {"a": {"href", "target", "rel", "title"}, "img": {"src", "alt", "title"}}
_OF_OURS = {"class", "tabindex", "data-prompt"}


class _Elements(HTMLParser):
    """What a browser would make of a page, as far as it could be live."""

    def __init__(self, html: str, own: set[str]) -> None:
        super().__init__()
        self.faults: list[str] = []
        self._own = own
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        allowed = _ATTRIBUTES.get(tag, set()) | self._own
        if tag not in _TAGS or {name for name, _ in attrs} - allowed:
            self.faults.append(f"{tag} {attrs}")
        values = dict(attrs)
        if not (values.get("href") or "https:").startswith(("https:", "http:", "mailto:")):
            self.faults.append(f"{tag} {attrs}")
        if not (values.get("src") or "data:image/png;").startswith("data:image/"):
            self.faults.append(f"{tag} {attrs}")


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_of_a_notebook_is_live(text: str) -> None:
    for html in (sanitised(text), of_markdown(text)):
        assert _Elements(html, set()).faults == []
    page = rendered(
        look(
            "a.ipynb",
            notebook(
                {"cell_type": "markdown", "source": text},
                code(
                    {"output_type": "stream", "text": text},
                    display(text__html=text, text__plain=text),
                    display(image__png=f'" onerror="alert(1){text}'),
                    source=text,
                ),
            ),
        )
    )
    assert _Elements(page, _OF_OURS).faults == []


def test_links_of_a_notebook_open_a_page_of_their_own_and_pictures_inside_it_are_kept() -> None:
    assert str(sanitised('<a href="https://a.example/">x</a>')) == (
        '<a href="https://a.example/" target="_blank" rel="noopener noreferrer nofollow">x</a>'
    )
    picture = '<img src="data:image/png;base64,iVBORw0KGgo=">'
    assert str(sanitised(picture)) == picture
