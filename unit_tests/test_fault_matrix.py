"""Tests every fault with every kind of stream: the tries, the message, and that no row is lost.

There is one table of cases. `docs/faults.md` is made from it, and a test compares the two:

    python -m unit_tests.test_fault_matrix > docs/faults.md
"""

import base64
import itertools
import json
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import backoff._sync as backoff_loop
import pytest
import requests
from airbyte_cdk.models import AirbyteStreamStatus, FailureType, Status, SyncMode, TraceType, Type
from airbyte_cdk.test.catalog_builder import CatalogBuilder
from airbyte_cdk.test.entrypoint_wrapper import read

from fake_vendor import Courier, Kustomer, Reply
from http_source import rate_limiter
from source_courier import SourceCourier
from source_kustomer import SourceKustomer
from source_kustomer.streams import Tags

# `make unit` leaves these out.
pytestmark = pytest.mark.slow

PAGE = Path(__file__).parents[1] / "docs" / "faults.md"
FIRST, LATER = 1, 2
FOR_EVER = 10**6
CONFIG, SYSTEM, TRANSIENT = (
    FailureType.config_error,
    FailureType.system_error,
    FailureType.transient_error,
)
# The upper ends of the random waits. The first one includes the second that the CDK adds.
LONGEST_WAITS = [1.01, 2, 4, 8, 16, 32, 60, 60, 60, 60]
WORDS = "made-up words"

# What happens


@dataclass(frozen=True)
class Outcome:
    """The result of a fault that lasts. If it is tried again and does not last, it passes."""

    happens: str
    tries: int = 1
    failure: FailureType | None = None
    # Parts of the message. The status and the name of the stream are filled in.
    says: tuple[str, ...] = ()
    advice: str = "Nothing."
    # True if other requests follow, so that the number of tries means nothing.
    reads_on: bool = False

    @property
    def passes(self) -> bool:
        """Whether the request is sent again."""
        return self.tries > 1


TAKEN = Outcome("The answer is accepted.")
RETRIED = Outcome(
    "The request is sent again.",
    11,
    TRANSIENT,
    ("was answered with HTTP {status}.",),
    "Sync again later. Check the vendor's status page.",
)
LIMITED = Outcome(
    "The request is sent again. The status of the stream is RUNNING with RATE_LIMITED.",
    11,
    TRANSIENT,
    ("API rate limit exceeded",),
    "Sync again later. Lower `rate_limit_share`, or run fewer syncs at once.",
)
DISCONNECTED = Outcome(
    "The request is sent again.",
    11,
    TRANSIENT,
    ("The connection failed: ",),
    "Check the network, the proxy and the certificates. Sync again.",
)
UNSENDABLE = Outcome(
    "The stream fails at once.",
    1,
    SYSTEM,
    ("The request cannot be sent: ",),
    "Check the URL in the configuration and the proxy.",
)
NOT_JSON = Outcome(
    "The request is sent again.",
    11,
    TRANSIENT,
    ("was answered with a body that is not JSON.",),
    "Sync again later. Perhaps a proxy answers instead of the vendor.",
)
REDIRECTED = Outcome(
    "The stream fails at once. The redirect is not followed.",
    1,
    SYSTEM,
    ("Unexpected redirect (HTTP {status})", "The key is sent to the configured host alone."),
    "Set the address at which the vendor answers.",
)
REFUSED = Outcome(
    "The stream fails at once.",
    1,
    SYSTEM,
    ("was refused with HTTP {status}: ",),
    "Read the named request and the vendor's answer in the message.",
)
KEY_REFUSED = Outcome(
    "The stream fails at once.",
    1,
    CONFIG,
    ("refused the API key", "(HTTP {status}: "),
    "Create or copy a valid key. It needs the role that the message names.",
)
PLAN_REFUSED = Outcome(
    "The stream fails at once.",
    1,
    CONFIG,
    ("plan does not include {stream} (HTTP 402: ",),
    "Change the plan, or remove the stream from the sync.",
)
CURSOR_REFUSED = Outcome(
    "The stream fails at once.",
    1,
    SYSTEM,
    ("that it had sent itself (HTTP {status}: ", "The next sync begins at the newest"),
    "Sync again. Rows that were already read are emitted again.",
)
ARCHIVE_REFUSED = Outcome(
    "The stream fails at once.",
    1,
    CONFIG,
    ("This was a search of Kustomer's archive (HTTP {status}).", "include_archived"),
    "Give the key access to the archive, or set `include_archived` to false.",
)
PAGE_NOT_SERVED = Outcome("Another search requests the rows.", reads_on=True)
LINK_TO_NOWHERE = Outcome(
    "The stream fails at once.",
    1,
    SYSTEM,
    ("Kustomer's next link leads to no page",),
    "Sync again. If it fails again, report it to Kustomer.",
)
LINK_ELSEWHERE = Outcome(
    "The stream fails after the page. The link is not followed.",
    1,
    SYSTEM,
    ("Kustomer's next link leads elsewhere", "the API key is not sent to other places"),
    "Set the address that the links name, if it is Kustomer's.",
)
TIMED_OUT = Outcome(
    "The request is sent again.",
    11,
    TRANSIENT,
    ("the search timed out (meta.timed_out)",),
    "Sync again later.",
)
MISCOUNTED = Outcome(
    "The list is read three more times. Then the stream fails.",
    1,
    SYSTEM,
    ("rows, but shows", "The state stays"),
    "Sync again. If it fails again, report it to Kustomer.",
    reads_on=True,
)
ASKED_SMALLER = Outcome("The rows are requested again in smaller pages.", reads_on=True)
PAUSED = Outcome("The next request waits for the limit.")
ANOTHER_TIME = Outcome("The time is taken from other answers.", reads_on=True)


def broken(defect: str) -> Outcome:
    return Outcome(
        "The request is sent again.",
        4,
        SYSTEM,
        (f"body that breaks the contract: {defect}",),
        "Sync again. If it fails again, report it to the vendor.",
    )


NO_RESULTS = broken("expected a list under 'results'")
NO_DATA = broken("expected a list under 'data'")
BAD_ROW = broken("expected rows with an 'id' under 'results'")
BAD_RESOURCE = broken("expected resources with an 'id' and 'attributes' under 'data'")
BAD_META = broken("expected an object under 'meta'")
BAD_TOTAL = broken("expected a number under 'meta.total'")
BAD_LINKS = broken("expected an object under 'links'")
BAD_NEXT = broken("expected a URL or null under 'links.next'")
BAD_MORE = broken("expected true or false under 'paging.more'")
BAD_CURSOR = broken("expected a cursor under 'paging.cursor'")
BAD_UPDATED = broken("expected a timestamp")
UNSORTED = broken("expected rows ascending by updatedAt")
OUT_OF_RANGE = broken("expected {context}_updated_at lt")
TOO_DEEP = broken("expected values nested in at most")
NO_ROWS = broken("expected some of the")

# Where it happens


@dataclass(frozen=True)
class Place:
    """A kind of stream, with its vendor, its endpoint and its name for users."""

    name: str
    stream: str
    endpoint: str
    context: str = ""

    @property
    def host(self) -> str:
        """The vendor's address."""
        return "https://api.kustomerapp.com" if self.context else "https://api.courier.com"

    def vendor(self) -> Any:
        """Return a vendor with five to seven rows on three or more pages. The archive has more."""
        if not self.context:
            courier = Courier(rows=7)
            courier.switch(page_size=2)
            return courier
        archive = self is ARCHIVE
        rows = {} if self is LIST else {self.context: 70 if archive else 7}
        kustomer = Kustomer(
            rows, list_rows={"tag": 5} if self is LIST else 0, years=9 if archive else 1
        )
        kustomer.switch(page_size_max=30 if archive else 3)
        return kustomer

    def source(self) -> Any:
        """The connector."""
        return SourceKustomer() if self.context else SourceCourier()

    def config(self, vendor: Any) -> dict[str, Any]:
        """Return a configuration that reads all rows of the vendor."""
        if not self.context:
            # One walk. unit_tests/courier/test_walks.py has several.
            return {"api_key": vendor.key, "parallel_walks": 1}
        years = 11 if self is ARCHIVE else 1.5
        start = datetime.now(tz=UTC) - timedelta(days=365 * years)
        return {"api_token": vendor.token, "start_date": f"{start:%Y-%m-%d}"}

    def rows(self, vendor: Any) -> list[str]:
        """Return the ids of all rows, in the order in which they are read."""
        if not self.context:
            return [message.id for message in reversed(vendor.messages())]
        records = vendor.records(self.context)
        if self is LIST:
            return [record.id for record in records]
        return [one.id for one in sorted(records, key=lambda one: (one.updated_ms, one.order))]


MESSAGES = Place("Courier", "messages", "/messages")
SEARCH = Place("searches", "notes", "/customers/search", "note")
ARCHIVE = Place("the archive", "customers", "/archive/search", "customer")
LIST = Place("lists", "tags", "/tags", "tag")
PLACES = (MESSAGES, SEARCH, ARCHIVE, LIST)
SPOTS = tuple(itertools.product(PLACES, (FIRST, LATER)))

Change = Callable[[Reply], Reply]
Expect = Callable[[Place, int], Outcome | None]


@dataclass(frozen=True)
class Case:
    """A fault and its outcome at each place and page. None if it cannot happen there."""

    group: str
    name: str
    change: Change
    expect: Expect
    status: int = 200
    # The seconds that the vendor asks us to wait, plus the second that the CDK adds.
    wait: float | None = None
    # Whether `check` has the same outcome as a sync.
    checked: bool = True
    # True for one of many similar cases. To save time, the fault lasts on one page and passes on
    # another. Other cases test both on both pages.
    alike: bool = False
    # Whether a lasting fault is tested. If not, the fault that passes shows everything.
    lasts: bool = True


def everywhere(outcome: Outcome) -> Expect:
    return lambda _place, _page: outcome


def courier_only(outcome: Outcome | None, kustomer: Outcome | None = None) -> Expect:
    return lambda place, _page: outcome if place is MESSAGES else kustomer


def by_place(
    courier: Any = None, search: Any = None, archive: Any = None, lists: Any = None
) -> Expect:
    """Return the outcomes by place. A pair is for the first page and for a later page."""
    found = dict(zip(PLACES, (courier, search, archive, lists), strict=True))

    def expect(place: Place, page: int) -> Outcome | None:
        outcome = found[place]
        return outcome[page - 1] if isinstance(outcome, tuple) else outcome

    return expect


def kustomer_only(outcome: Outcome) -> Expect:
    return courier_only(None, outcome)


# Statuses

STATUSES = (
    *(101, 103, 203, 204, 205, 206, *range(300, 309), *range(400, 432), 451),
    *(*range(500, 512), *range(520, 531), 598, 599),
)
_CURSOR_REFUSALS = {400, 403, 404, 406, 409, 410, 412, 413, 414, 416, 422}
_HTML = b"<!DOCTYPE html><html><title>Error</title><body>made-up words</body></html>"
# One status of each kind, which is tested in every way.
_TELLING = {101, 203, 204, 206, 301, 400, 401, 402, 403, 404, 408, 425, 429, 500, 501, 503}


def status_expects(status: int) -> Expect:
    if status >= 300 and status not in (408, 425, 429):
        return redirect_expects if status < 400 else partial(refusal_expects, status)
    special = {203: TAKEN, 204: NOT_JSON, 205: NOT_JSON, 429: LIMITED}
    return everywhere(special.get(status, RETRIED))


def redirect_expects(_place: Place, _page: int) -> Outcome:
    return REDIRECTED


def refusal_expects(status: int, place: Place, page: int) -> Outcome:
    if place is ARCHIVE and (status < 500 or status == 501):
        return PAGE_NOT_SERVED if page == LATER and status in (400, 404) else ARCHIVE_REFUSED
    if status >= 500:
        return RETRIED
    if place is MESSAGES and page == LATER and status in _CURSOR_REFUSALS:
        return CURSOR_REFUSED
    if place is LIST and page == LATER and status == 404:
        return LINK_TO_NOWHERE
    return {401: KEY_REFUSED, 402: PLAN_REFUSED, 403: KEY_REFUSED}.get(status, REFUSED)


def answered(status: int) -> Change:
    """Answer as services do: no body, the vendor's JSON, or HTML of a proxy or load balancer."""

    def change(good: Reply) -> Reply:
        if status in (203, 206):
            return Reply(status, good.headers, good.body)
        if status in (101, 103, 204, 205, 304):
            return Reply(status, {}, b"")
        if status >= 502 or status == 413:
            return Reply(status, {"content-type": "text/html"}, _HTML)
        body = json.dumps({"message": WORDS, "type": "made_up"}).encode()
        headers = {"content-type": "application/json"}
        if 300 <= status < 400:
            headers["location"] = "https://elsewhere.example.com/v1/made-up"
        return Reply(status, headers, body)

    return change


def statuses() -> Iterator[Case]:
    for status in STATUSES:
        yield Case(
            "status",
            str(status),
            answered(status),
            status_expects(status),
            status,
            alike=status not in _TELLING,
        )


# Connections

_RETRIED_ERRORS = (
    *("ConnectionError", "ConnectTimeout", "ReadTimeout", "Timeout", "SSLError", "ProxyError"),
    *("ChunkedEncodingError", "ContentDecodingError", "InvalidHeader", "RetryError"),
    *("StreamConsumedError", "UnrewindableBodyError", "RequestException"),
)
_HOPELESS_ERRORS = (
    *("InvalidURL", "InvalidProxyURL", "InvalidSchema", "MissingSchema", "TooManyRedirects"),
)


def raised(name: str) -> Change:
    def change(_good: Reply) -> Reply:
        raise getattr(requests.exceptions, name)(WORDS)

    return change


def connections() -> Iterator[Case]:
    for names, outcome in ((_RETRIED_ERRORS, DISCONNECTED), (_HOPELESS_ERRORS, UNSENDABLE)):
        for number, name in enumerate(names):
            yield Case(
                "connection", f"`{name}`", raised(name), everywhere(outcome), alike=number > 2
            )


# Bodies


def content(change: Callable[[bytes], bytes]) -> Change:
    return lambda good: Reply(good.status, good.headers, change(good.body))


def edited(edit: Callable[[dict[str, Any]], Any]) -> Change:
    def change(good: Reply) -> Reply:
        body = good.json()
        edit(body)
        return Reply(good.status, good.headers, json.dumps(body).encode())

    return change


def without(name: str, *path: str) -> Change:
    def edit(body: dict[str, Any]) -> None:
        for step in path:
            body = body[step]
        body.pop(name, None)

    return edited(edit)


def put(value: Any, name: str, *path: str) -> Change:
    def edit(body: dict[str, Any]) -> None:
        for step in path:
            body = body[step]
        body[name] = value

    return edited(edit)


def last_row(change: Callable[[dict[str, Any]], Any]) -> Change:
    def edit(body: dict[str, Any]) -> None:
        rows = body["results" if "results" in body else "data"]
        rows[-1] = change(rows[-1])

    return edited(edit)


def attribute(name: str, value: Any) -> Change:
    return last_row(lambda row: {**row, "attributes": {**row["attributes"], name: value}})


def in_first_row(text: bytes) -> Change:
    return content(lambda body: body.replace(b'"id":"', b'"addition":' + text + b',"id":"', 1))


def reverse(body: dict[str, Any]) -> None:
    body["data"].reverse()


def shown(value: Any) -> str:
    return f"`{json.dumps(value)}`"


_NOT_AT_ALL_JSON = {
    "empty": b"",
    "blank": b" \r\n",
    "HTML": _HTML,
    "XML": b"<?xml version='1.0'?><error/>",
    "plain text": b"OK",
    "a zero byte": b"\0",
}
_OTHER_JSON: tuple[Any, ...] = (None, True, 7, "text", [], {}, {"errors": [{"message": WORDS}]})
_NO_LIST: tuple[Any, ...] = (None, True, 7, "text", {})
_NO_OBJECT: tuple[Any, ...] = (True, 7, "text", ["x"])
_NO_TIME: tuple[Any, ...] = (7, True, "", "yesterday", "2026-99-99T00:00:00Z", ["x"], {})
_NO_URL: tuple[Any, ...] = (7, True, "not a URL", "ftp://x/y", "http://[bad", ["x"], {"a": 1})
_ELSEWHERE = (
    "https://elsewhere.example.com/v1/tags?page=2",
    "//elsewhere.example.com/v1/tags?page=2",
    "http://api.kustomerapp.com/v1/tags?page=2",
    "/v1/other?page=2",
)
_ENVELOPE = courier_only(NO_RESULTS, NO_DATA)
_ROW = courier_only(BAD_ROW, BAD_RESOURCE)
_UPDATED = by_place(None, BAD_UPDATED, BAD_UPDATED, BAD_UPDATED)


def body(name: str, change: Change, expect: Expect, **more: Any) -> Case:
    return Case("body", name, change, expect, **{"alike": True, "checked": False} | more)


def bodies() -> Iterator[Case]:
    for name, text in _NOT_AT_ALL_JSON.items():
        yield body(name, content(lambda _, text=text: text), everywhere(NOT_JSON), checked=True)
    cut = content(lambda whole: whole[: len(whole) // 2])
    yield body("cut in half", cut, everywhere(NOT_JSON), checked=True, alike=False)
    yield body("sent twice", content(lambda whole: whole * 2), everywhere(NOT_JSON))
    invalid = in_first_row(b'"\xff\xfe"')
    yield body("invalid UTF-8", invalid, everywhere(NOT_JSON))
    for value in _OTHER_JSON:
        text = json.dumps(value).encode()
        change = content(lambda _, text=text: text)
        yield body(shown(value), change, _ENVELOPE, checked=True, alike=value != {})
    yield from _mended_bodies()
    yield from _envelopes()
    yield from _rows()
    yield from _links()


def _mended_bodies() -> Iterator[Case]:
    """Yield bodies that strict readers refuse and this source accepts."""
    yield body("with a BOM", content(lambda whole: b"\xef\xbb\xbf" + whole), everywhere(TAKEN))
    utf16 = content(lambda whole: whole.decode().encode("utf-16"))
    yield body("in UTF-16", utf16, everywhere(TAKEN))
    for name, text in {
        "half of a surrogate pair": b'"\\ud83d"',
        "`NaN`": b"NaN",
        "`-Infinity`": b"-Infinity",
        "`1e400`": b"1e400",
        "an integer of 5,000 digits": b"9" * 5000,
        "lists nested 100 deep": b"[" * 100 + b"]" * 100,
    }.items():
        yield body(name, in_first_row(text), everywhere(TAKEN), lasts=False)
    deep = b'{"a":' * 700 + b"1" + b"}" * 700
    attributes = content(
        lambda whole: whole.replace(b'"attributes":{', b'"attributes":{"deep":' + deep + b",", 1)
    )
    nested = by_place(None, TOO_DEEP, TOO_DEEP, TOO_DEEP)
    yield body("attributes nested 700 deep", attributes, nested)
    for depth in (2000, 100_000):
        text = b"[" * depth + b"]" * depth
        yield body(f"lists nested {depth:,} deep", in_first_row(text), everywhere(TOO_DEEP))


def _envelopes() -> Iterator[Case]:
    courier, kustomer = courier_only(NO_RESULTS), kustomer_only(NO_DATA)
    yield body("without `results`", without("results"), courier, alike=False)
    yield body("without `data`", without("data"), kustomer, alike=False)
    for value in _NO_LIST:
        yield body(f"`results`: {shown(value)}", put(value, "results"), courier)
        yield body(f"`data`: {shown(value)}", put(value, "data"), kustomer)
    for value in _NO_OBJECT:
        yield body(f"`meta`: {shown(value)}", put(value, "meta"), kustomer_only(BAD_META))
        yield body(f"`links`: {shown(value)}", put(value, "links"), kustomer_only(BAD_LINKS))
    for name in ("meta", "links"):
        yield body(f"`{name}`: `null`", put(None, name), by_place(None, TAKEN), lasts=False)
        yield body(f"without `{name}`", without(name), by_place(None, TAKEN), lasts=False)
    more = courier_only(BAD_MORE)
    yield body("without `paging`", without("paging"), more, alike=False)
    for value in (None, True, 7, "text", ["x"], {}):
        yield body(f"`paging`: {shown(value)}", put(value, "paging"), more)
    for value in (None, 0, 1, "true", ["x"]):
        yield body(f"`more`: {shown(value)}", put(value, "more", "paging"), more)
    cursor = courier_only(BAD_CURSOR)
    yield body("`more` without `cursor`", without("cursor", "paging"), cursor, alike=False)
    for value in (None, "", 7, True, ["x"], {}):
        yield body(f"`cursor`: {shown(value)}", put(value, "cursor", "paging"), cursor)
    timed_out = by_place(None, TIMED_OUT, TIMED_OUT, TAKEN)
    yield body("`meta.timed_out`: `true`", put(True, "timed_out", "meta"), timed_out, alike=False)
    empty = edited(lambda page: page["data"].clear())
    yield body("`data`: `[]`, but rows are counted", empty, by_place(None, NO_ROWS))
    for value in ("many", True, ["7"]):
        total = put(value, "total", "meta")
        yield body(f"`meta.total`: {shown(value)}", total, kustomer_only(BAD_TOTAL))
    for value in (None, -1):
        total = put(value, "total", "meta")
        lists = by_place(None, None, None, TAKEN)
        yield body(f"`meta.total`: {shown(value)}", total, lists, lasts=False)
    counted = by_place(None, None, None, MISCOUNTED)
    yield body("`meta.total` too high", put(1000, "total", "meta"), counted)


def _rows() -> Iterator[Case]:
    for value in (None, True, 7, "text", [], {}):
        yield body(f"a row `{json.dumps(value)}`", last_row(lambda _, value=value: value), _ROW)
    nameless = last_row(lambda row: {key: row[key] for key in row if key != "id"})
    yield body("a row without `id`", nameless, _ROW, alike=False)
    for value in (None, 7, True, "", ["x"], {}):
        change = last_row(lambda row, value=value: {**row, "id": value})
        yield body(f"`id`: {shown(value)}", change, _ROW)
    bare = last_row(lambda row: {key: row[key] for key in row if key != "attributes"})
    yield body("a row without `attributes`", bare, kustomer_only(BAD_RESOURCE))
    for value in (None, 7, "text", []):
        change = last_row(lambda row, value=value: {**row, "attributes": value})
        yield body(f"`attributes`: {shown(value)}", change, kustomer_only(BAD_RESOURCE))
    for value in _NO_TIME:
        yield body(f"`updatedAt`: {shown(value)}", attribute("updatedAt", value), _UPDATED)
    absent = edited(lambda page: page["data"][-1]["attributes"].pop("updatedAt"))
    searched = by_place(None, BAD_UPDATED, BAD_UPDATED, TAKEN)
    yield body("a row without `updatedAt`", absent, searched, alike=False)
    yield body("`updatedAt`: `null`", attribute("updatedAt", None), searched)
    for value in ("2100-01-01T00:00:00Z", "9999-12-31T23:59:59.999Z"):
        expect = by_place(None, OUT_OF_RANGE, OUT_OF_RANGE)
        yield body(f"`updatedAt`: {shown(value)}", attribute("updatedAt", value), expect)
    unsorted = by_place(None, UNSORTED, UNSORTED)
    yield body("rows out of order", edited(reverse), unsorted, alike=False)
    early = attribute("updatedAt", "0001-01-01T00:00:00Z")
    yield body("`updatedAt`: year 1", early, unsorted)


def _links() -> Iterator[Case]:
    for value in _NO_URL:
        yield body(f"`next`: {shown(value)}", put(value, "next", "links"), kustomer_only(BAD_NEXT))
    for value in _ELSEWHERE:
        expect = by_place(None, TAKEN, TAKEN, LINK_ELSEWHERE)
        yield body(f"`next`: {shown(value)}", put(value, "next", "links"), expect)


# Headers


def headed(headers: Mapping[str, str | Callable[[], str]], status: int = 200) -> Change:
    def change(good: Reply) -> Reply:
        made = {
            name: value if isinstance(value, str) else value() for name, value in headers.items()
        }
        return Reply(status, {**good.headers, **made}, good.body)

    return change


def later(seconds: float, spell: Callable[[float], str]) -> Callable[[], str]:
    return lambda: spell(time.time() + seconds)


def coded(text: str) -> str:
    return f"`{text}`" if text else "empty"


def http_date(epoch: float) -> str:
    return formatdate(epoch, usegmt=True)


def iso_date(epoch: float) -> str:
    return datetime.fromtimestamp(epoch, tz=UTC).isoformat()


Value = str | Callable[[], str]
# Ways to write a moment 40 s from now. Then values that are not a moment in the future.
_IN_40_SECONDS: dict[str, Value] = {
    "an HTTP date": later(40, http_date),
    "an ISO date": later(40, iso_date),
    "epoch seconds": later(40, lambda epoch: str(int(epoch))),
    "epoch milliseconds": later(40, lambda epoch: str(int(epoch * 1000))),
}
_NO_WAIT: dict[str, Value] = {
    "`0`": "0",
    "`-5`": "-5",
    "a date that is past": later(-4000, http_date),
    "`soon`": "soon",
    "empty": "",
    "`nan`": "nan",
    "`1e400`": "1e400",
    "`-1e15`": "-1e15",
    "`17, 18`": "17, 18",
    "`Thu, 99 Foo 2026`": "Thu, 99 Foo 2026",
    "a date of year 1": "Mon, 01 Jan 0001 00:00:00 +2359",
}


def header(name: str, change: Change, expect: Expect, **more: Any) -> Case:
    return Case("header", name, change, expect, **{"alike": True, "checked": False} | more)


def asked_to_wait(status: int, name: str, value: Value, label: str, wait: float | None) -> Case:
    outcome = LIMITED if status == 429 else RETRIED
    return header(
        f"{status}, `{name}`: {label}",
        headed({name: value}, status),
        everywhere(outcome),
        status=status,
        wait=wait,
        lasts=False,
    )


def headers() -> Iterator[Case]:
    for status in (429, 503):
        for label, value in _IN_40_SECONDS.items():
            yield asked_to_wait(status, "Retry-After", value, label, 41)
        for label, value in _NO_WAIT.items():
            yield asked_to_wait(status, "Retry-After", value, label, None)
        for text, wait in {"17": 18, "1.5": 2.5, " 3 ": 4, "86400": 301, "1e15": 301}.items():
            yield asked_to_wait(status, "Retry-After", text, f"`{text}`", wait)
        for text, wait in {"1500": 2.5, "99999999": 301, "soon": None, "-5": None}.items():
            yield asked_to_wait(status, "retry-after-ms", text, f"`{text}`", wait)
        for name in ("x-ratelimit-reset", "RateLimit-Reset"):
            counts = status == 429
            yield asked_to_wait(status, name, "17", "`17`", 18 if counts else None)
    for label, value in _IN_40_SECONDS.items():
        yield asked_to_wait(429, "X-RateLimit-Reset", value, label, 41)
    for label, value in _NO_WAIT.items():
        yield asked_to_wait(429, "X-RateLimit-Reset", value, label, None)
    yield from _limits()
    yield from _dates()
    yield from _lengths_and_types()


def _limits() -> Iterator[Case]:
    """Yield limits on good answers: the next request waits."""
    resets: dict[str, tuple[Value, float]] = {
        "`17`": ("17", 17),
        "`0`": ("0", 60),
        "`soon`": ("soon", 60),
        "`99999`": ("99999", 120),
        "a date that is past": (later(-4000, http_date), 60),
    } | {label: (value, 40) for label, value in _IN_40_SECONDS.items()}
    for label, (value, wait) in resets.items():
        used_up = {"x-ratelimit-limit": "100", "x-ratelimit-remaining": "0"}
        yield header(
            f"200, `x-ratelimit-remaining`: `0`, `x-ratelimit-reset`: {label}",
            headed({**used_up, "X-RateLimit-Reset": value}),
            everywhere(PAUSED),
            wait=wait,
            lasts=False,
        )
    for text in ("many", "nan", "inf", "1e300", "99"):
        told = headed({"x-ratelimit-limit": text, "x-ratelimit-remaining": text})
        name = f"200, `x-ratelimit-limit` and `-remaining`: `{text}`"
        yield header(name, told, everywhere(TAKEN), lasts=False)


def _dates() -> Iterator[Case]:
    taken: dict[str, Value] = {
        "`yesterday`": "yesterday",
        "empty": "",
        "in a year": later(365 * 86400, http_date),
        "`Fri, 31 Dec 9999 23:59:59 GMT`": "Fri, 31 Dec 9999 23:59:59 GMT",
        "`Mon, 01 Jan 0001 00:00:00 +2359`": "Mon, 01 Jan 0001 00:00:00 +2359",
    }
    for label, value in taken.items():
        change = headed({"date": value, "Date": value})
        yield header(f"`Date`: {label}", change, everywhere(TAKEN), lasts=False)
    for label, value in {
        "`Thu, 01 Jan 1970 00:00:00 GMT`": "Thu, 01 Jan 1970 00:00:00 GMT",
    }.items():
        expect = by_place(TAKEN, (ANOTHER_TIME, TAKEN))
        yield header(f"`Date`: {label}", headed({"date": value}), expect)


def _lengths_and_types() -> Iterator[Case]:
    for text in ("0", "-5", "many", ""):
        change = headed({"Content-Length": text})
        yield header(f"`Content-Length`: {coded(text)}", change, everywhere(TAKEN), lasts=False)
    for label, text in {"`\u00b2`": "\u00b2", "5,000 digits": "9" * 5000}.items():
        change = headed({"Content-Length": text}, 503)
        expect = everywhere(RETRIED)
        yield header(f"503, `Content-Length`: {label}", change, expect, status=503)
    large = headed({"Content-Length": str(10**9)})
    smaller = by_place(TAKEN, ASKED_SMALLER, None, ASKED_SMALLER)
    yield header("`Content-Length`: `1000000000`", large, smaller, lasts=False)
    for text in (
        *("text/html", "image/png", "text/plain; charset=utf-16", "x", ""),
        "application/json; charset=klingon",
    ):
        change = headed({"content-type": text})
        yield header(f"`Content-Type`: {coded(text)}", change, everywhere(TAKEN), lasts=False)
    for text in ("gzip", "deflate"):
        change = headed({"Content-Encoding": text})
        name = f"`Content-Encoding`: `{text}`, but the body is plain"
        yield header(name, change, everywhere(DISCONNECTED))
    for text in ("identity", "klingon"):
        change = headed({"Content-Encoding": text})
        yield header(f"`Content-Encoding`: `{text}`", change, everywhere(TAKEN), lasts=False)
    # A URL that `requests` cannot parse: see integration_tests/test_answers.py.
    for text in ("", "/x", "javascript:x", "//"):
        change = headed({"Location": text}, 302)
        expect = everywhere(REDIRECTED)
        yield header(f"302, `Location`: {coded(text)}", change, expect, status=302)
    cookie = headed({"Set-Cookie": "a=b; expires=never; domain=[; path"})
    yield header("malformed `Set-Cookie`", cookie, everywhere(TAKEN), lasts=False)


CASES = (*statuses(), *connections(), *bodies(), *headers())

# The runs


_NO_HELP = ("Something went wrong in the connector", "The connector has a defect")


class Faulty:
    """A vendor with a fault on one page of an endpoint, a number of times."""

    def __init__(self, vendor: Any, endpoint: str, page: int, change: Change, times: int) -> None:
        self._vendor, self._endpoint, self._page = vendor, endpoint, page
        self._change, self._left = change, times
        self._pages: dict[Any, int] = {}
        self._lock = threading.Lock()
        self.clock = vendor.clock
        # The number of requests for that page.
        self.tries = 0

    def handle(self, request: Any) -> Reply:
        """Answer one request. Pages are numbered in the order of their first requests."""
        strikes = False
        with self._lock:
            if request.path.endswith(self._endpoint):
                # Courier is asked without `limit` if it refuses the request with it.
                told = {name: text for name, text in request.params.items() if name != "limit"}
                asked = (tuple(sorted(told.items())), request.body)
                if self._pages.setdefault(asked, len(self._pages) + 1) == self._page:
                    self.tries += 1
                    self._left -= 1
                    strikes = self._left >= 0
        good = self._vendor.handle(request)
        return self._change(good) if strikes else good


class Run:
    """The output of a sync and its requests."""

    def __init__(self, place: Place, vendor: Any, faulty: Faulty, output: Any) -> None:
        self.place, self.vendor, self.tries = place, vendor, faulty.tries
        self.messages = list(output.get_message_iterator())
        self.said = "\n".join(map(str, self.messages))
        traces = [message.trace for message in self.messages if message.type is Type.TRACE]
        self.errors = [trace.error for trace in traces if trace.type is TraceType.ERROR]
        self.status = [
            trace.stream_status.status for trace in traces if trace.type is TraceType.STREAM_STATUS
        ][-1]
        self.ids = [one.record.data["id"] for one in self.messages if one.type is Type.RECORD]
        self.states = [
            one.state.stream.stream_state.__dict__
            for one in self.messages
            if one.type is Type.STATE
        ]
        self.wanted = place.rows(vendor)

    @property
    def sentence(self) -> str:
        """The error message of the stream."""
        (message,) = (error.message for error in self.errors if error.stream_descriptor)
        return str(message)

    def require_honest_state(self) -> None:
        """Assert that the last state claims no more than the rows that were emitted."""
        if not self.states:
            return
        state = self.states[-1]
        if self.place.context:
            records = self.vendor.records(self.place.context)
            claimed = {one.id for one in records if one.updated_at < state["updated_at"]}
            assert claimed <= set(self.ids)
        elif self.status is AirbyteStreamStatus.COMPLETE:
            assert self.ids == self.wanted
        else:
            _, _, last = base64.b64decode(state["cursor"]).decode().partition(",")
            assert last == self.ids[-1]

    def require_words(self) -> None:
        """Assert that no message is useless to users."""
        # Lists are compared, because pytest takes minutes to explain a match in a long text.
        assert [words for words in _NO_HELP if words in self.said] == []


class Pauses(list[float]):
    """The waits for the rate limit. Nothing sleeps."""


@pytest.fixture(autouse=True)
def pauses(monkeypatch, waits):
    """Small pages, the longest random waits, and clocks that move by every wait."""
    paused = Pauses()
    monotonic, now = time.monotonic, datetime.now

    def waited() -> float:
        return sum(waits) + sum(paused)

    class Condition(threading.Condition):
        def wait(self, timeout: float | None = None) -> bool:
            paused.append(timeout or 0)
            return True

    started = SimpleNamespace(now=lambda: now() + timedelta(seconds=waited()))
    monkeypatch.setattr(backoff_loop, "datetime", SimpleNamespace(datetime=started))
    monkeypatch.setattr(
        rate_limiter, "time", SimpleNamespace(monotonic=lambda: monotonic() + waited())
    )
    monkeypatch.setattr(rate_limiter, "threading", SimpleNamespace(Condition=Condition))
    monkeypatch.setattr(random, "uniform", lambda _low, high: high)
    monkeypatch.setattr(Tags, "page_size", 2)
    # The tests do not read stack traces in the log. To write them takes a fifth of the time.
    monkeypatch.setattr(sys, "tracebacklimit", 0, raising=False)
    return paused


@pytest.fixture
def synced(requests_mock, answer, waits, pauses):
    """Read a stream whose vendor has a fault: `synced(case, place, page, times)`."""

    def synced(case: Case, place: Place, page: int, times: int) -> Run:
        waits.clear()
        pauses.clear()
        vendor = place.vendor()
        faulty = Faulty(vendor, place.endpoint, page, case.change, times)
        answer(requests_mock, place.host, faulty)
        mode = SyncMode.incremental if place.context else SyncMode.full_refresh
        catalog = CatalogBuilder().with_stream(place.stream, mode).build()
        return Run(place, vendor, faulty, read(place.source(), place.config(vendor), catalog))

    return synced


def rows_before(place: Place, page: int) -> int:
    if page == FIRST:
        return 0
    return {MESSAGES: 2, SEARCH: 3, ARCHIVE: 30, LIST: 2}[place]


def tries_without_limit(case: Case, place: Place, page: int) -> int:
    """How many more tries there are, because the refusal may be about `limit`."""
    is_refusal = case.group == "status" and case.name in ("400", "422")
    return int(is_refusal and place is MESSAGES and page == FIRST)


def tries_without_a_fault(place: Place) -> int:
    # All pages of a list except the last are read twice.
    return 2 if place is LIST else 1


def words_of(outcome: Outcome, case: Case, stream: str, context: str) -> list[str]:
    return [
        words.replace("{status}", case.name if case.group == "status" else str(case.status))
        .replace("{stream}", stream)
        .replace("{context}", context)
        for words in outcome.says
    ]


def spots(*, lasting: bool) -> Iterator[Any]:
    """Yield every case at every place. For `alike` see `Case`."""
    for number, (case, (place, page)) in enumerate(itertools.product(CASES, SPOTS)):
        outcome = case.expect(place, page)
        if outcome is None or (lasting and not case.lasts):
            continue
        if not lasting and not outcome.passes and (case.lasts or outcome.failure):
            continue
        # There are eight spots per case and two pages per place. A quarter of them is run.
        if case.alike and (number // 8 + number // 2 + page + lasting) % 4:
            continue
        where = f"{place.stream}-{page}"
        yield pytest.param(case, place, page, id=f"{case.group}-{case.name}-{where}")


def require_all_rows(run: Run) -> None:
    assert run.errors == []
    assert run.status is AirbyteStreamStatus.COMPLETE
    assert sorted(run.ids) == sorted(run.wanted)
    assert run.states
    run.require_honest_state()
    run.require_words()


@pytest.mark.parametrize(("case", "place", "page"), spots(lasting=True))
def test_the_sync_ends_as_the_table_says_when_a_fault_lasts(
    synced, waits, pauses, case, place, page
):
    outcome = case.expect(place, page)
    run = synced(case, place, page, FOR_EVER)
    run.require_words()
    run.require_honest_state()
    if outcome.failure is None:
        assert waits == []
        require_all_rows(run)
        return
    assert {error.failure_type for error in run.errors} == {outcome.failure}
    for words in words_of(outcome, case, place.stream, place.context):
        assert run.sentence.count(words) > 0
    assert run.status is AirbyteStreamStatus.INCOMPLETE
    assert run.ids == run.wanted[: len(run.ids)]
    assert waits == pytest.approx(LONGEST_WAITS[: outcome.tries - 1])
    assert pauses == []
    if not outcome.reads_on:
        assert run.tries == outcome.tries + tries_without_limit(case, place, page)
        shows = 2 if outcome is LINK_ELSEWHERE else 0
        assert len(run.ids) == rows_before(place, page) + shows


@pytest.mark.parametrize(("case", "place", "page"), spots(lasting=False))
def test_a_fault_costs_nothing_but_waits_when_it_passes(synced, waits, pauses, case, place, page):
    outcome = case.expect(place, page)
    run = synced(case, place, page, 1)
    require_all_rows(run)
    expected = [] if not outcome.passes else [case.wait or LONGEST_WAITS[0]]
    assert waits == pytest.approx(expected, abs=1.1)
    if place is not ARCHIVE:  # its pages are requested in parallel, so they wait in parallel
        assert pauses == pytest.approx([case.wait] if outcome is PAUSED else [], abs=1.1)
    if not outcome.reads_on:
        assert run.ids == run.wanted
        assert run.tries == tries_without_a_fault(place) + outcome.passes


LONG_WAITS = [
    pytest.param(case, place, id=f"{case.name}-{place.stream}")
    for case in CASES
    for place in (MESSAGES, SEARCH)
    if case.name.startswith(("429, `Retry-After`", "503, `Retry-After`")) and case.wait in (18, 301)
]


@pytest.mark.parametrize(("case", "place"), LONG_WAITS)
def test_the_tries_end_after_half_an_hour_when_the_vendor_asks_for_long_waits(
    synced, waits, case, place
):
    outcome = case.expect(place, LATER)
    run = synced(case, place, LATER, FOR_EVER)
    run.require_words()
    run.require_honest_state()
    assert {error.failure_type for error in run.errors} == {TRANSIENT}
    assert run.tries == tries_of(outcome, case.wait)
    assert waits == pytest.approx([case.wait] * (run.tries - 1))
    assert run.ids == run.wanted[: rows_before(place, LATER)]


CHECKED = [
    pytest.param(case, place, id=f"{case.group}-{case.name}-{place.stream}")
    for case in CASES
    for place in (MESSAGES, SEARCH)
    if case.checked and case.expect(place, FIRST) is not None
]


@pytest.mark.parametrize(("case", "place"), CHECKED)
def test_check_fails_soon_with_the_same_words_when_a_fault_lasts_and_not_when_it_passes(
    requests_mock, answer, check, case, place
):
    outcome = case.expect(place, FIRST)
    for times in (FOR_EVER, 1):
        vendor = place.vendor()
        faulty = Faulty(vendor, place.endpoint, FIRST, case.change, times)
        answer(requests_mock, place.host, faulty)
        output = check(place.source(), place.config(vendor))
        (result,) = (one.connectionStatus for one in output.connection_status_messages)
        assert [words for words in _NO_HELP if words in str(result.message)] == []
        more = tries_without_limit(case, place, FIRST)
        if outcome.failure is None or (times == 1 and (outcome.passes or more)):
            assert result.status is Status.SUCCEEDED
            assert faulty.tries == 1 + outcome.passes + more
            continue
        assert result.status is Status.FAILED
        assert faulty.tries == min(outcome.tries, 2) + more
        for words in words_of(outcome, case, "customers" if place.context else "messages", ""):
            assert words in result.message


# The page

_INTRODUCTION = """\
# Faults, and what follows

This page lists the faults that the tests try on both sources. `unit_tests/test_fault_matrix.py`
contains the table of cases, makes this page from it, and fails if the two differ. To write the page
again:

    python -m unit_tests.test_fault_matrix > docs/faults.md

How to read the tables:

- **Where** names the kind of stream. "Courier" is the stream `messages`. "Searches" are the streams
  that Kustomer's search serves, such as `conversations`. "The archive" is the part of a search that
  is older than two years. "Lists" are the streams of a GET request, such as `users`.
- **Tries** is the number of requests for one page if the fault lasts. `check` makes at most two.
- **Waits** are the seconds between tries. "Random" waits have the given upper ends. One wait lasts
  at most 300 s, plus one second. After 30 minutes a page is not requested again.
- A fault that passes before the last try only costs the waits. No row is lost, and no row is
  emitted twice.
- **Failure type** is the type in the error trace. A stream that fails has the status INCOMPLETE.
  Its state claims no more than the rows that were emitted.
- **What the user reads** shows parts of the message. `<status>` stands for the HTTP status.
"""
_TITLES = {
    "status": "HTTP statuses",
    "connection": "Connections",
    "body": "Bodies of good answers",
    "header": "Headers",
}
_HEAD = (
    "| fault | where | what happens | tries | waits | failure type | what the user reads "
    "| what to do |\n"
    "| --- | --- | --- | ---: | --- | --- | --- | --- |"
)


def ranges(names: list[str]) -> str:
    """Join names. Numbers are shortened, as in `400, 404-407`."""
    if not all(name.isdigit() for name in names):
        return "; ".join(names)
    found: list[list[int]] = []
    for number in map(int, names):
        if found and number == found[-1][-1] + 1:
            found[-1].append(number)
        else:
            found.append([number])
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in found)


def places(met: list[tuple[Place, int]]) -> str:
    if len(met) == len(SPOTS):
        return "everywhere"
    parts = []
    for place in PLACES:
        pages = [page for one, page in met if one is place]
        if pages:
            page = {(FIRST,): ", first page", (LATER,): ", later page"}.get(tuple(pages), "")
            parts.append(f"{place.name}{page}")
    return "; ".join(parts)


def waiting(outcome: Outcome, wait: float | None) -> str:
    if wait is not None:
        return f"{wait:g} s"
    if not outcome.passes:
        return "none"
    return "random: 1, 2, 4 s" if outcome.tries == 4 else "random: 1, 2, 4, ... 60 s"


def tries_of(outcome: Outcome, wait: float | None) -> int:
    """Return the tries for the table. Waits of five minutes reach the limit of half an hour."""
    return min(outcome.tries, 7) if wait == 301 else outcome.tries


def table(group: str) -> str:
    found: dict[tuple[Any, ...], list[str]] = {}
    for case in CASES:
        if case.group != group:
            continue
        met: dict[Outcome, list[tuple[Place, int]]] = {}
        for place, page in SPOTS:
            outcome = case.expect(place, page)
            if outcome is not None:
                met.setdefault(outcome, []).append((place, page))
        for outcome, where in met.items():
            wait = case.wait if outcome.passes or outcome is PAUSED else None
            found.setdefault((outcome, places(where), wait), []).append(case.name)
    lines = [_HEAD]
    for (outcome, where, wait), names in found.items():
        kind = f"`{outcome.failure.value}`" if outcome.failure else "none"
        said = " ... ".join(outcome.says).replace("{status}", "<status>")
        said = said.replace("{stream}", "<stream>").replace("{context}", "<kind>").strip()
        cells = (
            *(ranges(names), where, outcome.happens, str(tries_of(outcome, wait))),
            *(waiting(outcome, wait), kind, f"`{said}`" if said else "nothing", outcome.advice),
        )
        lines.append(f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |")
    return "\n".join(lines)


def page_of_faults() -> str:
    sections = (f"## {title}\n\n{table(group)}\n" for group, title in _TITLES.items())
    return "\n".join((_INTRODUCTION, *sections))


def test_the_page_tells_what_the_cases_tell_when_it_is_made_anew():
    assert PAGE.read_text(encoding="utf-8") == page_of_faults()


def test_every_case_has_a_name_of_its_own_when_a_failure_is_looked_up():
    names = [(case.group, case.name) for case in CASES]
    assert len(set(names)) == len(names)


if __name__ == "__main__":
    sys.stdout.write(page_of_faults())
