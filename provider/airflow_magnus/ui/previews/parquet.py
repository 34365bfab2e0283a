"""The columns of a Parquet file, from its end alone."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import ClassVar

from airflow_magnus.errors import CatalogError, MissingExtraError
from airflow_magnus.stores.reading import StoredFile
from airflow_magnus.ui.previews.sample import Sample

_MARK, _ENCRYPTED = b"PAR1", b"PARE"
_LARGEST_FOOTER = 8 * 1024 * 1024
_COLUMNS = 500
_MOST_ITEMS = 1_000_000


@dataclass(frozen=True)
class Column:
    """One column."""

    name: str
    type: str
    is_nullable: bool


@dataclass(frozen=True)
class ParquetPreview:
    """What the footer tells.

    :param written_by: the program.
    :param refusal: why there is nothing to show; "" when there is.
    :param count: of all columns.
    """

    template: ClassVar[str] = "previews/parquet.html"
    what: str
    rows: int = 0
    groups: int = 0
    written_by: str = ""
    columns: tuple[Column, ...] = ()
    count: int = 0
    refusal: str = ""


def parquet_preview(sample: Sample, file: StoredFile) -> ParquetPreview | None:
    """Show the columns; None when the file is no Parquet. Cost: 3 requests or so, whatever its size."""
    if sample.data[:4] == _ENCRYPTED:
        return _refused("Its footer is encrypted: only who has its key can tell its columns.")
    if sample.data[:4] != _MARK or file.size < 12:
        return None
    length, mark = struct.unpack("<I4s", file.part(file.size - 8, file.size))
    if mark == _ENCRYPTED:
        return _refused("Its footer is encrypted: only who has its key can tell its columns.")
    if mark != _MARK or length > file.size - 12:
        return _refused("Its end is not that of a Parquet file: it was cut or damaged.")
    if length > _LARGEST_FOOTER:
        return _refused("Its footer is too large to be read here.")
    try:
        return _read(file)
    except MissingExtraError as error:
        return _refused(f"{error}, where Airflow's API server runs.")


def _refused(why: str) -> ParquetPreview:
    return ParquetPreview("Parquet", refusal=why)


def _read(file: StoredFile) -> ParquetPreview:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError as error:
        raise MissingExtraError("a look into a Parquet file", "parquet") from error
    try:
        found = parquet.ParquetFile(
            file.reader(),
            thrift_string_size_limit=_LARGEST_FOOTER,
            thrift_container_size_limit=_MOST_ITEMS,
        )
        metadata, fields = found.metadata, found.schema_arrow
    except CatalogError:
        raise
    except (ArrowException, OSError, ValueError, OverflowError):
        return _refused(
            "Its footer cannot be read: it was damaged, or a program unknown here has written it."
        )
    return ParquetPreview(
        what="Parquet",
        rows=metadata.num_rows,
        groups=metadata.num_row_groups,
        written_by=str(metadata.created_by or "")[:200],
        columns=tuple(
            Column(field.name, str(field.type)[:500], field.nullable) for field in list(fields)[:_COLUMNS]
        ),
        count=len(fields),
    )
