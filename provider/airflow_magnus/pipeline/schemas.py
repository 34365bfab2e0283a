"""JSON Schemas of parameters: which mappings are one, what they accept."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

_MARKS = frozenset({"type", "enum", "const", "anyOf", "oneOf", "allOf", "not", "$ref", "if"})
_KEYWORDS = _MARKS | {
    *(
        "$anchor",
        "$comment",
        "$defs",
        "$id",
        "$schema",
        "additionalProperties",
        "contains",
        "contentEncoding",
    ),
    *("contentMediaType", "contentSchema", "default", "definitions", "dependentRequired", "dependentSchemas"),
    *(
        "deprecated",
        "description",
        "else",
        "examples",
        "exclusiveMaximum",
        "exclusiveMinimum",
        "format",
        "items",
    ),
    *(
        "maxContains",
        "maxItems",
        "maxLength",
        "maxProperties",
        "maximum",
        "minContains",
        "minItems",
        "minLength",
    ),
    *("minProperties", "minimum", "multipleOf", "pattern", "patternProperties", "prefixItems", "properties"),
    *("propertyNames", "readOnly", "required", "then", "title", "unevaluatedItems", "unevaluatedProperties"),
    *("uniqueItems", "writeOnly"),
    *(
        "custom_html_form",
        "description_md",
        "section",
        "source",
        "values_display",
    ),  # of Airflow's trigger form
}


def is_schema(value: Any) -> bool:
    """True for a mapping that says what values are, not a value: it has ``type``, ``enum``, … and nothing foreign."""
    return isinstance(value, dict) and not _MARKS.isdisjoint(value) and _KEYWORDS.issuperset(value)


def schema_fault(schema: Mapping[str, Any]) -> str:
    """Say what is wrong with a schema itself; "" when nothing is."""
    from jsonschema import Draft202012Validator, SchemaError  # type: ignore[import-untyped, unused-ignore]

    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        return str(error.message)
    return ""


def value_fault(value: Any, schema: Mapping[str, Any]) -> str:
    """Say why a schema does not accept a value, and what it accepts; "" when it does."""
    if not schema:
        return ""
    from jsonschema import Draft202012Validator, FormatChecker
    from jsonschema.exceptions import best_match  # type: ignore[import-untyped, unused-ignore]

    error = best_match(Draft202012Validator(schema, format_checker=FormatChecker()).iter_errors(value))
    if error is None:
        return ""
    keyword = str(error.validator)
    return f"{error.message} (allowed: {keyword} {json.dumps(error.validator_value, ensure_ascii=False, default=str)})"


def has_type(value: Any, schema: Mapping[str, Any]) -> bool:
    """True when the schema names types and the value is of one of them."""
    return "type" in schema and not value_fault(value, {"type": schema["type"]})
