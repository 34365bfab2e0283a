"""What user code calls: in the step's process, in its children, in a Python that has no package, in a forked child."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from airflow_magnus import api
from airflow_magnus.errors import (
    CatalogEntryNotFoundError,
    MagnusError,
    ParameterError,
    SecretNotFoundError,
)
from airflow_magnus.operators.environment import SHIM
from airflow_magnus.operators.server import StepServer


class RecordingSession:
    """A step that keeps what it is told, and files in a store of its own."""

    def __init__(self, store: Any) -> None:
        self.store = store
        self.parameters: dict[str, Any] = {"x": 3, "ü": ["🙂"], "nan": float("nan")}
        self.calls: list[tuple[str, Mapping[str, Any]]] = []
        self.pids: list[int] = []
        self._lock = threading.Lock()

    def call(self, operation: str, arguments: Mapping[str, Any]) -> Any:
        with self._lock:
            self.calls.append((operation, dict(arguments)))
            self.pids.append(os.getpid())
        return getattr(self, operation)(**arguments)

    def get_parameter(self, key: str | None) -> Any:
        if key is None:
            return dict(self.parameters)
        if key not in self.parameters:
            raise ParameterError(f"no parameter {key!r}")
        return self.parameters[key]

    def set_parameter(self, values: Mapping[str, Any], update: bool) -> None:
        self.parameters.update(
            values if update else {n: v for n, v in values.items() if n not in self.parameters}
        )

    def get_secret(self, name: str | None) -> Any:
        raise SecretNotFoundError(f"no secret {name!r} here")

    def track(self, metrics: Mapping[str, Any]) -> None:
        pass

    def get_run_id(self) -> str:
        return "run-1"

    def get_tag(self) -> None:
        return None

    def put_in_catalog(self, path: str, name: str | None) -> None:
        import obstore

        obstore.put(self.store, name or Path(path).name, Path(path).read_bytes())

    def get_from_catalog(self, name: str, folder: str | None, literal: bool = False) -> None:
        import obstore

        try:
            data = bytes(obstore.get(self.store, name).bytes())
        except FileNotFoundError as error:
            raise CatalogEntryNotFoundError(f"nothing is called {name!r}") from error
        (Path(folder or ".") / name).write_bytes(data)


@pytest.fixture
def session(tmp_path: Path) -> RecordingSession:
    from obstore.store import LocalStore

    return RecordingSession(LocalStore(tmp_path / "store", mkdir=True))


@pytest.fixture
def server(session: RecordingSession, monkeypatch: pytest.MonkeyPatch) -> Iterator[StepServer]:
    made = StepServer(session)
    made.start()
    monkeypatch.setenv(api.SESSION_VARIABLE, made.address)
    yield made
    made.stop()


@pytest.fixture
def entered(session: RecordingSession) -> Iterator[RecordingSession]:
    api.enter(session)
    yield session
    api.enter(None)


def python(code: str, *, isolated: bool = False, path: str = "") -> str:
    """Run code in another Python. ``isolated``: without site-packages, so that only the standard library is there."""
    options = ["-S", "-P"] if isolated else []
    done = subprocess.run(
        [sys.executable, *options, "-c", code],
        env={**os.environ, "PYTHONPATH": path or str(SHIM)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


# in the step's own process


def test_calls_in_the_same_process_go_to_the_step(entered: RecordingSession, tmp_path: Path) -> None:
    assert api.get_parameter("x") == 3
    assert set(api.get_parameter()) == {"x", "ü", "nan"}
    api.set_parameter(x=4, new={"a": (1, 2)})
    api.store_parameter(update=False, x=5, other=1)
    assert {n: entered.parameters[n] for n in ("x", "new", "other")} == {
        "x": 4,
        "new": {"a": [1, 2]},
        "other": 1,
    }
    api.track_this(loss=0.1)
    api.track_this(step=2, loss=0.2)
    assert [a for o, a in entered.calls if o == "track"] == [
        {"metrics": {"loss": 0.1}},
        {"metrics": {"2_loss": 0.2}},
    ]
    assert (api.get_run_id(), api.get_tag()) == ("run-1", None)
    with pytest.raises(ParameterError):
        api.get_parameter("missing")
    with pytest.raises(SecretNotFoundError, match="no secret 'x' here"):
        api.get_secret("x")


def test_objects_go_through_the_catalog(entered: RecordingSession) -> None:
    value = {"set": {1, 2}, "bytes": b"\0\xff", "nested": [complex(1, 2)]}
    api.put_object(value, "model")
    assert api.get_object("model") == value
    with pytest.raises(CatalogEntryNotFoundError):
        api.get_object("missing")


@pytest.mark.parametrize("value", [object(), {1, 2}, b"bytes", {(1, 2): 3}])
def test_what_json_cannot_say_is_refused_where_it_is_given(entered: RecordingSession, value: Any) -> None:
    for call in (api.set_parameter, api.track_this):
        with pytest.raises(TypeError, match="'x' cannot be stored"):
            call(x=value)
    assert entered.calls == []


def test_paths_are_those_of_the_caller(
    entered: RecordingSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.txt").write_text("a")
    api.put_in_catalog("a.txt")
    assert entered.calls[-1][1]["path"] == str(tmp_path / "a.txt")
    api.get_from_catalog("a.txt", destination_folder=".")
    assert entered.calls[-1][1]["folder"] == str(tmp_path)
    with pytest.raises(CatalogEntryNotFoundError):
        api.get_from_catalog("none")
    assert entered.calls[-1][1]["folder"] is None


def test_outside_a_step_there_is_a_sentence() -> None:
    with pytest.raises(RuntimeError, match=r"get_run_id: this code does not run inside a step"):
        api.get_run_id()


# over the socket


def test_a_child_speaks_to_the_step(server: StepServer, session: RecordingSession) -> None:
    code = """
import magnus, json
from airflow_magnus import get_parameter
magnus.set_parameter(y={"from": "a child"})
magnus.put_object([1, {2}], "thing")
assert magnus.get_object("thing") == [1, {2}]
print(json.dumps([magnus.get_parameter("ü"), get_parameter("x"), str(magnus.get_parameter("nan")), magnus.get_run_id()]))
"""
    assert json.loads(python(code)) == [["🙂"], 3, "nan", "run-1"]
    assert session.parameters["y"] == {"from": "a child"}
    assert set(session.pids) == {os.getpid()}


def test_a_python_without_the_package_speaks_to_the_step(
    server: StepServer, session: RecordingSession
) -> None:
    code = """
import sys
try:
    import airflow_magnus
except ImportError:
    pass
else:
    raise SystemExit("the package is here: this proves nothing")
import magnus
magnus.store_parameter(y=[1, 2])
magnus.put_object({"a": 1}, "thing")
assert magnus.get_object("thing") == {"a": 1}
print(magnus.get_parameter("x"), magnus.get_tag(), magnus.__file__)
"""
    assert python(code, isolated=True) == f"3 None {SHIM / 'magnus.py'}"
    assert session.parameters["y"] == [1, 2]


def test_a_notebooks_kernel_may_change_its_folder(
    server: StepServer, session: RecordingSession, tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_text("a")
    code = f"import os; os.chdir({str(tmp_path)!r}); import magnus; magnus.put_in_catalog('a.txt')"
    python(code, isolated=True)
    assert session.calls == [("put_in_catalog", {"path": str(tmp_path / "a.txt"), "name": None})]


def test_an_original_that_is_installed_wins(server: StepServer, tmp_path: Path) -> None:
    (tmp_path / "magnus.py").write_text("here = 'the original'")
    code = "import magnus; print(magnus.here)"
    assert python(code, path=f"{tmp_path}{os.pathsep}{SHIM}") == "the original"


def test_an_original_in_site_packages_wins(server: StepServer, tmp_path: Path) -> None:
    packages = tmp_path / "site-packages"
    packages.mkdir()
    (packages / "magnus.py").write_text("here = 'the original'")
    # Where site-packages are: behind PYTHONPATH and the standard library.
    code = f"import sys; sys.path.append({str(packages)!r}); import magnus; print(magnus.here)"
    assert python(code) == "the original"


ERRORS = [
    ("get_parameter('missing')", "ParameterError", "no parameter 'missing'"),
    ("get_secret('x')", "SecretNotFoundError", "no secret 'x' here"),
    ("get_from_catalog('none', '.')", "CatalogEntryNotFoundError", "nothing is called 'none'"),
]


@pytest.mark.parametrize(("call", "name", "message"), ERRORS)
def test_errors_cross_the_socket_with_their_class(
    server: StepServer, call: str, name: str, message: str
) -> None:
    code = f"""
import magnus
try:
    magnus.{call}
except Exception as error:
    print(type(error).__name__, error, sep="|")
"""
    assert python(code) == f"{name}|{message}"


@pytest.mark.parametrize(("call", "name", "message"), ERRORS)
def test_errors_reach_a_python_without_the_package(
    server: StepServer, call: str, name: str, message: str
) -> None:
    code = f"import magnus\ntry:\n    magnus.{call}\nexcept Exception as error:\n    print(error)"
    assert message in python(code, isolated=True)


def test_errors_that_are_not_ours_cross_the_socket(
    server: StepServer, session: RecordingSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(**_: Any) -> None:
        raise ZeroDivisionError("deep inside")

    monkeypatch.setattr(session, "get_run_id", fail)
    with pytest.raises(ZeroDivisionError, match="deep inside"):
        api.get_run_id()


def test_a_call_that_is_unknown_is_an_error_and_not_the_end(server: StepServer) -> None:
    with pytest.raises(AttributeError):
        api._call("no_such_operation")
    assert api.get_run_id() == "run-1"


def test_many_children_at_once(server: StepServer, session: RecordingSession) -> None:
    def work(number: int) -> Any:
        api.set_parameter(**{f"p{number}": number})
        return api.get_parameter(f"p{number}")

    with ThreadPoolExecutor(32) as pool:
        assert list(pool.map(work, range(300))) == list(range(300))


def test_long_values_cross_the_socket(server: StepServer, session: RecordingSession) -> None:
    value = "ü\n" * 500_000
    api.set_parameter(long=value)
    assert session.parameters["long"] == value
    assert api.get_parameter("long") == value


def test_a_child_that_says_nothing_or_nonsense_does_no_harm(server: StepServer) -> None:
    import socket

    for data in (b"", b"nonsense\n", b"[]\n", b'{"operation": "get_run_id"}\n', b"half"):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(server.address)
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            connection.settimeout(10)
            connection.recv(1000)
    assert api.get_run_id() == "run-1"


def test_only_this_user_can_reach_the_socket(server: StepServer) -> None:
    assert Path(server.address).parent.stat().st_mode & 0o077 == 0


def test_a_step_that_has_ended_says_so(session: RecordingSession, monkeypatch: pytest.MonkeyPatch) -> None:
    server = StepServer(session)
    server.start()
    monkeypatch.setenv(api.SESSION_VARIABLE, server.address)
    assert api.get_run_id() == "run-1"
    server.stop()
    assert not Path(server.address).parent.exists()
    with pytest.raises(RuntimeError, match="the step that this code belongs to has ended"):
        api.get_run_id()


def test_a_long_folder_for_temporary_files_is_no_obstacle(
    session: RecordingSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("x" * 120)
    long.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(long))
    server = StepServer(session)
    server.start()
    monkeypatch.setenv(api.SESSION_VARIABLE, server.address)
    assert api.get_run_id() == "run-1"
    server.stop()


# forks


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_a_forked_child_is_served_after_the_parent_has_used_the_store(
    server: StepServer, entered: RecordingSession, tmp_path: Path
) -> None:
    """A store that was used hangs in a forked child: the child must ask the parent."""
    api.put_object("from the parent", "parent")
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_in_a_child, args=(queue,))
    child.start()
    try:
        assert queue.get(timeout=20) == ["from the parent", "from the child", 3, "ParameterError"]
        child.join(20)
        assert child.exitcode == 0
    finally:
        child.kill()
        child.join()
    assert api.get_object("child") == "from the child"
    assert set(entered.pids) == {os.getpid()}


def _in_a_child(queue: Any) -> None:
    found = [api.get_object("parent")]
    api.put_object("from the child", "child")
    found += [api.get_object("child"), api.get_parameter("x")]
    try:
        api.get_parameter("missing")
    except MagnusError as error:
        found.append(type(error).__name__)
    queue.put(found)


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_a_pool_of_forked_workers(server: StepServer, entered: RecordingSession) -> None:
    api.put_object("warm", "warm")
    with multiprocessing.get_context("fork").Pool(4) as pool:
        found = pool.map_async(_put_and_get, range(20)).get(timeout=40)
    assert found == list(range(20))


def _put_and_get(number: int) -> Any:
    api.put_object(number, f"object {number}")
    return api.get_object(f"object {number}")
