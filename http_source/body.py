"""A vendor's body as JSON values that every reader of our output can take. Pure.

What strict readers of JSON refuse is mended here, once, so that it never reaches stdout:

- Half of a surrogate pair (JavaScript cuts emoji in half) becomes U+FFFD, a replacement.
- `NaN` and `Infinity`, which are not JSON, become null.
- A number too large for a float (`1e400`) and an integer of more than 4,300 digits become text.
- Integers beyond 64 bits keep all their digits. They are JSON, though few readers keep them exact.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

import orjson

# orjson turns an integer beyond 64 bits into a float and says nothing. Such an integer has at least
# 19 digits. To look for them this way takes 2 microseconds a record of 1.5 kB.
_ALL_DIGITS_ALIKE = bytes.maketrans(b"123456789", b"000000000")
_LONG_INTEGER = b"0" * 19

_SURROGATE = re.compile("[\ud800-\udfff]")

# What can be flattened and written as JSON again, with room to spare: Python stops at 1,000 calls.
MAX_LEVELS = 400
TOO_DEEP = f"expected values nested in at most {MAX_LEVELS} levels"


class BrokenBodyError(ValueError):
    """A good status with a body that breaks the vendor's contract. The text says what is wrong."""


class UnfinishedBodyError(ValueError):
    """A good status with a body that the vendor itself calls incomplete: a passing failure."""


class NotJsonError(ValueError):
    """A good status with a body that is not JSON. A proxy may have answered: a passing failure."""


class PageTooLargeError(Exception):
    """A body for which there is no room. It was not read to its end; ask for fewer rows."""


def parse_body(content: bytes) -> Any:
    """The value of a good answer's body.

    Raises NotJsonError, and BrokenBodyError if it is nested too deeply.
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
    """The body's value. Raises ValueError if it is not JSON, RecursionError if it is too deep."""
    if _LONG_INTEGER not in content.translate(_ALL_DIGITS_ALIKE):
        try:
            return orjson.loads(content)
        except orjson.JSONDecodeError:
            pass  # orjson is strict where vendors are not: see above
    return _mended(
        json.loads(content, parse_constant=lambda _: None, parse_float=_float, parse_int=_integer)
    )


def without_surrogates(text: str) -> str:
    """The text with U+FFFD for each surrogate, which UTF-8 cannot spell."""
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
            # Two keys that differ in a surrogate alone: the second keeps it, spelled in letters.
            if name in mended or (name != key and name in value):
                name = key.encode("utf-8", "backslashreplace").decode()
            mended[name] = _mended(item)
        return mended
    return value


# What an object, a list, and a value with its key take in memory beyond the bytes of their text. On
# rows of Kustomer's and on rows of many small values this tells 0.8 to 2.2 times what tracemalloc
# finds (CPython 3.11).
_OBJECT_BYTES, _LIST_BYTES, _VALUE_BYTES = 150, 80, 100


# Where a body is long, its values are counted in samples: a microsecond a record less.
_SAMPLES, _SAMPLE_BYTES = 16, 8 * 1024


def weight(content: bytes) -> int:
    """About how many bytes the value of a JSON body takes in memory, told before it is parsed.

    A text with one emoji takes four bytes a character, one with other than ASCII two.
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
    """Whether a value tells a row from all others.

    Half a surrogate pair does not: two IDs that differ in it alone would be one.
    """
    return isinstance(value, str) and bool(value) and "\ufffd" not in value


def may_be_deep(content: bytes) -> bool:
    """Whether a body ends many objects or lists at once: one that is nested deeply may do so."""
    return any(ends in content for ends in _MANY_ENDS)


_MANY_ENDS = (b"}" * 60, b"]" * 60, b"}]" * 30)


def is_deeper_than(levels: int, value: Any) -> bool:
    """Whether a value has objects or lists nested in more than so many levels."""
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
