"""Files between steps. Contract 13-17."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from airflow_magnus.runlog.records import RunLog
from pipelines import linear, only, shell

Execute = Callable[..., RunLog]


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_get_makes_the_folder_and_keeps_sub_folders(execute: Execute, project: Path) -> None:
    text = linear(
        {
            "make": shell(
                "mkdir -p out/sub/deep && echo a > out/a.txt && echo b > out/sub/deep/b.txt && echo c > out/sub/.c",
                catalog={"compute_data_folder": "out", "put": ["**"]},
            ),
            "use": shell(
                "rm -r out && cat in/a.txt in/sub/deep/b.txt > seen",
                catalog={"compute_data_folder": "in", "get": ["*.txt", "sub/**"]},
            ),
        }
    )
    log = execute(text, "--run-id", "r1")
    assert log.status == "SUCCESS", log.steps
    assert (project / "seen").read_text() == "a\nb\n"
    entries = {e.name: e for e in log.steps["make"].data_catalog}
    assert sorted(entries) == ["a.txt", "sub/.c", "sub/deep/b.txt"]
    assert entries["sub/deep/b.txt"].data_hash == sha256("b\n")
    assert entries["sub/deep/b.txt"].catalog_relative_path == "r1/sub/deep/b.txt"
    assert (project / ".catalog" / "r1" / "sub" / "deep" / "b.txt").read_text() == "b\n"
    assert {e.stage for e in log.steps["use"].data_catalog} == {"get"}


def test_step_fails_and_its_handler_runs_when_folder_of_put_is_missing(execute: Execute) -> None:
    text = linear(
        {
            "make": shell("true", catalog={"put": ["*"]}, on_failure="handle"),
            "skipped": shell("true"),
            "handle": shell("true"),
        }
    ).replace("next: handle", "next: success")
    log = execute(text)
    assert log.status == "SUCCESS"
    assert list(log.steps) == ["make", "handle", "success"]
    assert "data does not exist" in log.steps["make"].attempts[0].message


def test_message_names_patterns_that_match_nothing(execute: Execute) -> None:
    log = execute(
        linear(
            {
                "a": shell(
                    "mkdir data; echo 1 > data/a.txt", catalog={"get": ["no*"], "put": ["*.csv", "*.txt"]}
                ),
                "b": shell("test -d data", catalog={"get": ["*.csv", "a.*"]}),
            }
        )
    )
    assert log.status == "SUCCESS"
    assert "'no*'" in log.steps["a"].message
    assert "'*.csv'" in log.steps["a"].message
    assert "'*.txt'" not in log.steps["a"].message
    assert "'*.csv'" in log.steps["b"].message


def test_bytes_of_the_first_put_stay_when_a_later_step_puts_the_name_again(
    execute: Execute, project: Path
) -> None:
    put = {"put": ["*"]}
    text = linear(
        {
            "first": shell("mkdir data; echo 1 > data/a.txt; echo same > data/same.txt", catalog=put),
            "second": shell("echo 2 > data/a.txt", catalog=put),
            "clean": shell("rm data/*"),
            "third": shell("test $(cat data/a.txt) = 2", catalog={"get": ["*"]}),
        }
    )
    log = execute(text, "--run-id", "r1")
    assert log.status == "SUCCESS"
    catalog = project / ".catalog"
    assert (catalog / "r1" / "a.txt").read_text() == "2\n"
    second = {e.name: e for e in log.steps["second"].data_catalog}
    assert (catalog / second["a.txt"].catalog_relative_path).read_text() == "2\n"
    assert second["same.txt"].catalog_relative_path == "r1/same.txt"
    first = {e.name: e for e in log.steps["first"].data_catalog}
    kept = [p for p in (catalog / "r1").rglob("a.txt") if p.read_text() == "1\n"]
    assert [sha256(p.read_text()) for p in kept] == [first["a.txt"].data_hash]
    assert {e.name: e.data_hash for e in log.steps["third"].data_catalog}["a.txt"] == sha256("2\n")


def test_outputs_of_failed_attempt_are_not_seen(execute: Execute, project: Path) -> None:
    flaky = "mkdir -p data; echo $$ > data/a.txt; test -f second || { touch second; rmdir none; }"
    log = execute(
        linear(
            {
                "make": shell(flaky, retry=2, catalog={"put": ["*"]}),
                "use": shell("true", catalog={"get": ["*"]}),
            }
        )
    )
    assert [a.status for a in log.steps["make"].attempts] == ["FAIL", "SUCCESS"]
    assert len(log.steps["make"].data_catalog) == 1


def test_step_fails_when_file_was_changed_behind_the_run_log(execute: Execute, project: Path) -> None:
    log = execute(
        linear(
            {
                "make": shell("mkdir data; echo 1 > data/a.txt", catalog={"put": ["*"]}),
                "damage": shell("echo 2 > .catalog/r1/a.txt; echo mine > data/a.txt"),
                "use": shell("touch ran", catalog={"get": ["*"]}),
            }
        ),
        "--run-id", "r1",
    )  # fmt: skip
    assert log.status == "FAIL"
    assert "sha256" in log.steps["use"].attempts[0].message
    assert (project / "data" / "a.txt").read_text() == "mine\n"
    assert not (project / "ran").exists()


def test_nothing_outside_the_folder_is_put(execute: Execute, project: Path) -> None:
    (project / "secret.txt").write_text("secret")
    log = execute(
        only(
            shell("mkdir data; ln -s ../secret.txt data/link.txt; ln -s .. data/up; echo 1 > data/a", catalog={"put": ["**"]})
        ),
        "--run-id", "r1",
    )  # fmt: skip
    assert log.status == "SUCCESS"
    assert [e.name for e in log.steps["only"].data_catalog] == ["a"]
    assert "link" in log.steps["only"].message


@pytest.mark.parametrize("pattern", ["../secret.txt", "/etc/passwd", "a/../../b"])
def test_pattern_that_leads_out_is_refused(
    magnus: Callable[..., tuple[int, str, str]], project: Path, pattern: str
) -> None:
    (project / "pipeline.yaml").write_text(only(shell("true", catalog={"put": [pattern]})))
    code, _, err = magnus("execute")
    assert code == 2
    assert "pipeline.yaml:" in err


@pytest.mark.parametrize("folder", [".", "deep/er", "./data/"])
def test_compute_data_folder_may_be_written_in_many_ways(
    execute: Execute, magnus: Callable[..., tuple[int, str, str]], project: Path, folder: str
) -> None:
    text = linear(
        {
            "a": shell(f"mkdir -p {folder}; echo 1 > {folder}/a.txt", catalog={"put": ["a.txt"]}),
            "b": shell(f"test $(cat {folder}/a.txt) = 1", catalog={"get": ["a.txt"]}),
        },
        catalog={"type": "file-system", "config": {"compute_data_folder": folder}},
    )
    log = execute(text)
    assert log.status == "SUCCESS", log.steps
    isolated = execute(text, "--isolate")
    assert isolated.status == "SUCCESS", isolated.steps


def test_do_nothing_catalog_records_nothing(execute: Execute, project: Path) -> None:
    (project / "work.py").write_text("")
    log = execute(
        only(
            shell("mkdir data; echo 1 > data/a; python3 -c 'import magnus; magnus.put_object(1, \"a\")'",
                  catalog={"get": ["*"], "put": ["*"]}),
            catalog={"type": "do-nothing"},
        )
    )  # fmt: skip
    assert log.status == "SUCCESS", log.steps
    assert log.steps["only"].data_catalog == []
    assert not (project / ".catalog").exists()


def test_document_on_disk_is_the_one_that_was_printed(execute: Execute, project: Path) -> None:
    log = execute(only(shell("mkdir data; echo 1 > data/a", catalog={"put": ["*"]})), "--run-id", "r1")
    on_disk = (project / ".run_log_store" / "r1.json").read_text()
    assert json.loads(on_disk) == json.loads(log.to_json())
