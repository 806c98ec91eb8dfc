"""The messages of the fake Courier: their rows, and what is shown below each message."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import orjson

# Every made-up credential contains this text. A row that must not show credentials must not
# contain it.
SECRET_MARK = "made-up-secret"
# The template of the messages, and the list that some are sent to. Both are rows of their tables.
TEMPLATE_ID = "3SXDTQ2F0P4K8EKH18WMGQCV7G1N"
LIST_ID = "beta.testers"

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Message:
    """One message: when it was enqueued, its id, and extra fields of its row.

    `born` are the extra fields that it was inserted with. `late` are the type and the time of the
    events after that. The history needs them, because an event in it never changes.
    """

    enqueued_ms: int
    id: str
    number: int
    extra: Mapping[str, Any] | None = None
    born: Mapping[str, Any] | None = None
    late: tuple[tuple[str, int], ...] = ()

    def row(self) -> Row:
        """Return the row of the message in the list."""
        return _row(self) | dict(self.extra or {})

    def changed(self, fields: Mapping[str, Any], at_ms: int) -> Message:
        """Return the message with changed fields. A new stamp or status is an event."""
        row = self.row()
        events = [
            (name.upper(), fields[name])
            for name in _LAG_MS
            if type(fields.get(name)) is int and fields[name] != row.get(name)
        ]
        status = fields.get("status")
        if isinstance(status, str) and status not in (row.get("status"), *dict(events)):
            events.append((status, at_ms))
        return replace(self, extra={**(self.extra or {}), **fields}, late=(*self.late, *events))

    def info(self, sender: Mapping[str, Any]) -> Row:
        """Return `GET /messages/{id}`. `sender` are the fields of its tenant and its run."""
        row = self.row()
        undocumented = {
            "requestId": self.id,
            # Real ones expire about two minutes or about a day after they were enqueued.
            "expiresAt": self.enqueued_ms + (120_000 if self.number % 2 else 86_400_000),
        }
        return undocumented | dict(sender) | row | {"providers": _providers(row)}

    def history(self) -> list[Row]:
        """Return the events of the message, in order."""
        return _history(self)

    def output(self) -> list[Row] | None:
        """Return what was rendered for each channel. None before the message was rendered."""
        return _output(self) if any(e["type"] == "RENDERED" for e in _history(self)) else None


def profile(user: str, number: int) -> Row:
    """Return a user's profile with credentials of channels, as the docs' examples have."""
    secret = f"{SECRET_MARK}-{number}"
    return {
        "email": f"{user}@example.com",
        "phone_number": f"+1555{number % 10_000_000:07d}",
        "slack": {"access_token": f"xoxb-{secret}", "user_id": f"U{number:06d}"},
        "expo": {"token": f"ExponentPushToken[{secret}]"},
        "firebaseToken": f"fcm-{secret}",
        "webhook": {"url": "https://hooks.example.com/in", "headers": {"authorization": secret}},
    }


# Each status occurs as often as in a healthy list of messages.
_STATUSES = (
    *("DELIVERED",) * 6, *("OPENED",) * 4, *("SENT",) * 3, *("CLICKED",) * 2, "ENQUEUED",
    "UNDELIVERABLE", "UNROUTABLE", "UNMAPPED", "FILTERED", "CANCELED", "DELAYED", "DIGESTED",
    "ROUTED", "SIMULATED", "THROTTLED",
)  # fmt: skip
# Status -> the times that the row of a message has.
_STAMPS = {
    "SENT": ("sent",),
    "DELIVERED": ("sent", "delivered"),
    "OPENED": ("sent", "delivered", "opened"),
    "CLICKED": ("sent", "delivered", "opened", "clicked"),
}
_LAG_MS = {"sent": 900, "delivered": 4_200, "opened": 5_400_000, "clicked": 5_460_000}
_FAILURES = {
    "UNDELIVERABLE": ("BOUNCED", "550 5.1.1 The email account does not exist"),
    "UNROUTABLE": ("NO_CHANNELS", None),
    "UNMAPPED": ("UNPUBLISHED", None),
    "FILTERED": ("UNSUBSCRIBED", "Notification opted out by user"),
}


def _row(message: Message) -> dict[str, Any]:
    n = message.number
    mixed = (n * 2654435761) & 0xFFFFFFFF
    status = _STATUSES[mixed % len(_STATUSES)]
    user = f"user-{mixed % 5000}"
    row: dict[str, Any] = {
        "enqueued": message.enqueued_ms,
        "id": message.id,
        "recipient": user,
        "recipientId": user,
        "status": status,
    }
    if n % 7:
        row |= {"event": "order-shipped", "notification": TEMPLATE_ID}
    else:
        # A message with inline content has no template and no event. Its recipient is an address.
        row["recipient"] = f"{user}@example.com"
    for stamp in _STAMPS.get(status, ()):
        row[stamp] = message.enqueued_ms + _LAG_MS[stamp] + mixed % 700
    if n % 11 == 5:
        row.pop("delivered", None)
    if status in _FAILURES:
        row["reason"], row["error"] = _FAILURES[status]
    elif n % 5 == 0:
        row |= {"error": None, "reason": None}
    if n % 3 == 0:
        row["tags"] = ["orders", f"shop-{mixed % 4}"]
    if n % 4 == 0:
        row["trace_id"] = f"1-{message.id[2:10]}-{mixed:024x}"
    if n % 9 == 0:
        row["utm"] = {"source": "courier", "medium": "email", "campaign": "spring"}
    if n % 13 == 0:
        row |= {"listId": LIST_ID, "listMessageId": f"1-{message.id[2:10]}-{n:024x}"}
    return row


def _providers(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what only the single-message endpoint shows. It is empty before the first try."""
    status = row["status"]
    if status == "FILTERED":
        return [{"error": row.get("error"), "status": "UNDELIVERABLE"}]
    if status not in _STAMPS and status != "UNDELIVERABLE":
        return []
    provider: dict[str, Any] = {
        "channel": {"name": "Email", "template": "b4a7c1de"},
        "provider": "sendgrid",
        "reference": {"x-message-id": row["id"][11:]},
        "status": status,
    }
    if "notification" not in row:
        provider["channel"] = {"key": "sendgrid"}
    provider |= {stamp: row[stamp] for stamp in _STAMPS.get(status, ()) if stamp in row}
    if status == "UNDELIVERABLE":
        provider["error"] = row.get("error")
    elif status != "OPENED":
        provider["providerResponse"] = {"status": 202, "statusText": "Accepted", "data": {}}
    return [provider]


_EMAIL = {"id": "b4a7c1de", "label": "Email"}
_SENDGRID = {"id": "8e6b2c10", "provider": "sendgrid"}


def _history(message: Message) -> list[Row]:
    n, at = message.number, message.enqueued_ms
    row = _row(message) | dict(message.born or {})
    status, user = row["status"], row["recipientId"]
    # A real event is some milliseconds later than the row's `enqueued`, and has no other fields.
    enqueued: Row = {"ts": at + 9, "type": "ENQUEUED"}
    if n % 10 == 3:
        enqueued["data"] = orjson.dumps({"order": n}).decode()
    elif n % 10 == 4:
        enqueued |= {"data": {"order": n}, "event": row.get("event"), "recipient": user}
    events = [enqueued]
    if status == "UNMAPPED":
        events.append({"ts": at + 20, "type": "UNMAPPED", "event_id": row.get("event")})
    elif status != "ENQUEUED":
        if "notification" in row:
            ids = {"event_id": row.get("event"), "notification_id": row["notification"]}
            events.append({"ts": at + 20, "type": "MAPPED", **ids})
        stored = profile(str(user), n)
        received = {"email": stored["email"]}
        events.append(
            {"ts": at + 60, "type": "PROFILE_LOADED", "merged_profile": stored | received}
            | {"received_profile": received, "stored_profile": stored}
        )
        events += _outcome(message, row)
    events += [_event(kind, ts, n) for kind, ts in message.late]
    return events


def _outcome(message: Message, row: Row) -> list[Row]:
    """Return the events after the profile was loaded."""
    n, at, status = message.number, message.enqueued_ms, row["status"]
    if status == "UNROUTABLE":
        return [{"ts": at + 80, "type": "UNROUTABLE", "reason": "No channels", "channel": {}}]
    stamps = {name: row[name] for name in _LAG_MS if type(row.get(name)) is int}
    if not stamps and status != "UNDELIVERABLE":
        return [{"ts": at + 80, "type": status}]
    base = f"/messages/{message.id}/output/{_EMAIL['id']}"
    events: list[Row] = [
        {
            "ts": at + 200,
            "type": "RENDERED",
            "channel": _EMAIL,
            "integration": _SENDGRID,
            "output": {part: f"{base}/{part}" for part in ("text", "subject", "html")},
        }
    ]
    if status == "UNDELIVERABLE":
        error = {"error_message": row.get("error"), "reason": row.get("reason")}
        events.append(_event("UNDELIVERABLE", at + 900, n) | error)
    for name, ts in stamps.items():
        # `opened` is the time of the last open. One real message had 26 in 16 days.
        times = (26 if n % 29 == 0 else 1 + n % 4) if name == "opened" else 1
        events += [_event(name.upper(), ts - 60_000 * age, n) for age in reversed(range(times))]
    events[1:] = sorted(events[1:], key=lambda event: event["ts"])
    return events


def _event(kind: str, ts: int, number: int) -> Row:
    """Return an event of a channel. Real ones have an empty channel or no label at times."""
    channel: Row = _EMAIL if number % 5 else {"id": "", "label": ""}
    if kind == "OPENED":
        channel = {"id": _EMAIL["id"]} if number % 3 else {}
    event = {"ts": ts, "type": kind, "channel": channel, "integration": _SENDGRID}
    return event | ({"reference": {"x-message-id": f"m-{number}"}} if kind == "DELIVERED" else {})


def _output(message: Message) -> list[Row]:
    n = message.number
    words = {"text": f"Your order {n} is on its way.", "subject": f"Order {n} was sent"}
    email: Row = {"channel": "email", "content": words | {"html": f"<p>{words['text']}</p>"}}
    if "notification" in message.row():
        email["channel_id"] = _EMAIL["id"]
    if n % 4:
        return [email]
    blocks = [{"type": "text", "text": words["text"]}]
    push = {"title": words["subject"], "body": words["text"], "blocks": blocks}
    return [email, {"channel": "push", "channel_id": "c01d55aa", "content": push}]
