"""What a step's result depends on, as one digest; and the results of earlier attempts that depended on the same.

Source: the steps' key ``cache``. A step is known by its command and settings, the code, the parameters that it can read
and the digests of the files that it got. Secrets, and whatever else it reads from outside, do not count.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from airflow_magnus.errors import MagnusError
from airflow_magnus.operators.rerun import taken_from
from airflow_magnus.operators.session import StepSession
from airflow_magnus.runlog.records import AttemptClosed, CodeIdentity

log = logging.getLogger(__name__)

_UNKNOWN = (
    "cache: true has no effect, as it is not known for sure which code runs: commit the code to git, "
    "or run it in an image or a DAG bundle with a version"
)
_BUCKET = "cache: true has no effect, as an input of s3 names a bucket, whose objects may change"


def fingerprint(command: Mapping[str, Any], session: StepSession, code: Sequence[CodeIdentity] | None) -> str:
    """sha256 hex, 64 characters; "" when it is not known for sure which code runs, or what a bucket of its own holds.

    :param command: what is run, and the parameters that it can read.
    :param code: None when no code beside the command runs.
    """
    given = session.endpoint.inputs
    if given is None:
        return ""
    if code is not None and not any(identity.code_identifier_dependable for identity in code):
        return ""
    known = {
        "command": command,
        "items": session.variables,
        "inputs": sorted((entry.name, entry.data_hash) for entry in session.got),
        **({"endpoint": given} if given else {}),
        "catalog": [session.request.compute_data_folder, *session.request.get, "→", *session.request.put],
        "code": [
            (identity.code_identifier_type, identity.code_identifier)
            for identity in code or ()
            if identity.code_identifier_dependable
        ],
    }
    text = json.dumps(known, sort_keys=True, ensure_ascii=True, default=repr)
    return hashlib.sha256(text.encode()).hexdigest()


def earlier_result(session: StepSession) -> AttemptClosed | None:
    """The record of this attempt with what an earlier one of the same fingerprint has made; None when there is none.

    Files that are gone or damaged mean that there is none. Cost: 2 requests; with a result it reads its files once and
    copies them inside the store.
    """
    if not session.fingerprint:
        session.warnings.append(_BUCKET if session.endpoint.inputs is None else _UNKNOWN)
        return None
    run_log, catalog = session.services.run_log, session.services.catalog
    found = run_log.with_fingerprint(session.fingerprint)
    if found is None:
        return None
    run_id, closed = found
    try:
        if not catalog.are_whole(catalog.located(run_id, closed.puts())):
            log.warning("the files of the same step of run %s are gone: it runs again", run_id)
            return None
        taken = taken_from(session.opened, closed, run_id, session.header, session.services)
    except MagnusError:
        log.warning("the result of run %s cannot be used: the step runs again", run_id, exc_info=True)
        return None
    if len(taken.puts()) < len(closed.puts()):
        return None
    note = f"not run: the same command, code, parameters and inputs gave this result in run {run_id}"
    return taken.model_copy(update={"step_message": note, "fingerprint": session.fingerprint})
