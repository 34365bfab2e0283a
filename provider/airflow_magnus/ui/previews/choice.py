"""Which preview a file has."""

from __future__ import annotations

from airflow_magnus.stores.reading import StoredFile
from airflow_magnus.ui.previews.binary import BinaryPreview, binary_preview
from airflow_magnus.ui.previews.image import ImagePreview, image_preview
from airflow_magnus.ui.previews.notebook import NotebookPreview, notebook_preview
from airflow_magnus.ui.previews.parquet import ParquetPreview, parquet_preview
from airflow_magnus.ui.previews.sample import Sample
from airflow_magnus.ui.previews.table import TablePreview, table_preview
from airflow_magnus.ui.previews.text import TextPreview, text_preview

Preview = TextPreview | TablePreview | ImagePreview | ParquetPreview | NotebookPreview | BinaryPreview


def preview_of(sample: Sample, file: StoredFile) -> Preview:
    """Look into a file. Cost: none for most kinds; a notebook is read, of Parquet its end."""
    in_the_catalog = None if sample.is_unpacked else parquet_preview(sample, file)
    return (
        in_the_catalog
        or image_preview(sample, file.size)
        or notebook_preview(sample, file)
        or table_preview(sample)
        or text_preview(sample)
        or binary_preview(sample)
    )
