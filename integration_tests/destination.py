"""A made-up destination that is as strict as the worst of the real ones.

It refuses a line that is not strict UTF-8 JSON. It keeps what the catalog's schemas declare and
drops every other key, at the top and in every object with declared `properties`. A value that does
not have its declared type becomes null. Rows are merged by `id`, the latest wins. A full refresh
replaces its table when the stream completes, and not before.

    destination = Destination({"users": schema})
    destination.begin("users", overwrite=True, resumed=False)
    for line in output:
        destination.take(line)
    destination.tables["users"], destination.states["users"]
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

Row = dict[str, Any]

_TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "object": (dict,),
    "array": (list,),
}
_ENDS = frozenset({"COMPLETE", "INCOMPLETE"})
# RFC 3339, and nothing else that Python would read.
_DATE = re.compile(
    r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(\.\d+)?([Zz]|[+-]\d{2}:\d{2})", re.ASCII
)
_SURROGATE = re.compile("[\ud800-\udfff]")


class RefusedError(Exception):
    """A line, or an order of lines, that the destination does not take."""


@dataclass
class Copy:
    """What a destination holds of one stream, and what its state is a statement about."""

    # The table that users see, by id.
    rows: dict[str, Row] = field(default_factory=dict)
    # The table that a full refresh builds. None while there is none.
    next_rows: dict[str, Row] | None = None
    # Whether the last state speaks of the table being built.
    is_of_next: bool = False
    # The last state, as the source wrote it.
    state: dict[str, Any] | None = None
    # How the last sync of the stream ended, by its own word.
    status: str = ""

    @property
    def claimed(self) -> dict[str, Row]:
        """The rows that the state speaks of."""
        return self.next_rows if self.is_of_next and self.next_rows is not None else self.rows


class Destination:
    """Takes the lines of one sync after the other."""

    def __init__(self, schemas: Mapping[str, Mapping[str, Any]]) -> None:
        """Make an empty table for each stream of a catalog."""
        self._schemas = schemas
        self.copies = {stream: Copy() for stream in schemas}
        self._overwritten: set[str] = set()
        # How often the sync said of a stream that it runs, after the stream had ended.
        self.late_statuses = 0
        # Every row of the sync so far, as it was kept.
        self.arrived: list[tuple[str, Row]] = []

    def begin_sync(self) -> None:
        """Forget which streams the last sync had."""
        self._overwritten.clear()
        self.arrived.clear()
        self.late_statuses = 0
        for copy in self.copies.values():
            copy.status = ""

    def begin(self, stream: str, *, overwrite: bool, resumed: bool) -> None:
        """Make ready for a stream. A resumed full refresh goes on with the table it was building.

        Where an unfinished full refresh is followed by an incremental sync, what it built is
        merged into the table.
        """
        copy = self.copies[stream]
        if overwrite:
            self._overwritten.add(stream)
            if not resumed or copy.next_rows is None:
                copy.next_rows, copy.is_of_next = {}, False
        elif copy.next_rows is not None:
            copy.rows |= copy.next_rows
            copy.next_rows, copy.is_of_next = None, False

    def clear(self, stream: str) -> None:
        """Forget a stream, as "clear data" does."""
        self.copies[stream] = Copy()

    def take(self, line: bytes) -> dict[str, Any]:
        """Take one line and return its message. Raises RefusedError."""
        message = _strict(line)
        kind = message.get("type")
        if kind == "RECORD":
            self._write(message["record"]["stream"], message["record"]["data"])
        elif kind == "STATE":
            stream = message["state"]["stream"]["stream_descriptor"]["name"]
            copy = self.copies[stream]
            copy.state = message["state"]
            copy.is_of_next = stream in self._overwritten
        elif kind == "TRACE" and message["trace"]["type"] == "STREAM_STATUS":
            told = message["trace"]["stream_status"]
            self._end(told["stream_descriptor"]["name"], told["status"])
        return message

    def _write(self, stream: str, data: Row) -> None:
        copy = self.copies[stream]
        if copy.status in _ENDS:
            raise RefusedError(f"a row of {stream} behind the end of the stream")
        row = _pruned(data, self._schemas[stream])
        if not isinstance(row, dict) or not isinstance(row.get("id"), str):
            raise RefusedError(f"a row of {stream} without a primary key")
        rows = copy.next_rows if stream in self._overwritten else copy.rows
        if rows is None:
            raise RefusedError(f"a row of {stream}, which the sync did not ask for")
        rows[row["id"]] = row
        self.arrived.append((stream, row))

    def _end(self, stream: str, status: str) -> None:
        copy = self.copies[stream]
        if copy.status in _ENDS:
            if status in _ENDS:
                raise RefusedError(f"{stream} is {status} after it was {copy.status}")
            # A request that is still under way may wait for the rate limit, and say so.
            self.late_statuses += 1
            return
        copy.status = status
        if status == "COMPLETE" and stream in self._overwritten and copy.next_rows is not None:
            copy.rows, copy.next_rows, copy.is_of_next = copy.next_rows, None, False


def _refused_constant(text: str) -> None:
    raise ValueError(f"{text} is not JSON")


def _strict(line: bytes) -> dict[str, Any]:
    if not line.endswith(b"\n"):
        raise RefusedError(f"half a line: {line[-200:]!r}")
    try:
        text = line.decode()
        message = json.loads(text, parse_constant=_refused_constant)
    except (ValueError, RecursionError) as error:
        raise RefusedError(f"not strict JSON ({error}): {line[:200]!r}") from None
    if "\\u" in text and _SURROGATE.search(json.dumps(message, ensure_ascii=False)):
        raise RefusedError(f"half of a surrogate pair: {line[:200]!r}")
    if not isinstance(message, dict):
        raise RefusedError(f"not a message: {line[:200]!r}")
    return message


def _pruned(value: Any, schema: Mapping[str, Any]) -> Any:
    """The value as it is kept: declared keys alone, and null for what has another type."""
    if value is None or not _has_type(value, schema):
        return None
    if isinstance(value, dict) and "properties" in schema:
        declared = schema["properties"]
        return {key: _pruned(item, declared[key]) for key, item in value.items() if key in declared}
    if isinstance(value, list) and schema.get("items"):
        return [_pruned(item, schema["items"]) for item in value]
    return value


def _has_type(value: Any, schema: Mapping[str, Any]) -> bool:
    given = schema.get("type")
    if given is None:
        return True
    names = [given] if isinstance(given, str) else given
    if isinstance(value, bool):
        return "boolean" in names
    if not any(isinstance(value, _TYPES.get(name, ())) for name in names):
        return False
    return schema.get("format") != "date-time" or _is_date(value)


def _is_date(value: Any) -> bool:
    if not isinstance(value, str) or not _DATE.fullmatch(value):
        return False
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return False
    return True
