"""Reads every state that this source or its predecessor ever wrote."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from airbyte_cdk.models import (
    AirbyteStateBlob,
    AirbyteStateMessage,
    AirbyteStateMessageSerializer,
    AirbyteStateType,
    AirbyteStreamState,
    StreamDescriptor,
)

from http_source import config_error
from source_kustomer.timeline import Instant, format_instant, parse_instant

# The clock of the machine that wrote a state may have run ahead of this one by so much.
_CLOCK_TOLERANCE: Instant = 10 * 60 * 1000

_CURSOR = "updated_at"
_UNFINISHED = "full_refresh"


@dataclass(frozen=True)
class Bookmark:
    """Every record with `updated_at` below the instant was emitted.

    `unfinished` marks a full refresh that was still running. Only such a state makes a full
    refresh go on where it stood; with any other it begins anew, for it shall read everything.
    """

    updated_at: Instant
    unfinished: bool = False

    def as_state(self) -> dict[str, Any]:
        """`{"updated_at": "2024-01-31T23:59:59.123Z"}`, the shape that this source writes."""
        state = {_CURSOR: format_instant(self.updated_at)}
        return {**state, _UNFINISHED: "unfinished"} if self.unfinished else state


def bookmark(stream: str, state: Mapping[str, Any]) -> Bookmark | None:
    """What a stream's saved state says; None where it says nothing yet.

    Raises a config error that quotes a state which cannot be understood: going on without it
    would read everything again, and going on from a moment that never was would skip records.
    """
    if not state:
        return None
    value: Any = state
    if "bookmarks" in state:
        bookmarks = state["bookmarks"]
        if not isinstance(bookmarks, Mapping):
            raise _garbage(stream, bookmarks, "'bookmarks' must be an object")
        if bookmarks.get(stream) is None:
            return None
        value = bookmarks[stream]
    if isinstance(value, Mapping):
        if _CURSOR not in value:
            raise _garbage(stream, dict(value), f"it has no '{_CURSOR}'")
        value = value[_CURSOR]
    if not isinstance(value, str):
        raise _garbage(stream, value, "a timestamp must be a string")
    try:
        instant = parse_instant(value)
    except ValueError:
        raise _garbage(stream, value, "that is no ISO 8601 timestamp") from None
    if instant > parse_instant(datetime.now(tz=UTC).isoformat()) + _CLOCK_TOLERANCE:
        raise _garbage(stream, value, "that lies in the future")
    return Bookmark(instant, unfinished=_UNFINISHED in state)


def _garbage(stream: str, value: Any, reason: str) -> Exception:
    return config_error(
        f"The saved state of stream '{stream}' cannot be understood: {value!r} ({reason}). "
        'Correct it to {"updated_at": "YYYY-MM-DDTHH:MM:SSZ"}, or clear the stream\'s state to '
        "read it from the start date."
    )


def state_messages(saved: Any, streams: Sequence[str]) -> list[AirbyteStateMessage]:
    """A saved state file as one message per stream.

    Takes what Airbyte hands over (a list of state messages, of any type) and what people keep in
    files: a single message, one STATE line of the output, the retired connector's
    `{"bookmarks": {stream: timestamp}}`, `{stream: state}`, or `{"updated_at": ...}` for all.
    """
    messages: list[AirbyteStateMessage] = []
    for item in saved if isinstance(saved, list) else [saved] if saved else []:
        if isinstance(item, AirbyteStateMessage):
            if item.stream is None and item.data is not None:
                messages.extend(_messages(item.data, streams))
            else:
                messages.append(item)
            continue
        if not isinstance(item, Mapping):
            raise _garbage("*", item, "a state must be an object")
        messages.extend(_messages(item, streams))
    return messages


def _messages(item: Mapping[str, Any], streams: Sequence[str]) -> list[AirbyteStateMessage]:
    if item.get("type") == "STATE" and isinstance(item.get("state"), Mapping):
        item = item["state"]
    if "stream" in item or "global" in item:
        return [AirbyteStateMessageSerializer.load(dict(item))]
    saved = item.get("data", item)
    if not isinstance(saved, Mapping):
        raise _garbage("*", saved, "a state must be an object")
    if "bookmarks" in saved or _CURSOR in saved:
        return [_message(stream, saved) for stream in streams]
    known = [_message(name, saved[name]) for name in streams if name in saved]
    if saved and not known:
        raise _garbage("*", dict(saved), "it names none of this source's streams")
    return known


def _message(stream: str, state: Any) -> AirbyteStateMessage:
    if not isinstance(state, Mapping):
        state = {"bookmarks": {stream: state}}
    return AirbyteStateMessage(
        type=AirbyteStateType.STREAM,
        stream=AirbyteStreamState(
            stream_descriptor=StreamDescriptor(name=stream), stream_state=AirbyteStateBlob(state)
        ),
    )
