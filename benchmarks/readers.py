"""Plain readers of the same nine streams, to compare with: `python -m benchmarks.readers NAME ...`.

Each reader requests one page at a time on a kept-alive session and writes one JSON line per record.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import orjson
import requests

from fake_vendor.data import LIST_KINDS

Rows = list[dict[str, Any]]

CONTEXTS = ("conversation", "customer", "kobject", "message", "note")
LISTS = tuple(sorted(LIST_KINDS))
TOKEN = "kustomer-demo-token"


class Vendor:
    """Sends requests to Kustomer, one at a time. It does not retry."""

    def __init__(self, url: str, start: str) -> None:
        self.start = start
        self._base = f"{url}/v1"
        self._session = requests.Session()
        self._session.headers["Authorization"] = f"Bearer {TOKEN}"

    def search(self, context: str, operator: str, bound: str, page: int, size: int) -> Rows:
        """Fetch one page of records updated at or after (`gte`) or after (`gt`) a moment."""
        attribute = f"{context}_updated_at"
        body = {
            "queryContext": context,
            "and": [{attribute: {operator: bound}}],
            "sort": [{attribute: "asc"}],
        }
        params = {"page": page, "pageSize": size}
        url = f"{self._base}/customers/search"
        rows: Rows = self._json(self._session.post(url, params=params, json=body))["data"]
        return rows

    def pages(self, kind: str, size: int) -> Iterator[Rows]:
        """Yield the pages of a list until there is no next one."""
        page, more = 1, True
        while more:
            answer = self.get(f"{kind}s", page=page, pageSize=size)
            yield answer["data"]
            page, more = page + 1, bool(answer["links"]["next"])

    def get(self, path: str, **params: int) -> Any:
        """Send a GET request."""
        return self._json(self._session.get(f"{self._base}/{path}", params=params))

    @staticmethod
    def _json(response: requests.Response) -> Any:
        response.raise_for_status()
        return orjson.loads(response.content)


def floor(vendor: Vendor) -> None:
    """500 rows per page from the last row's timestamp, without the rows already seen there."""
    for context in CONTEXTS:
        bound, border, more = vendor.start, set[str](), True
        while more:
            rows = vendor.search(context, "gte", bound, 1, 500)
            fresh = [row for row in rows if row["id"] not in border]
            write(context, fresh)
            more = len(rows) == 500
            if more:
                if not fresh:
                    sys.exit(f"no progress: one moment of {context} fills a page")
                last = updated(rows)
                ids = {row["id"] for row in rows if row["attributes"]["updatedAt"] == last}
                bound, border = last, ids | border if last == bound else ids
    for kind in LISTS:
        for rows in vendor.pages(kind, 500 if kind in ("team", "user") else 100):
            write(kind, rows)


def hundred(vendor: Vendor) -> None:
    """100 rows per page, by page number. After page 100 it continues after the last row."""
    for context in CONTEXTS:
        operator, bound, page, more = "gte", vendor.start, 1, True
        while more:
            rows = vendor.search(context, operator, bound, page, 100)
            write(context, rows)
            more, page = len(rows) == 100, page + 1
            if more and page > 100:
                operator, bound, page = "gt", updated(rows), 1
    for kind in LISTS:
        for rows in vendor.pages(kind, 100):
            write(kind, rows)


def probing(vendor: Vendor) -> None:
    """A request that proves the key before each page of 500. Always page 1 from the last row."""
    for context in CONTEXTS:
        bound, more = vendor.start, True
        while more:
            vendor.get("users/current")
            rows = vendor.search(context, "gte", bound, 1, 500)
            write(context, rows)
            more = len(rows) == 500
            if more and updated(rows) == bound:
                sys.exit(f"no progress: one moment of {context} fills a page")
            bound = updated(rows) if more else bound
    for kind in LISTS:
        for rows in vendor.pages(kind, 500):
            vendor.get("users/current")
            write(kind, rows)


def updated(rows: Rows) -> str:
    """Return the timestamp of the last row."""
    moment: str = rows[-1]["attributes"]["updatedAt"]
    return moment


def write(kind: str, rows: Rows) -> None:
    """Write one line per row, in the form of the content of a record message."""
    for row in rows:
        sys.stdout.buffer.write(orjson.dumps({"stream": f"{kind}s", "data": row}) + b"\n")


READERS: dict[str, Callable[[Vendor], None]] = {
    "floor": floor,
    "hundred": hundred,
    "probing": probing,
}

if __name__ == "__main__":
    READERS[sys.argv[1]](Vendor(*sys.argv[2:]))
