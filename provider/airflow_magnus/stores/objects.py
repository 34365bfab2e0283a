"""Open object stores by URL, find out what a server can do, and say in words what went wrong."""

from __future__ import annotations

import os
import re
import uuid
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit, urlunsplit

from airflow_magnus.errors import ConfigurationError, StoreError
from airflow_magnus.stores.aws import AwsOptions, boto3_session, credential_provider

if TYPE_CHECKING:
    import boto3

MAX_RETRIES = 30
"""With pauses of up to 15 s the time decides, not the number."""
PATIENCE = timedelta(seconds=300)
"""For how long a request that a server or a network failed is sent again."""
_CLIENT = {
    "connect_timeout": "15s",
    # For a whole request; a single PUT starts again from zero after it.
    "timeout": "600s",
    # Ends a transfer that stalls; a download goes on where it was.
    "read_timeout": "120s",
}
_CLOUDS = ("gs", "az", "abfs", "abfss")
_SCHEMES = "s3://bucket/prefix, gs://…, az://…, file:///folder, memory:// or a plain path"


@dataclass(frozen=True)
class ProbeResult:
    """What a probe found out.

    :param is_conditional: whether create-only writes are honoured: two writers of one key, one winner.
    :param message: one sentence for people.
    """

    is_conditional: bool
    message: str


def open_object_store(
    url: str,
    aws: AwsOptions | None = None,
    *,
    session: boto3.Session | None = None,
    max_retries: int = MAX_RETRIES,
) -> Any:
    """Open the obstore store of a URL. Nothing is requested; not to be called in a process that forks later.

    :param url: ``s3://bucket/prefix``, ``file:///folder`` or a path (relative: to the current folder, as of now; the
        folder is made), ``memory://`` (a new, empty one each time), ``gs://`` and ``az://`` by their own environment.
    :param session: signs the requests to S3; by default made from ``aws``.
    :param max_retries: how often a request that a server or a network failed is sent again.
    :raises ConfigurationError: for a URL that cannot be opened, or when there are no credentials.
    """
    scheme = urlsplit(url).scheme if "://" in url else ""
    if scheme == "s3":
        return _open_s3(url, aws or AwsOptions(), session, max_retries)
    if scheme in ("", "file"):
        from obstore.store import LocalStore

        folder = _folder(url)
        try:
            return LocalStore(folder, mkdir=True)
        except OSError as error:
            raise ConfigurationError(
                f"the folder {folder} cannot be made or opened: {error}; name another one, or work where you may write"
            ) from error
    if scheme == "memory":
        from obstore.store import MemoryStore

        return MemoryStore()
    if scheme in _CLOUDS:
        from obstore.store import from_url

        return from_url(url, client_options=dict(_CLIENT), retry_config=_retries(max_retries))
    raise ConfigurationError(f"cannot open {_shown(url)!r}: allowed are {_SCHEMES}")


def reopened(store: Any) -> Any:
    """A store like this one that asks for its credentials anew."""
    arguments, options = store.__getnewargs_ex__()
    # A store does not take back the name that it gives this key.
    names = {"endpoint_url_s3": "aws_endpoint_url_s3"}
    config = {names.get(key, key): value for key, value in (options.pop("config", None) or {}).items()}
    return type(store)(*arguments, config=config, **options)


def split_s3_url(url: str) -> tuple[str, str]:
    """Give bucket and prefix of ``s3://bucket/prefix``; the prefix without slashes around it, "" for none.

    :raises ConfigurationError: when it names no bucket.
    """
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    if not bucket or "@" in bucket:
        raise ConfigurationError(
            f"{_shown(url)!r} names no bucket: write s3://bucket/prefix, without keys in it"
        )
    return bucket, prefix.strip("/")


def s3_endpoint(aws: AwsOptions, session: boto3.Session) -> str:
    """Give the endpoint for S3 that the options, else boto3's own settings name; "" for AWS itself."""
    if aws.endpoint_url:
        return aws.endpoint_url.rstrip("/")
    from botocore.configprovider import ConfiguredEndpointProvider

    core: Any = session._session
    if core.get_config_variable("ignore_configured_endpoint_urls"):
        return ""
    found = ConfiguredEndpointProvider(core.full_config, core.get_scoped_config(), "s3").provide()
    return str(found or "").rstrip("/")


def probe(store: Any, url: str = "") -> ProbeResult:
    """Write, read and delete one object below the store's prefix. Cost: 5 requests.

    :param url: for people: where the store is.
    :raises StoreError: a sentence that names what is missing.
    """
    import obstore

    key, body = f".magnus-probe-{uuid.uuid4().hex}", b"written by the connection test; safe to delete"
    try:
        obstore.put(store, key, body, use_multipart=False)
        found = bytes(obstore.get(store, key).bytes())
        is_conditional = _honours_create(store, key, body)
        obstore.delete(store, key)
    except Exception as error:
        raise StoreError(explain(error, url)) from error
    if found != body:
        raise StoreError(f"{_shown(url)} gave back other bytes than were written: is this an S3 endpoint?")
    return ProbeResult(is_conditional, _found_out(url, is_conditional))


def explain(error: BaseException, url: str) -> str:
    """Say in one sentence what is missing when a call to the store at ``url`` ended in ``error``."""
    where = _shown(url) or "the store"
    text = first_part(str(error))
    for marks, sentence in _SENTENCES:
        if any(mark in str(error) for mark in marks):
            return sentence.format(where=where, bucket=urlsplit(where).netloc or where) + f" ({text})"
    return f"{where}: {text}"


_KEYS_REFUSED = (
    "access denied to {where}: the server does not know this access key; check access key and endpoint_url"
)
_SENTENCES = (
    (
        ("NoSuchBucket",),
        "bucket {bucket!r} does not exist: create it, or correct the bucket in the settings",
    ),
    (("InvalidBucketName",), "{bucket!r} is not a valid bucket name: correct the bucket in the settings"),
    (
        ("SignatureDoesNotMatch",),
        "signature mismatch at {where}: the secret key does not belong to the access key, or a proxy changes requests",
    ),
    (("InvalidAccessKeyId", "InvalidClientTokenId"), _KEYS_REFUSED),
    (
        ("ExpiredToken", "TokenRefreshRequired", "InvalidToken"),
        "the session token for {where} has expired or is not valid: renew the credentials",
    ),
    (
        ("RequestTimeTooSkewed",),
        "{where} refuses the request's time: set the clock of this machine (ntp)",
    ),
    (
        ("BareRedirect", "PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraint"),
        "bucket {bucket!r} is in another region or at another endpoint: correct region (or endpoint_url)",
    ),
    (
        ("External AWS credential provider",),
        "no usable credentials for {where}: correct the credentials in the settings",
    ),
    (
        ("AccessDenied", "403 Forbidden", "PermissionDenied", "Permission denied", "Unauthenticated"),
        "access denied to {where}: the credentials are known but may not do this;"
        " reading, writing, listing and deleting below the prefix must be allowed",
    ),
    (
        ("dns error",),
        "cannot connect to {where}: the host of the endpoint is not known; correct endpoint_url",
    ),
    (
        ("certificate", "InvalidCertificate", "UnknownIssuer"),
        "cannot connect to {where}: its certificate is not trusted; let verify name the file of your authority",
    ),
    (
        ("kind: Connect", "kind: Timeout", "tcp connect error", "error sending request"),
        "cannot connect to {where}: nothing answers there; check endpoint_url (http or https, port) and the network",
    ),
    (
        ("404 Not Found",),
        "wrong endpoint for {where}: what answers does not speak S3 or does not know the bucket; correct endpoint_url",
    ),
)


def _open_s3(url: str, aws: AwsOptions, session: boto3.Session | None, max_retries: int) -> Any:
    from obstore.store import S3Store

    bucket, prefix = split_s3_url(url)
    session = session if session is not None else boto3_session(aws)
    endpoint = s3_endpoint(aws, session)
    provider = credential_provider(session)
    config = {"region": session.region_name or aws.region, **_address(endpoint, bucket, aws)}
    return S3Store(
        bucket,
        prefix=prefix or None,
        config=config,
        client_options=_client_options(endpoint, aws),
        retry_config=_retries(max_retries),
        credential_provider=provider,
    )


def _address(endpoint: str, bucket: str, aws: AwsOptions) -> dict[str, Any]:
    is_virtual = aws.addressing_style == "virtual" or (
        aws.addressing_style == "auto" and not endpoint and "." not in bucket
    )
    if not endpoint:
        return {"virtual_hosted_style_request": is_virtual}
    if is_virtual:
        parts = urlsplit(endpoint)
        endpoint = urlunsplit(parts._replace(netloc=f"{bucket}.{parts.netloc}"))
    # Both names: the second would else be taken from AWS_ENDPOINT_URL_S3 and win.
    return {
        "endpoint": endpoint,
        "aws_endpoint_url_s3": endpoint,
        "virtual_hosted_style_request": is_virtual,
    }


def _client_options(endpoint: str, aws: AwsOptions) -> dict[str, Any]:
    options: dict[str, Any] = dict(_CLIENT)
    if endpoint.startswith("http://"):
        options["allow_http"] = True
    authority = aws.verify if isinstance(aws.verify, str) else os.environ.get("AWS_CA_BUNDLE", "")
    if aws.verify is False:
        options["allow_invalid_certificates"] = True
    elif authority:
        path = Path(authority).expanduser()
        if not path.is_file():
            raise ConfigurationError(
                f"verify names a file of certificates that is not there: {path}; give a PEM file, true or false"
            )
        options["root_certificate"] = path.read_bytes()
    return options


def _retries(most: int) -> Any:
    return {"max_retries": most, "retry_timeout": PATIENCE}


def _folder(url: str) -> Path:
    if "://" not in url:
        return Path(url).expanduser().absolute()
    parts = urlsplit(url)
    if parts.netloc not in ("", "localhost"):
        raise ConfigurationError(f"{url!r} names a host: write file:///absolute/folder, or a plain path")
    return Path(unquote(parts.path) or "/")


def _honours_create(store: Any, key: str, body: bytes) -> bool:
    import obstore
    from obstore.exceptions import AlreadyExistsError, BaseError

    try:
        obstore.put(store, key, body, mode="create", use_multipart=False)
    except AlreadyExistsError:
        return True
    except BaseError as error:
        if "NotImplemented" in str(error) or "501" in str(error):
            return False
        raise
    return False


def _found_out(url: str, is_conditional: bool) -> str:
    done = f"{_shown(url) or 'the store'}: wrote, read and deleted an object"
    if is_conditional:
        return f"{done}; conditional (create-only) writes are honoured"
    return (
        f"{done}; conditional (create-only) writes are NOT honoured by this server:"
        " each record of a run log takes half a second more, so that one writer wins"
    )


_ELEMENT = {name: re.compile(f"<{name}>([^<]*)</{name}>") for name in ("Code", "Message")}


def first_part(text: str) -> str:
    """What an error of obstore says, on one line, without its details for those who write Rust."""
    said = text.partition("\n\nDebug source")[0]
    before, mark, document = said.partition("<?xml")
    code, message = (_ELEMENT[name].search(document) for name in ("Code", "Message"))
    if mark and code:
        said = f"{before}{code[1]} {message[1] if message else ''}"
    return " ".join(said.split())[:600]


def _shown(url: str) -> str:
    """Give a URL without user and password."""
    if "://" not in url:
        return url
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
