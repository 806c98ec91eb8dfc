"""A fake destination that is as strict as the strictest real one.

It refuses a line that is not strict UTF-8 JSON. It keeps what the catalog's schemas declare and
drops every other key, at the top and in every object with declared `properties`. A value without
its declared type becomes null. Rows are merged by `id`, and the latest one wins. A full refresh
replaces its table only when the stream completes.

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
# RFC 3339 only. Python would also parse other formats.
_DATE = re.compile(
    r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(\.\d+)?([Zz]|[+-]\d{2}:\d{2})", re.ASCII
)
_SURROGATE = re.compile("[\ud800-\udfff]")


class RefusedError(Exception):
    """The destination does not accept a line, or the order of lines."""


@dataclass
class Copy:
    """The rows of one stream in a destination, and the table that its state describes."""

    # The table that users see, by id.
    rows: dict[str, Row] = field(default_factory=dict)
    # The table that a full refresh builds. None if no full refresh is unfinished.
    next_rows: dict[str, Row] | None = None
    # Whether the last state describes the table that is being built.
    is_of_next: bool = False
    # The last state, as the source wrote it.
    state: dict[str, Any] | None = None
    # The last status that the stream emitted in this sync.
    status: str = ""

    @property
    def claimed(self) -> dict[str, Row]:
        """The rows of the table that the state describes."""
        return self.next_rows if self.is_of_next and self.next_rows is not None else self.rows


class Destination:
    """Takes the lines of one sync after another."""

    def __init__(self, schemas: Mapping[str, Mapping[str, Any]]) -> None:
        """Make an empty table for each stream of a catalog."""
        self._schemas = schemas
        self.copies = {stream: Copy() for stream in schemas}
        self._overwritten: set[str] = set()
        # How often the sync emitted a running status of a stream after the stream had ended.
        self.late_statuses = 0
        # Every row of the sync so far, as it was stored.
        self.arrived: list[tuple[str, Row]] = []

    def begin_sync(self) -> None:
        """Forget which streams the last sync had."""
        self._overwritten.clear()
        self.arrived.clear()
        self.late_statuses = 0
        for copy in self.copies.values():
            copy.status = ""

    def begin(self, stream: str, *, overwrite: bool, resumed: bool) -> None:
        """Prepare for a stream. A resumed full refresh continues with the table that it built.

        If an incremental sync follows an unfinished full refresh, that table is merged into the
        other one.
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
        """Delete the rows and the state of a stream, as "clear data" does."""
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
            # A request that is still under way may report that it waits for the rate limit.
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
    """Return the value as it is stored: only declared keys, and null for other types."""
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
