"""Ceph's S3 gateway over one small cluster in memory: monitor, manager, one OSD, RADOS gateway."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from servers.programs import Programs, answers, ended_together, free_port, program
from servers.s3 import S3Server

_BYTES = 4 * 1024**3
_USER = ("testkey", "testsecret")
_CONFIG = """
[global]
fsid = {fsid}
mon host = [v2:127.0.0.1:{mon_v2},v1:127.0.0.1:{mon_v1}]
public network = 127.0.0.0/8
public addr = 127.0.0.1
auth cluster required = none
auth service required = none
auth client required = none
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 4
osd pool default pgp num = 4
osd crush chooseleaf type = 0
mon allow pool size one = true
mon warn on pool no redundancy = false
mon max pg per osd = 1000
mon data avail crit = 1
run dir = {folder}
log file = {folder}/$name.log
pid file = {folder}/$name.pid
admin socket = {folder}/$name.asok
debug ms = 0
[mon]
mon data = {folder}/mon
mon initial members = a
mon cluster log file = {folder}/cluster.log
auth allow insecure global id reclaim = false
[mgr]
mgr data = {folder}/mgr
mgr modules =
[osd]
osd data = {folder}/osd
osd objectstore = memstore
memstore device bytes = {size}
osd op num shards = 2
[client.rgw]
ms mon client mode = crc
auth client required = none
rgw data = {folder}/rgw
rgw frontends = beast endpoint=127.0.0.1:{port} tcp_nodelay=1
rgw enable usage log = false
rgw enable ops log = false
rgw override bucket index max shards = 1
rgw enable lc threads = false
rgw dynamic resharding = false
"""


@contextmanager
def ceph_server(folder: Path) -> Iterator[tuple[S3Server, Programs]]:
    """A cluster below ``folder``, whose path must be short: it holds Unix sockets."""
    names = ("monmaptool", "ceph-mon", "ceph-mgr", "ceph-osd", "ceph", "radosgw", "radosgw-admin")
    tool = {name: program(name) for name in names}
    port = free_port()
    config = _write_config(folder, port)
    with ended_together(folder) as programs:
        _start_cluster(programs, tool, config)
        programs.start([tool["radosgw"], "-c", config, "-n", "client.rgw", "-f"])
        programs.wait_until(lambda: answers(port), "the RADOS gateway", 180)
        _make_user(programs, tool, config)
        yield S3Server(f"http://127.0.0.1:{port}", *_USER), programs


def _write_config(folder: Path, port: int) -> str:
    for name in ("mon", "mgr", "osd", "rgw"):
        (folder / name).mkdir()
    config = folder / "ceph.conf"
    config.write_text(
        _CONFIG.format(
            fsid=uuid.uuid4(),
            folder=folder,
            size=_BYTES,
            port=port,
            mon_v1=free_port(),
            mon_v2=free_port(),
        )
    )
    return str(config)


def _start_cluster(programs: Programs, tool: dict[str, str], config: str) -> None:
    def ceph(*arguments: str) -> str:
        return programs.run(tool["ceph"], "-c", config, "--connect-timeout", "30", *arguments)

    hosts = next(line for line in Path(config).read_text().splitlines() if line.startswith("mon host"))
    fsid = next(line for line in Path(config).read_text().splitlines() if line.startswith("fsid"))
    address, fsid, map_file = hosts.split(" = ")[1], fsid.split(" = ")[1], str(programs.folder / "monmap")
    programs.run(tool["monmaptool"], "--create", "--fsid", fsid, "--addv", "a", address, map_file)
    programs.run(tool["ceph-mon"], "-c", config, "--mkfs", "-i", "a", "--monmap", map_file)
    programs.start([tool["ceph-mon"], "-c", config, "-i", "a", "-f"])
    disk = str(uuid.uuid4())
    ceph("osd", "new", disk, "0")
    programs.start([tool["ceph-mgr"], "-c", config, "-i", "x", "-f"])
    programs.run(tool["ceph-osd"], "-c", config, "-i", "0", "--mkfs", "--osd-uuid", disk)
    programs.start([tool["ceph-osd"], "-c", config, "-i", "0", "-f"])
    ceph("osd", "crush", "add", "osd.0", "1.0", "root=default", "host=localhost")
    programs.wait_until(
        lambda: json.loads(ceph("osd", "stat", "--format", "json"))["num_up_osds"] == 1, "Ceph's OSD"
    )


def _make_user(programs: Programs, tool: dict[str, str], config: str) -> None:
    access, secret = _USER
    programs.run(
        tool["radosgw-admin"], "-c", config, "user", "create", "--uid=test", "--display-name=test",
        f"--access-key={access}", f"--secret={secret}",
    )  # fmt: skip
