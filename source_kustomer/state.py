"""Reads every state that this source or the retired connector ever wrote."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from airbyte_cdk.models import (
    AirbyteStateBlob,
    AirbyteStateMessage,
    AirbyteStateType,
    AirbyteStreamState,
    StreamDescriptor,
)
from airbyte_cdk.utils.traced_exception import AirbyteTracedException

from http_source.errors import config_error
from http_source.instants import EpochMs, format_instant, parse_instant
from http_source.source import state_message

# A state may be in the future by this much: the machine that wrote it may have a fast clock.
_CLOCK_TOLERANCE: EpochMs = 10 * 60 * 1000

# The cursor of all streams that the retired connector had.
_CURSOR = "updated_at"
# A state that names no stream was written when only these streams existed. So it says nothing about
# other streams.
_RETIRED_STREAMS = frozenset(
    {
        *("conversations", "customers", "kobjects", "messages", "notes"),
        *("shortcuts", "tags", "teams", "users"),
    }
)
_UNFINISHED = "full_refresh"
_UNREAD = "unread"
_UNFINISHED_VALUE = "unfinished"


@dataclass(frozen=True)
class Bookmark:
    """Every record with a cursor below `at` was emitted.

    `unfinished` marks a full refresh that has not ended. A full refresh continues only from such a
    state. With any other state it starts again, because it must read everything.
    """

    at: EpochMs
    unfinished: bool = False
    cursor: str = _CURSOR

    def as_state(self) -> dict[str, Any]:
        """`{"updated_at": "2024-01-31T23:59:59.123Z"}`, the shape that this source writes."""
        state = {self.cursor: format_instant(self.at)}
        return {**state, _UNFINISHED: _UNFINISHED_VALUE} if self.unfinished else state


def unfinished_bookmark(
    stream: str, state: Mapping[str, Any], cursor: str = _CURSOR
) -> Bookmark | None:
    """Return where an unfinished full refresh stopped, or None for any other state.

    Other states do not matter, even if they are in the future: a full refresh reads everything.
    """
    if state.get(_UNFINISHED) != _UNFINISHED_VALUE:
        return None
    try:
        return bookmark(stream, state, cursor)
    except AirbyteTracedException:
        return None


def bookmark(stream: str, state: Mapping[str, Any], cursor: str = _CURSOR) -> Bookmark | None:
    """Return what a stream's saved state says, or None if it says nothing yet.

    `cursor` is the attribute that the stream's states count. Raises a config error that quotes a
    state which cannot be understood. Otherwise the stream would be read again from the start. A
    state in the future is an error too, because a sync from it would skip records.
    """
    if not state or state.keys() == {"currently_syncing"}:
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
        if cursor not in value:
            raise _garbage(stream, dict(value), f"it has no '{cursor}'", cursor)
        value = value[cursor]
    if not isinstance(value, str):
        raise _garbage(stream, value, "a timestamp must be a string")
    try:
        instant = parse_instant(value)
    except (ValueError, OverflowError):
        raise _garbage(stream, value, "it is not an ISO 8601 timestamp") from None
    if instant > parse_instant(datetime.now(tz=UTC).isoformat()) + _CLOCK_TOLERANCE:
        raise config_error(
            f"The saved state of stream '{stream}' is in the future: {value!r}. A sync from there "
            "would skip all changes until then. Check the clock of the machine that wrote it. Set "
            "the state to the last moment that was surely read, or clear it to read from the "
            "start date."
        )
    return Bookmark(instant, unfinished=_UNFINISHED in state, cursor=cursor)


def _garbage(stream: str, value: Any, reason: str, cursor: str = _CURSOR) -> Exception:
    return config_error(
        f"The saved state of stream '{stream}' cannot be understood: {value!r} ({reason}). "
        f'Correct it to {{"{cursor}": "YYYY-MM-DDTHH:MM:SSZ"}}, or clear the stream\'s state to '
        "read it from the start date."
    )


def unread(saved: Sequence[Any]) -> list[AirbyteStateMessage]:
    """Keep a saved state that cannot be understood. The first stream that needs it raises."""
    return [AirbyteStateMessage(type=AirbyteStateType.LEGACY, data={_UNREAD: list(saved)})]


def state_messages(
    saved: Sequence[Any] | None, streams: Sequence[str]
) -> list[AirbyteStateMessage]:
    """Convert a saved state to one message per stream.

    Takes what Airbyte passes (state messages of any type) and what people keep in files: the
    retired connector's `{"bookmarks": {stream: timestamp}}`, `{stream: state}`, or
    `{"updated_at": ...}` for all streams that the retired connector had. Raises a config error that
    quotes anything else.
    """
    messages: list[AirbyteStateMessage] = []
    for item in saved or []:
        if isinstance(item, AirbyteStateMessage):
            legacy = item.data if item.stream is None else None
            if isinstance(legacy, Mapping) and _UNREAD in legacy:
                return state_messages(legacy[_UNREAD], streams)
            messages.extend([item] if legacy is None else _messages(legacy, streams))
        elif isinstance(item, Mapping):
            messages.extend(_messages(item, streams))
        else:
            raise _garbage("*", item, "a state must be an object")
    return messages


def _messages(item: Mapping[str, Any], streams: Sequence[str]) -> list[AirbyteStateMessage]:
    if "stream" in item or "global" in item:
        message = state_message(item)
        if message.global_ is not None and message.global_.shared_state is not None:
            raise _garbage("*", dict(item), "the streams of this source share no state")
        return [message]
    saved = item.get("data", item)
    if not isinstance(saved, Mapping):
        raise _garbage("*", saved, "a state must be an object")
    if "bookmarks" in saved or _CURSOR in saved:
        return [_message(stream, saved) for stream in streams if stream in _RETIRED_STREAMS]
    if saved.keys() == {"currently_syncing"}:
        return []  # the retired connector wrote this before its first page
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
