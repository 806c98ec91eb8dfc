"""Changes a vendor's switches by name. The annotations of the switches check the values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from fake_vendor.faults import Fault

S = TypeVar("S")


def switched(switches: S, changes: Mapping[str, Any]) -> S:
    """Return the switches with changes. Raises ValueError for an unknown name or a bad value."""
    hints = get_type_hints(type(switches))
    checked: dict[str, Any] = {}
    for name, value in changes.items():
        if name not in hints:
            raise ValueError(f"no switch {name!r}; there are {', '.join(sorted(hints))}")
        if name == "faults":
            checked[name] = tuple(Fault.of(item) for item in value)
            continue
        checked[name] = tuple(value) if isinstance(value, list) else value
        if not _fits(checked[name], hints[name]):
            raise ValueError(f"switch {name!r} does not take {value!r}")
    return replace(switches, **checked)  # type: ignore[type-var]


def as_json(switches: Any) -> dict[str, Any]:
    """Return the switches as JSON values."""
    return asdict(switches)


def _fits(value: Any, hint: Any) -> bool:
    origin = get_origin(hint)
    if origin is Literal:
        return any(value == choice and type(value) is type(choice) for choice in get_args(hint))
    if origin in (Union, UnionType):
        return any(_fits(value, option) for option in get_args(hint))
    if origin is tuple:
        return isinstance(value, tuple) and all(_fits(item, get_args(hint)[0]) for item in value)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, hint) and (hint is bool or not isinstance(value, bool))
