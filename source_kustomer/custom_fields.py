"""Custom attributes as columns of their own, by their definitions. Pure.

Kustomer's convention: the ending of an attribute's name tells its type
(https://developer.kustomer.com/docs/concepts/custom-attributes). `custom` keeps all values as they
were sent; a column holds a value only if it has the column's type.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from http_source.columns import Row, timestamp
from source_kustomer.rows import snake_case

PREFIX = "custom_"
# PostgreSQL has at most 1,600 columns in a table, https://www.postgresql.org/docs/current/limits.html,
# and streams have up to a hundred others. Destinations add some, too.
MAX_COLUMNS = 1000

_ENDINGS = {
    "Str": "string",
    "Txt": "string",
    "Url": "string",
    "Tree": "string",
    "Id": "string",
    "Num": "number",
    "Bool": "boolean",
    "At": "date-time",
}


@dataclass(frozen=True)
class Attribute:
    """A custom attribute: of which kind of record, its name such as `planStr`, its definition."""

    resource: str
    name: str
    definition: Mapping[str, Any]


@dataclass(frozen=True)
class TypedColumns:
    """The columns of custom attributes, by name, and sentences on attributes without a column."""

    columns: Mapping[str, Mapping[str, Any]]
    told: list[str]


def typed_columns(attributes: Iterable[Attribute], taken: Iterable[str]) -> TypedColumns:
    """The columns of a stream's custom attributes. `taken` are the names of its other columns.

    Attributes of several kinds of record may have one name, and then share a column.
    """
    names: dict[str, dict[str, list[Attribute]]] = defaultdict(lambda: defaultdict(list))
    for attribute in attributes:
        names[PREFIX + snake_case(attribute.name)][attribute.name].append(attribute)
    columns: dict[str, Mapping[str, Any]] = {}
    collided: list[str] = []
    untyped: list[str] = []
    for column, spellings in sorted(names.items()):
        if len(spellings) > 1 or column in set(taken):
            collided.extend(spellings)
            continue
        ((name, definitions),) = spellings.items()
        schema = _schema(name, definitions)
        if schema is None:
            untyped.append(name)
        else:
            columns[column] = schema
    beyond = list(columns)[MAX_COLUMNS:]
    told = [
        f"{reason}: {', '.join(sorted(found)[:50])}{' and more' if len(found) > 50 else ''}"  # noqa: PLR2004 - of a line of the log
        for reason, found in (
            ("their names are the same in snake_case, or that of another column", collided),
            ("their names have no ending that tells a type", untyped),
            (f"a table has at most {MAX_COLUMNS} of them", beyond),
        )
        if found
    ]
    return TypedColumns({name: columns[name] for name in list(columns)[:MAX_COLUMNS]}, told)


def _schema(name: str, definitions: list[Attribute]) -> Mapping[str, Any] | None:
    kind = next((kind for ending, kind in _ENDINGS.items() if name.endswith(ending)), None)
    if kind is None:
        kinds = {one.definition.get("type") for one in definitions}
        kind = next(iter(kinds)) if kinds in ({"string"}, {"number"}) else None
    if kind is None:
        return None
    schema: dict[str, Any] = {"description": f"Custom attribute {name}, if it has this type."}
    is_many = any(
        one.definition.get(key) is True for one in definitions for key in ("multi", "array")
    )
    if kind == "date-time":
        dates = {"format": "date-time", "airbyte_type": "timestamp_with_timezone"}
        return schema | {"type": ["null", "string"]} | dates
    if is_many and kind == "string":
        return schema | {"type": ["null", "array"], "items": {"type": ["null", "string"]}}
    return schema | {"type": ["null", kind]}


class CustomFields:
    """Fills the columns of custom attributes from `custom`, as the columns of a catalog say."""

    def __init__(self, properties: Mapping[str, Any]) -> None:
        """`properties` are the columns of the configured catalog, by name."""
        self._fields = [
            (name, name.removeprefix(PREFIX), _converter(column))
            for name, column in properties.items()
            if name.startswith(PREFIX)
        ]
        self.columns = {name: properties[name] for name, _, _ in self._fields}
        # How many values did not have the type of their column, by column.
        self.unfit: dict[str, int] = defaultdict(int)

    def fill(self, row: Row) -> None:
        """Add the columns to a row."""
        custom = row.get("custom")
        if type(custom) is not dict:
            custom = {}
        for name, key, convert in self._fields:
            value = custom.get(key)
            if value is None:
                continue
            fitting = convert(value)
            if fitting is None:
                self.unfit[name] += 1
            else:
                row[name] = fitting

    def report(self) -> str | None:
        """One sentence that counts the values that did not fit, or None if all did."""
        if not self.unfit:
            return None
        counts = ", ".join(f"{name} {count}" for name, count in sorted(self.unfit.items())[:50])
        return (
            f"Values that are null because they do not have the type of their column (custom has "
            f"them): {counts}."
        )


def _converter(column: Mapping[str, Any]) -> Callable[[Any], Any]:
    types = column.get("type")
    kinds = {types} if isinstance(types, str) else set(types or ())
    if column.get("format") == "date-time":
        return timestamp
    for kind, convert in _CONVERTERS.items():
        if kind in kinds:
            return convert
    return _text


def _text(value: Any) -> str | None:
    """A text. A reference may come as an object, and one value as a list."""
    if type(value) is list and len(value) == 1:
        (value,) = value
    if type(value) is dict:
        value = value.get("id")
    return value if type(value) is str else None


def _texts(value: Any) -> list[str | None] | None:
    texts = [_text(item) for item in (value if type(value) is list else [value])]
    return None if None in texts else texts


def _number(value: Any) -> float | None:
    return value if type(value) in (int, float) else None


def _boolean(value: Any) -> bool | None:
    return value if type(value) is bool else None


_CONVERTERS: Mapping[str, Callable[[Any], Any]] = {
    "array": _texts,
    "number": _number,
    "boolean": _boolean,
    "string": _text,
}
