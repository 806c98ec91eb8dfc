"""Parses a vendor's body into JSON values that every reader of our output accepts. Pure.

Strict JSON readers refuse some values. This module replaces them, so that they never reach stdout:

- Half of a surrogate pair (JavaScript cuts emoji in half) becomes the replacement character U+FFFD.
- `NaN` and `Infinity` are not JSON. They become null.
- A number too large for a float (`1e400`) and an integer of more than 4,300 digits become text.
- An integer beyond 64 bits keeps all its digits. It is valid JSON, but few readers keep it exact.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

import orjson

# orjson turns an integer beyond 64 bits into a float without an error. Such an integer has at least
# 19 digits. This way to find one takes 2 microseconds per record of 1.5 kB.
_ALL_DIGITS_ALIKE = bytes.maketrans(b"123456789", b"000000000")
_LONG_INTEGER = b"0" * 19

_SURROGATE = re.compile("[\ud800-\udfff]")

# Deeper values may not be flattened and written as JSON: Python stops at 1,000 nested calls.
MAX_LEVELS = 400
TOO_DEEP = f"expected values nested in at most {MAX_LEVELS} levels"


class BrokenBodyError(ValueError):
    """The status is good, but the body breaks the vendor's contract. The text says how."""


class UnfinishedBodyError(ValueError):
    """The status is good, but the vendor calls its own body incomplete. A retry may succeed."""


class NotJsonError(ValueError):
    """The status is good, but the body is not JSON, perhaps from a proxy. A retry may succeed."""


class PageTooLargeError(Exception):
    """The body is larger than allowed and was not read to its end. Ask for fewer rows."""


def parse_body(content: bytes) -> Any:
    """Return the JSON value of a good answer's body.

    Raises NotJsonError, or BrokenBodyError if the value is nested too deeply.
    """
    try:
        body = parse_json(content)
    except ValueError:
        raise NotJsonError from None
    except RecursionError:
        raise BrokenBodyError(TOO_DEEP) from None
    if may_be_deep(content) and is_deeper_than(MAX_LEVELS, body):
        raise BrokenBodyError(TOO_DEEP)
    return body


def parse_json(content: bytes) -> Any:
    """Return the JSON value. Raises ValueError for other text, RecursionError if it is too deep."""
    if _LONG_INTEGER not in content.translate(_ALL_DIGITS_ALIKE):
        try:
            return orjson.loads(content)
        except orjson.JSONDecodeError:
            pass  # orjson refuses some values that vendors send: see the top of this file
    return _mended(
        json.loads(content, parse_constant=lambda _: None, parse_float=_float, parse_int=_integer)
    )


def without_surrogates(text: str) -> str:
    """Replace each surrogate, which UTF-8 cannot encode, by U+FFFD."""
    return _SURROGATE.sub("\ufffd", text)


def _float(text: str) -> float | str:
    number = float(text)
    return number if math.isfinite(number) else text


def _integer(text: str) -> int | str:
    try:
        return int(text)
    except ValueError:
        return text


def _mended(value: Any) -> Any:
    if isinstance(value, str):
        return without_surrogates(value)
    if isinstance(value, list):
        return [_mended(item) for item in value]
    if isinstance(value, dict):
        mended: dict[str, Any] = {}
        for key, item in value.items():
            name = without_surrogates(key)
            # If two keys differ only in a surrogate, the second key keeps it in escaped form.
            if name in mended or (name != key and name in value):
                name = key.encode("utf-8", "backslashreplace").decode()
            mended[name] = _mended(item)
        return mended
    return value


# The memory that an object, a list, and a value with its key take beyond the bytes of their text.
# The estimate is 0.8 to 2.2 times what tracemalloc measures, for Kustomer's rows and for rows of
# many small values (CPython 3.11).
_OBJECT_BYTES, _LIST_BYTES, _VALUE_BYTES = 150, 80, 100


# In a long body, values are counted in samples. This saves a microsecond per record.
_SAMPLES, _SAMPLE_BYTES = 16, 8 * 1024


def weight(content: bytes) -> int:
    """Estimate the bytes that the value of a JSON body takes in memory, before it is parsed.

    CPython stores a text with an emoji in four bytes per character, other non-ASCII text in two.
    """
    size = len(content)
    wide = 1 if content.isascii() else 4 if b"\xf0" in content else 2
    sample, share = content, 1.0
    if size > _SAMPLES * _SAMPLE_BYTES:
        step = size // _SAMPLES
        sample = b"".join(content[at : at + _SAMPLE_BYTES] for at in range(0, size, step))
        share = size / len(sample)
    parts = (
        _OBJECT_BYTES * sample.count(b"{")
        + _LIST_BYTES * sample.count(b"[")
        + _VALUE_BYTES * sample.count(b",")
    )
    return wide * size + int(share * parts)


def is_id(value: Any) -> bool:
    """Whether a value identifies a row: a text that is not empty and lost no surrogate.

    Two IDs that differ only in a replaced surrogate would become one.
    """
    return isinstance(value, str) and bool(value) and "\ufffd" not in value


def may_be_deep(content: bytes) -> bool:
    """Whether a body closes many objects or lists in a row. A deeply nested body may do so."""
    return any(ends in content for ends in _MANY_ENDS)


_MANY_ENDS = (b"}" * 60, b"]" * 60, b"}]" * 30)


def is_deeper_than(levels: int, value: Any) -> bool:
    """Whether a value nests objects or lists in more than `levels` levels."""
    level = [value]
    for _ in range(levels):
        level = [
            inner
            for one in level
            for inner in (one.values() if type(one) is dict else one if type(one) is list else ())
            if type(inner) in (dict, list)
        ]
        if not level:
            return False
    return True
