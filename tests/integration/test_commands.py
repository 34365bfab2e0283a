"""The kinds of command: what goes in, what comes out, what a failure says."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_magnus.runlog.records import RunLog
from pipelines import function, linear, notebook, only, python, shell, task

Execute = Callable[..., RunLog]


def message_of(log: RunLog, step: str = "only") -> str:
    """Why the last attempt of a step failed."""
    assert log.status == "FAIL", log
    return log.steps[step].attempts[-1].message


# python


def test_function_of_a_package_finds_its_neighbours_and_its_data(execute: Execute, project: Path) -> None:
    package = project / "package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "helper.py").write_text("FACTOR = 10\n")
    (package / "data.txt").write_text("4")
    (package / "module.py").write_text(
        "from pathlib import Path\n"
        "from .helper import FACTOR\n"
        "def main(x, y=5, *args, z: int = 6, **rest):\n"
        "    assert args == () and rest == {}\n"
        "    data = Path('package/data.txt').read_text() + Path(__file__).with_name('data.txt').read_text()\n"
        "    return {'sum': int(x) * FACTOR + y + z, 'data': data}\n"
    )
    log = execute(only(python("package.module.main")), "--x", "1", "--other", "2")
    assert log.parameters == {"x": "1", "other": "2", "sum": 21, "data": "44"}


def test_module_is_read_afresh_by_every_step_and_run(execute: Execute, project: Path) -> None:
    (project / "work.py").write_text("N = 0\ndef main():\n    global N\n    N += 1\n    return {'n': N}\n")
    text = linear({"a": python("work.main"), "b": python("work.main")})
    assert execute(text).parameters == {"n": 1}
    (project / "work.py").write_text("def main():\n    return {'n': 'other'}\n")
    assert execute(text).parameters == {"n": "other"}


def test_module_of_the_folder_is_called_when_its_name_is_one_that_airflow_has_loaded(
    execute: Execute, project: Path
) -> None:
    import code as own

    (project / "code.py").write_text("def main():\n    import code\n    return {'file': code.__file__}\n")
    assert execute(only(python("code.main"))).parameters == {"file": str(project / "code.py")}
    import code

    assert code is own


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ("nothing.there.main", "No module named 'nothing': looked in the current folder (/"),
        ("nothing.there.main", "on Python's own path. Put nothing.py there, correct the name, or install"),
        ("work.deep.main", "No module named 'work.deep'; 'work' is not a package: looked in"),
        ("imports.main", "No module named 'absent' (module 'imports' imports it): looked in"),
        ("work.missing", "module 'work'"),
        ("work.missing", "it has: main, wants"),
        ("main", "names no module"),
        ("work.wants", "missing parameters: needed; this run has: x"),
        ("work.main", "ZeroDivisionError: division by zero"),
        ("work.VALUE", "not callable"),
        ("broken.main", "SyntaxError"),
    ],
)
def test_message_says_what_is_wrong_when_function_cannot_be_called(
    execute: Execute, project: Path, command: str, sentence: str
) -> None:
    (project / "work.py").write_text("VALUE = 1\ndef main(): 1 / 0\ndef wants(needed): pass\n")
    (project / "broken.py").write_text("def main(:\n")
    (project / "imports.py").write_text("import absent\n")
    assert sentence in message_of(execute(only(python(command)), "--x", "1"))


def test_message_names_the_pipeline_s_folder_when_a_module_is_not_found(
    magnus: Callable[..., tuple[int, str, str]], project: Path
) -> None:
    folder = project / "pipelines"
    folder.mkdir()
    (folder / "pipeline.yaml").write_text(only(python("nothing.main")))
    beside = f"the current folder ({project}), the pipeline file's folder ({folder})"
    for options, places in (((), beside), (("--isolate",), f"a copy of the pipeline's folder ({folder})")):
        _, out, err = magnus("execute", "-f", "pipelines/pipeline.yaml", *options)
        assert f"looked in {places} and on Python's own path" in out
        assert "Traceback" not in err


def test_surroundings_are_as_before_when_step_has_changed_them(execute: Execute, project: Path) -> None:
    (project / "work.py").write_text(
        "import os, sys\n"
        "def spoil():\n"
        "    os.mkdir('elsewhere'); os.chdir('elsewhere')\n"
        "    os.environ['LEFT'] = '1'; sys.path.insert(0, '/left')\n"
        "def look():\n"
        "    return {'seen': [os.path.basename(os.getcwd()), 'LEFT' in os.environ, '/left' in sys.path]}\n"
    )
    log = execute(linear({"spoil": python("work.spoil"), "look": python("work.look")}))
    assert log.parameters["seen"] == ["project", False, False]


# lambda


def test_lambda_takes_names_with_underscores(execute: Execute) -> None:
    log = execute(only(function("lambda some_name, _y=1: {'a_b': some_name, '_y': _y}")), "--some_name", "1")
    assert log.parameters == {"some_name": "1", "a_b": "1", "_y": 1}


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("lambda x: {", "is not an expression"),
        ("{'x': 1}", "is not a lambda"),
        ("lambda x, y: {}", "missing parameters: y"),
    ],
)
def test_message_says_what_is_wrong_with_lambda(execute: Execute, source: str, sentence: str) -> None:
    assert sentence in message_of(execute(only(function(source)), "--x", "1"))


# shell


@pytest.mark.parametrize(
    "command",
    [
        "false; true",
        "false | true",
        "test \"$(echo '{{ ds }}')\" = '{{ '\"ds\"' }}'",
        "test \"$(echo '{% if %} {# note #} {{')\" = '{% if %} {# note #} {{'",
        "test $((1 + 2)) -eq 3 && test ${#HOME} -gt 0",
        "test \"it's\" = \"it's\" && test 'a\"b' = \"a\\\"b\"",
        "set -e\n\nx=1\ntest $x = 1",
        "test 0 = 0 # note ending in .sh",
        "exit 0",
        "test -z \"$BASH_VERSION\"",
        "printf '%s' '%s %d' > /dev/null",
        "python3 -c \"import signal; assert signal.getsignal(signal.SIGPIPE) == signal.SIG_DFL\" || true",
    ],
)  # fmt: skip
def test_command_is_given_to_sh_as_it_stands(execute: Execute, command: str) -> None:
    log = execute(only(shell(command)))
    assert log.status == "SUCCESS", log.steps["only"].attempts


def test_script_is_run_when_command_ends_with_sh(execute: Execute, project: Path) -> None:
    (project / "run.sh").write_text("#!/bin/sh\necho '{{ ds }}' > out.txt\n")
    (project / "run.sh").chmod(0o755)
    log = execute(linear({"a": shell("./run.sh"), "b": shell("sh run.sh"), "c": shell("run.sh", retry=1)}))
    assert (project / "out.txt").read_text() == "{{ ds }}\n"
    assert log.steps["b"].status == "SUCCESS"
    assert "run.sh: not found" in message_of(log, "c")


def test_message_has_exit_status_and_last_lines_when_command_fails(execute: Execute) -> None:
    message = message_of(execute(only(shell("seq 100; echo 'zuletzt: ü✓' >&2; exit 3"))))
    assert message.splitlines()[0] == "command exited with status 3"
    assert message.splitlines()[-1] == "zuletzt: ü✓"
    assert "100" in message
    assert "\n5\n" not in message


def test_message_names_the_signal_when_command_is_killed(execute: Execute) -> None:
    assert "SIGKILL" in message_of(execute(only(shell("kill -9 $$"))))


def test_message_stays_short_when_output_has_bytes_and_long_lines(execute: Execute) -> None:
    message = message_of(
        execute(only(shell("printf '\\377\\000\\n'; head -c 1000000 /dev/zero | tr '\\0' x; exit 1")))
    )
    assert "\\xff" in message
    assert len(message) < 5000


def test_a_lot_of_output_is_no_trouble(execute: Execute) -> None:
    started = time.monotonic()
    assert (
        execute(only(shell("yes 0123456789 | head -c 1000000; yes é | head -c 200001"))).status == "SUCCESS"
    )
    assert time.monotonic() - started < 20


def test_step_ends_with_its_command_when_a_child_goes_on(execute: Execute, project: Path) -> None:
    started = time.monotonic()
    log = execute(only(shell("(sleep 30; true) & echo $! > child; echo said")))
    assert log.status == "SUCCESS"
    assert time.monotonic() - started < 10
    import os
    import signal

    os.kill(int((project / "child").read_text()), signal.SIGTERM)


def test_command_sees_the_run_and_nothing_of_airflow(
    execute: Execute, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_PROD", "postgres://me:secret@host/db")
    monkeypatch.setenv("AIRFLOW_VAR_KEY", "secret")
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY_CMD", "secret")
    monkeypatch.setenv("MINE", "kept")
    text = only(shell("env -0 > shell.env"))
    log = execute(text, "--x", "ü", "--run-id", "r1", "--tag", "t1")
    assert log.status == "SUCCESS"
    seen = dict(part.split("=", 1) for part in (project / "shell.env").read_text().split("\0") if "=" in part)
    assert {n: seen.get(n) for n in ("MAGNUS_RUN_ID", "MAGNUS_RUN_TAG", "MAGNUS_PRM_x", "MINE")} == {
        "MAGNUS_RUN_ID": "r1", "MAGNUS_RUN_TAG": "t1", "MAGNUS_PRM_x": '"\\u00fc"', "MINE": "kept",
    }  # fmt: skip
    assert [n for n in seen if n.startswith(("AIRFLOW__", "AIRFLOW_CONN", "AIRFLOW_VAR", "_AIRFLOW"))] == []
    assert not any("JWT" in n or "TOKEN" in n for n in seen)
    assert "secret" not in " ".join(seen.values())


def test_metrics_and_parameters_of_a_failing_command_are_not_kept(execute: Execute) -> None:
    log = execute(only(shell("python3 -c 'import magnus; magnus.store_parameter(a=1)' && exit 1")))
    assert log.parameters == {}


# notebook


def test_notebook_takes_parameters_and_gives_them_by_the_api(
    execute: Execute, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_PROD", "postgres://me:secret@host/db")
    (project / "helper.py").write_text("VALUE = 7\n")
    notebook(
        project / "deep" / "report.ipynb",
        "x = 'default'\nname = None",
        "import os, helper, magnus\n"
        "leaks = [n for n in os.environ if n.startswith(('AIRFLOW_CONN', 'AIRFLOW__'))]\n"
        "magnus.store_parameter(out=[x, name, helper.VALUE, os.path.basename(os.getcwd()), leaks, magnus.get_run_id()])\n"
        "magnus.track_this(score=0.5)",
        tags={0: ["parameters"]},
    )
    log = execute(only(task("deep/report.ipynb", "notebook")), "--x", "ü", "--run-id", "r1", "--unused", "1")
    assert log.status == "SUCCESS", log.steps["only"].attempts
    assert log.parameters["out"] == ["ü", None, 7, "project", [], "r1"]
    step = log.steps["only"]
    assert step.user_defined_metrics == {"score": 0.5}
    assert [(e.stage, e.name) for e in step.data_catalog] == [("put", "report_out.ipynb")]
    executed = json.loads((project / ".catalog" / "r1" / "report_out.ipynb").read_text())
    assert executed["cells"][1]["metadata"]["tags"] == ["injected-parameters"]


def test_message_is_of_the_failing_cell_when_notebook_fails(execute: Execute, project: Path) -> None:
    notebook(project / "bad.ipynb", "a = 1", "raise KeyError('no such column')")
    log = execute(only(task("bad.ipynb", "notebook")))
    message = message_of(log)
    assert "KeyError: 'no such column'" in message
    assert "\x1b" not in message
    assert len(message) < 2000
    assert log.steps["only"].data_catalog == []


def test_message_names_the_file_when_notebook_is_missing(execute: Execute) -> None:
    assert "none.ipynb" in message_of(execute(only(task("none.ipynb", "notebook"))))


# as-is


def test_as_is_step_gets_and_puts(execute: Execute, project: Path) -> None:
    put: dict[str, Any] = {"put": ["*"]}
    log = execute(
        linear(
            {
                "make": shell("mkdir -p data; echo 1 > data/a.txt", catalog=put),
                "between": shell("rm -r data; mkdir data; echo 2 > data/b.txt"),
                "stub": {"type": "as-is", "catalog": {"get": ["a.txt"], "put": ["*"]}},
            }
        ),
        "--run-id", "r1",
    )  # fmt: skip
    assert [(e.stage, e.name) for e in log.steps["stub"].data_catalog] == [
        ("get", "a.txt"), ("put", "a.txt"), ("put", "b.txt"),
    ]  # fmt: skip
    assert (project / ".catalog" / "r1" / "b.txt").read_text() == "2\n"
