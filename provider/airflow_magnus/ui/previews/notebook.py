"""A notebook with what its cells gave, as people read it in Jupyter; nothing of it runs."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from markupsafe import Markup
from pydantic import BaseModel, Field, ValidationError

from airflow_magnus.stores.reading import StoredFile
from airflow_magnus.ui.previews.markup import of_markdown, sanitised
from airflow_magnus.ui.previews.sample import Sample

_LARGEST = 10 * 1024 * 1024
_CELLS, _OUTPUTS = 200, 20
_LONGEST_TEXT, _LONGEST_HTML, _LONGEST_PICTURE = 20_000, 300_000, 3_000_000
_PICTURES = ("image/png", "image/jpeg", "image/gif", "image/svg+xml")
_Text = str | list[str]


class _Output(BaseModel):
    output_type: str
    text: _Text = ""
    data: dict[str, Any] = Field(default_factory=dict)
    ename: str = ""
    evalue: str = ""
    traceback: list[str] = Field(default_factory=list)


class _Cell(BaseModel):
    cell_type: str
    source: _Text = ""
    execution_count: int | None = None
    outputs: list[_Output] = Field(default_factory=list)


class _Notebook(BaseModel):
    nbformat: Literal[4]
    cells: list[_Cell]


@dataclass(frozen=True)
class Output:
    """What a cell gave: a text, sanitised HTML, or the URL of a picture that holds it."""

    text: str = ""
    html: Markup | None = None
    picture: str = ""
    is_error: bool = False


@dataclass(frozen=True)
class Cell:
    """A cell.

    :param html: of one in Markdown.
    :param prompt: the number of its run; "" for none.
    """

    source: str
    html: Markup | None
    prompt: str
    outputs: tuple[Output, ...]


@dataclass(frozen=True)
class NotebookPreview:
    """A notebook.

    :param count: of all cells.
    """

    template: ClassVar[str] = "previews/notebook.html"
    what: str
    cells: tuple[Cell, ...]
    count: int


def notebook_preview(sample: Sample, file: StoredFile) -> NotebookPreview | None:
    """Show a notebook; None when the file is none, is too large, or is not of format 4. Cost: reads it."""
    if sample.ending != "ipynb" or (not sample.is_whole and (sample.is_unpacked or file.size > _LARGEST)):
        return None
    data = sample.data if sample.is_whole else file.head(_LARGEST)
    try:
        found = _Notebook.model_validate_json(data)
    except ValidationError:
        return None
    cells = tuple(_cell(cell) for cell in found.cells[:_CELLS])
    return NotebookPreview("Notebook, with what its cells gave", cells, len(found.cells))


def _cell(cell: _Cell) -> Cell:
    source = _joined(cell.source)[:_LONGEST_TEXT]
    html = of_markdown(source) if cell.cell_type == "markdown" else None
    prompt = f"[{cell.execution_count}]" if cell.execution_count is not None else ""
    return Cell(source, html, prompt, tuple(_outputs(cell)))


def _outputs(cell: _Cell) -> Iterator[Output]:
    for output in cell.outputs[:_OUTPUTS]:
        if output.output_type == "stream":
            yield Output(_plain(_joined(output.text)))
        elif output.output_type == "error":
            text = "\n".join(output.traceback) or f"{output.ename}: {output.evalue}"
            yield Output(_plain(text), is_error=True)
        else:
            yield _of_data(output.data)
    if len(cell.outputs) > _OUTPUTS:
        yield Output(f"… and {len(cell.outputs) - _OUTPUTS} more that are not shown")


def _of_data(data: Mapping[str, Any]) -> Output:
    """The richest form that can be shown of what a cell gave in several."""
    plain = _plain(_text(data, "text/plain"))
    for kind in _PICTURES:
        if url := _picture(kind, _text(data, kind)):
            return Output(plain, picture=url)
    html = _text(data, "text/html")
    if html and len(html) <= _LONGEST_HTML:
        return Output(html=sanitised(html))
    markdown = _text(data, "text/markdown")
    if markdown and len(markdown) <= _LONGEST_TEXT:
        return Output(html=of_markdown(markdown))
    return Output(plain or "Something that cannot be shown here.")


def _picture(kind: str, content: str) -> str:
    """The URL of a picture; "" when there is none, or it is too large or damaged."""
    if not content or len(content) > _LONGEST_PICTURE:
        return ""
    try:
        data = content.encode() if kind == "image/svg+xml" else _of_base64(content)
    except (ValueError, binascii.Error):
        return ""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def _of_base64(content: str) -> bytes:
    return binascii.a2b_base64("".join(content.split()), strict_mode=True)


def _text(data: Mapping[str, Any], kind: str) -> str:
    value = data.get(kind, "")
    if isinstance(value, list):
        value = "".join(part for part in value if isinstance(part, str))
    return value if isinstance(value, str) else ""


def _joined(text: _Text) -> str:
    return text if isinstance(text, str) else "".join(text)


def _plain(text: str) -> str:
    """Text without the codes by which terminals colour it."""
    from rich.text import Text

    return Text.from_ansi(text[:_LONGEST_TEXT]).plain
