"""The tables of the fake Courier besides its messages: what they contain and how they are served.

A table is made when it is first needed. The rows below a parent are made when they are.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from operator import attrgetter
from typing import Any, Literal

from fake_vendor.clock import iso, to_ms
from fake_vendor.courier_messages import Row
from fake_vendor.courier_rows import RUN_LIFE_MS, Maker
from fake_vendor.courier_switches import CourierSwitches

# How a reply names the next page: P1 to P5 of Courier's SDKs. `paging` has `more` and `cursor`,
# `list` has `has_more` and `cursor` at the top, `cursor` has only that, `next_cursor` only that,
# and `none` has one reply.
Family = Literal["paging", "list", "cursor", "next_cursor", "none"]
Place = tuple[float, float]


@dataclass(frozen=True)
class Limit:
    """A documented `limit`. A value out of the range is refused, unless it is clamped."""

    default: int
    most: int
    is_clamped: bool = False


@dataclass(frozen=True)
class Table:
    """One table and its endpoint. A table without a path is part of the replies of another."""

    path: str
    family: Family
    rows_key: str
    key: tuple[str, ...] = ("id",)
    # The table above, and this table's column with the id of the parent.
    parent: str = ""
    link: str = ""
    # Columns that are not in the reply.
    added: tuple[str, ...] = ()
    limit: Limit | None = None
    # The time that orders the rows, newest first. Otherwise, new rows come last.
    newest: str = ""
    # How many rows there are by default, for a table below a parent: per parent.
    rows: int = 25
    # How long a row is kept, if not for ever.
    life_ms: int = 0


_TWENTY = Limit(20, 100)
_RUNS = Limit(20, 50, is_clamped=True)
_STEP_COLUMNS = ("run_id", "run_created_at", "ordinal")

TABLES = {
    "notification_templates": Table("notifications", "paging", "results"),
    "notification_template_versions": Table(
        "notifications/{}/versions", "paging", "versions", ("notification_id", "version"),
        "notification_templates", "notification_id", ("notification_id", "label"), Limit(10, 10),
        rows=3,
    ),
    "brands": Table("brands", "paging", "results"),
    "lists": Table("lists", "paging", "items"),
    "list_subscriptions": Table(
        "lists/{}/subscriptions", "paging", "items", ("list_id", "recipientId"),
        "lists", "list_id", ("list_id",), rows=3,
    ),
    "audiences": Table("audiences", "paging", "items", rows=12),
    "audience_members": Table(
        "audiences/{}/members", "paging", "items", ("audience_id", "member_id"),
        "audiences", "audience_id", rows=3,
    ),
    "routing_strategies": Table("routing-strategies", "paging", "results", limit=_TWENTY),
    # Its `limit` is documented without figures.
    "broadcasts": Table("broadcasts", "paging", "results", limit=_TWENTY, newest="created_at"),
    "audit_events": Table("audit-events", "paging", "results", ("auditEventId",), rows=60),
    "tenants": Table("tenants", "list", "items", limit=_TWENTY),
    "tenant_users": Table(
        "tenants/{}/users", "list", "items", ("tenant_id", "user_id"),
        "tenants", "tenant_id", limit=_TWENTY, rows=3,
    ),
    "tenant_templates": Table(
        "tenants/{}/templates", "list", "items", ("tenant_id", "id"),
        "tenants", "tenant_id", ("tenant_id",), _TWENTY, rows=2,
    ),
    "preference_sections": Table("preferences/sections", "none", "results", rows=4),
    "preference_topics": Table(
        "", "none", "", parent="preference_sections", link="section_id", added=("section_id",),
        rows=3,
    ),
    "digest_schedules": Table(
        "", "none", "", ("schedule_id",), "preference_topics", "topic_id", ("topic_id",), rows=2,
    ),
    "digest_instances": Table(
        "digests/schedules/{}/instances", "list", "items", ("schedule_id", "digest_instance_id"),
        "digest_schedules", "schedule_id", ("schedule_id",), _TWENTY, rows=3,
    ),
    "preference_logs": Table(
        "preferences/logs", "paging", "items", limit=Limit(25, 100), newest="timestamp", rows=130,
    ),
    "journeys": Table("journeys", "cursor", "templates", ("id", "version")),
    "automations": Table("automations", "cursor", "templates", ("id", "version")),
    "journey_versions": Table(
        "journeys/{}/versions", "paging", "results", ("journey_id", "version"),
        "journeys", "journey_id", ("journey_id", "label"), rows=3,
    ),
    "journey_runs": Table(
        "journeys/runs", "next_cursor", "runs", ("run_id",), limit=_RUNS, newest="created_at",
        rows=60, life_ms=RUN_LIFE_MS,
    ),
    "automation_runs": Table(
        "automations/runs", "next_cursor", "runs", ("run_id",), limit=_RUNS, newest="created_at",
        rows=60, life_ms=RUN_LIFE_MS,
    ),
    "journey_run_steps": Table(
        "journeys/runs/{}/steps", "none", "steps", ("run_id", "ordinal"),
        "journey_runs", "run_id", _STEP_COLUMNS, rows=3,
    ),
    "automation_run_steps": Table(
        "automations/runs/{}/steps", "none", "steps", ("run_id", "ordinal"),
        "automation_runs", "run_id", _STEP_COLUMNS, rows=3,
    ),
}  # fmt: skip
# The first parent has so many more children of a table that pages, so that they are on two pages
# of the largest size. Every fourth parent has none.
_MORE_OF_FIRST = 110
_CHILDLESS_EVERY = 4
# The numbers of the children of a made parent are this far apart. Those of added rows are higher.
_CHILDREN_APART = 100_000
_FIRST_ADDED = 10**15


@dataclass(slots=True)
class Entry:
    """A row at its place in the order of its table. `number` is its number as a parent."""

    place: Place
    number: int
    row: Row
    # Whether its children are made up. Those of a row that a test added are not.
    is_made: bool = True


@dataclass(slots=True)
class _Group:
    """The rows of a table, or of those below one parent, in order."""

    entries: list[Entry] = field(default_factory=list)
    by_key: dict[tuple[Any, ...], Entry] = field(default_factory=dict)


class NoParentError(KeyError):
    """There is no such parent."""


class Tables:
    """The rows of all tables. It has no lock: Courier has."""

    def __init__(self, counts: Mapping[str, int], seed: int, now_ms: int) -> None:
        """Make tables with these numbers of rows. The defaults are in `TABLES`."""
        if unknown := set(counts) - set(TABLES):
            raise ValueError(f"no tables {sorted(unknown)}; there are {', '.join(TABLES)}")
        rows = {name: table.rows for name, table in TABLES.items()} | dict(counts)
        self.maker = Maker(seed, now_ms, rows)
        self._groups: dict[tuple[str, str], _Group] = {}
        self._added = 0

    # Reading.

    def entries(self, name: str, parent: str = "", *, now_ms: int) -> list[Entry]:
        """Return the rows in the order in which they are served. Do not change the list.

        Raises NoParentError if the parent does not exist.
        """
        return self._group(name, parent, now_ms).entries

    def sent(self, name: str, row: Row, switches: CourierSwitches, now_ms: int) -> Row:
        """Return a row as its endpoint serves it."""
        shown = {column: row[column] for column in row if column not in TABLES[name].added}
        if "label" in TABLES[name].added:
            return shown | {"version": row["label"]}
        if name == "audience_members" and str(row["member_id"]).endswith("6"):
            del shown["audience_id"]
        elif name == "audit_events" and switches.audit_target == "text":
            target = row["target"]
            shown["target"] = target["id"] if isinstance(target, dict) else target
        elif name == "preference_sections":
            topics = self.entries("preference_topics", row["id"], now_ms=now_ms)
            shown["topics"] = [
                self.sent("preference_topics", topic.row, switches, now_ms) for topic in topics
            ]
        elif name == "preference_topics" and row["digest"]:
            schedules = self.entries("digest_schedules", row["id"], now_ms=now_ms)
            schedule_rows = [
                self.sent("digest_schedules", one.row, switches, now_ms) for one in schedules
            ]
            shown["digest"] = row["digest"] | {"schedules": schedule_rows}
        return shown

    def rows(self, stream: str, switches: CourierSwitches, now_ms: int) -> list[Row]:
        """Return the rows that a connector emits for a stream, in the order of the replies."""
        if stream == "tenant_preferences":
            tenants = self._all("tenants", switches, now_ms)
            return [
                {"tenant_id": tenant["id"], **item}
                for tenant in tenants
                for item in (tenant["default_preferences"] or {}).get("items") or ()
            ]
        return [
            self._emitted(stream, row, switches, now_ms)
            for row in self._all(stream, switches, now_ms)
        ]

    def _emitted(self, name: str, row: Row, switches: CourierSwitches, now_ms: int) -> Row:
        table = TABLES[name]
        added = {column: row[column] for column in table.added if column in row}
        shown = self.sent(name, row, switches, now_ms) | added
        if table.link:
            shown[table.link] = row[table.link]
        if "label" in table.added:
            shown["version"] = row["version"]
        elif name == "notification_templates":
            shown = _normal(shown)
        elif name == "digest_schedules":
            digest = self._parent(name, row["topic_id"], now_ms).row["digest"] or {}
            shown |= {column: digest.get(column) for column in ("template_id", "audience_id")}
        elif table.added == _STEP_COLUMNS:
            run = self._parent(name, row["run_id"], now_ms).row
            shown["run_created_at"] = run.get("created_at")
        return shown

    def _all(self, name: str, switches: CourierSwitches, now_ms: int) -> Iterator[Row]:
        gone = switches.gone if TABLES[name].path else ()
        for parent in self.parents(name, now_ms):
            if parent not in gone:
                yield from (entry.row for entry in self.entries(name, parent, now_ms=now_ms))

    def parents(self, name: str, now_ms: int) -> Iterable[str]:
        """Return the ids of the parents of a table's rows; an empty id for a table without any."""
        above = TABLES[name].parent
        if not above:
            return ("",)
        entries = (
            entry
            for grandparent in self.parents(above, now_ms)
            for entry in self.entries(above, grandparent, now_ms=now_ms)
        )
        return dict.fromkeys(entry.row[TABLES[above].key[0]] for entry in entries)

    # Changing.

    def add(self, name: str, fields: Mapping[str, Any], now_ms: int) -> Row:
        """Add a row. `fields` replace those of a made-up row."""
        table = TABLES[name]
        parent = fields[table.link] if table.link else ""
        group = self._group(name, parent, now_ms)
        above = self._parent(name, parent, now_ms).row if table.link else {}
        self._added += 1
        number, place = _FIRST_ADDED + self._added, _CHILDREN_APART + self._added
        row = self.maker.make(name, number, above, place, place + 1)
        if "label" in table.added:
            row |= {"created": now_ms, "label": fields.get("version", row["label"])}
        row |= fields
        if table.newest and table.newest not in fields:
            row[table.newest] = iso(now_ms)
        if "ordinal" in table.added:
            row["ordinal"] = len(group.entries)
        if _key(table, row) in group.by_key:
            raise ValueError(f"{name} has a row {_key(table, row)} already")
        spot = -number if "label" in table.added else number
        self._put(group, table, Entry(_place(table, row, spot), number, row, is_made=False))
        return row

    def change(self, name: str, key: Any, fields: Mapping[str, Any], now_ms: int) -> Row:
        """Change fields of the row with this key. The key of several columns is a tuple."""
        table, group = TABLES[name], self._holding(name, key, now_ms)
        entry = self._take(group, table, key)
        row = entry.row | dict(fields)
        is_ordered = table.newest or table.family == "cursor"
        place = _place(table, row, entry.number) if is_ordered else entry.place
        self._put(group, table, Entry(place, entry.number, row, entry.is_made))
        return row

    def remove(self, name: str, key: Any, now_ms: int) -> None:
        """Remove the row with this key."""
        table, group = TABLES[name], self._holding(name, key, now_ms)
        self._take(group, table, key)
        if "ordinal" in table.added:
            for ordinal, entry in enumerate(group.entries):
                entry.row = entry.row | {"ordinal": ordinal}
            group.by_key = {_key(table, entry.row): entry for entry in group.entries}

    def _holding(self, name: str, key: Any, now_ms: int) -> _Group:
        """Return the rows among which the row with this key is."""
        table, values = TABLES[name], _as_key(key)
        if table.link in table.key:
            return self._group(name, values[table.key.index(table.link)], now_ms)
        for parent in self.parents(name, now_ms):
            group = self._group(name, parent, now_ms)
            if values in group.by_key:
                return group
        raise KeyError(f"{name} has no row {key!r}")

    @staticmethod
    def _put(group: _Group, table: Table, entry: Entry) -> None:
        insort(group.entries, entry, key=attrgetter("place"))
        group.by_key[_key(table, entry.row)] = entry

    @staticmethod
    def _take(group: _Group, table: Table, key: Any) -> Entry:
        entry = group.by_key.pop(_as_key(key))
        del group.entries[bisect_left(group.entries, entry.place, key=attrgetter("place"))]
        return entry

    # Making.

    def _group(self, name: str, parent: str, now_ms: int) -> _Group:
        above = self._parent(name, parent, now_ms) if TABLES[name].link else None
        if (name, parent) not in self._groups:
            self._groups[name, parent] = self._made(name, above)
        group = self._groups[name, parent]
        if TABLES[name].life_ms:
            _drop_old(TABLES[name], group, now_ms)
        return group

    def _parent(self, name: str, ident: str, now_ms: int) -> Entry:
        """Return the row above. Raises NoParentError if there is none, or if it is too old."""
        above = TABLES[name].parent
        keys: list[tuple[Any, ...]] = [(ident,)]
        if len(TABLES[above].key) > 1:
            keys = [(ident, "published"), (ident, "draft")]
        for grandparent in self.parents(above, now_ms):
            group = self._group(above, grandparent, now_ms)
            for key in keys:
                if entry := group.by_key.get(key):
                    return entry
        raise NoParentError(ident)

    def _made(self, name: str, above: Entry | None) -> _Group:
        table, count = TABLES[name], self.maker.counts[name]
        first, parent = 0, above.row if above else {}
        if above:
            first = above.number * _CHILDREN_APART
            if not above.is_made or above.number % _CHILDLESS_EVERY == _CHILDLESS_EVERY - 1:
                count = 0
            elif above.number == 0 and count and table.path and table.family != "none":
                count += _MORE_OF_FIRST
            if name == "digest_schedules" and not parent["digest"]:
                count = 0
        group = _Group()
        for place in range(count):
            row = self.maker.make(name, first + place, parent, place, count)
            if "ordinal" in table.added:
                row["ordinal"] = place
            entry = Entry(_place(table, row, first + place), first + place, row)
            group.entries.append(entry)
            group.by_key[_key(table, row)] = entry
        group.entries.sort(key=attrgetter("place"))
        return group


def _place(table: Table, row: Row, number: int) -> Place:
    """Return the place of a row. Rows without the time that orders them come last."""
    if table.family == "cursor":
        # The published ones and the drafts are two lists.
        return row["version"] == "draft", number
    if not table.newest:
        return 0, number
    text = row.get(table.newest)
    return (-to_ms(datetime.fromisoformat(text)) if text else math.inf), number


def _drop_old(table: Table, group: _Group, now_ms: int) -> None:
    """Remove the rows that are too old to be kept. A row without a time has no age."""
    place = attrgetter("place")
    start = bisect_left(group.entries, (table.life_ms - now_ms + 1, -math.inf), key=place)
    end = bisect_left(group.entries, (math.inf, -math.inf), key=place)
    for entry in group.entries[start:end]:
        del group.by_key[_key(table, entry.row)]
    del group.entries[start:end]


def _key(table: Table, row: Row) -> tuple[Any, ...]:
    return tuple(row[column] for column in table.key)


def _as_key(key: Any) -> tuple[Any, ...]:
    return tuple(key) if isinstance(key, tuple | list) else (key,)


def _normal(template: Row) -> Row:
    """Return a template with the columns that both of its shapes have."""
    shown = dict(template)
    for column, other in (("name", "title"), ("created", "created_at"), ("updated", "updated_at")):
        if shown.get(column) is None and other in template:
            shown[column] = template[other]
    if isinstance(template["tags"], dict):
        shown["tag_data"] = template["tags"]["data"]
        shown["tags"] = [tag["name"] for tag in template["tags"]["data"]]
    return shown
