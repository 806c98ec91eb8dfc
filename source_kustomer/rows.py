"""Converts a JSON:API resource to a flat snake_case row. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from http_source.body import TOO_DEEP
from http_source.columns import Columns
from http_source.errors import system_error

Row = dict[str, Any]

# The start of a capitalised word, and the end of a run of small letters or digits.
_WORD = re.compile("(.)([A-Z][a-z]+)")
_HUMP = re.compile("([a-z0-9])([A-Z])")

# `sla` is an attribute; the relationship of that name has always been the column `sla_data`.
_RELATIONSHIP_COLUMNS = {"sla": "sla_data"}


def snake_case(name: str) -> str:
    """`firstName` -> `first_name`, as in the retired connector. Other characters stay."""
    return _HUMP.sub(r"\1_\2", _WORD.sub(r"\1_\2", name)).lower()


def camel_case(attribute: str) -> str:
    """`updated_at` -> `updatedAt`. Searches use snake_case, and resources use camelCase."""
    first, *rest = attribute.split("_")
    return first + "".join(word.capitalize() for word in rest)


class _Names(dict[str, str]):
    """A cache of snake_case names. It has a limit, because users and channels choose some keys."""

    def __missing__(self, key: str) -> str:
        if len(self) >= _MOST_NAMES:
            self.clear()
        name = self[key] = snake_case(key)
        return name


_MOST_NAMES = 2**14
_names = _Names()


def flatten(resource: Mapping[str, Any]) -> Row:
    """Convert a resource `{type, id, attributes, relationships, links}` to a flat row.

    Each attribute becomes a column. Each relationship becomes a column with its `data`. Every key
    at every depth is in snake_case. If two keys of one object would get the same name, both keep
    their spelling.

    If two columns would get the same name, `id`, `type`, `links` and the cursors win over
    relationships, and all of these win over other attributes. The other value moves to
    `relationship_<name>` or `attribute_<name>`. For example, kobjects have a `queue` of both kinds.

    Shapes: https://developer.kustomer.com/api. Raises RecursionError if nested too deeply.
    """
    row = _snake_cased(resource["attributes"])
    for name, column in _CURSORS.items():
        if name in row:  # an attribute that is named like the column exists too
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


def references(resource: Mapping[str, Any], relationship: str) -> list[str]:
    """The IDs that a relationship of a resource names: of one, of several, or of none."""
    relationships = resource.get("relationships")
    found = relationships.get(relationship) if isinstance(relationships, dict) else None
    data = found.get("data") if isinstance(found, dict) else None
    items = data if isinstance(data, list) else [data]
    return [one["id"] for one in items if isinstance(one, dict) and isinstance(one.get("id"), str)]


def klasses_of(resource: Mapping[str, Any]) -> set[str]:
    """The names by which a custom object tells its klass: in its type, and in its relationship.

    They are the same, but Kustomer's examples mix singular and plural.
    """
    return {str(resource.get("type")).partition(".")[2], *references(resource, "klass")}


class RowMaker:
    """Converts the resources of one stream to flat rows that fit the columns of its schema."""

    def __init__(
        self,
        stream: str,
        columns: Columns,
        klass_column: str | None = None,
        fill: Callable[[Row], None] | None = None,
    ) -> None:
        """`stream` is used in messages. `klass_column` gets the klass name of a custom object.

        `fill` adds the columns of custom attributes to a row.
        """
        self._stream = stream
        self._fill = fill
        self._columns = columns
        self._klass_column = klass_column

    def make(self, resource: Mapping[str, Any], added: Row | None = None) -> Row:
        """Convert a resource to a row. Raises a system error if it is nested too deeply.

        `added` contains more columns. They replace attributes of the same name.
        """
        try:
            row = flatten(resource)
            if self._klass_column is not None:
                # The type of a custom object is `kobject.<name of its klass>`.
                klass = str(resource.get("type")).partition(".")[2]
                _put(row, self._klass_column, klass or None)
            if added:
                row |= added
            if self._fill is not None:
                self._fill(row)
            return self._columns.fit(row)
        except RecursionError:
            raise system_error(
                f"Stream {self._stream}: record {resource['id']}: {TOO_DEEP}."
            ) from None

    def make_plain(self, values: Mapping[str, Any], added: Row) -> Row:
        """Convert an object that is not a resource. `added` replaces values of the same name."""
        return self._columns.fit(_snake_cased(dict(values)) | added)


# Cursor attributes keep their names too.
_CURSORS = {"updatedAt": "updated_at", "createdAt": "created_at"}
_OWN = frozenset({"id", "type", "links", *_CURSORS.values()})
_LIFTED = frozenset({"attributes", "relationships"})
# These keys only say where to find the related record.
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


# The usual keys of a relationship: `data` and `links`.
_USUAL = 2


# JSON values have no subclasses, so an exact type check is enough.
_NESTED = frozenset({dict, list})
_REFERENCE_KEYS = 2


def _snake_cased(value: dict[str, Any]) -> Row:
    # Hot path, about fifty values a row. A scalar and a cached name need no call. A reference
    # (`{id, type}`) needs no change.
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
