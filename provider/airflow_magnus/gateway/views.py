"""What a gateway serves: each of its buckets as a view of a real store or of a folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow_magnus.errors import ConfigurationError
from airflow_magnus.stores.aws import AwsOptions, boto3_session, credential_provider
from airflow_magnus.stores.objects import s3_endpoint, split_s3_url

if TYPE_CHECKING:
    import boto3


REGION = "eu-central-1"
"""Where all buckets are, for the clients: one for which boto3 signs URLs by version 4. Signatures may name any."""


@dataclass(frozen=True)
class Origin:
    """A bucket of a real store, and who may ask it.

    :param bucket: its real name.
    :param endpoint: URL without a path of its own; of AWS too.
    :param is_virtual: whether the bucket stands in the host's name, not in the path.
    :param verify: False trusts every certificate, a text names a file of certificates (PEM).
    :param keys: gives ``access_key_id``, ``secret_access_key``, ``token`` and ``expires_at``; called in the task's
        process, also from a thread. Views that share it share copies inside the store. Such as :class:`airflow_magnus.stores.aws.CredentialProvider`.
    """

    bucket: str
    endpoint: str
    region: str
    is_virtual: bool = False
    verify: bool | str = True
    keys: Callable[[], Mapping[str, Any]] = field(default=dict, repr=False)

    @classmethod
    def of(cls, bucket: str, options: AwsOptions, session: boto3.Session | None = None) -> Origin:
        """The origin that the options of a connection describe. No request is made.

        :raises ConfigurationError: when there are no credentials.
        """
        session = session if session is not None else boto3_session(options)
        region = session.region_name or options.region
        given = s3_endpoint(options, session)
        style = options.addressing_style
        return cls(
            bucket=bucket,
            endpoint=given or _aws(region),
            region=region,
            is_virtual=style == "virtual" or (style == "auto" and not given and "." not in bucket),
            verify=_trusted(options.verify),
            keys=credential_provider(session),
        )


@dataclass(frozen=True)
class Prefix:
    """Objects of a real store as a bucket.

    :param prefix: what all real keys begin with, such as ``catalog/run-1/``; "" for the whole bucket.
    :param keys: visible key to the real one below ``prefix``: the bucket holds these alone. None: all below ``prefix``.
    :param digests: visible key to sha256 (hex) as recorded. The ledger then gives these, and large objects pass without
        being looked at, almost as fast as without a gateway; of others it takes the sha256 of what passes.
    :param is_recorded: all of ``keys`` must be there: a list says which is not, and is none.
    """

    origin: Origin
    prefix: str = ""
    keys: Mapping[str, str] | None = None
    digests: Mapping[str, str] = field(default_factory=dict)
    is_recorded: bool = False

    @classmethod
    def of(
        cls,
        url: str,
        options: AwsOptions,
        session: boto3.Session | None = None,
        *,
        keys: Mapping[str, str] | None = None,
        digests: Mapping[str, str] | None = None,
    ) -> Prefix:
        """The view of ``s3://bucket/prefix``."""
        bucket, prefix = split_s3_url(url)
        return cls(Origin.of(bucket, options, session), f"{prefix}/" if prefix else "", keys, digests or {})

    def __post_init__(self) -> None:
        if self.prefix and not self.prefix.endswith("/"):
            raise ConfigurationError(f"the prefix of a bucket ends with a slash: {self.prefix!r}")


@dataclass(frozen=True)
class Folder:
    """Files of this machine as a bucket.

    :param path: the folder; of a writable bucket one of the gateway's own, for files whose names are no keys.
    :param files: visible key to the file below ``path``: the bucket holds these alone. None: all below ``path``.
    :param is_recorded: as of :class:`Prefix`.
    """

    path: Path
    files: Mapping[str, str] | None = None
    is_recorded: bool = False


View = Prefix | Folder


@dataclass(frozen=True)
class Overlay:
    """What a step writes, over files that stay as they are: it sees both as one bucket.

    :param written: what takes all writes; empty at the start.
    :param below: chosen objects. One that is written again or removed is so for this step alone.
    :param has_copies: whether ``below`` may be the source of a copy, as renaming needs one.
    """

    written: View
    below: View
    has_copies: bool = True


BELOW = "catalog"
"""What the ledger calls the bucket below an overlay: what is read of it was there before the step."""


def as_message(
    name: str, view: View | Overlay, origins: list[Origin], *, is_writable: bool
) -> dict[str, Any]:
    """A view for the gateway's process; credentials go another way.

    :param origins: grows by an origin that is new; the message has its place there.
    """
    if isinstance(view, Overlay):
        written = as_message(name, view.written, origins, is_writable=is_writable)
        below = as_message(BELOW, view.below, origins, is_writable=False)
        return {**written, "below": {**below, "has_copies": view.has_copies}}
    common = {"name": name, "is_writable": is_writable, "is_recorded": view.is_recorded}
    if isinstance(view, Folder):
        return {**common, "path": str(view.path.absolute()), "keys": _plain(view.files)}
    if view.origin not in origins:
        origins.append(view.origin)
    number = origins.index(view.origin)
    digests = dict(view.digests)
    return {**common, "origin": number, "prefix": view.prefix, "keys": _plain(view.keys), "digests": digests}


def origin_as_message(origin: Origin) -> dict[str, Any]:
    """An origin without its credentials."""
    parts = urlsplit(origin.endpoint)
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.path.strip("/"):
        raise ConfigurationError(
            f"{origin.endpoint!r} is no endpoint: write http://host:port or https://host, without a path"
        )
    return {
        "bucket": origin.bucket,
        "endpoint": f"{parts.scheme}://{parts.netloc}",
        "region": origin.region,
        "is_virtual": origin.is_virtual,
        "verify": origin.verify,
    }


def _plain(names: Mapping[str, str] | None) -> dict[str, str] | None:
    return None if names is None else dict(names)


def _trusted(verify: bool | str) -> bool | str:
    """What the gateway trusts, whose folder and environment are others than those of its task."""
    if verify is True:
        verify = os.environ.get("AWS_CA_BUNDLE") or True
    return str(Path(verify).expanduser().absolute()) if isinstance(verify, str) else verify


def _aws(region: str) -> str:
    domain = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    return f"https://s3.{region}.{domain}"
