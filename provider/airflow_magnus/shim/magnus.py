"""``import magnus`` for unchanged code. Where the original is installed, this gives way to it."""

from __future__ import annotations

import importlib.util
import sys
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

_HERE = Path(__file__).resolve().parent
_NAMES = (
    "get_from_catalog",
    "get_object",
    "get_parameter",
    "get_run_id",
    "get_secret",
    "get_tag",
    "put_in_catalog",
    "put_object",
    "set_parameter",
    "store_parameter",
    "track_this",
)


def _original() -> ModuleSpec | None:
    """The original, wherever on the path: PYTHONPATH, by which a step's children find this, stands before packages."""
    elsewhere = [place for place in sys.path if Path(place).resolve() != _HERE]
    spec = PathFinder.find_spec(__name__, elsewhere)
    return spec if spec is not None and spec.origin is not None else None


def _loaded(spec: ModuleSpec) -> ModuleType:
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    assert spec.loader is not None
    spec.loader.exec_module(module)
    return module


_spec = _original()
if _spec is not None:
    _loaded(_spec)  # takes this module's place
else:
    try:
        from airflow_magnus import api as _api
    except ImportError:  # a step's child in an environment of its own
        _spec = importlib.util.spec_from_file_location("_magnus_api", _HERE.parent / "api.py")
        assert _spec is not None
        _api = _loaded(_spec)
    globals().update({name: getattr(_api, name) for name in _NAMES})
