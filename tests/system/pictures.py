"""Pictures of the Airflow UI by headless Chromium, for the docs and for people to look at."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

SWITCHES = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@contextmanager
def chromium() -> Iterator[Browser]:
    """Debian's Chromium, without a window."""
    program = shutil.which("chromium")
    assert program, "chromium is not installed: `make test-all` installs it"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=SWITCHES)
        yield browser
        browser.close()


@contextmanager
def signed_in(base_url: str, user: str, password: str) -> Iterator[Page]:
    """A page of Airflow's UI, signed in by the simple auth manager's form."""
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.goto(f"{base_url}/auth/login")
        page.fill("input[name=username]", user)
        page.fill("input[name=password]", password)
        page.click("button[type=submit]")
        page.wait_for_url(lambda url: "/login" not in url)
        yield page


def take(page: Page, url: str, target: Path, *, wait_for: str = "", settle_ms: int = 2500) -> None:
    """Open a page, wait until its data is there, and keep a picture of it."""
    page.goto(url)
    if wait_for:
        page.wait_for_selector(f"text={wait_for}", timeout=20_000)
    page.wait_for_timeout(settle_ms)
    page.screenshot(path=str(target))


def add_connection(page: Page, base_url: str, title: str, target: Path) -> None:
    """Open the form of a new connection of a type, all its fields unfolded, and keep a picture of it."""
    page.set_viewport_size({"width": 1280, "height": 1500})
    page.goto(f"{base_url}/connections")
    page.click("text=Add Connection")
    page.fill("input[name=connection_id]", "magnus_catalog_default")
    page.locator("div[role=dialog] input[role=combobox]").first.click()
    page.keyboard.type(title)
    page.get_by_role("option", name=title).first.click()
    page.wait_for_selector("text=Standard Fields")
    page.locator("button:has-text('Extra Fields')").first.click()
    page.wait_for_timeout(1000)
    page.screenshot(path=str(target))
