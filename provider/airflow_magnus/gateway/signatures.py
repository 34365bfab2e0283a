"""Whether a request was signed with the token of this task: AWS Signature Version 4, in the headers or in the URL."""

from __future__ import annotations

import calendar
import hashlib
import hmac
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import lru_cache
from urllib.parse import quote

from airflow_magnus.gateway.faults import S3Error
from airflow_magnus.gateway.target import UNRESERVED, Target

ALGORITHM = "AWS4-HMAC-SHA256"
UNSIGNED = "UNSIGNED-PAYLOAD"
SKEW = 15 * 60
"""Seconds that the clock of a client may be wrong."""
_LONGEST_PRESIGNED = 7 * 24 * 3600
_MAY_BE_UNSIGNED = frozenset({"x-amz-user-agent"})

Headers = Mapping[str, Sequence[str]]
"""Lower-case names to the values that were sent."""


@dataclass(frozen=True)
class Signed:
    """How a request was signed.

    :param payload: what the signature says of the body: its sha256, ``UNSIGNED-PAYLOAD`` or a ``STREAMING-…``.
    :param key: signs the chunks of a body, beginning with ``signature`` as the one before.
    """

    payload: str
    key: bytes
    scope: str
    stamp: str
    signature: str


@dataclass(frozen=True)
class _Claim:
    access_key: str
    day: str
    region: str
    service: str
    names: tuple[str, ...]
    signature: str
    stamp: str
    payload: str

    @property
    def scope(self) -> str:
        return f"{self.day}/{self.region}/{self.service}/aws4_request"


class Verifier:
    """Checks signatures.

    :param token: access key and secret key in one.
    :param now: seconds since 1970.
    """

    def __init__(self, token: str, now: Callable[[], float] = time.time) -> None:
        self._token = token.encode()
        self._now = now
        self._key = lru_cache(maxsize=64)(self._derived)

    def verify(self, method: str, target: Target, headers: Headers) -> Signed:
        """Give how the request was signed.

        :raises S3Error: when it was not signed with the token, or too long ago.
        """
        claim = self._claim(target, headers)
        if not hmac.compare_digest(claim.access_key.encode("utf-8", "replace"), self._token):
            raise S3Error(
                "InvalidAccessKeyId",
                "this access key is not that of this task: the code names a profile or keys of its own",
            )
        if claim.service != "s3":
            raise S3Error("AuthorizationHeaderMalformed", "the signature is for another service than s3")
        self._check_names(claim, headers)
        key = self._key(claim.day, claim.region)
        if not any(
            hmac.compare_digest(
                self._signature(key, claim, method, path, target, headers),
                claim.signature.encode("utf-8", "replace"),
            )
            for path in _paths(target)
        ):
            raise S3Error("SignatureDoesNotMatch", "the signature is not one of this task's token")
        return Signed(claim.payload, key, claim.scope, claim.stamp, claim.signature)

    def _claim(self, target: Target, headers: Headers) -> _Claim:
        if "X-Amz-Algorithm" in target.query or "X-Amz-Signature" in target.query:
            if "authorization" in headers:
                raise S3Error("InvalidArgument", "a request is signed in its URL or its headers, not in both")
            return self._claim_of_url(target.query, headers)
        return self._claim_of_headers(headers)

    def _claim_of_headers(self, headers: Headers) -> _Claim:
        given = _only(headers, "authorization")
        if not given:
            raise S3Error("AccessDenied", "requests are signed with the keys in this task's environment")
        algorithm, _, rest = given.partition(" ")
        if algorithm != ALGORITHM:
            raise S3Error("InvalidRequest", f"requests are signed by {ALGORITHM}")
        fields = dict(item.strip().partition("=")[::2] for item in rest.split(","))
        payload = _only(headers, "x-amz-content-sha256")
        if not payload:
            raise S3Error("InvalidRequest", "the header x-amz-content-sha256 is missing")
        stamp = _only(headers, "x-amz-date") or _stamp_of_date(_only(headers, "date"))
        claim = _claimed(
            fields.get("Credential", ""),
            fields.get("SignedHeaders", ""),
            fields.get("Signature", ""),
            stamp,
            payload,
        )
        if abs(self._now() - _seconds(claim)) > SKEW:
            raise S3Error("RequestTimeTooSkewed", "the clock of the client is wrong by more than 15 minutes")
        return claim

    def _claim_of_url(self, query: Mapping[str, str], headers: Headers) -> _Claim:
        if query.get("X-Amz-Algorithm") != ALGORITHM:
            raise S3Error("AuthorizationQueryParametersError", f"X-Amz-Algorithm is {ALGORITHM}")
        claim = _claimed(
            query.get("X-Amz-Credential", ""),
            query.get("X-Amz-SignedHeaders", ""),
            query.get("X-Amz-Signature", ""),
            query.get("X-Amz-Date", ""),
            query.get("X-Amz-Content-Sha256") or _only(headers, "x-amz-content-sha256") or UNSIGNED,
        )
        expires = query.get("X-Amz-Expires", "")
        if not expires.isascii() or not expires.isdigit() or int(expires[:9]) > _LONGEST_PRESIGNED:
            raise S3Error("AuthorizationQueryParametersError", "X-Amz-Expires is seconds, at most a week")
        since = self._now() - _seconds(claim)
        if since < -SKEW or since > int(expires):
            raise S3Error("AccessDenied", "this URL has expired or is not valid yet")
        return claim

    def _check_names(self, claim: _Claim, headers: Headers) -> None:
        if "host" not in claim.names:
            raise S3Error("AccessDenied", "the header Host was not signed")
        for name in headers:
            if name.startswith("x-amz-") and name not in claim.names and name not in _MAY_BE_UNSIGNED:
                raise S3Error("AccessDenied", f"the header {name} was not signed")

    def _signature(
        self, key: bytes, claim: _Claim, method: str, path: str, target: Target, headers: Headers
    ) -> bytes:
        query = sorted(
            (quote(name, safe=UNRESERVED), quote(value, safe=UNRESERVED))
            for name, value in target.pairs
            if name != "X-Amz-Signature"
        )
        lines = [
            method,
            path,
            "&".join(f"{name}={value}" for name, value in query),
            *(f"{name}:{_canonical(headers.get(name, ()))}" for name in claim.names),
            "",
            ";".join(claim.names),
            claim.payload,
        ]
        request = hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()
        text = f"{ALGORITHM}\n{claim.stamp}\n{claim.scope}\n{request}"
        return hmac.new(key, text.encode(), hashlib.sha256).hexdigest().encode()

    def _derived(self, day: str, region: str) -> bytes:
        key = b"AWS4" + self._token
        for part in (day, region, "s3", "aws4_request"):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        return key


def _claimed(credential: str, names: str, signature: str, stamp: str, payload: str) -> _Claim:
    parts = credential.rsplit("/", 4)
    if len(parts) != 5 or parts[4] != "aws4_request" or not names or not signature:
        raise S3Error("AuthorizationHeaderMalformed", "credential, signed headers or signature are missing")
    if not stamp.startswith(parts[1]) or len(parts[1]) != 8:
        raise S3Error("AuthorizationHeaderMalformed", "the date of the credential is not that of the request")
    access_key, day, region, service, _ = parts
    signed = tuple(sorted(set(names.lower().split(";"))))
    return _Claim(access_key, day, region, service, signed, signature, stamp, payload)


def _paths(target: Target) -> tuple[str, ...]:
    """The path as it was sent, and as a client that signs before it encodes otherwise has it."""
    key = f"/{quote(target.key, safe='/' + UNRESERVED)}" if target.key or target.path.count("/") > 1 else ""
    normal = f"/{quote(target.bucket, safe=UNRESERVED)}{key}"
    return (target.path,) if normal == target.path else (target.path, normal)


def _seconds(claim: _Claim) -> int:
    try:
        return calendar.timegm(time.strptime(claim.stamp, "%Y%m%dT%H%M%SZ"))
    except ValueError:
        raise S3Error(
            "AccessDenied", "the time of the request is missing or not of form 20260102T030405Z"
        ) from None


def _stamp_of_date(value: str) -> str:
    try:
        return time.strftime("%Y%m%dT%H%M%SZ", parsedate_to_datetime(value).utctimetuple())
    except (TypeError, ValueError, IndexError):
        return ""


def _canonical(values: Sequence[str]) -> str:
    return ",".join(" ".join(value.split()) for value in values)


def _only(headers: Headers, name: str) -> str:
    values = headers.get(name, ())
    if len(values) > 1:
        raise S3Error("InvalidRequest", f"the header {name} was sent twice")
    return values[0].strip() if values else ""
