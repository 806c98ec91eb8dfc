"""One JSON:API resource in, one flat snake_case row out. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from http_source.body import TOO_DEEP
from http_source.columns import Columns
from http_source.errors import system_error

Row = dict[str, Any]

# Where a capitalised word begins, and where a run of small letters or digits ends.
_WORD = re.compile("(.)([A-Z][a-z]+)")
_HUMP = re.compile("([a-z0-9])([A-Z])")

# `sla` is an attribute; the relationship of that name has always been the column `sla_data`.
_RELATIONSHIP_COLUMNS = {"sla": "sla_data"}


def snake_case(name: str) -> str:
    """`firstName` -> `first_name`, as the retired connector spelled it: it touches nothing else."""
    return _HUMP.sub(r"\1_\2", _WORD.sub(r"\1_\2", name)).lower()


def camel_case(attribute: str) -> str:
    """`updated_at` -> `updatedAt`: searches spell attributes one way, resources the other."""
    first, *rest = attribute.split("_")
    return first + "".join(word.capitalize() for word in rest)


class _Names(dict[str, str]):
    """The snake_case names of the keys seen, bounded: users and channels choose some of them."""

    def __missing__(self, key: str) -> str:
        if len(self) >= _MOST_NAMES:
            self.clear()
        name = self[key] = snake_case(key)
        return name


_MOST_NAMES = 2**14
_names = _Names()


def flatten(resource: Mapping[str, Any]) -> Row:
    """A resource `{type, id, attributes, relationships, links}` as a flat row.

    Attributes are lifted to the top, and of each relationship its `data`, under its name. Every
    key at every depth is in snake_case; where two keys would collide, both keep their spelling.
    What identifies keeps its name: an attribute named like a relationship (kobjects have a `queue`
    of either kind), or like `id`, `type` or `links`, moves to `attribute_<name>`, and a
    relationship named like one of those three to `relationship_<name>`.
    Shapes: https://developer.kustomer.com/api. Raises RecursionError if nested too deeply.
    """
    row = _snake_cased(resource["attributes"])
    for name, column in _CURSORS.items():
        if name in row:  # an attribute of its column's name is there too
            row[f"attribute_{column}"] = row[column]
            row[column] = row.pop(name)
    for name, value in resource.items():
        if name not in _LIFTED:
            _put(row, _names[name], _value(value))
    relationships = resource.get("relationships")
    if isinstance(relationships, dict):
        for column, data in _related(relationships):
            _put(row, f"relationship_{column}" if column in _OWN else column, data)
    elif relationships is not None:
        _put(row, "relationships", _value(relationships))
    return row


class RowMaker:
    """Makes rows of one stream's resources: flat, and fitted to the columns of its schema."""

    def __init__(self, stream: str, columns: Columns, klass_column: str | None = None) -> None:
        """`stream` is for messages. `klass_column` gets the name of a custom object's klass."""
        self._stream = stream
        self._columns = columns
        self._klass_column = klass_column

    def make(self, resource: Mapping[str, Any], added: Row | None = None) -> Row:
        """The row of a resource. Raises a system error if its values are nested too deeply.

        `added` are further columns. They replace attributes of the same name.
        """
        try:
            row = flatten(resource)
            if self._klass_column is not None:
                # The type of a custom object is `kobject.<name of its klass>`.
                klass = str(resource.get("type")).partition(".")[2]
                _put(row, self._klass_column, klass or None)
            if added:
                row |= added
            return self._columns.fit(row)
        except RecursionError:
            raise system_error(
                f"Stream {self._stream}: record {resource['id']}: {TOO_DEEP}."
            ) from None


# What streams are ordered by keeps its name as well.
_CURSORS = {"updatedAt": "updated_at", "createdAt": "created_at"}
_OWN = frozenset({"id", "type", "links", *_CURSORS.values()})
_LIFTED = frozenset({"attributes", "relationships"})
# These only say where else to look.
_POINTERS = frozenset({"data", "links", "link"})


def _put(row: Row, column: str, value: Any) -> None:
    if column in row:
        _put(row, f"attribute_{column}", row[column])
    row[column] = value


def _related(relationships: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in relationships.items():
        column = _names[name]
        column = _RELATIONSHIP_COLUMNS.get(column, column)
        if type(value) is not dict:
            if value is not None:
                yield column, _value(value)
            continue
        data = value.get("data")
        if data is not None and (len(value) == 1 or (len(value) == _USUAL and "links" in value)):
            yield column, _value(data)
            continue
        if not _POINTERS.issuperset(value):
            told = _value({key: item for key, item in value.items() if key not in _POINTERS})
            yield column if data is None else f"relationship_{column}", told
            if data is None:
                continue
        if "data" in value:
            yield column, _value(data)


# Data and links.
_USUAL = 2


# JSON knows no subclasses, so the type itself decides.
_NESTED = frozenset({dict, list})
_REFERENCE_KEYS = 2


def _snake_cased(value: dict[str, Any]) -> Row:
    # The hot path, about fifty values a row: no call for a scalar or a name seen before, and none
    # at all for a reference, which needs no change.
    if (
        len(value) == _REFERENCE_KEYS
        and type(value.get("id")) is str
        and type(value.get("type")) is str
    ):
        return value
    row: Row = {}
    for key, item in value.items():
        row[_names[key]] = _value(item) if type(item) in _NESTED else item
    if len(row) == len(value):
        return row
    names = [_names[key] for key in value]
    return {
        key if names.count(name) > 1 else name: _value(item)
        for (key, item), name in zip(value.items(), names, strict=True)
    }


def _value(value: Any) -> Any:
    if type(value) is dict:
        return _snake_cased(value)
    if type(value) is list and not _NESTED.isdisjoint(map(type, value)):
        return [_value(item) if type(item) in _NESTED else item for item in value]
    return value
