"""The pages of the fake Courier's lists: how a page names the next one, and the cursors."""

from __future__ import annotations

import base64
import binascii
import re
from collections import Counter
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, Literal
from urllib.parse import urlencode

from fake_vendor.courier_switches import CourierSwitches
from fake_vendor.courier_tables import Family

_BUILT = re.compile(r"(\d{13}),(\S+)")
# A page's cursor, if the page names one. It may name null.
Named = dict[str, str | None]


def envelope(
    family: Family,
    rows_key: str,
    rows: list[dict[str, Any]],
    named: Named,
    *,
    more: bool,
    path: str,
    params: Mapping[str, str],
    switches: CourierSwitches,
) -> dict[str, Any]:
    """Return the body of a page."""
    flag: bool | str = more or switches.more_without_end
    if more and switches.more_as_text:
        flag = "true"
    shown = None if switches.null_items and not rows and family in ("list", "cursor") else rows
    if family == "paging":
        return {"paging": {"more": flag, **named}, rows_key: shown}
    if family == "list":
        cursor = named.get("cursor") if more else None
        following = f"{path}?{urlencode(dict(params) | {'cursor': cursor})}" if cursor else None
        url = f"{path}?{urlencode(params)}" if params else path
        links = {"url": url, "next_url": following}
        return {"type": "list", rows_key: shown, "has_more": flag, **links, **named}
    if family == "none":
        return {rows_key: shown}
    # Where only the cursor tells that there are more pages, the last page repeats none.
    body: dict[str, Any] = {rows_key: shown}
    if named:
        name = "cursor" if family == "cursor" else "next_cursor"
        body[name] = named["cursor"] if more else None
    return body | {"prev_cursor": None} if path == "/journeys/runs" else body


class Cursors:
    """The cursors of one list that were sent, and the places after which they continue."""

    def __init__(self) -> None:
        """Start with none."""
        self.lists = 0
        self.used: Counter[str] = Counter()
        self._places: dict[str, tuple[tuple[Any, Any], int]] = {}
        self._expired: set[str] = set()

    def issue(self, cursor: str, place: tuple[Any, Any]) -> str:
        """Remember a cursor that is sent."""
        self._places[cursor] = place, self.lists
        self._expired.discard(cursor)
        return cursor

    def place(self, cursor: str, life: int) -> tuple[Any, Any] | None:
        """Return the place of a cursor. None if it was not sent, or if it has expired."""
        place, issued = self._places.get(cursor, (None, 0))
        return None if life and self.lists - issued > life else place

    def is_expired(self, cursor: str) -> bool:
        """Whether a cursor was sent that is no longer valid."""
        return cursor in self._expired or cursor in self._places

    def expire(self) -> None:
        """Invalidate every cursor that was sent so far."""
        self._expired |= self._places.keys()
        self._places.clear()


def row_cursor(form: Literal["row", "opaque", "signed"], enqueued_ms: int, ident: str) -> str:
    """Return a cursor of the messages. The documented example decodes to `<ms>,<id>`."""
    named = f"{enqueued_ms},{ident}"
    if form == "signed":
        named += f",{blake2b(named.encode(), digest_size=8, key=b'courier').hexdigest()}"
    cursor = base64.b64encode(named.encode()).decode()
    return f"page-{cursor[::-1]}" if form == "opaque" else cursor


def built_place(cursor: str) -> tuple[int, str] | None:
    """Return the place that a cursor of the documented form names. None for another form."""
    try:
        text = base64.b64decode(cursor, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
    match = _BUILT.fullmatch(text)
    return (int(match[1]), match[2]) if match else None
