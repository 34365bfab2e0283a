"""``import magnus`` for unchanged code; found last on the path, so that an installed original wins."""

from __future__ import annotations

import importlib.util
from pathlib import Path

try:
    from airflow_magnus import api as _api
except ImportError:  # a step's child in an environment of its own
    _spec = importlib.util.spec_from_file_location(
        "_magnus_api", Path(__file__).resolve().parents[1] / "api.py"
    )
    assert _spec is not None
    assert _spec.loader is not None
    _api = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(_api)

get_from_catalog = _api.get_from_catalog
get_object = _api.get_object
get_parameter = _api.get_parameter
get_run_id = _api.get_run_id
get_secret = _api.get_secret
get_tag = _api.get_tag
put_in_catalog = _api.put_in_catalog
put_object = _api.put_object
set_parameter = _api.set_parameter
store_parameter = _api.store_parameter
track_this = _api.track_this
