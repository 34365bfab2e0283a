"""The tab *Data*, the pages of files and of their provenance. On Airflow's database and folders or moto, no server."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from airflow_magnus.runlog.records import RunLog
from pipelines import linear, mapped, shell
from ui_site import run_of
from ui_stage import Client, words

DAG_ID = "page-of-data"
SVG = '<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
ODD = "a b<i>#é'.txt"


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose files the pipeline puts."""
    folder = tmp_path_factory.mktemp("state")
    (folder / "a.csv").write_text("x,y\n1,2\n")
    (folder / "picture.svg").write_text(SVG)
    (folder / "page.html").write_text("<script>alert(1)</script>")
    (folder / "log.txt.gz").write_bytes(gzip.compress(b"hello\n" * 3))
    (folder / ODD).write_text("odd")
    (folder / "only-first.txt").write_text("1")
    return folder


@pytest.fixture(scope="module")
def runs(airflow_home: Path, state: Path, tmp_path_factory: pytest.TempPathFactory) -> list[RunLog]:
    """Two runs; before the second one a file of the first has changed, one has come and one has gone."""
    steps = {
        "make": shell(f"mkdir -p data; cp {state}/* data/", catalog={"put": ["*"]}),
        "use": shell("cat data/a.csv; echo 3,4 >> data/a.csv", catalog={"get": ["a.csv"], "put": ["a.csv"]}),
        "idle": shell("true"),
        "each": mapped(
            {
                "inside": shell(
                    """mkdir -p data; n=$(echo "$MAGNUS_PRM_MAP_VARIABLE" | tr -dc a-z | sed s/item//)
echo $n > data/item-$n.txt""",
                    catalog={"put": ["item-*"]},
                )
            },
        ),
    }
    sections = {"parameters": {"items": ["one", "two"]}}
    folder = tmp_path_factory.mktemp("pipelines")
    first = run_of(airflow_home, folder / "p.yaml", linear(steps, **sections), DAG_ID)
    (state / "a.csv").write_text("x,y\n1,2\n5,6\n")
    (state / "only-first.txt").unlink()
    (state / "only-second.txt").write_text("2")
    second = run_of(airflow_home, folder / "p.yaml", linear(steps, **sections), DAG_ID)
    assert (first.status, second.status) == ("SUCCESS", "SUCCESS")
    return [first, second]


def airflow_id(log: RunLog) -> str:
    return str(log.scheduler["run_id"])


def file_url(log: RunLog, name: str, **query: str) -> str:
    asked = "&".join(f"{key}={quote(value)}" for key, value in query.items())
    return f"/magnus/files/{log.scheduler['dag_id']}/{quote(airflow_id(log), safe='')}/{quote(name)}?{asked}"


def data_url(log: RunLog, task: str, index: str = "-1", query: str = "") -> str:
    path = f"{log.scheduler['dag_id']}/{quote(airflow_id(log), safe='')}/{task}/{quote(index)}"
    return f"/magnus/data/{path}{query}"


def rows(page: str) -> list[str]:
    return [words(row).strip() for row in re.findall(r"<tr>.*?</tr>", page, re.DOTALL)]


# the tab Data


def test_tab_shows_what_was_read_and_written_against_the_run_before(
    client: Callable[..., Client], runs: list[RunLog]
) -> None:
    answer = client("admin").get(data_url(runs[1], "make"))
    assert answer.status_code == 200, answer.text
    found = rows(answer.text)
    assert any(re.match(r"a\.csv 12 B \w{12} changed new Who read it", row) for row in found)
    assert any(re.match(r"only-second\.txt 1 B \w{12} new new Who read it", row) for row in found)
    assert any(re.match(r"only-first\.txt \w{12} gone not written this time", row) for row in found)
    assert any(re.match(r"page\.html 25 B \w{12} same new", row) for row in found)
    assert airflow_id(runs[0]) in words(answer.text)


def test_tab_compares_with_the_steps_before(client: Callable[..., Client], runs: list[RunLog]) -> None:
    found = rows(client("admin").get(data_url(runs[1], "use", "{MAP_INDEX}")).text)
    assert any(re.match(r"a\.csv 12 B \w{12} changed make Who made it", row) for row in found)
    assert any(re.match(r"a\.csv 16 B \w{12} changed changed against make Who read it", row) for row in found)


def test_tab_of_the_first_run_compares_with_none(client: Callable[..., Client], runs: list[RunLog]) -> None:
    said = words(client("admin").get(data_url(runs[0], "make")).text)
    assert "In no earlier run of this pipeline this step has read or written a file" in said


def test_tab_of_a_task_without_files_and_of_what_is_no_step(
    client: Callable[..., Client], runs: list[RunLog]
) -> None:
    said = words(client("admin").get(data_url(runs[1], "idle")).text)
    assert "Nothing from the catalog." in said
    assert "Nothing into the catalog." in said
    answer = client("admin").get(data_url(runs[1], "nothing"))
    assert (answer.status_code, "There is no data of this task" in words(answer.text)) == (404, True)


def test_tab_of_a_mapped_task_shows_what_its_item_had(
    client: Callable[..., Client], runs: list[RunLog]
) -> None:
    branches = runs[1].steps["each"].branches
    for name in ("one", "two"):
        task = branches[f"each.{name}"].steps[f"each.{name}.inside"].attempts[-1].scheduler
        assert task["map_index"] >= 0
        page = client("admin").get(data_url(runs[1], task["task_id"], str(task["map_index"])))
        assert page.status_code == 200, words(page.text)
        assert set(re.findall(r"item-\w+\.txt", page.text)) == {f"item-{name}.txt"}


# files


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("a.csv", "Table, columns parted by commas, UTF-8"),
        ("picture.svg", "SVG picture"),
        ("page.html", "<script>alert(1)</script>"),
        ("log.txt.gz", "compressed by gzip"),
        (ODD, "odd"),
    ],
)
def test_page_shows_a_file(client: Callable[..., Client], runs: list[RunLog], name: str, said: str) -> None:
    answer = client("admin").get(file_url(runs[1], name))
    assert answer.status_code == 200, answer.text
    assert said in words(answer.text)
    assert "<script>" not in answer.text
    assert "<i>" not in answer.text
    assert not re.search(
        r"<style| style=| on\w+=", re.sub(r"<pre.*?</pre>", "", answer.text, flags=re.DOTALL)
    )
    assert "unsafe" not in answer.headers["content-security-policy"]


def test_page_shows_the_bytes_of_a_step_whatever_came_later(
    client: Callable[..., Client], runs: list[RunLog]
) -> None:
    digest = hashlib.sha256(b"x,y\n1,2\n5,6\n").hexdigest()
    admin = client("admin")
    last = admin.get(file_url(runs[1], "a.csv", **{"as": "download"}))
    first = admin.get(file_url(runs[1], "a.csv", digest=digest, **{"as": "download"}))
    assert (last.content, first.content) == (b"x,y\n1,2\n5,6\n3,4\n", b"x,y\n1,2\n5,6\n")
    assert "has had 1 other file of this name" in words(admin.get(file_url(runs[1], "a.csv")).text)


def test_download_is_never_live(client: Callable[..., Client], runs: list[RunLog]) -> None:
    answer = client("admin").get(file_url(runs[1], "page.html", **{"as": "download"}))
    assert answer.content == b"<script>alert(1)</script>"
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"].startswith('attachment; filename="page.html"')
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in answer.headers["content-security-policy"]
    assert answer.headers["content-length"] == "25"


@pytest.mark.parametrize(
    ("asked", "status", "content", "told"),
    [
        ("bytes=0-3", 206, b"<scr", "bytes 0-3/25"),
        ("bytes=20-", 206, b"ript>", "bytes 20-24/25"),
        ("bytes=-2", 206, b"t>", "bytes 23-24/25"),
        ("bytes=90-", 416, b"", "bytes */25"),
        ("bytes=0-1,3-4", 200, b"<script>alert(1)</script>", None),
        ("lines=1-2", 200, b"<script>alert(1)</script>", None),
    ],
)
def test_download_of_a_part(
    client: Callable[..., Client],
    runs: list[RunLog],
    asked: str,
    status: int,
    content: bytes,
    told: str | None,
) -> None:
    url = file_url(runs[1], "page.html", **{"as": "download"})
    answer = client("admin").get(url, headers={"range": asked})
    assert (answer.status_code, answer.content, answer.headers.get("content-range")) == (
        status,
        content,
        told,
    )


def test_picture_is_sent_so_that_it_runs_nothing(client: Callable[..., Client], runs: list[RunLog]) -> None:
    admin = client("admin")
    source = re.search(r'<img src="([^"]*)"', admin.get(file_url(runs[1], "picture.svg")).text)
    assert source
    answer = admin.get(source[1].replace("&amp;", "&"))
    assert (answer.headers["content-type"], answer.text) == ("image/svg+xml", SVG)
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "sandbox" in policy
    assert "script" not in policy
    assert answer.headers["content-disposition"].startswith("attachment")
    assert admin.get(file_url(runs[1], "page.html", **{"as": "image"})).status_code == 415


def test_file_that_changed_is_said_to_have_and_is_not_sent_whole(
    client: Callable[..., Client], runs: list[RunLog], airflow_home: Path
) -> None:
    file = airflow_home / "magnus" / "catalog" / runs[0].run_id / "page.html"
    before = file.read_bytes()
    try:
        file.write_bytes(before.upper())
        admin = client("admin")
        said = words(admin.get(file_url(runs[0], "page.html")).text)
        assert "Somebody has changed this file since" in said
        sent = admin.get(file_url(runs[0], "page.html", **{"as": "download"}))
        assert (sent.status_code, "has other bytes now" in words(sent.text)) == (409, True)
    finally:
        file.write_bytes(before)


def test_file_that_is_gone_is_said_to_be(
    client: Callable[..., Client], runs: list[RunLog], airflow_home: Path
) -> None:
    file = airflow_home / "magnus" / "catalog" / runs[0].run_id / "page.html"
    away = file.rename(file.with_suffix(".away"))
    try:
        page = client("admin").get(file_url(runs[0], "page.html"))
        sent = client("admin").get(file_url(runs[0], "page.html", **{"as": "download"}))
    finally:
        away.rename(file)
    assert page.status_code == 200
    assert "somebody has removed them outside of" in words(page.text)
    assert sent.status_code == 410
    assert str(airflow_home) not in page.text + sent.text


def test_file_of_a_collected_run_is_said_to_be_gone(
    client: Callable[..., Client], runs: list[RunLog], airflow_home: Path
) -> None:
    from airflow_magnus.runlog.layout import collection_key
    from airflow_magnus.runlog.marks import Collection

    mark = airflow_home / "magnus" / "run_log" / collection_key(runs[0].run_id)
    mark.parent.mkdir(exist_ok=True)
    mark.write_text(json.dumps(Collection(run_id=runs[0].run_id, state="removed").model_dump()))
    try:
        said = words(client("admin").get(file_url(runs[0], "a.csv")).text)
    finally:
        mark.unlink()
    assert "were removed by magnus catalog gc of" in said


def test_file_that_the_run_does_not_have_is_404(client: Callable[..., Client], runs: list[RunLog]) -> None:
    admin = client("admin")
    assert admin.get(file_url(runs[1], "nothing.txt")).status_code == 404
    assert admin.get(file_url(runs[1], "a.csv", digest="0" * 64)).status_code == 404
    assert admin.get(file_url(runs[1], "a.csv", digest="nonsense")).status_code == 400
    assert admin.get(file_url(runs[1], "run.json")).status_code == 404


@pytest.mark.parametrize("name", ["..%2F..%2Fetc%2Fpasswd", "a%00b", "x/%2e%2e/%2e%2e/y", "a%2fb"])
def test_tricky_names_are_refused(client: Callable[..., Client], runs: list[RunLog], name: str) -> None:
    path = file_url(runs[1], "").partition("?")[0] + name
    answer = client("admin").get(path)
    assert answer.status_code in (400, 404)
    assert "root:" not in answer.text


# rights


@pytest.fixture(params=["data", "files", "download"])
def url(request: pytest.FixtureRequest, runs: list[RunLog]) -> str:
    return {
        "data": data_url(runs[1], "make"),
        "files": file_url(runs[1], "a.csv"),
        "download": file_url(runs[1], "a.csv", **{"as": "download"}),
    }[request.param]


def test_who_is_not_signed_in_is_sent_to_do_so(client: Callable[..., Client], url: str) -> None:
    assert client().get(url).status_code == 303


def test_viewer_reads(client: Callable[..., Client], url: str) -> None:
    assert client("vic", "VIEWER").get(url).status_code == 200


def test_who_may_not_read_the_dag_is_refused(
    client: Callable[..., Client], url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager

    monkeypatch.setattr(SimpleAuthManager, "is_authorized_dag", lambda *_, **__: False)
    assert client("vic", "VIEWER").get(url).status_code == 403


def test_run_of_another_dag_is_404(client: Callable[..., Client], runs: list[RunLog], url: str) -> None:
    answer = client("admin").get(url.replace(DAG_ID, "no-such-dag"))
    assert answer.status_code == 404


# provenance

SECOND = hashlib.sha256(b"x,y\n1,2\n5,6\n").hexdigest()


def provenance_url(log: RunLog, name: str, **query: str) -> str:
    return file_url(log, name, **query).replace("/files/", "/provenance/")


def test_page_says_where_a_file_comes_from(client: Callable[..., Client], runs: list[RunLog]) -> None:
    answer = client("admin").get(provenance_url(runs[1], "a.csv"))
    assert answer.status_code == 200, words(answer.text)
    made = rows(answer.text)
    assert any(row.startswith("use attempt 0") and "items" in row for row in made), made
    assert any(
        row.startswith("make attempt 0 , 1 step before") or "make attempt 0, 1 step before" in row
        for row in made
    )
    assert "No step of a run that you may read has read it." in words(answer.text)
    assert answer.text.count('class="box step"') == 2
    assert 'class="box file asked"' in answer.text
    assert not re.search(r"<style| style=| on\w+=|<script>", answer.text)


def test_page_says_who_has_read_a_file(client: Callable[..., Client], runs: list[RunLog]) -> None:
    answer = client("admin").get(provenance_url(runs[1], "a.csv", digest=SECOND))
    readers = answer.text.partition('id="readers"')[2]
    assert [row.split()[0] for row in rows(readers)[1:]] == ["use"]
    assert 'class="box reader"' in answer.text
    for link in re.findall(r'href="(/magnus/(?:runs|provenance|files)/[^"]*)"', answer.text):
        assert client("admin").get(link.replace("&amp;", "&")).status_code == 200, link


@pytest.mark.parametrize(
    ("text", "found"),
    [(SECOND[:8], "a.csv"), ("ONLY-SECOND", "only-second.txt"), ("<i>", ODD), ("item-two", "item-two.txt")],
)
def test_search_finds_files(client: Callable[..., Client], runs: list[RunLog], text: str, found: str) -> None:
    answer = client("admin").get(f"/magnus/provenance?q={quote(text)}")
    assert answer.status_code == 200
    assert any(words(cell).strip() == found for cell in re.findall(r'<th scope="row">.*?</th>', answer.text))
    assert "<i>" not in answer.text
    link = re.search(r'<th scope="row"><a href="([^"]*)"', answer.text)
    assert link
    assert client("admin").get(link[1].replace("&amp;", "&").replace("&#39;", "'")).status_code == 200


def test_search_finds_runs(client: Callable[..., Client], runs: list[RunLog]) -> None:
    answer = client("admin").get(f"/magnus/provenance?q={quote(airflow_id(runs[0]))}")
    assert airflow_id(runs[0]) in words(answer.text.partition('id="runs"')[2])
    nothing = client("admin").get("/magnus/provenance?q=%3Cscript%3Ealert(1)%3C/script%3E")
    assert "Nothing is like" in words(nothing.text)
    assert "<script>" not in nothing.text
    assert client("admin").get("/magnus/provenance").status_code == 200
    assert client().get("/magnus/provenance").status_code == 303


def test_search_leaves_out_what_the_user_may_not_read(
    client: Callable[..., Client], runs: list[RunLog], monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager

    viewer = client("vic", "VIEWER")
    assert "only-second.txt" in viewer.get("/magnus/provenance?q=only-second").text
    monkeypatch.setattr(SimpleAuthManager, "is_authorized_dag", lambda *_, **__: False)
    assert "only-second.txt" not in viewer.get("/magnus/provenance?q=only-second").text
    assert viewer.get(provenance_url(runs[1], "a.csv")).status_code == 403


def test_file_that_nobody_knows_has_no_provenance(client: Callable[..., Client], runs: list[RunLog]) -> None:
    admin = client("admin")
    assert admin.get(provenance_url(runs[1], "nothing")).status_code == 404
    assert admin.get(provenance_url(runs[1], "a.csv", digest="1" * 64)).status_code == 404


# a catalog in S3


@pytest.fixture
def in_s3(
    moto_server: str,
    make_bucket: Callable[..., str],
    airflow_home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., RunLog]:
    """Makes a run whose catalog is in a bucket, by a connection with the settings that are told."""

    def make(dag_id: str, **settings: Any) -> RunLog:
        connection = {
            "conn_type": "magnus_catalog",
            "host": f"s3://{make_bucket()}/files",
            "login": "key",
            "password": "secret",
            "extra": {"endpoint_url": moto_server, "region": "eu-west-1", **settings},
        }
        monkeypatch.setenv("AIRFLOW_CONN_PAGES_CATALOG", json.dumps(connection))
        step = shell("mkdir -p data; head -c 3000000 /dev/zero > 'data/a ü.bin'; echo hi > data/b.txt")
        step["catalog"] = {"put": ["*"]}
        text = linear({"make": step}, connections={"catalog": "pages_catalog"})
        return run_of(airflow_home, tmp_path / "p.yaml", text, dag_id)

    return make


def test_connection_may_let_browsers_fetch_files_from_the_bucket(
    client: Callable[..., Client], in_s3: Callable[..., RunLog]
) -> None:
    import urllib.request

    run = in_s3("pages-presigned", presigned_downloads=True)
    answer = client("admin").get(file_url(run, "a ü.bin", **{"as": "download"}))
    assert answer.status_code == 303
    url = answer.headers["location"]
    assert "X-Amz-Expires=300" in url
    with urllib.request.urlopen(url) as got:
        assert got.read() == bytes(3_000_000)
        assert got.headers["content-disposition"].startswith("attachment;")
    assert client("admin").get(file_url(run, "b.txt")).status_code == 200


def test_files_are_passed_on_where_the_connection_says_nothing(
    client: Callable[..., Client], in_s3: Callable[..., RunLog]
) -> None:
    run = in_s3("pages-streamed")
    admin = client("admin")
    assert admin.get(file_url(run, "a ü.bin", **{"as": "download"})).content == bytes(3_000_000)
    part = admin.get(file_url(run, "a ü.bin", **{"as": "download"}), headers={"range": "bytes=2999990-"})
    assert (part.status_code, part.content) == (206, bytes(10))
    assert "a%20%C3%BC.bin" in part.headers["content-disposition"]
    assert "No text" in words(admin.get(file_url(run, "a ü.bin")).text)
