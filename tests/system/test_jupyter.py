"""JupyterLab in a browser, on contents that lie in a bucket: what a person does in an afternoon."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from playwright.sync_api import Page, sync_playwright

from pipelines import linear, shell
from servers.jupyter import TOKEN, jupyter_server
from servers.s3 import S3Server
from system.pictures import SWITCHES

pytestmark = pytest.mark.external

PIPELINE = linear(
    {"count": shell("mkdir -p data; printf 'day,orders\\n1,42\\n' > data/orders.csv", catalog={"put": ["*"]})}
)


@pytest.fixture
def lab(moto_server: str, tmp_path: Path) -> Iterator[tuple[Page, Any, str]]:
    """A page of JupyterLab, a client of its bucket, and the bucket; a pipeline has run."""
    server = S3Server(moto_server, "test-access", "test-secret", "eu-west-1")
    bucket = f"lab-{os.getpid()}"
    client = server.client()
    client.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    _run_pipeline(server, bucket, tmp_path)
    more = f"c.JupyterS3.run_log = 's3://{bucket}/run-log'\nc.JupyterS3.catalog = 's3://{bucket}/catalog'\n"
    folder = tmp_path / "jupyter"
    folder.mkdir()
    chromium = shutil.which("chromium")
    assert chromium, "chromium is not installed: `make test-all` installs it"
    with (
        jupyter_server(folder, server, bucket, kind="lab", prefix="notebooks/", more=more) as jupyter,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=chromium, args=SWITCHES)
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.goto(f"{jupyter.url}/lab?token={TOKEN}&reset")
        page.wait_for_selector(".jp-DirListing-content", timeout=60_000)
        yield page, client, bucket
        browser.close()


def test_afternoon_of_a_person(lab: tuple[Page, Any, str], tmp_path: Path) -> None:
    page, client, bucket = lab
    try:
        _afternoon(page, client, bucket, tmp_path)
    except BaseException:
        _take(page, "failed", tmp_path)
        raise
    there = _keys(client, bucket)
    assert {f"notebooks/Untitled Folder/{name}" for name in ("", "orders.ipynb", "red.png")} <= there
    assert not any("Untitled.ipynb" in key for key in there)


def _afternoon(page: Page, client: Any, bucket: str, folder: Path) -> None:
    page.add_style_tag(content=".Toastify { display: none }")  # it asks about news
    _make_folder(page)
    _make_notebook(page)
    _type_and_run(page, "sum(range(10))")
    page.wait_for_selector(".jp-OutputArea-output >> text=45", timeout=60_000)
    _choose(page, "docmanager:save")
    _confirm(page)  # the name, at the first time
    _wait_for(page, lambda: len(_checkpoints(client, bucket)) >= 2)
    page.wait_for_timeout(1500)
    _take(page, "notebook", folder)
    _restore(page, client, bucket)
    _rename(page)
    _upload(page, folder)
    _open_run(page, folder)


def _make_folder(page: Page) -> None:
    page.click(
        "jp-button[data-command='filebrowser:create-new-directory'], [data-command='filebrowser:create-new-directory']"
    )
    page.wait_for_selector("input.jp-DirListing-editor")
    page.keyboard.press("Enter")
    page.dblclick(".jp-DirListing-item >> text=Untitled Folder")
    page.wait_for_selector(".jp-BreadCrumbs >> text=Untitled Folder")


def _make_notebook(page: Page) -> None:
    page.click(".jp-LauncherCard[data-category='Notebook'] >> nth=0")
    page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=60_000)
    page.wait_for_selector(".jp-DirListing-item >> text=Untitled.ipynb")


def _type_and_run(page: Page, code: str) -> None:
    page.click(".jp-Notebook .jp-Cell .cm-content")
    page.keyboard.type(code)
    page.keyboard.press("Shift+Enter")


def _restore(page: Page, client: Any, bucket: str) -> None:
    """Spoil the notebook, and take it back by the menu."""
    page.click(".jp-Notebook .jp-Cell .cm-content >> nth=0")
    page.keyboard.press("End")
    page.keyboard.type("  # spoilt")
    _choose(page, "docmanager:restore-checkpoint")
    page.wait_for_selector(".jp-Dialog-footer")
    while page.locator(".jp-Dialog-footer").count():  # which one, and whether
        _confirm(page)
        page.wait_for_timeout(700)
    page.wait_for_function(
        "() => !document.querySelector('.jp-Notebook').innerText.includes('spoilt')", timeout=30_000
    )
    key = "notebooks/Untitled Folder/Untitled.ipynb"
    saved = json.loads(client.get_object(Bucket=bucket, Key=key)["Body"].read())
    assert "".join(saved["cells"][0]["source"]) == "sum(range(10))"


def _choose(page: Page, command: str) -> None:
    """Choose a command of the menu File."""
    page.click("#jp-MainMenu .lm-MenuBar-item:has-text('File')")
    page.click(f".lm-Menu-item[data-command='{command}']")


def _confirm(page: Page) -> None:
    page.click(".jp-Dialog-footer button >> nth=-1")


def _rename(page: Page) -> None:
    page.click(".jp-DirListing-item >> text=Untitled.ipynb")
    page.keyboard.press("F2")
    page.wait_for_selector("input.jp-DirListing-editor")
    page.keyboard.press("Control+a")
    page.keyboard.type("orders.ipynb")
    page.keyboard.press("Enter")
    page.wait_for_selector(".jp-DirListing-item >> text=orders.ipynb")


def _upload(page: Page, folder: Path) -> None:
    picture = folder / "red.png"
    picture.write_bytes(_png())
    with page.expect_file_chooser() as chosen:
        page.click("[data-command='filebrowser:upload'], jp-button[title*='Upload'], [title*='Upload Files']")
    chosen.value.set_files(str(picture))
    page.wait_for_selector(".jp-DirListing-item >> text=red.png")
    page.dblclick(".jp-DirListing-item >> text=red.png")
    page.wait_for_function(
        "() => { const i = document.querySelector('.jp-ImageViewer img'); return i && i.naturalWidth == 320 }"
    )
    page.wait_for_timeout(500)
    _take(page, "picture", folder)


def _open_run(page: Page, folder: Path) -> None:
    page.click(".jp-BreadCrumbs-home")
    page.dblclick(".jp-DirListing-item >> text=runs")
    for name in ("pipeline", None, "monday"):
        page.wait_for_timeout(1000)
        item = page.locator(".jp-DirListing-item")
        (item.filter(has_text=name) if name else item).first.dblclick()
    page.wait_for_selector(".jp-DirListing-item >> text=orders.csv")
    page.dblclick(".jp-DirListing-item >> text=orders.csv")
    page.wait_for_selector(".jp-CSVViewer", timeout=20_000)
    page.wait_for_timeout(1500)
    _take(page, "runs", folder)


def _take(page: Page, name: str, folder: Path) -> None:
    """Keep a picture; where PICTURES names a folder, there too, as it is where those of the documentation are made."""
    page.screenshot(path=str(folder / f"jupyter-{name}.png"))
    if os.environ.get("PICTURES"):
        page.screenshot(path=str(Path(os.environ["PICTURES"], f"jupyter-{name}.png")))


def _run_pipeline(server: S3Server, bucket: str, folder: Path) -> None:
    """Run a pipeline in a process of its own, on the bucket."""
    project = folder / "project"
    project.mkdir()
    config = {"endpoint_url": server.endpoint, "region": server.region, "use_credentials": True}
    services = {
        "run_log_store": {"type": "chunked-s3", "config": {"url": f"s3://{bucket}/run-log", **config}},
        "catalog": {"type": "s3", "config": {"url": f"s3://{bucket}/catalog", **config}},
    }
    (project / "services.yaml").write_text(yaml.safe_dump(services))
    (project / "pipeline.yaml").write_text(PIPELINE)
    keys = {"AWS_ACCESS_KEY_ID": server.access_key, "AWS_SECRET_ACCESS_KEY": server.secret_key}
    command = ["execute", "-f", "pipeline.yaml", "-c", "services.yaml", "--run-id", "monday"]
    subprocess.run(
        [sys.executable, "-m", "airflow_magnus", *command],
        cwd=project,
        env={**os.environ, **keys},
        check=True,
        timeout=120,
    )


def _keys(client: Any, bucket: str) -> set[str]:
    return {item["Key"] for item in client.list_objects_v2(Bucket=bucket).get("Contents", ())}


def _checkpoints(client: Any, bucket: str) -> list[str]:
    return [key for key in _keys(client, bucket) if "/.checkpoints/" in key]


def _wait_for(page: Page, is_done: Any) -> None:
    for _ in range(60):
        if is_done():
            return
        page.wait_for_timeout(500)
    raise AssertionError("waited 30 s")


def _png() -> bytes:
    """A red picture of 320 × 200."""
    rows = b"".join(b"\0" + b"\xc0\x30\x30" * 320 for _ in range(200))

    def part(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 320, 200, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + part(b"IHDR", head) + part(b"IDAT", zlib.compress(rows)) + part(b"IEND", b"")
    )
