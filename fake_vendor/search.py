"""Kustomer's search: parses and checks a request body, and answers it from an index."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from operator import attrgetter
from random import Random
from typing import Any, Literal
from zoneinfo import ZoneInfo

import orjson

from fake_vendor.clock import to_ms
from fake_vendor.data import SEARCH_KINDS, Record, klass_of

FAR_MS = 1 << 60

# The vendor's OpenAPI forbids other keys. The archive does not accept these three.
_SEARCH_ONLY = frozenset(("searchHash", "aggs", "fields"))
_ARCHIVE_KEYS = frozenset(
    ("queryContext", "includeDeleted", "timeZone", "and", "or", "not", "sort"),
)
_MAX_CRITERIA = 20
_MAX_SORTS = 5

_FIELDS = {
    "id": "id",
    "created_at": "created_ms",
    "updated_at": "updated_ms",
    "modified_at": "modified_ms",
    "sent_at": "created_ms",
    "deleted": "deleted",
    "handle_completed_at": "completed_ms",
}
_COMMON = frozenset(("id", "created_at", "updated_at"))
# A search cannot use modified_at for messages and kobjects. Only messages have sent_at.
_ATTRIBUTES = {
    "customer": _COMMON | {"modified_at", "deleted"},
    "conversation": _COMMON | {"modified_at", "deleted"},
    "message": _COMMON | {"sent_at"},
    "note": _COMMON | {"modified_at", "deleted"},
    "kobject": _COMMON,
    "company": frozenset(("id",)),
    "conversation_time": frozenset(("id", "created_at")),
    "work_session": frozenset(("id",)),
    "work_item": frozenset(("id",)),
}
# Undocumented attributes that readers in production search by. The switch `undocumented` says what
# a search does with them.
_UNDOCUMENTED = {
    "company": frozenset(("updated_at", "created_at")),
    "conversation_time": frozenset(("created_at",)),
    "work_session": frozenset(("updated_at", "created_at")),
    "work_item": frozenset(("updated_at", "created_at", "handle_completed_at")),
}
Undocumented = Literal["supported", "refused", "ignored", "empty"]
KlassSearch = Literal["supported", "refused", "ignored"]
_ARCHIVE_ATTRIBUTES = {
    "customer": _COMMON | {"deleted"},
    "conversation": _COMMON | {"deleted"},
    "message": _COMMON,
    "kobject": _COMMON,
    "company": _COMMON,
}

Test = Callable[[Record], bool]
SortKey = tuple[str, bool]


class BadQueryError(Exception):
    """The API does not accept the body. The text says why."""


@dataclass(frozen=True)
class Broken:
    """What a search does wrong: names such as `customer_updated_at:gte`, `customer_updated_at`.

    It ignores some bounds, shifts others (gte to gt, lt to lte), and turns some orders round or
    refuses them.
    """

    ignored: Container[str] = ()
    shifted: Container[str] = ()
    reversed: Container[str] = ()
    refused: Container[str] = ()


@dataclass(frozen=True)
class Query:
    """A checked search: updatedAt in [low, high), more tests, and the order as (field, desc)."""

    context: str
    include_deleted: bool
    low_ms: int
    high_ms: int
    tests: tuple[Test, ...]
    sort: tuple[SortKey, ...]
    criteria: Mapping[str, Any]


def read_query(
    body: bytes,
    *,
    archive: bool,
    undocumented: Undocumented = "supported",
    supported: Container[str] = (),
    klass_search: KlassSearch = "supported",
    broken: Broken = Broken(),
) -> Query:
    """Parse a search body. Raises BadQueryError if the vendor's specification forbids it.

    `undocumented` says what to do with undocumented attributes, except those in `supported`.
    `klass_search` says what to do with the context of one klass, `kobject_<klass>`.
    """
    try:
        asked = orjson.loads(body) if body else {}
    except orjson.JSONDecodeError:
        raise BadQueryError("invalid JSON") from None
    if not isinstance(asked, dict):
        raise BadQueryError("body must be an object")
    allowed = _ARCHIVE_KEYS if archive else _ARCHIVE_KEYS | _SEARCH_ONLY
    if unknown := sorted(asked.keys() - allowed):
        raise BadQueryError(f"body should NOT have additional properties: {', '.join(unknown)}")
    context = asked.get("queryContext", "customer")
    attributes = _ARCHIVE_ATTRIBUTES if archive else _ATTRIBUTES
    context, _, klass = context.partition("_") if _is_klass(context) else (context, "", "")
    if klass and klass_search == "refused":
        raise BadQueryError(f"queryContext is not supported: kobject_{klass}")
    if context not in SEARCH_KINDS or context not in attributes:
        raise BadQueryError(f"queryContext is not supported: {context}")
    include_deleted = asked.get("includeDeleted", False)
    if not isinstance(include_deleted, bool):
        raise BadQueryError("includeDeleted should be boolean")
    known = frozenset[str]() if archive else _UNDOCUMENTED.get(context, frozenset())
    secret = frozenset(name for name in known if f"{context}_{name}" not in supported)
    if undocumented == "empty" and _mentions(asked, context, secret):
        return Query(context, False, 0, 0, (), (), {})
    if undocumented == "ignored":
        asked = _without_attributes(asked, context, secret)
    names = attributes[context] | (known if undocumented == "supported" else known - secret)
    names -= secret if undocumented == "refused" else frozenset()
    reader = _Reader(context, names, _zone(asked.get("timeZone", "GMT")), broken)
    low, high = -FAR_MS, FAR_MS
    tests: list[Test] = []
    if klass and klass_search == "supported":
        tests.append(lambda record: klass_of(record) == klass)
    for field, operator, value in reader.criteria("and", asked.get("and", [])):
        if field == "updated_ms" and operator in ("equals", "gt", "gte", "lt", "lte"):
            if operator in ("equals", "gt", "gte"):
                low = max(low, value + (operator == "gt"))
            if operator in ("equals", "lt", "lte"):
                high = min(high, value + (operator != "lt"))
        else:
            tests.append(_test(field, operator, value))
    either = [_test(*one) for one in reader.criteria("or", asked.get("or", []))]
    if either:
        tests.append(lambda record: any(test(record) for test in either))
    neither = [_test(*one) for one in reader.criteria("not", asked.get("not", []))]
    if neither:
        tests.append(lambda record: not any(test(record) for test in neither))
    sort = tuple(reader.sort(asked.get("sort", [])))
    criteria = {key: asked[key] for key in ("and", "or", "not") if key in asked}
    return Query(context, include_deleted, low, high, tuple(tests), sort, criteria)


def _is_klass(context: Any) -> bool:
    return isinstance(context, str) and context.startswith("kobject_")


def _mentions(asked: Mapping[str, Any], context: str, names: frozenset[str]) -> bool:
    """Return whether a criterion or sort of a body uses one of the attributes."""
    clauses = [item for name in ("and", "or", "not", "sort") for item in asked.get(name, [])]
    return any(f"{context}_{name}" in item for item in clauses for name in names)


def _without_attributes(
    asked: Mapping[str, Any], context: str, names: frozenset[str]
) -> dict[str, Any]:
    """Return the body without the criteria and sorts that use these attributes."""
    spelled = {f"{context}_{name}" for name in names}
    return {
        key: [item for item in value if not spelled & item.keys()]
        if key in ("and", "or", "not", "sort")
        else value
        for key, value in asked.items()
    }


class Index:
    """The records of one context that a search can find, ordered by updatedAt, then by arrival."""

    def __init__(self, records: Iterable[Record]) -> None:
        """Index the records."""
        self._all = sorted(records, key=_place)
        self._live = [record for record in self._all if not record.deleted]
        self._by_id = {record.id: record for record in self._all}

    def put(self, record: Record) -> None:
        """Add a record, or replace its older version."""
        self.drop(record.id)
        self._by_id[record.id] = record
        for rows in self._lists(record):
            rows.insert(bisect_left(rows, _place(record), key=_place), record)

    def drop(self, ident: str) -> None:
        """Remove a record if it exists."""
        old = self._by_id.pop(ident, None)
        if old is not None:
            for rows in self._lists(old):
                del rows[bisect_left(rows, _place(old), key=_place)]

    def _lists(self, record: Record) -> list[list[Record]]:
        return [self._all] if record.deleted else [self._all, self._live]

    def page(
        self, query: Query, low_ms: int, high_ms: int, start: int, stop: int, shuffle: Random | None
    ) -> tuple[list[Record], int]:
        """Return the rows from `start` to `stop` of the result, and the total number of rows.

        Rows with equal sort values are in order of arrival, or in a new order every time.
        """
        rows = self._all if query.include_deleted else self._live
        low = bisect_left(rows, max(low_ms, query.low_ms), key=_updated)
        high = bisect_left(rows, min(high_ms, query.high_ms), lo=low, key=_updated)
        if not query.tests and len(query.sort) == 1 and query.sort[0][0] == "updated_ms":
            stop = min(stop, high - low)
            return _cut(rows, low, high, start, stop, query.sort[0][1], shuffle), high - low
        found = [row for row in rows[low:high] if all(test(row) for test in query.tests)]
        found.sort(key=_order)
        for field, descending in reversed(query.sort):
            found.sort(key=attrgetter(field), reverse=descending)
        if shuffle:
            fields = [attrgetter(field) for field, _ in query.sort]
            groups = groupby(found, lambda row: tuple(field(row) for field in fields))
            found = [row for _, group in groups for row in _shuffled(group, shuffle)]
        return found[start:stop], len(found)


_place = attrgetter("updated_ms", "order")
_updated = attrgetter("updated_ms")
_order = attrgetter("order")


def _shuffled(rows: Iterable[Record], random: Random) -> list[Record]:
    shuffled = list(rows)
    random.shuffle(shuffled)
    return shuffled


def _cut(
    rows: list[Record],
    low: int,
    high: int,
    start: int,
    stop: int,
    descending: bool,
    shuffle: Random | None,
) -> list[Record]:
    """Cut a page out of rows[low:high]. Only the tie groups of the page are sorted or copied."""
    if start >= stop:
        return []
    if not descending and shuffle is None:
        return rows[low + start : low + stop]
    first, last = (high - stop, high - start) if descending else (low + start, low + stop)
    first = bisect_left(rows, rows[first].updated_ms, low, first, key=_updated)
    last = bisect_right(rows, rows[last - 1].updated_ms, last, high, key=_updated)
    groups = [list(group) for _, group in groupby(rows[first:last], _updated)]
    if shuffle:
        groups = [_shuffled(group, shuffle) for group in groups]
    if descending:
        groups.reverse()
    flat = [row for group in groups for row in group]
    skipped = high - last if descending else first - low
    return flat[start - skipped : stop - skipped]


class _Reader:
    """Parses the criteria and sorts of one body."""

    def __init__(
        self, context: str, attributes: frozenset[str], zone: ZoneInfo, broken: Broken
    ) -> None:
        self._fields = {f"{context}_{name}": _FIELDS[name] for name in attributes}
        self._context = context
        self._zone = zone
        self._broken = broken

    def criteria(self, clause: str, given: Any) -> list[tuple[str, str, Any]]:
        found = []
        for item in _items(clause, given, _MAX_CRITERIA):
            for attribute, operators in item.items():
                field = self._field(attribute)
                if not isinstance(operators, dict) or not operators:
                    raise BadQueryError(f"{attribute} should be an object of operators")
                for operator, value in operators.items():
                    read = self._value(attribute, field, operator, value)
                    if f"{attribute}:{operator}" in self._broken.ignored:
                        continue
                    is_shifted = f"{attribute}:{operator}" in self._broken.shifted
                    used = {"gte": "gt", "lt": "lte"}[operator] if is_shifted else operator
                    found.append((field, used, read))
        return found

    def sort(self, given: Any) -> list[SortKey]:
        found = []
        for item in _items("sort", given, _MAX_SORTS):
            for attribute, direction in item.items():
                if direction not in ("asc", "desc"):
                    raise BadQueryError(f"sort direction should be asc or desc: {direction}")
                if attribute in self._broken.refused:
                    raise BadQueryError(f"{attribute} cannot be sorted by")
                is_reversed = attribute in self._broken.reversed
                found.append((self._field(attribute), direction == "desc" or is_reversed))
        return found

    def _field(self, attribute: str) -> str:
        if attribute not in self._fields:
            raise BadQueryError(f"{attribute} is not an attribute of {self._context}")
        return self._fields[attribute]

    def _value(self, attribute: str, field: str, operator: str, value: Any) -> Any:
        if operator not in _OPERATORS[field.rpartition("_ms")[1] or field]:
            raise BadQueryError(f"operator {operator} is not supported by {attribute}")
        if operator == "not_set":
            return None
        if operator == "in":
            if not isinstance(value, list):
                raise BadQueryError(f"{attribute}.in should be an array")
            return frozenset(self._scalar(attribute, field, one) for one in value)
        return self._scalar(attribute, field, value)

    def _scalar(self, attribute: str, field: str, value: Any) -> Any:
        if field == "deleted":
            if not isinstance(value, bool):
                raise BadQueryError(f"{attribute} should be boolean")
            return value
        if not isinstance(value, str):
            raise BadQueryError(f"{attribute} should be a string")
        return _instant(attribute, value, self._zone) if field.endswith("_ms") else value


_OPERATORS = {
    "_ms": frozenset(("equals", "in", "gt", "gte", "lt", "lte", "not_set")),
    "id": frozenset(("equals", "in", "gt", "gte", "lt", "lte", "contains", "not_set")),
    "deleted": frozenset(("equals", "in", "not_set")),
}

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_STAMP = re.compile(r"(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2})(?:\.(\d{1,9}))?(?:Z|\+00:?00)")


def _instant(attribute: str, text: str, zone: ZoneInfo) -> int:
    """Parse a date or a UTC time. A date starts in the body's zone. A UTC time ignores the zone."""
    try:
        if _DAY.fullmatch(text):
            return to_ms(datetime.fromisoformat(text).replace(tzinfo=zone))
        if match := _STAMP.fullmatch(text):
            fraction = timedelta(milliseconds=int((match[2] or "").ljust(3, "0")[:3]))
            return to_ms(datetime.fromisoformat(match[1]) + fraction)
    except ValueError:
        pass
    raise BadQueryError(f"{attribute} is not a valid date: {text}")


def _zone(name: Any) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, TypeError, KeyError):
        raise BadQueryError(f"timeZone is not known: {name}") from None


def _items(clause: str, given: Any, most: int) -> list[dict[str, Any]]:
    items = given if isinstance(given, list) else [given]
    if len(items) > most:
        raise BadQueryError(f"{clause} should NOT have more than {most} items")
    if not all(isinstance(item, dict) for item in items):
        raise BadQueryError(f"{clause} should be an object or an array of objects")
    if any(item in items[:position] for position, item in enumerate(items)):
        raise BadQueryError(f"{clause} should NOT have duplicate items")
    return items


def _test(field: str, operator: str, value: Any) -> Test:
    get = attrgetter(field)
    tests: dict[str, Test] = {
        "equals": lambda record: bool(get(record) == value),
        "in": lambda record: get(record) in value,
        "gt": lambda record: bool(get(record) > value),
        "gte": lambda record: bool(get(record) >= value),
        "lt": lambda record: bool(get(record) < value),
        "lte": lambda record: bool(get(record) <= value),
        # The test compares whole words, and an id is one word.
        "contains": lambda record: bool(get(record).lower() == value.lower()),
        "not_set": lambda _: False,
    }
    return tests[operator]
