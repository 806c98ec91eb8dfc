"""Courier as a connector sees it: the list of messages, newest first, ten per page."""

from __future__ import annotations

import base64
import binascii
import re
from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from operator import attrgetter
from random import Random
from threading import RLock
from typing import Any, Literal

from fake_vendor.clock import Clock, http_date, to_ms
from fake_vendor.faults import Fault, FaultPlan, broken
from fake_vendor.journal import Entry, Journal
from fake_vendor.switches import switched
from fake_vendor.wire import Reply, Request, json_reply

DEMO_KEY = "courier-demo-key"

_DAY_MS = 86_400_000
_MESSAGE_PATH = re.compile(r"/messages/([^/]+)")


@dataclass(frozen=True)
class CourierSwitches:
    """How this Courier behaves where the real one is undocumented or faulty."""

    latency_ms: float = 0
    # The documentation says 401. A request to the live API got 403.
    bad_key_status: Literal[401, 403] = 401
    # The rows per page. A request cannot change it.
    page_size: int = 10
    last_cursor: Literal["omitted", "null", "repeated"] = "omitted"
    repeat_cursor_every: int = 0
    cursor_life: int = 0
    enqueued_after: Literal["honoured", "ignored", "ms_only", "iso_only"] = "honoured"
    # What it does wrong with cursors: the first page is shown again; each further use of a cursor
    # shows other rows; rows are left out between two pages; one that it did not send is accepted.
    cursor_ignored: bool = False
    cursor_drifts: bool = False
    boundary_gap: int = 0
    unknown_cursor: Literal["refused", "ignored"] = "refused"
    cursor_form: Literal["row", "opaque"] = "row"
    # `more` is a text where it is true; it is true on the last page too.
    more_as_text: bool = False
    more_without_end: bool = False
    row_order: Literal["newest", "oldest_on_page"] = "newest"
    limit: Literal["ignored", "honoured"] = "ignored"
    limit_headers: bool = False
    # How far the `Date` header is ahead of the clock.
    clock_skew_seconds: float = 0
    arrival_every: int = 0
    faults: tuple[Fault, ...] = ()


@dataclass(frozen=True, slots=True)
class Message:
    """One message: when it was enqueued, its id, and extra fields of its row."""

    enqueued_ms: int
    id: str
    number: int
    extra: Mapping[str, Any] | None = None

    def row(self) -> dict[str, Any]:
        """Return the row of the message in the list."""
        return _row(self) | dict(self.extra or {})


class Courier:
    """One Courier workspace. `handle` answers requests. All other methods are for tests."""

    def __init__(
        self,
        rows: int = 200,
        *,
        seed: int = 7,
        years: float = 0.1,
        key: str = DEMO_KEY,
        switches: CourierSwitches | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Make a workspace with `rows` messages that were enqueued within `years` before now."""
        self.switches = switches or CourierSwitches()
        self.clock = clock or Clock()
        self.key = key
        self.journal = Journal()
        self._lock = RLock()
        self._random = Random(f"{seed}/courier")
        self._messages: list[Message] = []
        self._by_id: dict[str, Message] = {}
        self._plan = FaultPlan()
        self._issued: dict[str, int] = {}
        self._used: Counter[str] = Counter()
        self._lists = 0
        self._made = 0
        now = self.clock.ms() - 60_000
        span = int(years * 365.25 * _DAY_MS)
        for _ in range(rows):
            self._messages.append(self._make(now - int(span * self._random.random()), None))
        self._messages.sort(key=_place)

    # For tests and for the control endpoints.

    def switch(self, **changes: Any) -> None:
        """Change switches by name."""
        with self._lock:
            self.switches = switched(self.switches, changes)

    def messages(self) -> list[Message]:
        """Return every message, oldest first."""
        with self._lock:
            return list(self._messages)

    def insert(self, at: datetime | None = None, **fields: Any) -> Message:
        """Add a message enqueued `at` (default: now). `fields` replace those of its row."""
        with self._lock:
            message = self._make(to_ms(at) if at else self.clock.ms(), fields or None)
            insort(self._messages, message, key=_place)
            return message

    def update(self, ident: str, **fields: Any) -> Message:
        """Change fields of a message's row, as a late open does. Raises KeyError for no such id."""
        with self._lock:
            old = self._by_id[ident]
            new = replace(old, extra={**(old.extra or {}), **fields})
            self._messages[bisect_left(self._messages, _place(old), key=_place)] = new
            self._by_id[ident] = new
            return new

    def expire_cursors(self) -> None:
        """Invalidate every cursor that was issued so far."""
        with self._lock:
            self._issued.clear()

    def _make(self, enqueued_ms: int, extra: Mapping[str, Any] | None) -> Message:
        """Make a message. Its id looks like an AWS trace id and contains the time of enqueueing."""
        number = self._made
        self._made += 1
        tail = f"{self._random.getrandbits(64):016x}{number:08x}"
        message = Message(enqueued_ms, f"1-{enqueued_ms // 1000:08x}-{tail}", number, extra)
        self._by_id[message.id] = message
        return message

    # Answering.

    def handle(self, request: Request) -> Reply:
        """Answer one request."""
        with self._lock:
            path = request.path.rstrip("/")
            endpoint = _endpoint(request.method, path)
            reply, fault, rows = self._answer(request, path, endpoint)
            status = 0 if reply.fault == "reset" else reply.status
            entry = Entry(
                number=len(self.journal.entries) + 1,
                at_s=self.clock.seconds(),
                method=request.method,
                path=request.path,
                endpoint=endpoint,
                status=status,
                fault=fault,
                criteria=dict(request.params),
                rows=rows if status == 200 and not fault else 0,
            )
            self.journal.write(entry)
            date = http_date(self.clock.seconds() + self.switches.clock_skew_seconds)
            headers = reply.headers | {"date": date}
            if self.switches.limit_headers:
                headers |= {"ratelimit-limit": "600", "ratelimit-remaining": "599"}
            return replace(reply, headers=headers, delay_s=self.switches.latency_ms / 1000)

    def _answer(self, request: Request, path: str, endpoint: str) -> tuple[Reply, str, int]:
        if request.headers.get("authorization") != f"Bearer {self.key}":
            return self._bad_key(), "", 0
        fault = self._plan.next(endpoint, self.switches.faults)
        rows = 0
        if fault == "429":
            reply = _error(429, "Rate limit exceeded", "rate_limit_error")
        elif fault in ("500", "503"):
            reply = _error(int(fault), "Internal error", "api_error")
        elif endpoint == "messages":
            reply, rows = self._list(request.params, fault)
        elif endpoint == "message":
            reply = self._retrieve(path)
        else:
            reply = _error(404, "Not found", "invalid_request_error")
        return broken(reply, fault), fault, rows

    def _bad_key(self) -> Reply:
        status = self.switches.bad_key_status
        kind = "authentication_error" if status == 401 else "authorization_error"
        return _error(status, "Invalid or missing authentication credentials", kind)

    def _list(self, params: Mapping[str, str], fault: str) -> tuple[Reply, int]:
        switches = self.switches
        self._lists += 1
        if switches.arrival_every and self._lists % switches.arrival_every == 0:
            self.insert()
        cursor = params.get("cursor", "")
        end = len(self._messages)
        if cursor:
            place = self._open(cursor)
            if place is not None and not switches.cursor_ignored:
                end = bisect_left(self._messages, place, key=_place) - switches.boundary_gap
                end -= self._used[cursor] if switches.cursor_drifts else 0
                self._used[cursor] += 1
            elif place is None and switches.unknown_cursor == "refused":
                return _error(400, "Invalid cursor", "invalid_request_error"), 0
        try:
            since = self._since(params.get("enqueued_after", ""))
        except ValueError:
            return _error(400, "Invalid enqueued_after", "invalid_request_error"), 0
        page, more = self._page(end, since, params)
        if switches.limit == "honoured" and params.get("limit", "").isdigit():
            page = page[: int(params["limit"])]
        paging: dict[str, Any] = {"more": more or switches.more_without_end}
        if more and switches.more_as_text:
            paging["more"] = "true"
        if more:
            paging["cursor"] = self._issue(page[-1])
            if cursor and _nth(self._lists, switches.repeat_cursor_every):
                paging["cursor"] = cursor
        elif switches.last_cursor == "null":
            paging["cursor"] = None
        elif switches.last_cursor == "repeated" and (cursor or page):
            paging["cursor"] = cursor or self._issue(page[-1])
        if switches.row_order == "oldest_on_page":
            page = page[::-1]
        body: dict[str, Any] = {"paging": paging, "results": [message.row() for message in page]}
        if fault == "no_data":
            del body["results"]
        if fault == "timed_out":
            body = {"message": "Endpoint request timed out"}
        status = 504 if fault == "timed_out" else 200
        return json_reply(status, body), len(page)

    def _page(
        self, end: int, since_ms: int, params: Mapping[str, str]
    ) -> tuple[list[Message], bool]:
        """Return the page before index `end`, and whether older messages match too."""
        size = self.switches.page_size
        filters = {name: set(params[name].split(",")) for name in _FILTERS if params.get(name)}
        start = bisect_left(self._messages, since_ms, key=_enqueued)
        if not filters:
            first = max(start, end - size)
            return self._messages[first:end][::-1], first > start
        page: list[Message] = []
        for message in reversed(self._messages[start:end]):
            row = message.row()
            if all(wanted & _texts(row.get(_FILTERS[name])) for name, wanted in filters.items()):
                if len(page) == size:
                    return page, True
                page.append(message)
        return page, False

    def _since(self, text: str) -> int:
        """Parse enqueued_after. The documented example is epoch milliseconds. ISO occurs too."""
        if not text or self.switches.enqueued_after == "ignored":
            return 0
        if self.switches.enqueued_after == ("iso_only" if text.isdigit() else "ms_only"):
            raise ValueError("not in this form")
        return int(text) if text.isdigit() else to_ms(datetime.fromisoformat(text))

    def _issue(self, message: Message) -> str:
        """Return a cursor after the message. The documented example decodes to `<ms>,<id>`."""
        named = f"{message.enqueued_ms},{message.id}"
        cursor = base64.b64encode(named.encode()).decode()
        if self.switches.cursor_form == "opaque":
            cursor = f"page-{cursor[::-1]}"
        self._issued[cursor] = self._lists
        return cursor

    def _open(self, cursor: str) -> tuple[int, str] | None:
        life = self.switches.cursor_life
        if cursor not in self._issued or (life and self._lists - self._issued[cursor] > life):
            return None
        try:
            if cursor.startswith("page-"):
                cursor = cursor.removeprefix("page-")[::-1]
            enqueued, _, ident = base64.b64decode(cursor, validate=True).decode().partition(",")
        except (binascii.Error, UnicodeDecodeError):
            return None
        return int(enqueued), ident

    def _retrieve(self, path: str) -> Reply:
        match = _MESSAGE_PATH.fullmatch(path)
        message = self._by_id.get(match[1]) if match else None
        if message is None:
            return _error(404, "Message not found", "invalid_request_error")
        row = message.row()
        return json_reply(200, row | {"providers": _providers(row)})


_place = attrgetter("enqueued_ms", "id")
_enqueued = attrgetter("enqueued_ms")

# Query parameter -> row field. Several values are joined by commas. One of them must match.
_FILTERS = {
    "event": "event",
    "list": "listId",
    "messageId": "id",
    "notification": "notification",
    "recipient": "recipient",
    "status": "status",
    "tag": "tags",
    "tags": "tags",
    "traceId": "trace_id",
}


def _texts(value: Any) -> set[str]:
    return set(value) if isinstance(value, list) else {str(value)}


def _nth(number: int, every: int) -> bool:
    return every > 0 and number % every == 0


# The endpoints for which faults can be set.
ENDPOINTS = ("messages", "message")


def _endpoint(method: str, path: str) -> str:
    if method == "GET" and path == "/messages":
        return "messages"
    return "message" if method == "GET" and _MESSAGE_PATH.fullmatch(path) else "other"


def _error(status: int, message: str, kind: str) -> Reply:
    return json_reply(status, {"message": message, "type": kind})


# Each status occurs as often as in a healthy list of messages.
_STATUSES = (
    *("DELIVERED",) * 6, *("OPENED",) * 4, *("SENT",) * 3, *("CLICKED",) * 2, "ENQUEUED",
    "UNDELIVERABLE", "UNROUTABLE", "UNMAPPED", "FILTERED", "CANCELED", "DELAYED", "DIGESTED",
    "ROUTED", "SIMULATED", "THROTTLED",
)  # fmt: skip
# Status -> the times that the row of a message has.
_STAMPS = {
    "SENT": ("sent",),
    "DELIVERED": ("sent", "delivered"),
    "OPENED": ("sent", "delivered", "opened"),
    "CLICKED": ("sent", "delivered", "opened", "clicked"),
}
_LAG_MS = {"sent": 900, "delivered": 4_200, "opened": 5_400_000, "clicked": 5_460_000}
_FAILURES = {
    "UNDELIVERABLE": ("BOUNCED", "550 5.1.1 The email account does not exist"),
    "UNROUTABLE": ("NO_CHANNELS", None),
    "UNMAPPED": ("UNPUBLISHED", None),
    "FILTERED": ("UNSUBSCRIBED", "Notification opted out by user"),
}


def _row(message: Message) -> dict[str, Any]:
    n = message.number
    mixed = (n * 2654435761) & 0xFFFFFFFF
    status = _STATUSES[mixed % len(_STATUSES)]
    user = f"user-{mixed % 5000}"
    row: dict[str, Any] = {
        "enqueued": message.enqueued_ms,
        "id": message.id,
        "recipient": user,
        "recipientId": user,
        "status": status,
    }
    if n % 7:
        row |= {"event": "order-shipped", "notification": "3SXDTQ2F0P4K8EKH18WMGQCV7G1N"}
    else:
        # A message with inline content has no template and no event. Its recipient is an address.
        row["recipient"] = f"{user}@example.com"
    for stamp in _STAMPS.get(status, ()):
        row[stamp] = message.enqueued_ms + _LAG_MS[stamp] + mixed % 700
    if n % 11 == 5:
        row.pop("delivered", None)
    if status in _FAILURES:
        row["reason"], row["error"] = _FAILURES[status]
    elif n % 5 == 0:
        row |= {"error": None, "reason": None}
    if n % 3 == 0:
        row["tags"] = ["orders", f"shop-{mixed % 4}"]
    if n % 4 == 0:
        row["trace_id"] = f"1-{message.id[2:10]}-{mixed:024x}"
    if n % 9 == 0:
        row["utm"] = {"source": "courier", "medium": "email", "campaign": "spring"}
    if n % 13 == 0:
        row |= {"listId": "beta.testers", "listMessageId": f"1-{message.id[2:10]}-{n:024x}"}
    return row


def _providers(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what only the single-message endpoint shows. It is empty before the first try."""
    status = row["status"]
    if status == "FILTERED":
        return [{"error": row["error"], "status": "UNDELIVERABLE"}]
    if status not in _STAMPS and status != "UNDELIVERABLE":
        return []
    provider: dict[str, Any] = {
        "channel": {"name": "Email", "template": "b4a7c1de"},
        "provider": "sendgrid",
        "reference": {"x-message-id": row["id"][11:]},
        "status": status,
    }
    if "notification" not in row:
        provider["channel"] = {"key": "sendgrid"}
    provider |= {stamp: row[stamp] for stamp in _STAMPS.get(status, ()) if stamp in row}
    if status == "UNDELIVERABLE":
        provider["error"] = row["error"]
    elif status != "OPENED":
        provider["providerResponse"] = {"status": 202, "statusText": "Accepted", "data": {}}
    return [provider]
