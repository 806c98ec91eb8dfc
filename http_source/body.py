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
        return {without_surrogates(key): _mended(item) for key, item in value.items()}
    return value
