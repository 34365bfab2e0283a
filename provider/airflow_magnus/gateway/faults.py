"""What the gateway refuses, in the words of S3."""

from __future__ import annotations

from collections.abc import Iterable

_STATUS = {
    "AccessDenied": 403,
    "AuthorizationHeaderMalformed": 400,
    "AuthorizationQueryParametersError": 400,
    "BadDigest": 400,
    "EntityTooSmall": 400,
    "IncompleteBody": 400,
    "InternalError": 500,
    "InvalidAccessKeyId": 403,
    "InvalidArgument": 400,
    "InvalidDigest": 400,
    "InvalidPart": 400,
    "InvalidPartOrder": 400,
    "InvalidRange": 416,
    "InvalidRequest": 400,
    "InvalidURI": 400,
    "KeyTooLongError": 400,
    "MalformedXML": 400,
    "MethodNotAllowed": 405,
    "MissingContentLength": 411,
    "NoSuchBucket": 404,
    "NoSuchBucketPolicy": 404,
    "NoSuchCORSConfiguration": 404,
    "NoSuchKey": 404,
    "NoSuchLifecycleConfiguration": 404,
    "NoSuchTagSet": 404,
    "NoSuchUpload": 404,
    "NotImplemented": 501,
    "PreconditionFailed": 412,
    "RequestTimeTooSkewed": 403,
    "RequestTimeout": 400,
    "ServerSideEncryptionConfigurationNotFoundError": 404,
    "ServiceUnavailable": 503,
    "SignatureDoesNotMatch": 403,
    "XAmzContentSHA256Mismatch": 400,
}


class S3Error(Exception):
    """A request is refused.

    :param code: of S3.
    :param message: what is wrong, for people.
    :param status: of HTTP; by default the one that S3 gives with the code.
    """

    def __init__(self, code: str, message: str, *, status: int = 0) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status or _STATUS[code]


def read_only(bucket: str) -> S3Error:
    """The refusal of a write to an input."""
    return S3Error("AccessDenied", f"bucket {bucket!r} is an input: it can be read only; write to s3://out")


def no_such_bucket(bucket: str, there: Iterable[str]) -> S3Error:
    """The refusal of a bucket that the step was not given."""
    names = ", ".join(sorted(there)) or "none"
    return S3Error(
        "NoSuchBucket",
        f"there is no bucket {bucket!r} beside this code, there are: {names}; name it below inputs of s3",
    )


def no_such_key(key: str) -> S3Error:
    """The answer to a key that holds nothing."""
    return S3Error("NoSuchKey", f"there is no object {key!r}")


def not_implemented(what: str) -> S3Error:
    """The refusal of a part of S3 that a step's gateway does not have."""
    return S3Error("NotImplemented", f"the gateway of a step does not do this: {what}")
