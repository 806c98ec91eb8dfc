"""Runs many syncs of both sources. The vendors change, fail, limit and lie. Some syncs are killed.

    python -m integration_tests.soak --seed 7 --syncs 100

Nothing waits and no socket is opened. The clock is fake, and the calls of threads run one at a
time, in an order that depends on the seed. So a seed always gives the same run. All rows go to the
fake destination of destination.py. After every sync, these checks must pass, also if it failed:

- The copy has the newest version of every record below a stream's state, with all its values.
- The copy has no row that the vendor never had.
- If a stream ended as COMPLETE, its state is two minutes before the start of the sync. After a full
  refresh, the copy has every record that existed from the start to the end of the sync.

The checks excuse what docs/sources/ calls unreadable: deletions that were not requested, and
records beyond the horizon of a search without an archive. The vendor tells no lies that
docs/reading.md calls undetectable, such as a short page whose link and count say that it is the
last one.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import io
import json
import logging
import math
import random
import re
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from pathlib import Path
from random import Random
from threading import Condition
from types import SimpleNamespace
from typing import Any, get_args
from unittest import mock

import freezegun
import requests
from airbyte_cdk.entrypoint import AirbyteEntrypoint
from airbyte_cdk.sources import AbstractSource
from airbyte_cdk.utils.traced_exception import AirbyteTracedException
from requests.adapters import HTTPAdapter
from urllib3 import HTTPResponse

from fake_vendor import Clock, Courier, Fault, Kustomer, Reply, Request
from fake_vendor.clock import http_date, iso, to_ms
from fake_vendor.courier import CourierSwitches, Message
from fake_vendor.data import LIST_KINDS, PLURALS, SEARCH_KINDS, Record
from fake_vendor.faults import FaultKind
from fake_vendor.kustomer import KustomerSwitches
from http_source.output import MessageOutput
from integration_tests.destination import Copy, Destination
from source_courier import SourceCourier
from source_kustomer import SourceKustomer
from source_kustomer.search import SearchStream

# Searches by documented attributes. The vendor of this program lies about counts, but the other
# searches need them for their proof. unit_tests/kustomer/test_guarded.py tests those.
_SEARCHES = {
    stream.query_context: stream
    for stream in SourceKustomer.stream_classes
    if issubclass(stream, SearchStream) and not stream.is_guarded
}
SEARCHED = tuple(kind for kind in SEARCH_KINDS if kind in _SEARCHES)
KINDS = {PLURALS[kind]: kind for kind in (*SEARCHED, *LIST_KINDS)}
BEGIN = datetime(2024, 3, 1, tzinfo=UTC)
DAY_MS = 86_400_000
# The source reads up to two minutes before now. Two seconds are added, because a `Date` header has
# whole seconds.
SETTLING_MS = 122_000
FAULTS = get_args(FaultKind)
# Parts of the message of an unexpected exception.
UNFORESEEN = re.compile("has a defect|did not expect|Traceback")


class DiffersError(AssertionError):
    """The copy is wrong. The text says what was found or is missing."""


class _KilledError(BaseException):
    """The process is killed while it waits for an answer."""


# Time and threads.


class Time:
    """The only clock. It stands still between two waits."""

    def __init__(self, frozen: Any) -> None:
        self._frozen = frozen

    def sleep(self, seconds: float) -> None:
        """Replaces `time.sleep`."""
        if seconds > 0:
            # The clock has whole microseconds. A shorter wait would never end.
            self._frozen.tick(timedelta(seconds=seconds + 0.0001))

    def now(self) -> datetime:
        return datetime.now(UTC)

    def condition(self) -> Condition:
        """Return a replacement of a Condition with which threads wait for time to pass."""
        sleep = self.sleep

        class Passing(Condition):
            def wait(self, timeout: float | None = None) -> bool:
                sleep(timeout or 0.0)
                return True

        return Passing()


class _Turn(Future[Any]):
    """A call that runs when its result is needed, or before that by chance."""

    def __init__(self, turns: Turns, call: Callable[[], Any]) -> None:
        super().__init__()
        self._turns, self._call = turns, call

    def run(self) -> None:
        if self.set_running_or_notify_cancel():
            try:
                self.set_result(self._call())
            except BaseException as error:  # noqa: BLE001 - a kill also ends the caller's wait
                self.set_exception(error)

    def result(self, timeout: float | None = None) -> Any:
        while not self.done():
            self._turns.run_one(self)
        return super().result(timeout)


class Turns:
    """Runs the calls of threads one at a time, in an order that depends on the seed."""

    def __init__(self, chance: Random) -> None:
        self._chance = chance
        self._waiting: list[_Turn] = []

    def executor(self, *_: Any, **__: Any) -> Executor:
        """Return a replacement of a pool of threads."""
        return _Executor(self)

    def add(self, call: Callable[[], Any]) -> _Turn:
        turn = _Turn(self, call)
        self._waiting.append(turn)
        return turn

    def run_one(self, wanted: _Turn) -> None:
        turn = self._chance.choice(self._waiting) if self._chance.random() < 0.4 else wanted
        self._waiting.remove(turn)
        turn.run()

    def wait(self, wanted: Iterable[_Turn], **_: Any) -> tuple[set[_Turn], set[_Turn]]:
        """Replaces `concurrent.futures.wait` for the first call that ends."""
        turns = list(wanted)
        while not (done := {one for one in turns if one.done()}):
            self.run_one(self._chance.choice(turns))
        return done, set(turns) - done

    def forget(self) -> None:
        """Drop all calls, because the process has ended."""
        self._waiting.clear()


class _Executor(Executor):
    def __init__(self, turns: Turns) -> None:
        self._turns = turns

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        return self._turns.add(lambda: fn(*args, **kwargs))


# Unusual values, and the rows that they must become.


def odd_value(chance: Random) -> Any:
    """Return a JSON value that no schema expects, such as NaN or half a surrogate pair."""
    return chance.choice((
        lambda: chance.choice(("", "plain", "2024-13-45", "2024-W01-1", "20240102", "\0\u2028")),
        lambda: chance.choice(("2024-02-03T04:05:06.789+05:30", "2024-02-03", "2024-02-03T04:05",
                               "2024-02-03x04:05:06Z", "2024-02-03T04:05:06,7", "2024-02-03 04")),
        lambda: "half \ud83d of an emoji, and a whole one: \U0001f62c",
        lambda: chance.choice((0, -7, 2**53 + 1, 2**63, -(2**70), 10**30)),
        lambda: chance.choice((1.5, 3.0, -0.25, 1e300, math.nan, math.inf)),
        lambda: chance.choice((True, False, None)),
        lambda: chance.choice(([], {}, [None], [[]])),
        lambda: ["text", 1, 2.5, None, {"innerKey": [True, {"deepKey": "\udc00"}]}],
        lambda: {"someKey": {"otherKey": [{"x": 2**65}, "y"], "fooBar": 1, "foo_bar": 2}},
        lambda: {"id": "5f00", "type": "user"},
        lambda: {"id": 7, "\ud800key": None},
    ))()  # fmt: skip


# Attributes that must stay, because searches and streams depend on them.
_KEPT = frozenset({"updatedAt", "createdAt", "modifiedAt", "deleted", "deletedAt"})
_NAMES = (
    "soakNew", "soak_new", "SoakNew", "createdBy", "type", "id", "links", "attributeType",
    "additionalAttributes", "org", "custom", "x y", "shopify-orders", "\udfff",
)  # fmt: skip


def odd_resource(raw: bytes, chance: Random, *, may_lose_date: bool) -> bytes:
    """Add undocumented attributes and relationships to a resource, at any depth."""
    resource = json.loads(raw)
    attributes = resource["attributes"]
    for _ in range(chance.randrange(5)):
        attributes[chance.choice(_NAMES)] = odd_value(chance)
    for name in sorted(attributes.keys() - _KEPT):
        if chance.random() < 0.06:
            attributes[name] = odd_value(chance)
    nested = [value for value in attributes.values() if isinstance(value, dict)]
    if nested:
        chance.choice(nested)[chance.choice(_NAMES)] = odd_value(chance)
    related = resource["relationships"]
    for _ in range(chance.randrange(3)):
        reference = {"type": "user", "id": "5a"}
        related[chance.choice((*related, "soakLink", "owner", "sla", "type", "custom"))] = (
            chance.choice((
                "5a00", None, 17, ["5a", "5b"], reference, {"data": "5a00"}, {"data": None},
                {"meta": {"fooBar": 1}}, {"links": {"self": "/v1/x"}}, {"data": [reference, 3]},
                {"data": reference, "meta": {"sinceDate": "2024-01-01"}}, {},
            ))
        )  # fmt: skip
    if chance.random() < 0.2:
        resource[chance.choice(("meta", "newPart"))] = odd_value(chance)
    if chance.random() < 0.05:
        resource["relationships"] = chance.choice((None, ["5a"], "none"))
    if may_lose_date and chance.random() < 0.1:
        attributes["updatedAt"] = None
    return json.dumps(resource, separators=(",", ":")).encode()


_HUMPS = re.compile("(?<=[a-z0-9])(?=[A-Z])|(?<=.)(?=[A-Z][a-z])")


def _plain(value: Any) -> Any:
    """Return a value in a form that every JSON reader accepts, with keys in snake_case."""
    if isinstance(value, str):
        return re.sub("[\ud800-\udfff]", "\ufffd", value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if not isinstance(value, dict):
        return value
    spelled = {_plain(key): _plain(item) for key, item in value.items()}
    names = [_HUMPS.sub("_", key).lower() for key in spelled]
    return {
        key if names.count(name) > 1 else name: item
        for name, (key, item) in zip(names, spelled.items(), strict=True)
    }


def expected_row(raw: bytes) -> dict[str, Any]:
    """Return the row of a resource as docs/rows.md describes it, before it is fitted to columns."""
    resource = json.loads(raw)
    row: dict[str, Any] = _plain(resource["attributes"])

    def put(column: str, value: Any) -> None:
        if column in row:
            put(f"attribute_{column}", row[column])
        row[column] = value

    own = _plain({k: v for k, v in resource.items() if k not in ("attributes", "relationships")})
    for column, value in own.items():
        put(column, value)
    for name, related in _relationships(resource).items():
        column = "sla_data" if name == "sla" else name
        parts = {column: related}
        if isinstance(related, dict):
            data = {column: related["data"]} if "data" in related else {}
            told = {k: v for k, v in related.items() if k not in ("data", "links", "link")}
            has_data = related.get("data") is not None
            parts = data if has_data or not told else {}
            if told:
                parts = {f"relationship_{column}" if has_data else column: told} | parts
        elif related is None:
            parts = {}
        for part, value in parts.items():
            put(f"relationship_{part}" if part in own else part, value)
    kind, dot, klass = str(resource["type"]).partition(".")
    if kind == "kobject" and dot:
        put("klass_name", klass)
    return {column: value for column, value in row.items() if value is not None}


def _relationships(resource: dict[str, Any]) -> dict[str, Any]:
    """Return the relationships of a resource. A value that is not an object gets one name."""
    found = _plain(resource["relationships"])
    if isinstance(found, dict):
        return found
    return {} if found is None else {"relationships": found}


def _spelled(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def is_same(expected: Any, kept: Any) -> bool:
    """Whether a column contains the value, unchanged or converted as columns.py says."""
    if _spelled(expected) == _spelled(kept):
        return True
    if isinstance(kept, list):
        items = expected if isinstance(expected, list) else [expected]
        return len(items) == len(kept) and all(map(is_same, items, kept))
    if isinstance(kept, str):
        return isinstance(expected, bool | int | float) and kept == json.dumps(expected)
    if isinstance(kept, dict):
        return isinstance(expected, str | int) and _spelled(kept) == _spelled({"id": expected})
    return type(kept) is int and isinstance(expected, float) and expected == kept


def difference(expected: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    """Describe a difference between the vendor's row and the stored row. "" if they are equal."""
    kept = {name: value for name, value in row.items() if value is not None}
    kept |= kept.pop("additional_attributes", {})
    for name in expected.keys() | kept.keys():
        if name not in expected and kept[name] is not None:
            return f"{name}: invented {kept[name]!r:.200}"
        if name not in kept and name in expected:
            return f"{name}: lost {expected[name]!r:.200}"
        if name in expected and not is_same(expected[name], kept[name]):
            return f"{name}: {expected[name]!r:.200} became {kept[name]!r:.200}"
    return ""


# The vendors, with a history.


class Org(Kustomer):
    """A Kustomer that keeps every version of its records. Some records have unusual values."""

    def __init__(self, chance: Random, clock: Clock) -> None:
        self._chance = chance
        self.history: dict[str, list[Record]] = defaultdict(list)
        self._expected: dict[Record, dict[str, Any]] = {}
        rows = {kind: chance.randint(60, 300) for kind in SEARCHED}
        lists = {kind: chance.choice((0, 3, 25, 60)) for kind in LIST_KINDS}
        ties = (chance.randint(5, 30), chance.randint(5, 30))
        super().__init__(
            rows, list_rows=lists, seed=chance.getrandbits(32), years=4.5, ties=ties, clock=clock
        )
        for kind in KINDS.values():
            for record in self.records(kind):
                self._remember(record)
            for days in (725, 730, 730, 730, 735):
                at = self.clock.now() - timedelta(days=days, minutes=chance.randint(-90, 90))
                self.insert(kind, at, indexed=True)

    def _remember(self, record: Record) -> None:
        if self._chance.random() < 0.3:
            is_list = record.kind in LIST_KINDS
            record._raw = odd_resource(record.raw(), self._chance, may_lose_date=is_list)
        self.history[record.id].append(record)

    def _keep(self, record: Record, *, indexed: bool = False) -> Record:
        self._remember(record)
        return super()._keep(record, indexed=indexed)

    def expected(self, record: Record) -> dict[str, Any]:
        """Return the row of a version."""
        if record not in self._expected:
            self._expected[record] = expected_row(record.raw())
        return self._expected[record]

    def indexed(self, kind: str) -> list[Record]:
        """Return the records that a search can find now."""
        self._catch_up()
        return list(self._indexes[kind]._all) if kind in SEARCHED else self.records(kind)

    def change(self) -> None:
        """Change something now, as a user or a bulk edit does."""
        chance = self._chance
        kind = chance.choice(SEARCHED if chance.random() < 0.8 else LIST_KINDS)
        action = chance.random()
        now = self.clock.now()
        if action < 0.35:
            self.insert(kind)
        elif action < 0.8:
            self.touch_random(chance.randint(1, 4), (kind,))
        elif action < 0.9:
            self.switch(hard_delete=chance.random() < 0.4)
            for record in chance.sample(self.records(kind), min(2, len(self.records(kind)))):
                self.delete(kind, record.id)
        elif action < 0.96:
            self.touch_random(chance.randint(5, 60), (kind,), at=now)
        elif kind in SEARCHED:
            for _ in range(chance.randint(5, 40)):
                self.insert(kind, now, created=now)


class Workspace(Courier):
    """A Courier that keeps every version of its messages and deletes the oldest messages."""

    def __init__(self, chance: Random, clock: Clock) -> None:
        self._chance = chance
        self.history: dict[str, list[dict[str, Any]]] = defaultdict(list)
        super().__init__(chance.randint(30, 150), seed=chance.getrandbits(32), clock=clock)
        for message in self.messages():
            self._remember(message)

    def _remember(self, message: Message) -> Message:
        row = _plain_values(message.row())
        self.history[message.id].append({k: v for k, v in row.items() if v is not None})
        return message

    def insert(self, at: datetime | None = None, **fields: Any) -> Message:
        return self._remember(super().insert(at, **fields))

    def update(self, ident: str, **fields: Any) -> Message:
        return self._remember(super().update(ident, **fields))

    def change(self) -> None:
        """Send, open or delete a message."""
        chance = self._chance
        action = chance.random()
        if action < 0.6:
            self.insert()
        elif action < 0.9 and self._messages:
            at = self.clock.ms()
            odd = _plain_values(odd_value(chance))
            ident = chance.choice(self._messages).id
            name = chance.choice(("reason", "tags", "error", "sent", "utm", "soakNew"))
            changes = {"status": "OPENED", "opened": at, name: _short_integers(odd)}
            self.update(ident, **changes)
        elif len(self._messages) > 20:
            del self._messages[: chance.randint(1, 5)]


def _plain_values(value: Any) -> Any:
    """Like `_plain`, but keys stay unchanged: Courier's rows are as Courier sends them."""
    if isinstance(value, dict):
        return {_plain_values(key): _plain_values(item) for key, item in value.items()}
    return [_plain_values(item) for item in value] if isinstance(value, list) else _plain(value)


def _short_integers(value: Any) -> Any:
    """Return the value with integers that the fake Courier can write."""
    if isinstance(value, dict):
        return {key: _short_integers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_short_integers(item) for item in value]
    return value % 2**53 if type(value) is int else value


# Trouble between a source and its vendor.


@dataclass
class Trouble:
    """Stands between a source and a vendor during one sync. It lies, refuses, changes and kills."""

    vendor: Org | Workspace
    chance: Random
    time: Time
    faults: Counter[str]
    # The probability of a bad answer, and of a change of the vendor before an answer.
    badness: float
    unrest: float
    # Whether pages may be cut short. Then counts are true. Otherwise counts may be too low or
    # missing.
    may_shorten: bool
    may_drop_date: bool
    most_rows_of_a_list: int = 500
    kill_at: int = 0
    asked: int = 0
    # The cursors of empty pages -> the cursor of the same place.
    aliases: dict[str, str] = field(default_factory=dict)

    def handle(self, request: Request) -> Reply:
        """Answer one request."""
        self.asked += 1
        self.time.sleep(self.chance.choice((0.0, 0.02, 0.2, 2.0)))
        if self.asked == self.kill_at:
            raise _KilledError
        while self.chance.random() < self.unrest:
            self.vendor.change()
            self.time.sleep(self.chance.random())
        reply = self.vendor.handle(self._asked_of_vendor(request))
        if self.chance.random() < self.badness:
            name, reply = self._bad(request, reply)
            self.faults[name] += 1
        return reply

    def _asked_of_vendor(self, request: Request) -> Request:
        params = request.params
        if request.method == "GET" and "pageSize" in params:
            size = min(int(params["pageSize"]), self.most_rows_of_a_list)
            return replace(request, params={**params, "pageSize": str(size)})
        if "cursor" in params:
            cursor = self.aliases.get(params["cursor"], params["cursor"])
            return replace(request, params={**params, "cursor": cursor})
        return request

    def _bad(self, request: Request, reply: Reply) -> tuple[str, Reply]:
        kind = self.chance.random()
        if kind < 0.25:
            return self._limited(reply)
        if kind < 0.45:
            status = self.chance.choice((408, 425, 500, 502, 503, 504, 520))
            return f"HTTP {status}", Reply(status, {"date": reply.headers["date"]}, b"<p>Sorry</p>")
        if kind < 0.47 and self.badness > 0.03:
            status = self.chance.choice((302, 400, 401, 403, 418))
            headers = {"date": reply.headers["date"], "location": "https://example.com/"}
            return f"HTTP {status}", Reply(status, headers, b'{"message": "No"}')
        if kind < 0.6:
            name = self.chance.choice(("reset", "truncate", "html", "empty", "bad_json"))
            body = {"html": b"<!DOCTYPE html>", "empty": b"", "bad_json": reply.body[:-9]}
            is_broken = name in ("reset", "truncate")
            fault: Any = name if is_broken else ""
            return name, Reply(reply.status, reply.headers, body.get(name, reply.body), fault)
        if kind < 0.63 and self.may_drop_date:
            headers = {**reply.headers, "date": self.chance.choice(("yesterday", ""))}
            return "odd date", replace(reply, headers=headers)
        if reply.status != 200 or reply.fault:
            return "none", reply
        try:
            body = json.loads(reply.body)
        except ValueError:
            return "none", reply
        lie = self._lie_of_courier if isinstance(self.vendor, Workspace) else self._lie_of_kustomer
        name = lie(body, request)
        return name, replace(reply, body=json.dumps(body).encode())

    def _limited(self, reply: Reply) -> tuple[str, Reply]:
        """Return a 429 with random headers, which may say how long to wait."""
        chance, now = self.chance, to_ms(self.time.now()) / 1000
        wait = chance.choice((0, 1, 30, 60, 400, 90_000, -5))
        headers = {"date": reply.headers["date"]}
        for name in chance.sample(
            ("retry-after", "retry-after-ms", "x-ratelimit-reset", "ratelimit-reset",
             "x-ratelimit-remaining", "x-ratelimit-limit"),
            chance.randrange(4),
        ):  # fmt: skip
            headers[name] = chance.choice((
                str(wait), str(int(now + wait)), str(int((now + wait) * 1000)), "soon", "1e999",
                http_date(now + wait), iso(int((now + wait) * 1000)), "", "NaN", "0",
            ))  # fmt: skip
        return "429", Reply(429, headers, b'{"errors": [{"title": "Too many"}]}')

    def _lie_of_kustomer(self, body: Any, request: Request) -> str:
        """Change an answer in a way that a careful reader can detect, or that does no harm."""
        chance = self.chance
        rows, meta, links = body.get("data"), body.get("meta"), body.get("links")
        is_search = request.method == "POST"
        if not isinstance(rows, list) or not isinstance(meta, dict) or not isinstance(links, dict):
            return "none"
        counted = isinstance(meta.get("total"), int) and meta["total"] >= self._shown(meta, rows)
        lies: dict[str, Callable[[], Any]] = {
            "no next link": lambda: links.update(next="") or links.pop("next"),
            "count too high": lambda: meta.update(total=int(meta.get("total", 0)) + 5),
            "no envelope": lambda: body.update(data=chance.choice((None, 7, {}))),
            "no id": lambda: rows and chance.choice(rows).pop("id"),
            "no attributes": lambda: rows and chance.choice(rows).update(attributes=None),
            "odd meta": lambda: body.update(meta=[7]),
            "odd link": lambda: links.update(next=chance.choice((7, "::", ["/v1/x"]))),
        }
        if is_search:
            lies |= {
                "timed out": lambda: meta.update(timed_out=True),
                "out of order": rows.reverse,
                "too old": lambda: rows and _set_updated(rows[0], "1999-01-01T00:00:00.000Z"),
                "no date": lambda: rows and _set_updated(chance.choice(rows), None),
                "null link": lambda: links.update(next=None),
            }
        if b'"lt"' in request.body:
            late = "2199-01-01T00:00:00.000Z"
            lies["out of range"] = lambda: rows and _set_updated(rows[-1], late)
        if self.may_shorten and counted and rows:
            lies["empty page that counts"] = rows.clear
            lies["short page"] = lambda: rows.__delitem__(slice(chance.randrange(len(rows)), None))
        if not self.may_shorten:
            lies["count missing"] = lambda: meta.pop("total", None)
            lies["count too low"] = lambda: meta.update(total=0)
            lies["no meta"] = lambda: body.pop("meta")
        name = chance.choice(sorted(lies))
        lies[name]()
        return name

    @staticmethod
    def _shown(meta: Mapping[str, Any], rows: list[Any]) -> int:
        return int((meta["page"] - 1) * meta["pageSize"] + len(rows))

    def _lie_of_courier(self, body: Any, request: Request) -> str:
        chance = self.chance
        rows, paging = body.get("results"), body.get("paging")
        if not isinstance(rows, list) or not isinstance(paging, dict):
            return "none"
        lies: dict[str, Callable[[], Any]] = {
            "no envelope": lambda: body.pop(chance.choice(("results", "paging"))),
            "no id": lambda: rows and chance.choice(rows).pop("id"),
            "odd more": lambda: paging.update(more=chance.choice((None, "true", 1))),
        }
        if paging.get("more"):
            lies["cursor missing"] = lambda: paging.pop("cursor")
            lies["odd cursor"] = lambda: paging.update(cursor=chance.choice((None, "", 7)))
        if paging.get("more") and request.params.get("cursor"):
            lies["empty page"] = lambda: self._empty_page(body, request.params["cursor"])
        name = chance.choice(sorted(lies))
        lies[name]()
        return name

    def _empty_page(self, body: Any, cursor: str) -> None:
        """Remove the rows, and set a new cursor to the same place."""
        other = f"{cursor}~{self.asked}"
        self.aliases[other] = self.aliases.get(cursor, cursor)
        body["results"], body["paging"]["cursor"] = [], other


def _set_updated(resource: Any, value: str | None) -> None:
    if isinstance(resource.get("attributes"), dict):
        resource["attributes"]["updatedAt"] = value


def transport(trouble: Callable[[], Trouble]) -> Callable[..., requests.Response]:
    """Return a replacement of `HTTPAdapter.send`."""

    def send(adapter: HTTPAdapter, request: requests.PreparedRequest, **_: Any) -> Any:
        body = request.body or b""
        asked = Request.from_target(
            str(request.method),
            str(request.url),
            dict(request.headers),
            body.encode() if isinstance(body, str) else body,
        )
        reply = trouble().handle(asked)
        if reply.fault == "reset":
            raise requests.ConnectionError("Connection reset by peer", request=request)
        content = reply.body[: len(reply.body) // 2] if reply.fault == "truncate" else reply.body
        headers = {"content-length": str(len(reply.body)), **reply.headers}
        raw = HTTPResponse(
            io.BytesIO(content), headers, reply.status, preload_content=False,
            enforce_content_length=True, request_method=request.method,
        )  # fmt: skip
        return adapter.build_response(request, raw)

    return send


# One process.


@dataclass
class Ending:
    """How a process ended, and what it had written."""

    how: str
    lines: list[bytes]
    error: str = ""


@contextlib.contextmanager
def _stdout_is(output: Any) -> Iterator[None]:
    """Send stdout and the log to an output, as http_source/process.py does."""
    handlers = [
        handler
        for name in (None, "airbyte")
        for handler in logging.getLogger(name).handlers
        if type(handler) is logging.StreamHandler
    ]
    before = [handler.setStream(output) for handler in handlers]
    hook = sys.excepthook
    try:
        with contextlib.redirect_stdout(output):
            yield
    finally:
        sys.excepthook = hook
        for handler, stream in zip(handlers, before, strict=True):
            if stream is not None:
                handler.setStream(stream)


def run_process(
    source: AbstractSource, folder: Path, kill_after: int | None, **files: Any
) -> Ending:
    """Run `read` as a process does, until it ends or is killed after some messages."""
    arguments = ["read"]
    for name, content in files.items():
        path = folder / f"{name}.json"
        path.write_text(json.dumps(content))
        arguments += [f"--{name}", str(path)]
    how, told, count = "complete", "", 0
    with (folder / "output").open("w+b") as file:
        output = MessageOutput(file.fileno())
        with _stdout_is(output):
            entrypoint = AirbyteEntrypoint(source)
            lines = iter(entrypoint.run(entrypoint.parse_args(arguments)))
            try:
                for line in lines:
                    output.write(f"{line}\n")
                    count += 1
                    if count == kill_after:
                        how = "killed"
                        break
            except AirbyteTracedException as error:
                how, told = "failed", f"{error.message} ({error.failure_type})"
            except _KilledError:
                how = "killed"
            output.flush()
            with contextlib.suppress(BaseException):
                lines.close()  # type: ignore[attr-defined]
        file.seek(0)
        content = file.read()
    return Ending(how, content.splitlines(keepends=True), told)


# The soak.


@dataclass
class Totals:
    """The figures of the last lines."""

    endings: Counter[str] = field(default_factory=Counter)
    streams: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    rows: int = 0
    requests: int = 0
    # How often a running status of a stream was emitted after the stream had ended.
    late_statuses: int = 0


class Connection(ABC):
    """One source with its vendor and its destination, over many syncs. For override."""

    source: type[AbstractSource]
    vendor: Org | Workspace

    def __init__(self, chance: Random, clock: Time, totals: Totals, folder: Path) -> None:
        self.chance, self.time, self.totals, self.folder = chance, clock, totals, folder
        found = self.source().discover(logging.getLogger("airbyte"), {**self.first_config()})
        self.streams = {one.name: one for one in found.streams if self.is_tried(one.name)}
        self.destination = Destination({name: s.json_schema for name, s in self.streams.items()})
        self.trouble: Trouble | None = None

    @abstractmethod
    def first_config(self) -> dict[str, Any]:
        """Return a config for discover."""

    def is_tried(self, name: str) -> bool:
        """Whether a stream is tested here. For override."""
        return bool(name)

    def pass_time(self) -> None:
        """Let minutes to months pass, with changes. The last changes are just before the sync."""
        unit = self.chance.choices(
            (60, 3600, 86_400, 7 * 86_400, 30 * 86_400), weights=(6, 4, 4, 3, 3)
        )[0]
        gap = unit * self.chance.uniform(0.5, 4)
        for _ in range(self.chance.randint(1, 5)):
            self.time.sleep(gap / 5)
            self.happen()
        for _ in range(4):
            self.time.sleep(self.chance.choice((0, 5, 40)))
            self.happen()

    def happen(self) -> None:
        for _ in range(self.chance.randrange(4)):
            self.vendor.change()

    def read(self, trouble: Trouble, config: Mapping[str, Any], modes: Mapping[str, str]) -> Ending:
        """Run one sync into the destination."""
        self.trouble = trouble
        self.destination.begin_sync()
        states = []
        for name, mode in modes.items():
            copy = self.destination.copies[name]
            self.destination.begin(
                name, overwrite=mode == "full_refresh", resumed=self.is_resumed(copy)
            )
            if copy.state is not None:
                states.append(copy.state)
        catalog = [
            {
                "stream": {
                    "name": name,
                    "json_schema": self.streams[name].json_schema,
                    "supported_sync_modes": ["full_refresh", "incremental"],
                },
                "sync_mode": mode,
                "destination_sync_mode": "overwrite" if mode == "full_refresh" else "append_dedup",
            }
            for name, mode in modes.items()
        ]
        kill_after = None
        if self.chance.random() < 0.4:
            if self.chance.random() < 0.3:
                trouble.kill_at = int(10 ** self.chance.uniform(0, 2.3))
            else:
                kill_after = int(10 ** self.chance.uniform(0, 3.6))
        self.vendor.journal.clear()
        ending = run_process(
            self.source(), self.folder, kill_after,
            config=config, catalog={"streams": catalog}, state=states,
        )  # fmt: skip
        for line in ending.lines:
            message = self.destination.take(line)
            if message["type"] == "TRACE" and message["trace"]["type"] == "ERROR":
                told = str(message["trace"]["error"])
                if UNFORESEEN.search(str(message["trace"]["error"]["message"])):
                    raise DiffersError(f"a failure that was not foreseen: {told:.3000}")
        if UNFORESEEN.search(ending.error):
            raise DiffersError(f"a failure that was not foreseen: {ending.error}")
        self.count(ending, modes)
        return ending

    def forget_merged_refreshes(self, modes: Mapping[str, str]) -> None:
        """Drop the state of an unfinished full refresh if its table no longer exists."""
        for name, mode in modes.items():
            copy = self.destination.copies[name]
            if mode == "full_refresh" and copy.next_rows is None and self.is_resumed(copy):
                copy.state = None

    def count(self, ending: Ending, modes: Mapping[str, str]) -> None:
        totals = self.totals
        totals.endings[ending.how] += 1
        totals.rows += len(self.destination.arrived)
        totals.late_statuses += self.destination.late_statuses
        totals.requests += self.trouble.asked if self.trouble else 0
        totals.faults.update(self.vendor.journal.stats()["faults"])
        for name, mode in modes.items():
            status = self.destination.copies[name].status or "not begun"
            totals.streams[f"{mode} {status}"] += 1
        if ending.how == "complete":
            for name in modes:
                if self.destination.copies[name].status != "COMPLETE":
                    raise DiffersError(f"the sync is complete, but {name} is not")

    @abstractmethod
    def is_resumed(self, copy: Copy) -> bool:
        """Whether the next full refresh continues where the last one stopped."""

    @abstractmethod
    def sync(self) -> None:
        """Run one sync and all checks."""


@dataclass
class _Begin:
    """What the checks need to know about the time before a sync."""

    now_ms: int
    # The version of each record that a search could find, and the start of each stream's read.
    found: dict[str, dict[str, Record]]
    lower: dict[str, int]


class KustomerConnection(Connection):
    """Most streams of Kustomer, usually incremental."""

    source = SourceKustomer
    vendor: Org

    def __init__(self, chance: Random, clock: Time, totals: Totals, folder: Path) -> None:
        own = Clock()
        # Kustomer's clock may be behind or ahead of ours. It does not jump.
        self.skew = chance.choice((0, 0, -300, -300, 120))
        own.advance(self.skew)
        self.vendor = Org(chance, own)
        self.start = clock.now() - timedelta(days=chance.choice((400, 800, 1500)))
        self.config: dict[str, Any] = {}
        super().__init__(chance, clock, totals, folder)
        self.config = self.first_config()
        # Versions that could not be read, by stream: for the table, and for the one being built.
        self.excused: dict[str, set[tuple[str, int]]] = defaultdict(set)
        self.next_excused: dict[str, set[tuple[str, int]]] = defaultdict(set)
        self.modes: dict[str, str] = {}

    def first_config(self) -> dict[str, Any]:
        return {"api_token": self.vendor.token, "start_date": f"{self.start:%Y-%m-%dT%H:%M:%SZ}"}

    def is_tried(self, name: str) -> bool:
        return name in KINDS

    def is_resumed(self, copy: Copy) -> bool:
        state = copy.state["stream"]["stream_state"] if copy.state else {}
        return bool(state.get("full_refresh"))

    def sync(self) -> None:
        chance = self.chance
        self._change_settings()
        mode = "full_refresh" if chance.random() < 0.12 else "incremental"
        names = list(self.streams)
        if chance.random() < 0.2:
            names = chance.sample(names, chance.randint(1, len(names)))
        modes = {name: mode if chance.random() < 0.9 else "incremental" for name in names}
        for name in names:
            # An interrupted full refresh is usually tried again in the same mode.
            if self.destination.copies[name].next_rows is not None:
                is_finished = not self.is_resumed(self.destination.copies[name])
                if is_finished or chance.random() < 0.85:
                    modes[name] = "full_refresh"
        self.forget_merged_refreshes(modes)
        begin = self._begin(modes)
        trouble = self._trouble()
        self.read(trouble, self.config, modes)
        for name, row in self.destination.arrived:
            self._check_row(name, row)
        for name, one in modes.items():
            self._excuse(name, one, begin)
        for name in self.streams:
            self._check_claim(name)
        for name, one in modes.items():
            if self.destination.copies[name].status == "COMPLETE":
                self._check_complete(name, one, begin)

    def _change_settings(self) -> None:
        chance = self.chance
        if chance.random() < 0.15:
            self.config["include_deleted"] = chance.random() < 0.6
        if chance.random() < 0.15:
            self.config["include_archived"] = chance.random() < 0.7
        if chance.random() < 0.3:
            self.config["rate_limit_share"] = chance.choice((1, 10, 50, 100, 100))
        if chance.random() < 0.06:
            self.start = self.time.now() - timedelta(days=chance.choice((100, 735, 800, 1500)))
            self.config["start_date"] = f"{self.start:%Y-%m-%dT%H:%M:%SZ}"
            for name in self.streams:
                self.destination.clear(name)
                self.excused[name].clear()
                self.next_excused[name].clear()

    def _trouble(self) -> Trouble:
        chance = self.chance
        badness = chance.choice((0.0, 0.01, 0.03, 0.08, 0.15))
        may_shorten = chance.random() < 0.5
        # With a true count, a reader can tell an empty page from the end of a list or search.
        true_count = may_shorten or chance.random() < 0.5
        page_size = chance.choice((7, 20, 60, 500, 500))
        lists = chance.choice((5, 20, 500))
        self.vendor.switches = KustomerSwitches(
            page_size_max=page_size,
            next_links=chance.choice(("promise", "promise", "honest", "null", "missing")),
            total=chance.choice(("honest", "honest", "capped") if true_count
                                else ("missing", -1000, 3)),
            list_total=may_shorten,
            tie_order=chance.choice(("stable", "shuffled")) if true_count else "stable",
            second_sort_key=chance.random() < 0.2,
            past_cap=chance.choice((404, 400, "empty")),
            page_bytes=chance.choice((None, None, None, 20_000, 200_000)) if may_shorten else None,
            horizon_days=chance.choice((730, 730, 725, 735)),
            archive_scope=chance.choice(("old", "all")),
            index_lag_seconds=chance.choice((0, 10, 60, 100)),
            touch_every=chance.choice((0, 0, 3)) if true_count else 0,
            touch_count=2,
            org_limit=chance.choice((None, 300)),
            search_limit=chance.choice((None, None, 100)),
            others_per_minute=chance.choice((0, 30)),
            window=chance.choice(("fixed", "sliding")),
            search_headers=chance.choice(("org", "search")),
            reset_when=chance.choice(("always", "on429", "never")),
            reset_form=chance.choice(("epoch", "epoch_ms", "delta", "http_date", "iso")),
            retry_after=chance.choice(("none", "seconds", "http_date")),
            error_shape=chance.choice(("plain", "jsonapi")),
            faults=tuple(
                Fault(kind, every=chance.randint(20, 90))
                for kind in chance.sample(FAULTS, chance.randrange(3) if badness else 0)
            ),
        )  # fmt: skip
        if chance.random() < 0.05:
            self.vendor.switch(archive_refusal=403)
        return Trouble(
            self.vendor, chance, self.time, self.totals.faults, badness,
            unrest=chance.choice((0.0, 0.05, 0.2)) if true_count else 0.0,
            may_shorten=may_shorten,
            may_drop_date=self.skew >= 0,
            most_rows_of_a_list=lists,
        )  # fmt: skip

    # Checks.

    def _start_ms(self) -> int:
        return to_ms(datetime.fromisoformat(self.config["start_date"]))

    def _state_ms(self, name: str) -> int:
        state = self.destination.copies[name].state
        if state is None:
            return 0
        return to_ms(datetime.fromisoformat(state["stream"]["stream_state"]["updated_at"]))

    def _begin(self, modes: Mapping[str, str]) -> _Begin:
        lower = {}
        for name, mode in modes.items():
            is_anew = mode == "full_refresh" and not self.is_resumed(self.destination.copies[name])
            lower[name] = max(self._start_ms(), 0 if is_anew else self._state_ms(name))
            if is_anew:
                self.next_excused[name].clear()
            elif mode == "incremental":
                self.excused[name] |= self.next_excused.pop(name, set())
        found = {name: {one.id: one for one in self.vendor.indexed(KINDS[name])} for name in modes}
        return _Begin(to_ms(self.time.now()), found, lower)

    def _undated(self, record: Record) -> bool:
        return record.kind in LIST_KINDS and "updated_at" not in self.vendor.expected(record)

    def _is_newest(self, row: Mapping[str, Any] | None, record: Record) -> bool:
        """Whether a row is this version of the record."""
        if row is None or self._undated(record):
            return row is not None and not difference(self.vendor.expected(record), row)
        if row.get("updated_at") != record.updated_at:
            return False
        twins = [
            one for one in self.vendor.history[record.id] if one.updated_ms == record.updated_ms
        ]
        return len(twins) == 1 or not difference(self.vendor.expected(record), row)

    def _check_row(self, name: str, row: Mapping[str, Any]) -> None:
        versions = self.vendor.history.get(row["id"], [])
        dated = [
            one for one in versions
            if self._undated(one) or one.updated_at == row.get("updated_at")
        ]  # fmt: skip
        differences = [difference(self.vendor.expected(one), row) for one in dated]
        if not differences or all(differences):
            raise DiffersError(
                f"{name}: row {row['id']} of {row.get('updated_at')} is no version that Kustomer "
                f"had: {differences[-1:]} ({len(versions)} versions)"
            )

    def _excuse(self, name: str, mode: str, begin: _Begin) -> None:
        """Collect the versions that the sync could not read, as docs/sources/ says."""
        copy = self.destination.copies[name]
        kind = KINDS[name]
        if mode == "full_refresh" and copy.status == "COMPLETE":
            self.excused[name] = self.next_excused.pop(name, set())
        excused = self.next_excused if copy.next_rows is not None else self.excused
        rows = copy.claimed
        state = self._state_ms(name)
        for record in self.vendor.records(kind):
            if begin.lower[name] <= record.updated_ms < state and (
                self._is_hidden(name, record) and not self._is_newest(rows.get(record.id), record)
            ):
                excused[name].add((record.id, record.updated_ms))

    def _is_hidden(self, name: str, record: Record) -> bool:
        """Whether docs/sources/ says that a version cannot be read."""
        if KINDS[name] in LIST_KINDS:
            return False
        if record.deleted and not self.config.get("include_deleted"):
            return True
        has_archive = _SEARCHES[KINDS[name]].has_archive and self.config.get(
            "include_archived", True
        )
        horizon = self.vendor.clock.ms() - self.vendor.switches.horizon_days * DAY_MS
        return not has_archive and record.updated_ms < horizon

    def _check_claim(self, name: str) -> None:
        """Check that every record below the state is in the copy."""
        copy = self.destination.copies[name]
        excused = (
            self.next_excused if copy.is_of_next and copy.next_rows is not None else self.excused
        )
        start, state, rows = self._start_ms(), self._state_ms(name), copy.claimed
        for record in self.vendor.records(KINDS[name]):
            if self._undated(record) or not start <= record.updated_ms < state:
                continue
            row = rows.get(record.id)
            if self._is_newest(row, record) or (record.id, record.updated_ms) in excused[name]:
                continue
            raise DiffersError(
                f"{name}: the state claims all below {iso(state)}, but record {record.id} of "
                f"{record.updated_at} is {'missing' if row is None else 'an older version'} "
                f"({record!r:.300}; row: {row!r:.300})"
            )

    def _check_complete(self, name: str, mode: str, begin: _Begin) -> None:
        state = self._state_ms(name)
        expected = begin.now_ms + min(0, self.skew * 1000) - SETTLING_MS
        if state < max(expected, begin.lower[name]):
            raise DiffersError(f"{name}: complete, but its state is {iso(state)}")
        copy = self.destination.copies[name]
        if mode == "full_refresh" and copy.next_rows is not None:
            raise DiffersError(f"{name}: complete, but its table was not replaced")
        found = begin.found[name]
        for record in self.vendor.records(KINDS[name]):
            first = found.get(record.id)
            if first is None or not (mode == "full_refresh" or self._undated(first)):
                continue
            if self._is_hidden(name, record) or self._is_hidden(name, first):
                continue
            if not self._undated(first) and first.updated_ms < self._start_ms():
                continue
            both = {(one.id, one.updated_ms) for one in (first, record)}
            if both & self.excused[name]:
                continue
            row = copy.rows.get(record.id)
            versions = self.vendor.history[record.id]
            since = versions.index(first)
            if not any(self._is_newest(row, one) for one in versions[since:]):
                raise DiffersError(
                    f"{name}: {mode} complete, but record {record.id} is "
                    f"{'missing' if row is None else 'older than at first'} ({record!r:.300})"
                )


class CourierConnection(Connection):
    """The only stream of Courier. Every sync reads it completely."""

    source = SourceCourier
    vendor: Workspace
    name = "messages"

    def __init__(self, chance: Random, clock: Time, totals: Totals, folder: Path) -> None:
        self.vendor = Workspace(chance, Clock())
        super().__init__(chance, clock, totals, folder)
        self.aliases: dict[str, str] = {}
        # The messages that existed at the start of the read -> the number of their version.
        self.began_with: dict[str, int] = {}

    def first_config(self) -> dict[str, Any]:
        # One walk, so that the cursor of a state tells which rows it claims.
        # unit_tests/courier/test_walks.py has several, under kills and changes.
        return {"api_key": self.vendor.key, "parallel_walks": 1}

    def is_resumed(self, copy: Copy) -> bool:
        state = copy.state["stream"]["stream_state"] if copy.state else {}
        return "cursor" in state

    def sync(self) -> None:
        chance, copy = self.chance, self.destination.copies[self.name]
        self.forget_merged_refreshes({self.name: "full_refresh"})
        if not self.is_resumed(copy):
            self.began_with = {
                message.id: len(self.vendor.history[message.id]) - 1
                for message in self.vendor.messages()
            }
        badness = chance.choice((0.0, 0.02, 0.05, 0.1, 0.2))
        self.vendor.switches = CourierSwitches(
            last_cursor=chance.choice(("omitted", "null", "repeated")),
            repeat_cursor_every=chance.choice((0,) * 9 + (13,)),
            cursor_life=chance.choice((0, 0, 0, 40)),
            arrival_every=chance.choice((0, 3)),
            faults=tuple(
                Fault(kind, every=chance.randint(15, 60))
                for kind in chance.sample(FAULTS, chance.randrange(3) if badness else 0)
            ),
        )
        if chance.random() < 0.1:
            self.vendor.expire_cursors()
        trouble = Trouble(
            self.vendor, chance, self.time, self.totals.faults, badness,
            unrest=chance.choice((0.0, 0.1, 0.3)), may_shorten=False, may_drop_date=True,
            aliases=self.aliases,
        )  # fmt: skip
        self.read(trouble, self.first_config(), {self.name: "full_refresh"})
        self._check(copy)

    def _check(self, copy: Copy) -> None:
        seen = Counter(row["id"] for _, row in self.destination.arrived)
        if twice := [ident for ident, count in seen.items() if count > 1]:
            raise DiffersError(f"emitted twice in one walk: {twice[:5]}")
        for _, row in self.destination.arrived:
            versions = self.vendor.history.get(row["id"], [])
            since = self.began_with.get(row["id"], 0)
            differences = [difference(one, row) for one in versions[since:]]
            if not differences or all(differences):
                raise DiffersError(
                    f"row {row['id']} is no version of this walk: {differences[-1:]}"
                )
        is_complete = copy.status == "COMPLETE"
        behind = None if is_complete else self._place(copy)
        if not is_complete and behind is None:
            return
        rows = copy.claimed
        for message in self.vendor.messages():
            is_claimed = behind is None or attrgetter("enqueued_ms", "id")(message) >= behind
            if message.id in self.began_with and is_claimed and message.id not in rows:
                raise DiffersError(f"message {message.id} is missing, complete: {is_complete}")

    def _place(self, copy: Copy) -> tuple[int, str] | None:
        """Return the row before the state's cursor, or None without a cursor."""
        if copy.state is None or not copy.is_of_next or not self.is_resumed(copy):
            return None
        cursor = copy.state["stream"]["stream_state"]["cursor"]
        told = base64.b64decode(self.aliases.get(cursor, cursor)).decode()
        enqueued, _, ident = told.partition(",")
        return int(enqueued), ident


@contextlib.contextmanager
def faked(chance: Random) -> Iterator[tuple[Time, Turns, Callable[[Any], None]]]:
    """Replace time, threads and sockets. The third value sets who answers requests."""
    answering: list[Any] = []
    turns = Turns(chance)
    state = random.getstate()
    random.seed(chance.getrandbits(32))
    with contextlib.ExitStack() as stack:
        stack.callback(random.setstate, state)
        clock = Time(stack.enter_context(freezegun.freeze_time(BEGIN)))
        pool = mock.patch("http_source.context.ThreadPoolExecutor", turns.executor)
        stack.enter_context(pool)
        stack.enter_context(mock.patch("source_courier.walk.wait", turns.wait))
        stack.enter_context(mock.patch("source_courier.runs.wait", turns.wait))
        stack.enter_context(mock.patch("time.sleep", clock.sleep))
        waits = SimpleNamespace(Condition=clock.condition)
        stack.enter_context(mock.patch("http_source.rate_limiter.threading", waits))
        send = transport(lambda: answering[-1].trouble)
        stack.enter_context(mock.patch.object(HTTPAdapter, "send", send))
        yield clock, turns, answering.append


def soak(
    seed: int,
    syncs: int,
    *,
    kustomer: type[KustomerConnection] = KustomerConnection,
    courier: type[CourierConnection] = CourierConnection,
    say: Callable[[str], None] = print,
) -> Totals:
    """Run `syncs` syncs from a seed. Raises DiffersError, which names the seed and the sync."""
    chance, totals = Random(seed), Totals()
    with tempfile.TemporaryDirectory() as name, faked(chance) as (clock, turns, answer):
        folder = Path(name)
        connections = [
            kustomer(Random(f"{seed}/kustomer"), clock, totals, folder),
            courier(Random(f"{seed}/courier"), clock, totals, folder),
        ]
        for number in range(1, syncs + 1):
            connection = connections[0 if number % 10 not in (3, 6, 9) else 1]
            answer(connection)
            try:
                connection.pass_time()
                connection.sync()
            except Exception as error:
                sort = type(connection.source()).__name__
                raise DiffersError(f"seed {seed}, sync {number} of {sort}: {error}") from error
            turns.forget()
            if number % 10 == 0:
                endings = ", ".join(f"{count} {how}" for how, count in totals.endings.items())
                say(f"{number} syncs until {clock.now():%Y-%m-%d}: {endings}; {totals.rows} rows")
    return totals


def main() -> None:
    """Run the soak and print its result."""
    parser = argparse.ArgumentParser(prog="python -m integration_tests.soak")
    parser.add_argument("--seed", type=int, default=None, help="what happens (a new one each time)")
    parser.add_argument("--syncs", type=int, default=100, help="how many syncs (100)")
    options = parser.parse_args()
    seed = Random().randrange(10**6) if options.seed is None else options.seed
    print(f"seed {seed}", flush=True)
    began = time.perf_counter()
    try:
        totals = soak(seed, options.syncs, say=lambda line: print(line, flush=True))
    except DiffersError as error:
        sys.exit(f"FAILED: {error}")
    seconds = time.perf_counter() - began
    for counted in (totals.streams, totals.faults):
        print(", ".join(f"{count} {what}" for what, count in counted.most_common()))
    print(
        f"{options.syncs} syncs, {totals.endings['killed']} kills, {totals.endings['failed']} "
        f"failed, {totals.faults.total()} faults, {totals.requests} requests, {totals.rows} records"
        f", {totals.late_statuses} late statuses, {seconds:.0f} s"
    )


if __name__ == "__main__":
    main()
