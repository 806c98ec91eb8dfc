"""Courier as a connector sees it: the messages, newest first, ten per page, and all other lists."""

from __future__ import annotations

import base64
import math
import re
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from functools import partial
from heapq import merge
from itertools import islice
from operator import attrgetter
from random import Random
from threading import RLock
from typing import Any
from urllib.parse import unquote

import orjson

from fake_vendor.clock import Clock, http_date, to_ms
from fake_vendor.courier_messages import LIST_ID, SECRET_MARK, TEMPLATE_ID, Message, Row
from fake_vendor.courier_pages import Cursors, Named, built_place, envelope, row_cursor
from fake_vendor.courier_switches import CourierSwitches
from fake_vendor.courier_tables import TABLES, Entry, Family, NoParentError, Place, Tables
from fake_vendor.faults import FaultPlan, broken
from fake_vendor.journal import Entry as JournalEntry
from fake_vendor.journal import Journal
from fake_vendor.switches import switched
from fake_vendor.wire import Reply, Request, json_reply

__all__ = [
    "DEMO_KEY",
    "ENDPOINTS",
    "LIST_ID",
    "SECRET_MARK",
    "TABLES",
    "TEMPLATE_ID",
    "Courier",
    "CourierSwitches",
    "Message",
]

DEMO_KEY = "courier-demo-key"

_DAY_MS = 86_400_000
_MESSAGE_PATHS = {
    "messages": "/messages",
    "message_info": "/messages/{}",
    "message_history": "/messages/{}/history",
    "message_output": "/messages/{}/output",
}
# Endpoint -> the pattern of its path, which is still percent-encoded: an id may contain a slash.
_ROUTES = {
    name: re.compile(re.escape(path).replace(r"\{\}", "([^/]+)"))
    for name, path in _MESSAGE_PATHS.items()
} | {
    name: re.compile("/" + re.escape(table.path).replace(r"\{\}", "([^/]+)"))
    for name, table in TABLES.items()
    if table.path
}
# The endpoints for which faults can be set. Their names are those of the connector's streams.
ENDPOINTS = tuple(_ROUTES)


class _RefusedError(Exception):
    """The request is refused."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class Courier:
    """One Courier workspace. `handle` answers requests. All other methods are for tests."""

    def __init__(
        self,
        rows: int = 200,
        *,
        tables: Mapping[str, int] | None = None,
        seed: int = 7,
        years: float = 0.1,
        key: str = DEMO_KEY,
        switches: CourierSwitches | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Make a workspace with `rows` messages that were enqueued within `years` before now.

        `tables` are the rows of the other tables by stream, for a table below a parent: per parent.
        `TABLES` has the defaults. The first parent has more, and every fourth parent has none.
        """
        self.switches = switches or CourierSwitches()
        self.clock = clock or Clock()
        self.key = key
        self.journal = Journal()
        self._lock = RLock()
        self._random = Random(f"{seed}/courier")
        self._messages: list[Message] = []
        self._archived: list[Message] = []
        self._by_id: dict[str, Message] = {}
        self._plan = FaultPlan()
        self._cursors: dict[str, Cursors] = {}
        self._made = 0
        self._tables = Tables(tables or {}, seed, self.clock.ms())
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
        """Return every listed message, oldest first."""
        with self._lock:
            return list(self._messages)

    def rows(self, stream: str, *, archived: bool = False) -> list[Row]:
        """Return the rows that a connector should emit for a stream, in the order of the replies.

        A row is as Courier sends it, and it contains the columns that the connector adds.
        Credentials are not masked. The rows of archived messages are only there if asked for.
        """
        with self._lock:
            if stream not in _MESSAGE_PATHS:
                return self._tables.rows(stream, self.switches, self.clock.ms())
            listed = self._messages
            if archived:
                listed = sorted(self._messages + self._archived, key=_place)
            return [
                row
                for message in reversed(listed)
                if stream == "messages" or message.id not in self.switches.gone
                for row in self._rows_of(stream, message)
            ]

    def _rows_of(self, stream: str, message: Message) -> list[Row]:
        if stream == "messages":
            return [message.row()]
        if stream == "message_info":
            return [self._info(message)]
        found = message.history() if stream == "message_history" else message.output() or []
        parent = {"message_id": message.id, "message_enqueued": message.enqueued_ms}
        return [row | parent | {"ordinal": ordinal} for ordinal, row in enumerate(found)]

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
            new = old.changed(fields, self.clock.ms())
            for messages in (self._messages, self._archived):
                index = bisect_left(messages, _place(old), key=_place)
                if messages[index : index + 1] == [old]:
                    messages[index] = new
            self._by_id[ident] = new
            return new

    def archive(self, message_id: str) -> None:
        """Remove a message from the list. Only requests with `archived=true` still list it."""
        with self._lock:
            message = self._by_id[message_id]
            _take(self._messages, message)
            insort(self._archived, message, key=_place)

    def add(self, table: str, **fields: Any) -> Row:
        """Add a row to a table, and return it. `fields` replace those of a made-up row.

        A table below a parent needs the column with its id, as `list_id`. No made-up rows are
        below a new row.
        """
        with self._lock:
            if table == "messages":
                return self.insert(**fields).row()
            return dict(self._tables.add(table, fields, self.clock.ms()))

    def change(self, table: str, key: str | tuple[Any, ...], **fields: Any) -> Row:
        """Change the row with this primary key. A key of several columns is a tuple."""
        with self._lock:
            if table == "messages":
                return self.update(str(key), **fields).row()
            return dict(self._tables.change(table, key, fields, self.clock.ms()))

    def remove(self, table: str, key: str | tuple[Any, ...]) -> None:
        """Remove the row with this primary key. Raises KeyError if there is none."""
        with self._lock:
            if table != "messages":
                self._tables.remove(table, key, self.clock.ms())
                return
            message = self._by_id.pop(str(key))
            for messages in (self._messages, self._archived):
                _take(messages, message)

    def expire_cursors(self) -> None:
        """Invalidate every cursor that was issued so far."""
        with self._lock:
            for cursors in self._cursors.values():
                cursors.expire()

    def _make(self, enqueued_ms: int, extra: Mapping[str, Any] | None) -> Message:
        """Make a message. Its id looks like an AWS trace id and contains the time of enqueueing."""
        number = self._made
        self._made += 1
        tail = f"{self._random.getrandbits(64):016x}{number:08x}"
        ident = f"1-{enqueued_ms // 1000:08x}-{tail}"
        message = Message(enqueued_ms, ident, number, extra, extra)
        self._by_id[message.id] = message
        return message

    # Answering.

    def handle(self, request: Request) -> Reply:
        """Answer one request."""
        with self._lock:
            path = request.path.rstrip("/")
            endpoint, ident = _route(request.method, path)
            reply, fault, rows = self._answer(request, path, endpoint, ident)
            status = 0 if reply.fault == "reset" else reply.status
            entry = JournalEntry(
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

    def _answer(
        self, request: Request, path: str, endpoint: str, ident: str
    ) -> tuple[Reply, str, int]:
        if request.headers.get("authorization") != f"Bearer {self.key}":
            return _error(self.switches.bad_key_status, _BAD_KEY), "", 0
        fault = self._plan.next(endpoint, self.switches.faults)
        rows = 0
        refused = dict(one.split("=") for one in self.switches.refused).get(endpoint)
        if fault == "429":
            reply = _error(429, "Rate limit exceeded")
        elif fault in ("500", "503"):
            reply = _error(int(fault), "Internal error")
        elif refused:
            reply = _error(int(refused), f"{endpoint} is not available")
        elif endpoint not in _ROUTES:
            reply = _error(404, "Not found")
        else:
            try:
                body, rows = self._body(request.params, path, endpoint, ident, fault)
                reply = json_reply(504 if fault == "timed_out" else 200, body)
            except _RefusedError as error:
                reply = _error(error.status, str(error))
        return broken(reply, fault), fault, rows

    def _body(
        self, params: Mapping[str, str], path: str, endpoint: str, ident: str, fault: str
    ) -> tuple[Any, int]:
        """Return the body, and the number of its rows. Raises _RefusedError."""
        if ident and ident in self.switches.gone:
            raise _RefusedError("Not found", 404)
        rows_key = "results"
        if endpoint == "messages":
            body, rows = self._list(params)
        elif endpoint in _MESSAGE_PATHS:
            body, rows = self._below_message(endpoint, ident, params)
        else:
            rows_key = TABLES[endpoint].rows_key
            if endpoint == "lists":
                rows_key = self.switches.lists_key
            body, rows = self._table(endpoint, ident, path, params, rows_key)
        if fault == "timed_out":
            return {"message": "Endpoint request timed out"}, rows
        if fault == "no_data":
            body = {} if endpoint == "message_info" else body
            body.pop(rows_key, None)
        return body, rows

    # Messages.

    def _list(self, params: Mapping[str, str]) -> tuple[Row, int]:
        switches = self.switches.of("messages")
        cursors = self._cursors.setdefault("messages", Cursors())
        cursors.lists += 1
        if _nth(cursors.lists, switches.arrival_every):
            self.insert()
        size = self._size("messages", params)
        before, skipped = None, 0
        if cursor := params.get("cursor", ""):
            before = self._open(cursor)
            if before and not switches.cursor_ignored:
                skipped = switches.boundary_gap
                skipped += cursors.used[cursor] if switches.cursor_drifts else 0
                cursors.used[cursor] += 1
            elif not before and self._is_built(cursor) and switches.built_cursor in _SHOWN:
                size = 0 if switches.built_cursor == "empty" else size
            elif not before and switches.unknown_cursor == "refused":
                raise _RefusedError("Invalid cursor")
        try:
            since = self._since(params.get("enqueued_after", ""))
        except ValueError as error:
            raise _RefusedError("Invalid enqueued_after") from error
        if params.get("status") and switches.status_filter == "refused":
            raise _RefusedError("Invalid status")
        before = None if switches.cursor_ignored else before
        found = islice(self._newest_first(before, since, params), skipped, skipped + size + 1)
        page = list(found) if size else []
        more, page = len(page) > size, page[:size]
        last = partial(self._issue, page[-1]) if page else None
        named = self._name(cursors, cursor, last, more=more)
        if switches.row_order == "oldest_on_page":
            page = page[::-1]
        rows = [message.row() for message in page]
        body = self._envelope("paging", "results", rows, named, more, "/messages", params, switches)
        return body, len(rows)

    def _newest_first(
        self, before: tuple[int, str] | None, since_ms: int, params: Mapping[str, str]
    ) -> Iterator[Message]:
        """Yield the messages before a place that match the filters."""
        parts, switches = [], self.switches
        is_included = switches.cursor_row == "inclusive"
        is_reversed = "messages" in switches.oldest_first
        sources = [self._messages]
        if params.get("archived") == "true":
            sources = [self._archived, *(sources if switches.archived == "too" else ())]
        for messages in sources:
            start, end = bisect_left(messages, since_ms, key=_enqueued), len(messages)
            if before and is_reversed:
                bisect = bisect_left if is_included else bisect_right
                start = max(start, bisect(messages, before, key=_place))
            elif before:
                bisect = bisect_right if is_included else bisect_left
                end = bisect(messages, before, key=_place)
            parts.append(
                islice(messages, start, end) if is_reversed else _backwards(messages, start, end)
            )
        found = parts[0] if len(parts) == 1 else merge(*parts, key=_place, reverse=not is_reversed)
        filters = {name: set(params[name].split(",")) for name in _FILTERS if params.get(name)}
        if switches.status_filter == "ignored":
            filters.pop("status", None)
        is_hiding = bool(since_ms) and switches.enqueued_after == "hiding"
        for message in found:
            row = message.row() if filters else {}
            if is_hiding and message.number % 3 == 1:
                continue
            if all(wanted & _texts(row.get(_FILTERS[name])) for name, wanted in filters.items()):
                yield message

    def _since(self, text: str) -> int:
        """Parse enqueued_after. The documented example is epoch milliseconds. ISO occurs too."""
        mode = self.switches.enqueued_after
        if not text or mode == "ignored":
            return 0
        if mode == "empty":
            return 10**15
        if mode in ("refused", "iso_only" if text.isdigit() else "ms_only"):
            raise ValueError("not in this form")
        return int(text) if text.isdigit() else to_ms(datetime.fromisoformat(text))

    def _issue(self, message: Message) -> str:
        """Return a cursor after the message."""
        cursor = row_cursor(self.switches.cursor_form, message.enqueued_ms, message.id)
        cursors = self._cursors.setdefault("messages", Cursors())
        return cursors.issue(cursor, (message.enqueued_ms, message.id))

    def _open(self, cursor: str) -> tuple[int, str] | None:
        """Return the place that a cursor names, or None."""
        switches = self.switches
        place = self._cursors["messages"].place(cursor, switches.cursor_life)
        if place is None and switches.built_cursor in _FOLLOWED and self._is_built(cursor):
            place = built_place(cursor)
            wanted = {"row_only": True, "between_only": False}.get(switches.built_cursor)
            is_row = place is not None and place[1] in self._by_id
            place = place if wanted in (None, is_row) else None
        return place

    def _is_built(self, cursor: str) -> bool:
        """Whether a cursor was never sent, but has the form of those that are."""
        is_known = self._cursors["messages"].is_expired(cursor)
        return (
            self.switches.cursor_form == "row" and not is_known and built_place(cursor) is not None
        )

    def _below_message(
        self, endpoint: str, ident: str, params: Mapping[str, str]
    ) -> tuple[Row, int]:
        message = self._by_id.get(ident)
        if message is None:
            raise _RefusedError("Message not found", 404)
        if endpoint == "message_info":
            return self._info(message), 1
        rows: list[Row] | None
        if endpoint == "message_history":
            kind = params.get("type")
            rows = [event for event in message.history() if not kind or event["type"] == kind]
        else:
            rows = message.output()
        if rows is None and message.number % 2:
            # Before a message is rendered, there is no output or an empty one.
            raise _RefusedError("Message not found", 404)
        return {"results": rows or []}, len(rows or [])

    def _info(self, message: Message) -> Row:
        return message.info(self._tables.maker.sender(message.number))

    # The other tables.

    def _table(
        self, name: str, parent: str, path: str, params: Mapping[str, str], rows_key: str
    ) -> tuple[Row, int]:
        table, switches, now = TABLES[name], self.switches.of(name), self.clock.ms()
        try:
            entries = self._tables.entries(name, parent, now_ms=now)
        except NoParentError as error:
            # An unknown audience is documented as a bad request, an unknown schedule as empty.
            if name != "digest_instances":
                raise _RefusedError(
                    "Not found", 400 if name == "audience_members" else 404
                ) from error
            entries = []
        if table.family == "none":
            rows = [self._tables.sent(name, entry.row, switches, now) for entry in entries]
            body = self._envelope("none", rows_key, rows, {}, False, path, params, switches)
            return body, len(rows)
        size = self._size(name, params)
        low, high, matches = self._filter(name, entries, params)
        place_of: Callable[[Entry], Place] = attrgetter("place")
        if name in switches.oldest_first:
            entries, low, high = entries[::-1], len(entries) - high, len(entries) - low
            place_of = _opposite_place
        # A cursor of one version is unknown in the list of the other.
        scope = f"{path}?version={params.get('version', '')}"
        cursors = self._cursors.setdefault(scope, Cursors())
        cursors.lists += 1
        if cursor := params.get("cursor", ""):
            place = cursors.place(cursor, switches.cursor_life)
            if place is None and switches.unknown_cursor == "refused":
                raise _RefusedError("Invalid cursor")
            if place is not None and not switches.cursor_ignored:
                bisect = bisect_left if switches.cursor_row == "inclusive" else bisect_right
                first = bisect(entries, place, key=place_of) + switches.boundary_gap
                first += cursors.used[cursor] if switches.cursor_drifts else 0
                cursors.used[cursor] += 1
                low = max(low, first)
        found = (entries[index] for index in range(low, high) if matches(entries[index].row))
        page = list(islice(found, size + 1))
        more, page = len(page) > size, page[:size]
        last = None
        if page:
            text = _table_cursor(table.family, scope, page[-1])
            last = partial(cursors.issue, text, place_of(page[-1]))
        named = self._name(cursors, cursor, last, more=more)
        if switches.row_order == "oldest_on_page":
            page = page[::-1]
        rows = [self._tables.sent(name, entry.row, switches, now) for entry in page]
        body = self._envelope(table.family, rows_key, rows, named, more, path, params, switches)
        return body, len(rows)

    def _filter(
        self, name: str, entries: list[Entry], params: Mapping[str, str]
    ) -> tuple[int, int, Callable[[Row], bool]]:
        """Return the first and the last index, and the filter of the rows between."""
        low, high = 0, len(entries)
        hidden: set[str] = set()
        wanted: dict[str, set[str]] = {}
        if name in ("journeys", "automations"):
            version = params.get("version", "published")
            if version not in ("published", "draft"):
                raise _RefusedError("Invalid version")
            if self.switches.version_filter == "honoured":
                wanted["version"] = {version}
        elif name in ("journey_runs", "automation_runs"):
            mode = self.switches.runs_filter
            bounds = self._bounds(params, ("start_date", "end_date"), mode)
            if bounds:
                # Runs without a time are last, and match no filter.
                low, high = _between(
                    entries, bounds.get("start_date", 0), bounds.get("end_date", 10**15), mode
                )
                hidden = _third(entries, low, high) if mode == "hiding" else set()
                if self.switches.undated_runs == "shown":
                    hidden = {e.row["run_id"] for e in entries[high:] if "created_at" in e.row}
                    high = len(entries)
            wanted = {
                c: set(params[c].split(",")) for c in ("status", "template_id") if params.get(c)
            }
        elif name == "preference_logs":
            mode = self.switches.since
            bounds = self._bounds(params, ("since",), mode)
            if bounds:
                low, high = _between(entries, bounds["since"], 10**15, mode)
                hidden = _third(entries, low, high) if mode == "hiding" else set()
            if "tenant_id" in params and "user_id" not in params:
                raise _RefusedError("tenant_id needs user_id")
            wanted = {c: {params[c]} for c in ("user_id", "tenant_id") if c in params}
        return (
            low,
            high,
            lambda row: (
                all(str(row.get(column)) in values for column, values in wanted.items())
                and not (hidden and row[TABLES[name].key[0]] in hidden)
            ),
        )

    @staticmethod
    def _bounds(params: Mapping[str, str], names: tuple[str, ...], mode: str) -> dict[str, int]:
        """Return the times of these parameters in epoch milliseconds."""
        bounds = {}
        for name in names:
            text = params.get(name, "")
            if not text or mode == "ignored":
                continue
            if mode == "refused" or not _ISO.fullmatch(text):
                raise _RefusedError(f"Invalid {name}")
            try:
                bounds[name] = to_ms(datetime.fromisoformat(text))
            except ValueError as error:
                raise _RefusedError(f"Invalid {name}") from error
        return bounds

    # All lists.

    def _size(self, name: str, params: Mapping[str, str]) -> int:
        """Return how many rows a page has. Raises _RefusedError for a bad `limit`."""
        limit, switches = TABLES[name].limit if name in TABLES else None, self.switches
        text = params.get("limit")
        number = int(text) if text and re.fullmatch(r"-?\d{1,9}", text) else None
        if limit is None:
            if text is None or switches.limit == "ignored":
                return switches.page_size
            if switches.limit == "refused":
                raise _RefusedError("Unknown parameter limit")
            return max(1, min(number, switches.limit_max)) if number else switches.page_size
        if text is None:
            return limit.default
        if number is None or not (limit.is_clamped or 1 <= number <= limit.most):
            raise _RefusedError("Invalid limit")
        return max(1, min(number, limit.most))

    def _name(
        self, cursors: Cursors, asked: str, issue: Callable[[], str] | None, *, more: bool
    ) -> Named:
        """Return how a page names the next one. `issue` makes a cursor after its last row."""
        switches = self.switches
        if more and issue:
            cursor = issue()
            repeats = asked and _nth(cursors.lists, switches.repeat_cursor_every)
            return {"cursor": asked if repeats else cursor}
        if switches.last_cursor == "null":
            return {"cursor": None}
        if switches.last_cursor == "repeated" and (asked or issue):
            return {"cursor": asked or (issue() if issue else None)}
        return {}

    def _envelope(
        self,
        family: Family,
        rows_key: str,
        rows: list[Row],
        named: Named,
        more: bool,
        path: str,
        params: Mapping[str, str],
        switches: CourierSwitches,
    ) -> Row:
        return envelope(
            family, rows_key, rows, named,
            more=more, path=path, params=params, switches=switches,
        )  # fmt: skip


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
# A date, which is midnight in UTC, or a time. Epoch milliseconds are none.
_ISO = re.compile(r"\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:?\d\d)?)?")
_BAD_KEY = "Invalid or missing authentication credentials"
_ERROR_TYPES = {
    401: "authentication_error",
    402: "payment_required",
    403: "authorization_error",
    429: "rate_limit_error",
}


# What happens to a cursor that was not sent, but could have been.
_FOLLOWED = frozenset({"honoured", "row_only", "between_only"})
_SHOWN = frozenset({"honoured", "from_the_top", "empty"})


def _opposite_place(entry: Entry) -> Place:
    """Return the place of a row in the opposite order."""
    return -entry.place[0], -entry.place[1]


def _between(entries: list[Entry], since_ms: int, until_ms: int, mode: str) -> tuple[int, int]:
    """Return the first and the last index of rows, newest first, of a span with both ends."""
    place, less = attrgetter("place"), int(mode == "exclusive")
    low = bisect_left(entries, (less - until_ms, -math.inf), key=place)
    return low, bisect_right(entries, (-since_ms - less, math.inf), key=place)


def _third(entries: list[Entry], low: int, high: int) -> set[str]:
    """Return the IDs of every third row, but not of the first one and the last one."""
    inside = entries[low + 1 : high - 1]
    return {one.row.get("run_id") or one.row["id"] for one in inside[::3]}


def _backwards(messages: list[Message], start: int, end: int) -> Iterator[Message]:
    """Yield the messages from `start` to before `end`, the last one first, without a copy."""
    for index in range(end - 1, start - 1, -1):
        yield messages[index]


def _take(messages: list[Message], message: Message) -> None:
    """Remove a message from a sorted list, if it is in it."""
    index = bisect_left(messages, _place(message), key=_place)
    if messages[index : index + 1] == [message]:
        del messages[index]


def _texts(value: Any) -> set[str]:
    return set(value) if isinstance(value, list) else {str(value)}


def _nth(number: int, every: int) -> bool:
    return every > 0 and number % every == 0


def _route(method: str, path: str) -> tuple[str, str]:
    """Return the endpoint of a path and the id in it."""
    if method == "GET":
        for name, pattern in _ROUTES.items():
            if match := pattern.fullmatch(path):
                return name, unquote(match[1]) if match.groups() else ""
    return "other", ""


def _table_cursor(family: Family, scope: str, entry: Entry) -> str:
    """Return a cursor after a row. One example of the docs decodes to `{"id": ...}`."""
    if family == "cursor":
        return base64.b64encode(orjson.dumps({"id": entry.row["id"]})).decode()
    return base64.b64encode(f"{scope}#{entry.place}".encode()).decode()


def _error(status: int, message: str) -> Reply:
    kind = _ERROR_TYPES.get(status, "api_error" if status >= 500 else "invalid_request_error")
    return json_reply(status, {"message": message, "type": kind})
