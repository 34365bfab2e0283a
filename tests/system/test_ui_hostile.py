"""Two hundred hostile names and contents through every page: none of their markup is ever live. By a browser, on our pages alone."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from airflow_magnus.dags import embedded
from airflow_magnus.dags.builder import pipeline_dag
from pipelines import linear, shell
from servers.airflow import wait_for
from servers.programs import answers, free_port
from system.pictures import chromium

pytestmark = pytest.mark.external

DAG_ID = "hostile"
RUN = "alert('ran-hostile')"
PAYLOADS = [
    f"<script>{RUN}</script>",
    f"</title></style></pre><script>{RUN}</script>",
    f'"><img src=x onerror="{RUN}" data-hostile>',
    f"'><svg onload={RUN} data-hostile>",
    f"<svg><script>{RUN}</script></svg>",
    f'<a href="javascript:{RUN}" data-hostile>x</a>',
    f"[x](javascript:{RUN})",
    f"javascript:{RUN}",
    f'<iframe srcdoc="<script>{RUN}</script>" data-hostile></iframe>',
    f'<object data="data:text/html,<script>{RUN}</script>" data-hostile></object>',
    f"<details open ontoggle={RUN} data-hostile>",
    f"<input autofocus onfocus={RUN} data-hostile>",
    f'<form action="javascript:{RUN}" data-hostile><button>x</button></form>',
    f"<meta http-equiv=refresh content='0;url=javascript:{RUN}' data-hostile>",
    "<base href=//evil.example/ data-hostile><link rel=stylesheet href=//evil.example/a.css data-hostile>",
    "<style data-hostile>*{display:none}</style>",
    "{{ 7*7 }}{% print(7*7) %}<b data-hostile>",
    f"&lt;script&gt;{RUN}&lt;/script&gt;",
    f"\u202e<math><mtext><script>{RUN}</script>",
    "=cmd|' /C calc'!A0,@SUM(1+1),+1+1,-1+1<b data-hostile>",
]
ENDINGS = ["txt", "csv", "json", "md", "html", "svg", "xml", "ipynb", "py", "png"]
FILES = [(n, ending) for n in range(len(PAYLOADS)) for ending in ENDINGS]
"""Twenty payloads, each as the name and the content of a file of ten kinds: 200."""
MAKE = """
import json, os
for name, text in json.load(open("files.json")):
    path = os.path.join("data", name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    open(path, "w").write(text)
"""


def _name(number: int, ending: str) -> str:
    """The name of a file that holds a payload; a slash of it makes a folder."""
    return f"{number}{ending[0]}/" + PAYLOADS[number].replace("//", "/") + f".{ending}"


def _content(number: int, ending: str) -> str:
    text = PAYLOADS[number]
    if ending == "json":
        return json.dumps({text: [text]})
    if ending == "svg":
        return f'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><script>{RUN}</script><text>{text}</text></svg>'
    if ending == "ipynb":
        output = {
            "output_type": "display_data",
            "metadata": {},
            "data": {"text/html": [text], "text/markdown": [text]},
        }
        cells = [
            {"cell_type": "markdown", "metadata": {}, "source": [text]},
            {
                "cell_type": "code",
                "metadata": {},
                "execution_count": 1,
                "source": [text],
                "outputs": [output],
            },
        ]
        return json.dumps({"nbformat": 4, "nbformat_minor": 4, "metadata": {}, "cells": cells})
    return f"a,{text}\n{text},2\n"


@pytest.fixture(scope="module")
def hostile(airflow_home: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """Two runs of a pipeline whose names, values, messages and files are hostile; the second fails."""
    folder = tmp_path_factory.mktemp("hostile")
    files = [(_name(n, e), _content(n, e)) for n, e in FILES]
    (folder / "files.json").write_text(json.dumps(files))
    (folder / "make.py").write_text(MAKE)
    step = '"><img src=x onerror=alert(1) data-hostile>'
    message = "cat files.json | head -c 1500 >&2; exit 3"
    steps = {
        step: shell("python make.py", catalog={"put": ["**"]}),
        PAYLOADS[0]: shell(f"test $MAGNUS_PRM_n = 1 || {{ {message}; }}", catalog={"get": ["**"]}),
    }
    airflow = {"description": PAYLOADS[0], "tags": ["<b data-hostile>"], "doc_md": PAYLOADS[2]}
    parameters = {"n": 1, "text": PAYLOADS[0], "more": {PAYLOADS[2]: PAYLOADS}}
    (folder / "p.yaml").write_text(linear(steps, parameters=parameters, airflow=airflow))
    before = dict(os.environ)
    try:
        embedded._current = dag = pipeline_dag(folder / "p.yaml", dag_id=DAG_ID)
        found = [dag.test(run_conf={"n": n, "tag": PAYLOADS[n]}) for n in (1, 2)]
    finally:
        embedded._current = None
        os.environ.clear()
        os.environ.update(before)
    assert [str(run.state) for run in found] == ["success", "failed"]
    return found


@pytest.fixture(scope="module")
def served(site: Any) -> Iterator[str]:
    """Our pages at a port of this machine."""
    import uvicorn

    port = free_port()
    server = uvicorn.Server(uvicorn.Config(site, port=port, log_level="error", ws="none"))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()), daemon=True)
    thread.start()
    wait_for(lambda: answers(port), "our pages", 30)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(10)


def _token() -> str:
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

    return str(get_auth_manager().generate_jwt(SimpleAuthManagerUser(username="admin", role="ADMIN")))


LIVE = """() => {
  const found = [...document.querySelectorAll('[data-hostile], iframe, object, embed, base, meta[http-equiv]')];
  for (const e of document.querySelectorAll('*')) for (const a of e.attributes) {
    if (/^on/i.test(a.name) || (/^(href|src|action|xlink:href)$/i.test(a.name) && /^\\s*(javascript|data:text)/i.test(a.value))) found.push(e);
  }
  for (const s of document.querySelectorAll('script')) if (s.textContent.trim() || !s.src.startsWith(location.origin)) found.push(s);
  return found.map(e => e.outerHTML.slice(0, 200));
}"""


def test_nothing_of_two_hundred_names_and_contents_is_ever_live(hostile: list[Any], served: str) -> None:
    good, bad = (f"{DAG_ID}/{quote(run.run_id, safe='')}" for run in hostile)
    task = next(
        ti.task_id
        for ti in hostile[0].get_task_instances()
        if ti.task_id.startswith("img") or "img" in ti.task_id
    )
    echoes = [quote(text, safe="") for text in PAYLOADS]
    addresses = [
        "/runs", f"/runs/{good}", f"/runs/{bad}", f"/pipelines/{DAG_ID}", f"/rerun/{bad}", f"/catalog/{good}",
        f"/compare/{good}", f"/compare/{good}/{bad.split('/')[1]}", f"/data/{good}/{task}/-1", "/api/docs", "/provenance?q=s",
        *(f"/runs?text={e}&tag={e}&parameter={e}&pipeline={e}" for e in echoes),
        *(f"/runs/{good}?text={e}&status={e}" for e in echoes),
        *(f"/provenance?q={e}" for e in echoes),
        *(f"/runs/{e}/{e}" for e in echoes if "%2F" not in e),
        *(f"/provenance/{good}/{quote(_name(n, 'txt'))}" for n in range(len(PAYLOADS))),
        *(f"/files/{good}/{quote(_name(n, e))}" for n, e in FILES),
    ]  # fmt: skip
    faults: list[str] = []
    with chromium() as browser:
        context = browser.new_context(base_url=served)
        context.add_cookies([{"name": "_token", "value": _token(), "url": served}])
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("dialog", lambda dialog: (faults.append(f"dialog at {page.url}"), dialog.dismiss()))
        page.on("pageerror", lambda error: faults.append(f"{page.url}: {error}"))
        page.on("console", lambda m: faults.append(f"{page.url}: {m.text}") if _tells(m.text) else None)
        page.on(
            "request",
            lambda r: faults.append(r.url) if not r.url.startswith((served, "data:image")) else None,
        )
        shown = 0
        for address in addresses:
            answer = page.goto(f"/magnus{address}")
            assert answer is not None
            assert answer.status in (200, 400, 404), (address, answer.status)
            shown += answer.status == 200
            faults += [f"{address}: {live}" for live in page.evaluate(LIVE)]
        assert faults == []
        assert shown > 250  # else they were refused, and nothing was shown


def _tells(text: str) -> bool:
    return "ran-hostile" in text or "Content Security Policy" in text or "Refused to" in text
