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


def turnover() -> dict[str, Any]:
    """Add up the orders of each region, from the files that a step before has put into the catalog."""
    totals = {file.stem: _total(file) for file in sorted((DATA / "regions").glob("*.csv"))}
    _write(DATA / "turnover.csv", list(totals.items()))
    return {"turnover": round(sum(totals.values()), 2)}


def largest() -> None:
    """Keep the largest order of each region."""
    files = sorted((DATA / "regions").glob("*.csv"))
    _write(DATA / "largest.csv", [(file.stem, *max(_rows(file), key=lambda row: row[1])) for file in files])


def add_up_region(region: str) -> dict[str, Any]:
    """Add up the orders of one region; ``region`` is the item of the map around."""
    total = _total(DATA / "regions" / f"{region}.csv")
    _write(DATA / "totals" / f"{region}.csv", [(region, total)])
    return {"turnover": total}


def add_up_all() -> dict[str, Any]:
    """Add up what was made of each region."""
    return {"all_regions": round(sum(_total(file) for file in (DATA / "totals").glob("*.csv")), 2)}


def find(region: str, minimum: float) -> dict[str, Any]:
    """Name the larger orders of one region: the list that a map inside the map iterates on."""
    orders = _read(Path("inputs/orders.csv"))
    found = [int(o["order"]) for o in orders if o["region"] == region and o["amount"] >= minimum]
    return {"orders": found}


def write_invoice(region: str, order: int) -> None:
    """Write the invoice of one order; both arguments are items of the maps around."""
    amount = next(o["amount"] for o in _read(Path("inputs/orders.csv")) if int(o["order"]) == order)
    _write(DATA / "invoices" / region / f"{order}.csv", [(order, amount)])


def write_letter(region: str) -> None:
    """Put the invoices of one region into a letter."""
    total = round(sum(_total(file) for file in (DATA / "invoices" / region).glob("*.csv")), 2)
    (DATA / "letters").mkdir(parents=True, exist_ok=True)
    (DATA / "letters" / f"{region}.txt").write_text(f"Dear {region}, please pay {total:.2f}.\n")


def copy_today() -> None:
    """Take today's orders as they come."""
    _give(Path("inputs/orders.csv"))


def take_discount_off(discount_percent: float) -> None:
    """Lower all amounts."""
    orders = _read(DATA / "orders.csv")
    rows = [(o["order"], o["region"], round(o["amount"] * (100 - discount_percent) / 100, 2)) for o in orders]
    _write(DATA / "orders.csv", [("order", "region", "amount"), *rows])


def check_amounts() -> None:
    """Refuse orders of nothing, or of less."""
    wrong = [order["order"] for order in _read(DATA / "orders.csv") if order["amount"] <= 0]
    if wrong:
        raise ValueError(f"orders {', '.join(wrong)} have no amount above 0")


def fetch_page(page: int, page_size: int) -> dict[str, Any]:
    """Fetch one page of the orders and say whether there is another one; ``page`` is the number of the iteration."""
    orders = _read(Path("inputs/orders.csv"))
    end = (page + 1) * page_size
    rows = [(o["order"], o["region"], o["amount"]) for o in orders[page * page_size : end]]
    _write(DATA / "pages" / f"{page}.csv", rows)
    return {"is_last_page": end >= len(orders)}


def put_together() -> dict[str, Any]:
    """Make one file of all pages."""
    pages = sorted((DATA / "pages").glob("*.csv"), key=lambda file: int(file.stem))
    text = "".join(page.read_text() for page in pages)
    (DATA / "orders.csv").write_text(text)
    return {"pages": len(pages), "orders": len(text.splitlines())}


def take_in(day: str, region: str) -> None:
    """Take in the file that the shops of one region have delivered for a day."""
    source = Path("inputs", day, f"{region}.csv")
    if not source.exists():
        raise FileNotFoundError(f"the shops of the {region} have not delivered {source} yet")
    (DATA / "regions").mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, DATA / "regions" / source.name)


def _give(file: Path) -> None:
    DATA.mkdir(exist_ok=True)
    shutil.copyfile(file, DATA / "orders.csv")


def _read(file: Path) -> list[dict[str, Any]]:
    with file.open(newline="") as source:
        return [{**row, "amount": float(row["amount"])} for row in csv.DictReader(source)]


def _rows(file: Path) -> list[tuple[str, float]]:
    """The rows of a file without a header: a name, an amount."""
    with file.open(newline="") as source:
        return [(name, float(amount)) for name, amount in csv.reader(source)]


def _total(file: Path) -> float:
    return round(sum(amount for _, amount in _rows(file)), 2)


def _write(file: Path, rows: list[tuple[Any, ...]]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="") as target:
        csv.writer(target, lineterminator="\n").writerows(rows)
