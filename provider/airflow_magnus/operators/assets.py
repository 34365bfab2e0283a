"""Files that steps put as asset events of Airflow, so that other DAGs are scheduled on them.

A file that a put names is an asset of its own, known before the step has run. For all others there is one asset alias a
pipeline. An event is made of what the attempt has put itself: none of a step that was not run, as its files are those of an
earlier event, and none of one that failed.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import conf

from airflow_magnus.operators.links import airflow_url, page_path
from airflow_magnus.pipeline.assets import file_named, file_uri, is_of_pipelines, pipeline_uri
from airflow_magnus.runlog.records import AttemptClosed, CatalogEntry, RunHeader

if TYPE_CHECKING:
    from airflow.sdk import Asset, AssetAlias

log = logging.getLogger(__name__)


def file_asset(pipeline: str, file: str) -> Asset:
    """The asset that a file of a pipeline is: for ``DAG(schedule=[…])`` and ``inlets=[…]``.

    :param pipeline: its name, as ``magnus show`` says it.
    :param file: path below the compute data folder, with ``/``.
    """
    from airflow.sdk import Asset

    return Asset(file_uri(pipeline, file))


def outlets_of(pipeline: str, patterns: Sequence[str], *, has_others: bool) -> list[Asset | AssetAlias]:
    """What Airflow is told beforehand of the files that a step puts. It costs the task a request to Airflow.

    :param pipeline: its name; "" where it is not known yet.
    :param patterns: of its put, before templates are rendered.
    :param has_others: whether it puts files that no pattern of them names.
    """
    from airflow.sdk import Asset, AssetAlias

    if not pipeline or not _most_events():
        return []
    names = [file_named(pattern) for pattern in patterns]
    uris = dict.fromkeys(uri for name in names if name and (uri := file_uri(pipeline, name)))
    aliases = [AssetAlias(pipeline_uri(pipeline))] if has_others or "" in names else []
    return [*map(Asset, uris), *aliases]


def tell_of_puts(
    outlets: Sequence[Any], context: Any, header: RunHeader, closed: AttemptClosed | None
) -> list[Any]:
    """Make the asset events of an attempt; gives the outlets that Airflow is to make events of.

    :param closed: the record of the attempt; None when its step was not run.
    """
    from airflow.sdk import Asset, AssetAlias

    puts = closed.puts() if closed is not None else []
    entries = {uri: entry for entry in puts if (uri := file_uri(header.pipeline, entry.name))}
    assets = {o.uri: o for o in outlets if isinstance(o, Asset) and is_of_pipelines(o.uri)}
    others = {uri: entry for uri, entry in entries.items() if uri not in assets}
    alias = AssetAlias(pipeline_uri(header.pipeline))
    most, events = _most_events(), context["outlet_events"]
    for uri, entry in entries.items():
        assert closed is not None
        extra = _extra(entry, header, closed, context["ti"])
        if uri in assets:
            events[assets[uri]].extra = extra
        elif len(others) <= most:
            events[alias].add(Asset(uri), extra=extra)
    if len(others) > most > 0:
        log.info(
            "%s files were put and become no asset events, as they are more than [magnus] asset_events allows: "
            "name those in the step's put that other pipelines wait for",
            len(others),
        )
    told = [o for o in outlets if o != alias and getattr(o, "uri", "") not in assets.keys() - entries.keys()]
    return [*told, alias] if 0 < len(others) <= most else told


def _extra(entry: CatalogEntry, header: RunHeader, closed: AttemptClosed, ti: Any) -> dict[str, Any]:
    """What an event says of a file."""
    return {
        "file": entry.name,
        "digest": entry.data_hash,
        "size": entry.size,
        "pipeline": header.pipeline,
        "run_id": header.run_id,
        "step": closed.step.internal_name,
        "attempt": closed.number,
        "provenance": airflow_url() + page_path("provenance", ti.dag_id, ti.run_id, *entry.name.split("/")),
    }


def _most_events() -> int:
    """How many files of one task, beside those that its put names, become asset events; 0: tasks have no assets."""
    return int(conf.getint("magnus", "asset_events", fallback=100))
