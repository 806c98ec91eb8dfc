"""One JSON:API resource in, one flat snake_case row out. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

Row = dict[str, Any]

# Where a capitalised word begins, and where a run of small letters or digits ends.
_WORD = re.compile("(.)([A-Z][a-z]+)")
_HUMP = re.compile("([a-z0-9])([A-Z])")

# `sla` is an attribute; the relationship of that name has always been the column `sla_data`.
_RELATIONSHIP_COLUMNS = {"sla": "sla_data"}


# Bounded: the keys of open objects are chosen by users and channels.
@lru_cache(maxsize=2**16)
def snake_case(name: str) -> str:
    """`firstName` -> `first_name`, as the retired connector spelled it: it touches nothing else."""
    return _HUMP.sub(r"\1_\2", _WORD.sub(r"\1_\2", name)).lower()


def flatten(resource: Mapping[str, Any]) -> Row:
    """A resource `{type, id, attributes, relationships, links}` as a flat row.

    Attributes are lifted to the top, and of each relationship its `data`, under its name. Every
    key at every depth is in snake_case; where two keys would collide, both keep their spelling.
    An attribute named like a relationship (kobjects have a `queue` of either kind), or like `id`,
    `type` or `links`, moves to `attribute_<name>`: what identifies keeps its name.
    Shapes: https://developer.kustomer.com/api.
    """
    row = _snake_cased(resource["attributes"])
    for name, value in resource.items():
        if name == "relationships":
            for column, data in _related(value or {}):
                _put(row, column, data)
        elif name != "attributes":
            _put(row, snake_case(name), _value(value))
    return row


def _put(row: Row, column: str, value: Any) -> None:
    if column in row:
        _put(row, f"attribute_{column}", row[column])
    row[column] = value


def _related(relationships: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in relationships.items():
        if isinstance(value, list):
            data: Any = value
        elif isinstance(value, dict) and "data" in value:
            data = value["data"]
        else:
            continue  # null, or nothing but links to follow
        column = snake_case(name)
        yield _RELATIONSHIP_COLUMNS.get(column, column), _value(data)


def _snake_cased(value: Mapping[str, Any]) -> Row:
    # The hot path: about fifty values a row. JSON knows no subclasses, so `type` decides, and a
    # scalar costs no call of ours.
    row: Row = {}
    for key, item in value.items():
        kind = type(item)
        row[snake_case(key)] = (
            _snake_cased(item) if kind is dict else _items(item) if kind is list else item
        )
    if len(row) == len(value):
        return row
    names = [snake_case(key) for key in value]
    return {
        key if names.count(name) > 1 else name: _value(item)
        for (key, item), name in zip(value.items(), names, strict=True)
    }


def _items(value: list[Any]) -> list[Any]:
    return [
        _snake_cased(item) if type(item) is dict else _items(item) if type(item) is list else item
        for item in value
    ]


def _value(value: Any) -> Any:
    if isinstance(value, dict):
        return _snake_cased(value)
    return _items(value) if isinstance(value, list) else value
