"""An S3 endpoint beside a step: its inputs as read-only buckets, and an empty bucket ``out`` to write to."""

from __future__ import annotations

from airflow_magnus.gateway.views import Folder, Origin, Prefix

__all__ = ["Folder", "Origin", "Prefix"]
