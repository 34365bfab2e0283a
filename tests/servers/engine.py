"""A container engine in pure Python: the part of Docker's API that Airflow's DockerOperator calls, on a Unix socket.

A container is a process of this machine with the image's and the container's environment and nothing else. Its mounts
are links below a folder of its own, and the paths of mounts in its command, environment and working folder are those
of the links; so a program finds its mounts by the paths it is given, and not by paths that it was made with.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import signal
import socketserver
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit


@dataclass
class Image:
    """What an image would set."""

    environment: dict[str, str] = field(default_factory=dict)
    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    is_local: bool = True

    def id(self, name: str) -> str:
        return f"sha256:{name.encode().hex()}"


class Container:
    """One container: its configuration, its process, what it wrote."""

    def __init__(self, number: int, config: dict[str, Any], image: Image, folder: Path) -> None:
        self.id = f"{number:064x}"
        self.config = config
        self.image = image
        self.root = folder / self.id[-8:]
        self.root.mkdir(parents=True)
        self.process: subprocess.Popen[bytes] | None = None
        self.started = threading.Event()
        self.is_removed = False
        self.stopped_with: int | None = None
        self.grace = 0.0
        self._links: list[Path] = []
        self._mounts: dict[str, Path] = {}

    @property
    def mounts(self) -> list[dict[str, Any]]:
        return list((self.config.get("HostConfig") or {}).get("Mounts") or [])

    @property
    def variables(self) -> dict[str, str]:
        return dict(item.split("=", 1) for item in self.config.get("Env") or [])

    @property
    def argv(self) -> list[str]:
        given = self.config.get("Entrypoint")
        command = self.config.get("Cmd") or ([] if given else self.image.command)
        return [*(given or self.image.entrypoint), *command]

    def missing(self) -> str:
        """The first source of a mount that is not there."""
        return next((m["Source"] for m in self.mounts if not Path(m["Source"]).exists()), "")

    def start(self) -> str:
        """Start the process; gives what is wrong when it cannot be started."""
        for mount in sorted(self.mounts, key=lambda m: len(m["Target"])):
            self._link(mount["Target"], Path(mount["Source"]))
        environment = {**self.image.environment, **self.variables}
        environment = {name: self._inside(text) for name, text in environment.items()}
        argv = [self._inside(word) for word in self.argv]
        program = shutil.which(argv[0], path=environment.get("PATH", ""))
        if program is None:
            return (
                f'OCI runtime create failed: exec: "{argv[0]}": executable file not found in $PATH: unknown'
            )
        folder = self.config.get("WorkingDir")
        self.process = subprocess.Popen(
            [program, *argv[1:]],
            env=environment,
            cwd=self._inside(folder) if folder else self.root,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.started.set()
        return ""

    def _link(self, target: str, source: Path) -> None:
        link = self.root / target.lstrip("/")
        link.parent.mkdir(parents=True, exist_ok=True)
        if link.is_dir() and not link.is_symlink():
            link.rmdir()  # the place of a mount inside another one
            self._links.append(link)
        link.symlink_to(source)
        self._mounts[target] = link

    def _inside(self, text: str) -> str:
        if not self._mounts:
            return text
        targets = sorted(self._mounts, key=len, reverse=True)
        pattern = rf"(?<![\w./-])(?:{'|'.join(map(re.escape, targets))})"
        return re.sub(pattern, lambda found: f"{self.root}{found.group()}", text)

    def stop(self, seconds: float) -> None:
        if self.process is None or self.process.poll() is not None:
            return
        self.grace = seconds
        self.stopped_with = signal.SIGTERM
        self._signal(signal.SIGTERM)
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.stopped_with = signal.SIGKILL
            self._signal(signal.SIGKILL)
            self.process.wait()

    def _signal(self, number: int) -> None:
        assert self.process is not None
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def status(self) -> int:
        assert self.process is not None
        code = self.process.wait()
        return code if code >= 0 else 128 - code

    def remove(self) -> None:
        self.stop(0)
        if self.process is not None:
            self.process.wait()
        self.is_removed = True
        for link in self._mounts.values():
            with suppress(OSError):
                link.unlink()
        shutil.rmtree(self.root, ignore_errors=True)


class FakeEngine:
    """The engine's state, for tests to set up and to look at."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.address = str(folder / "docker.sock")
        self.images: dict[str, Image] = {}
        self.containers: list[Container] = []
        self.pulled: list[str] = []
        self.is_rootless = False
        self.is_short_of_memory = False
        self.sees_nothing = False
        """Answer as an engine on another machine does, which has none of the folders that are to be mounted."""
        self._numbers = itertools.count(1)
        programs = folder / "bin"
        programs.mkdir()
        (programs / "python3").symlink_to(os.path.realpath(sys.executable))
        self.path = f"{programs}:/usr/local/bin:/usr/bin:/bin"
        self.add_image("tools:1")

    @property
    def url(self) -> str:
        return f"unix://{self.address}"

    def add_image(
        self, name: str, *, path: str | None = None, is_local: bool = True, **settings: Any
    ) -> None:
        """An image with Python's standard library, or the programs of another ``path``."""
        variables = {"PATH": path or self.path, **settings.pop("environment", {})}
        self.images[name] = Image(environment=variables, is_local=is_local, **settings)

    @property
    def last(self) -> Container:
        return self.containers[-1]

    def create(self, config: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        image = self.images.get(config["Image"])
        if image is None or not image.is_local:
            return 404, {"message": f"No such image: {config['Image']}"}
        container = Container(next(self._numbers), config, image, self.folder / "roots")
        missing = (
            container.mounts[0]["Source"] if self.sees_nothing and container.mounts else container.missing()
        )
        if missing:
            message = 'invalid mount config for type "bind": bind source path does not exist: '
            return 400, {"message": message + missing}
        self.containers.append(container)
        return 201, {"Id": container.id, "Warnings": []}

    def find(self, container_id: str) -> Container | None:
        return next((c for c in self.containers if c.id == container_id and not c.is_removed), None)


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, engine: FakeEngine) -> None:
        self.engine = engine
        super().__init__(engine.address, _Handler)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        self._route("GET")

    def do_POST(self) -> None:
        self._route("POST")

    def do_DELETE(self) -> None:
        self._route("DELETE")

    def address_string(self) -> str:
        return "client"

    def log_message(self, *_: Any) -> None:
        pass

    def _route(self, method: str) -> None:
        url = urlsplit(self.path)
        self.query = {name: values[-1] for name, values in parse_qs(url.query).items()}
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        self.body = json.loads(body) if body else {}
        path = re.sub(r"^/v\d+\.\d+", "", unquote(url.path))
        for verb, pattern, answer in _ROUTES:
            found = re.fullmatch(pattern, path)
            if verb == method and found:
                answer(self, *found.groups())
                return
        self._send(501, {"message": f"the fake engine does not know {method} {path}"})

    def _send(self, status: int, value: Any = None) -> None:
        data = value if isinstance(value, bytes) else b"" if value is None else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Api-Version", "1.44")
        self.end_headers()
        self.wfile.write(data)

    def _of(self, container_id: str) -> Container | None:
        container = self.server.engine.find(container_id)
        if container is None:
            self._send(404, {"message": f"No such container: {container_id}"})
        return container

    def ping(self) -> None:
        self._send(200, b"OK")

    def version(self) -> None:
        self._send(200, {"Version": "0", "ApiVersion": "1.44", "MinAPIVersion": "1.24"})

    def info(self) -> None:
        options = [
            "name=seccomp,profile=builtin",
            *(["name=rootless"] if self.server.engine.is_rootless else []),
        ]
        self._send(200, {"SecurityOptions": options})

    def list_images(self) -> None:
        wanted = [json.loads(self.query.get("filters", "{}")).get("reference"), self.query.get("filter")]
        names = {n for part in wanted for n in ([part] if isinstance(part, str) else part or [])}
        found = [n for n, image in self.server.engine.images.items() if image.is_local and n in names]
        self._send(200, [{"Id": n, "RepoTags": [n]} for n in found])

    def pull(self) -> None:
        engine = self.server.engine
        name = f"{self.query['fromImage']}:{self.query.get('tag', 'latest')}"
        engine.pulled.append(name)
        if name not in engine.images:
            self._send(404, {"message": f"pull access denied for {name}, repository does not exist"})
            return
        engine.images[name].is_local = True
        self._send(200, {"status": f"Downloaded {name}"})

    def create(self) -> None:
        self._send(*self.server.engine.create(self.body))

    def inspect(self, container_id: str) -> None:
        container = self._of(container_id)
        if container is not None:
            image = container.image.id(container.config["Image"])
            state = {"OOMKilled": self.server.engine.is_short_of_memory}
            self._send(200, {"Id": container.id, "Image": image, "Config": {"Tty": False}, "State": state})

    def start(self, container_id: str) -> None:
        container = self._of(container_id)
        if container is not None:
            wrong = container.start()
            self._send(*((400, {"message": wrong}) if wrong else (204, None)))

    def attach(self, container_id: str) -> None:
        container = self._of(container_id)
        if container is None:
            return
        self.close_connection = True
        self.wfile.write(
            b"HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.multiplexed-stream\r\n"
            b"Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
        )
        while not container.started.wait(0.05):
            if container.is_removed:
                return
        assert container.process is not None
        assert container.process.stdout is not None
        with container.process.stdout as output, suppress(BrokenPipeError):
            while data := os.read(output.fileno(), 65536):
                self.wfile.write(struct.pack(">BxxxL", 1, len(data)) + data)

    def wait(self, container_id: str) -> None:
        container = self._of(container_id)
        if container is not None:
            self._send(200, {"StatusCode": container.status(), "Error": None})

    def stop(self, container_id: str) -> None:
        container = self._of(container_id)
        if container is not None:
            container.stop(float(self.query.get("t", 10)))
            self._send(204)

    def remove(self, container_id: str) -> None:
        container = self._of(container_id)
        if container is not None:
            container.remove()
            self._send(204)


_ONE = r"/containers/([0-9a-f]+)"
_ROUTES: list[tuple[str, str, Callable[..., None]]] = [
    ("GET", "/_ping", _Handler.ping),
    ("GET", "/version", _Handler.version),
    ("GET", "/info", _Handler.info),
    ("GET", "/images/json", _Handler.list_images),
    ("POST", "/images/create", _Handler.pull),
    ("POST", "/containers/create", _Handler.create),
    ("GET", f"{_ONE}/json", _Handler.inspect),
    ("POST", f"{_ONE}/start", _Handler.start),
    ("POST", f"{_ONE}/attach", _Handler.attach),
    ("POST", f"{_ONE}/wait", _Handler.wait),
    ("POST", f"{_ONE}/stop", _Handler.stop),
    ("DELETE", _ONE, _Handler.remove),
]


@contextmanager
def fake_engine() -> Iterator[FakeEngine]:
    """An engine that has the image ``tools:1``: Python's standard library and this machine's tools."""
    # Not pytest's own folder: its path is too long for a Unix socket.
    with tempfile.TemporaryDirectory(prefix="magnus-engine-", dir="/tmp") as name:
        engine = FakeEngine(Path(name))
        server = _Server(engine)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield engine
        finally:
            for container in engine.containers:
                if not container.is_removed:
                    container.remove()
            server.shutdown()
            server.server_close()
            thread.join()
