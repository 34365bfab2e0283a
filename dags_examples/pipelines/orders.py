"""The functions that the example pipelines call: a function takes parameters by name and returns those it sets."""

from __future__ import annotations

import csv
import hashlib
import hmac
import shutil
from pathlib import Path
from typing import Any

from airflow_magnus import get_secret, track_this

DATA = Path("data")
"""The compute data folder: what a step puts into the catalog lies here, and what it gets appears here."""


def pick(regions: list[str], minimum: float) -> dict[str, Any]:
    """Choose orders and add them up."""
    orders = _read(Path("inputs/orders.csv"))
    picked = [o for o in orders if o["region"] in regions and o["amount"] >= minimum]
    track_this(orders=len(picked))
    return {"picked": [o["order"] for o in picked], "total": round(sum(o["amount"] for o in picked), 2)}


def split() -> None:
    """Write one file for each region."""
    orders = _read(Path("inputs/orders.csv"))
    (DATA / "regions").mkdir(parents=True, exist_ok=True)
    for region in {order["region"] for order in orders}:
        with (DATA / "regions" / f"{region}.csv").open("w", newline="") as target:
            csv.writer(target).writerows([o["order"], o["amount"]] for o in orders if o["region"] == region)


def count() -> dict[str, Any]:
    """Count the orders of each region, from the files that a step before has put into the catalog."""
    files = sorted((DATA / "regions").glob("*.csv"))
    return {"orders_of": {file.stem: len(file.read_text().splitlines()) for file in files}}


def sign(message: str) -> dict[str, Any]:
    """Sign a message; the secret itself must not become a parameter: the step would fail."""
    key = get_secret("SIGNING_KEY")
    return {"signature": hmac.new(key.encode(), message.encode(), hashlib.sha256).hexdigest()}


def fetch(source_answers: bool) -> None:
    """Fetch today's orders from a source that may be down."""
    if not source_answers:
        raise ConnectionError("the source of today's orders does not answer")
    _give(Path("inputs/orders.csv"))


def fall_back() -> None:
    """Take yesterday's orders instead."""
    _give(Path("inputs/orders-yesterday.csv"))


def add_up() -> dict[str, Any]:
    """Add up what either of the two has left."""
    orders = _read(DATA / "orders.csv")
    return {"orders": len(orders), "total": round(sum(order["amount"] for order in orders), 2)}


def _give(file: Path) -> None:
    DATA.mkdir(exist_ok=True)
    shutil.copyfile(file, DATA / "orders.csv")


def _read(file: Path) -> list[dict[str, Any]]:
    with file.open(newline="") as source:
        return [{**row, "amount": float(row["amount"])} for row in csv.DictReader(source)]
