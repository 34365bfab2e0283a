"""The engine ``s3fs`` of Debian: sends a file when it is closed or synced, and keeps nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from airflow_magnus.mount.engine import Endpoint, Held, Unsaved, program
from airflow_magnus.mount.places import Place


class S3fs:
    """s3fs. What it says of itself counts for nothing: it loses and aborts without an error, so the store is asked."""

    name = "s3fs"
    saves_by_unmount = True

    def missing(self) -> list[str]:
        """What is not installed."""
        return [] if program("s3fs") else ["the program s3fs: on Debian, apt-get install s3fs"]

    def command(self, place: Place, endpoint: Endpoint) -> Sequence[str]:
        """The command."""
        options = [
            f"url={endpoint.url}", "use_path_request_style", f"endpoint={endpoint.region}", "sigv4",
            f"tmpdir={place.private}", f"fsname={place.source}", "umask=0022", "mp_umask=0022",
            "complement_stat",  # objects that others have put have no mode
            f"stat_cache_expire={5 if place.is_writable else 3600}",
            *(("nonempty",) if place.hides else ()), *(() if place.is_writable else ("ro",)), *(("allow_other",) if place.is_shared else ()),
        ]  # fmt: skip
        given = [part for option in options for part in ("-o", option)]
        return [program("s3fs") or "s3fs", place.bucket, str(place.mountpoint), "-f", *given]

    def environment(self, place: Place, endpoint: Endpoint) -> dict[str, str]:
        """The credentials under the names of all its versions."""
        return {
            "AWSACCESSKEYID": endpoint.token,
            "AWSSECRETACCESSKEY": endpoint.token,
            "AWS_ACCESS_KEY_ID": endpoint.token,
            "AWS_SECRET_ACCESS_KEY": endpoint.token,
        }

    def is_up(self, place: Place) -> bool:
        """Always: its mount is all there is to ask."""
        return True

    def hurry(self, place: Place) -> list[Unsaved]:
        """Nothing: it has no queue."""
        return []

    def held(self, place: Place) -> list[Held]:
        """Nothing: its files have no names."""
        return []

    def copies(self, place: Place) -> dict[str, Path]:
        """None."""
        return {}
