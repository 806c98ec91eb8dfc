"""Rows of which a destination drops nothing, although it drops what a schema does not declare.

Pure.

A destination writes the columns that the schema declares. It drops every other key of a row, and in
an object with declared `properties` every other key of that object. So nested objects have no
declared properties in our schemas, and whatever has no column goes into one that takes everything:
`additional_attributes`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
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
# Destinations take RFC 3339. This takes more, such as 20240101 and 2024-W01-1, in which no hyphen
# follows a month of two digits.
_parse = datetime.fromisoformat


class _DoesNotFit(Exception):  # noqa: N818 - no failure
    pass


def with_additional_attributes(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of a stream with the column for everything else."""
    column = {
        "description": _DESCRIPTION,
        "type": ["null", "object"],
        "additionalProperties": True,
    }
    return {**schema, "properties": {**schema["properties"], ADDITIONAL: column}}


class Columns:
    """Fits rows to the columns of a schema, in which each has one type beside null.

    A value that has another type is converted where nothing is lost by it: one of many becomes a
    list, a plain ID becomes `{"id": ...}`, a number or boolean becomes text. Any other value moves
    to `additional_attributes` as it is, and so does a key without a column.
    """

    def __init__(self, schema: Mapping[str, Any]) -> None:
        """Take the JSON schema of a stream; its top level has `properties`."""
        self._types: dict[str, frozenset[type]] = {}
        self._dates: list[str] = []
        self._items: list[tuple[str, frozenset[type]]] = []
        self._convert: dict[str, Callable[[Any], Any]] = {}
        # The keys that had no column, and the columns that did not fit a value.
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
            else:
                self._convert[name] = _CONVERSIONS[kind]

    def fit(self, row: Row) -> Row:
        """The row with each value in a column that can hold it; changes the row it is given."""
        # The hot path, some 35 values a row: no call of a function of ours.
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
                    if value[7:8] != "-":
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
        if name not in self._convert:
            raise _DoesNotFit
        return self._convert[name](value)

    def report(self) -> str | None:
        """One sentence that names what went to `additional_attributes`, or None if nothing did."""
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
