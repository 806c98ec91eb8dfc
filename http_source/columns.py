"""Fits rows to the columns of a schema, so that a destination drops no value. Pure.

A destination writes only the columns that the schema declares. It drops every other key of a row.
In an object with declared `properties`, it drops every other key of that object. So nested objects
have no declared properties in our schemas. A value without a column goes to a column that takes
everything: `additional_attributes`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import NoneType
from typing import Any

Row = dict[str, Any]

ADDITIONAL = "additional_attributes"

_DESCRIPTION = (
    "What the vendor sends and this table has no column for, by name: attributes that are new, and "
    "values that do not have their column's type."
)
_PYTHON_TYPES: Mapping[str, frozenset[type]] = {
    "string": frozenset({NoneType, str}),
    "integer": frozenset({NoneType, int}),
    "number": frozenset({NoneType, int, float}),
    "boolean": frozenset({NoneType, bool}),
    "object": frozenset({NoneType, dict}),
    "array": frozenset({NoneType, list}),
}
_NO_TYPE: frozenset[type] = frozenset()
_parse = datetime.fromisoformat
# Destinations accept this as a timestamp with time zone (RFC 3339, 5.6).
_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")


class _DoesNotFit(Exception):  # noqa: N818 - not a failure
    pass


def with_additional_attributes(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Add the column `additional_attributes` to the JSON schema of a stream."""
    column = {
        "description": _DESCRIPTION,
        "type": ["null", "object"],
        "additionalProperties": True,
    }
    return {**schema, "properties": {**schema["properties"], ADDITIONAL: column}}


class Columns:
    """Fits rows to the columns of a schema. Each column has one type beside null.

    A value of another type is converted if this loses nothing: a value in a column of lists becomes
    a list of one, a plain ID becomes `{"id": ...}`, a number or boolean becomes text. A date in
    another format than RFC 3339 is converted to it, in UTC. The original text of the date goes to
    `additional_attributes`. Any other value moves there unchanged, and so does a key without a
    column.
    """

    def __init__(self, schema: Mapping[str, Any]) -> None:
        """`schema` is the JSON schema of a stream. Its top level has `properties`."""
        self._types: dict[str, frozenset[type]] = {}
        self._dates: list[str] = []
        self._items: list[tuple[str, frozenset[type]]] = []
        self._convert: dict[str, Callable[[Any], Any]] = {}
        # Keys without a column, and columns that did not fit a value.
        self.unknown: set[str] = set()
        self.unfit: set[str] = set()
        for name, column in schema["properties"].items():
            if name == ADDITIONAL:
                continue
            kind = _single_type(column)
            self._types[name] = _PYTHON_TYPES[kind]
            if kind == "array":
                item = column.get("items") or {}
                if "type" in item:
                    self._items.append((name, _PYTHON_TYPES[_single_type(item)]))
            elif column.get("format") == "date-time":
                self._dates.append(name)
                self._convert[name] = _timestamp
            else:
                self._convert[name] = _CONVERSIONS[kind]

    def fit(self, row: Row) -> Row:
        """Move or convert each value that does not fit its column. Changes and returns `row`."""
        # Hot path, about 35 values a row. It calls no function of ours for a value that fits.
        types = self._types
        odd = [name for name, value in row.items() if type(value) not in types.get(name, _NO_TYPE)]
        for name in self._dates:
            value = row.get(name)
            if value is not None:
                try:
                    _parse(value)
                except (TypeError, ValueError):
                    odd.append(name)
                else:
                    # Nearly all dates of the vendors look like 2024-01-31T23:59:59.123Z.
                    if value[7:20:3] != "-T::." or value[-1] != "Z":
                        odd.append(name)
        for name, allowed in self._items:
            items = row.get(name)
            if items and type(items) is list and not allowed.issuperset(map(type, items)):
                odd.append(name)
        if odd:
            self._set_aside(row, dict.fromkeys(odd))
        return row

    def _set_aside(self, row: Row, names: Mapping[str, None]) -> None:
        rest: Row = {}
        for name in names:
            value = row.pop(name)
            if name not in self._types:
                self.unknown.add(name)
                rest[name] = value
                continue
            try:
                row[name] = self._converted(name, value)
            except _DoesNotFit:
                self.unfit.add(name)
                rest[name] = value
            else:
                if name in self._dates and row[name] != value:
                    # Keep the vendor's spelling, such as a date alone or a time without a zone.
                    self.unfit.add(name)
                    rest[name] = value
        if rest:
            row[ADDITIONAL] = rest

    def _converted(self, name: str, value: Any) -> Any:
        if list in self._types[name]:
            items = value if type(value) is list else [value]
            allowed = dict(self._items).get(name)
            if allowed is None or allowed.issuperset(map(type, items)):
                return items
            convert = _text if str in allowed else _object if dict in allowed else _nothing
            return [item if type(item) in allowed else convert(item) for item in items]
        return self._convert[name](value)

    def report(self) -> str | None:
        """Return a sentence that names what went to `additional_attributes`, or None if empty."""
        parts = []
        if self.unknown:
            parts.append(f"without a column: {_listed(self.unknown)}")
        if self.unfit:
            parts.append(f"not of their column's type: {_listed(self.unfit)}")
        return f"Values in {ADDITIONAL}: {'; '.join(parts)}." if parts else None


def _listed(names: set[str], most: int = 50) -> str:
    shown = ", ".join(name[:100] for name in sorted(names)[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def _single_type(column: Mapping[str, Any]) -> str:
    given = column["type"]
    (kind,) = {given} if isinstance(given, str) else set(given) - {"null"}
    return str(kind)


def _text(value: Any) -> str:
    if type(value) is str:
        return value
    if type(value) in (bool, int, float):
        return json.dumps(value)
    raise _DoesNotFit


def _timestamp(value: Any) -> str:
    try:
        moment = _parse(value)
    except (TypeError, ValueError):
        raise _DoesNotFit from None
    if _RFC_3339.fullmatch(value):
        return str(value)
    if value[7:8] != "-":
        raise _DoesNotFit  # a week date or an ordinal date: vendors do not send these on purpose
    try:
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError:
        raise _DoesNotFit from None
    return moment.isoformat().replace("+00:00", "Z")


def timestamp(value: Any) -> str | None:
    """A date or time as destinations take it, in RFC 3339; None if the value is neither."""
    try:
        return _timestamp(value)
    except _DoesNotFit:
        return None


def _whole(value: Any) -> int:
    if type(value) is float and value.is_integer():
        return int(value)
    raise _DoesNotFit


def _object(value: Any) -> Row:
    if type(value) in (str, int):
        return {"id": value}
    raise _DoesNotFit


def _nothing(_: Any) -> Any:
    raise _DoesNotFit


_CONVERSIONS: Mapping[str, Callable[[Any], Any]] = {
    "string": _text,
    "integer": _whole,
    "object": _object,
    "number": _nothing,
    "boolean": _nothing,
}
