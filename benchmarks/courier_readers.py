"""Reads the children of each parent one by one: `python -m benchmarks.courier_readers STREAM URL`.

It requests one page at a time on a kept-alive session and writes one JSON line per record. It does
not check, retry or checkpoint.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import orjson
import requests

KEY = "courier-demo-key"
# Stream -> the list of its parents and the key of their rows, its own path and the key of its rows,
# and the column with the parent's id.
STREAMS = {
    "message_history": ("messages", "results", "messages/{}/history", "results", "message_id"),
    "list_subscriptions": ("lists", "items", "lists/{}/subscriptions", "items", "list_id"),
}


def main(stream: str, url: str) -> None:
    """Write all rows of a stream."""
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {KEY}"
    parents, parents_key, path, key, column = STREAMS[stream]
    for parent in rows(session, f"{url}/{parents}", parents_key):
        ident = parent["id"]
        children = rows(session, f"{url}/{path.format(quote(ident, safe=''))}", key)
        for ordinal, row in enumerate(children):
            data = row | {column: ident, "ordinal": ordinal}
            sys.stdout.buffer.write(orjson.dumps({"stream": stream, "data": data}) + b"\n")


def rows(session: requests.Session, url: str, key: str) -> Iterator[dict[str, Any]]:
    """Yield the rows of all pages of a list."""
    params: dict[str, str] = {}
    while True:
        response = session.get(url, params=params)
        response.raise_for_status()
        body = orjson.loads(response.content)
        yield from body[key]
        paging = body.get("paging", {})
        if not paging.get("more"):
            return
        params = {"cursor": paging["cursor"]}


if __name__ == "__main__":
    main(*sys.argv[1:3])
