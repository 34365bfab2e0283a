"""What the store refuses, as Jupyter's pages show it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tornado.web import HTTPError

from airflow_magnus.errors import MagnusError
from airflow_magnus.gateway.documents import parse
from airflow_magnus.gateway.faults import S3Error
from airflow_magnus.jupyter.connection import Reply

_SHOWN = {"AccessDenied": 403, "KeyTooLongError": 400, "PreconditionFailed": 409, "NoSuchKey": 404}

_WHAT_TO_DO = {
    "NoSuchBucket": "check aws_s3_bucket, aws_s3_host and aws_region",
    "AccessDenied": "these credentials may not do that in this bucket",
    "PermanentRedirect": "check aws_region",
    "AuthorizationHeaderMalformed": "check aws_region",
}


def refused(reply: Reply, what: str) -> S3Error:
    """The error that an answer is.

    :param what: was asked for, for people.
    """
    code, message = "InternalError", ""
    try:
        document = parse(reply.body, is_lenient=True)
        code, message = document.findtext("Code", code), document.findtext("Message", "")
    except S3Error:  # of a HEAD, or not of S3
        pass
    hint = f" ({_WHAT_TO_DO[code]})" if code in _WHAT_TO_DO else ""
    text = f"{what}: the store answers {reply.status} {code} {message}".rstrip()
    return S3Error(code, text + hint, status=reply.status)


def read_only(path: str) -> HTTPError:
    """The refusal of a change below the folder of runs."""
    return HTTPError(403, f"{path!r} is part of a run: it can be read and copied elsewhere, not changed")


@contextmanager
def told_of(path: str) -> Iterator[None]:
    """Let what the store refuses become an answer to the browser that says which path it is about."""
    try:
        yield
    except S3Error as error:
        status = _SHOWN.get(error.code, 503 if error.status == 503 else 500)
        raise HTTPError(status, f"{path or '/'}: {error.message}") from error
    except MagnusError as error:
        raise HTTPError(500, f"{path or '/'}: {error}") from error
