"""What the UI's view of rendered templates shows of a step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_magnus.operators.step import StepMixin

SHOWN = ("catalog_get", "catalog_put", "run_parameters")
"""Shown with every step."""


def shown_fields(cls: type[StepMixin]) -> tuple[tuple[str, ...], dict[str, str]]:
    """What the UI shows of a step: the fields of its operator and those of all steps; and how each is shown."""
    others: Any = next((c for c in cls.__mro__ if "template_fields" in c.__dict__), cls)
    own = [name for name in getattr(others, "template_fields", ()) if name not in SHOWN]
    renderers = next((c for c in cls.__mro__ if "template_fields_renderers" in c.__dict__), None)
    given = renderers.__dict__["template_fields_renderers"] if renderers else {}
    return (*own, *SHOWN), {**given, "run_parameters": "json"}
