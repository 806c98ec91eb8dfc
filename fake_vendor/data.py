"""Fake Kustomer resources that look like real ones.

A row is cheap. A `Record` contains only its identity and its times. Its JSON is made from one of a
few templates per kind when it is first needed, and then kept.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from random import Random
from typing import Any

import orjson

from fake_vendor.clock import iso

SEARCH_KINDS = (
    *("customer", "conversation", "message", "note", "kobject"),
    *("company", "conversation_time", "work_session", "work_item"),
)
# The largest page of each list. Documented: 500 for users and teams, 100 for most other lists.
LIST_PAGE_SIZES = {"user": 500, "team": 500, "tag": 100, "shortcut": 100}
LIST_KINDS = tuple(LIST_PAGE_SIZES)
# Settings of an org, in lists of a few rows: kind -> name of the connector's table, and path.
SETTINGS = {
    "brand": ("brands", "brands"),
    "kb_article": ("kb_articles", "kb/articles"),
    "kb_category": ("kb_categories", "kb/categories"),
    "klass": ("klasses", "klasses"),
    "queue": ("queues", "routing/queues"),
    "role_group": ("role_groups", "role-groups"),
    "routing_status": ("routing_statuses", "routing/statuses"),
    "satisfaction": ("satisfaction_forms", "satisfaction"),
    "snooze": ("snoozes", "snoozes"),
    "sub_status": ("sub_statuses", "sub-statuses"),
    "routing_settings": ("team_routing_settings", "routing/settings"),
    "sla": ("slas", "slas"),
    "schedule": ("schedules", "schedules"),
}
SETTING_KINDS = tuple(SETTINGS)


@dataclass(frozen=True)
class Included:
    """How answers with rows of kind `beside` contain rows of another kind, under `included`."""

    beside: str
    parameter: tuple[str, str]
    relationship: str = ""
    is_in_list: bool = False


INCLUDED = {
    "sla_version": Included("sla", ("versions", "all"), "versions", is_in_list=True),
    "holiday": Included("schedule", ("include", "holidays")),
}
INCLUDED_KINDS = tuple(INCLUDED)
# Path -> kind of a log. `GET /v1/<path>` reads it, newest entry first.
EVENT_PATHS = {"audit-logs": "audit_log"}
EVENT_KINDS = tuple(EVENT_PATHS.values())
# Kinds that exist only below a parent.
CHILD_KINDS = ("attachment",)
KINDS = SEARCH_KINDS + LIST_KINDS + SETTING_KINDS + CHILD_KINDS + INCLUDED_KINDS + EVENT_KINDS
# The name of the connector's table of a kind, and the path of its list.
PLURALS = {kind: f"{kind}s" for kind in KINDS} | {
    kind: name for kind, (name, _) in SETTINGS.items()
}
PLURALS["company"] = "companies"
PATHS = PLURALS | {kind: path for kind, (_, path) in SETTINGS.items()}
# Kinds that have a search and also a complete list.
SEARCHED_LISTS = {"companies": "company", "routing/work-sessions": "work_session"}
# Lists below a parent, by the kinds of parent and child: GET /v1/conversations/{id}/messages.
CHILD_LISTS = {
    "conversation_message": ("conversation", "message"),
    "conversation_attachment": ("conversation", "attachment"),
}

ORG_ID = "5b0d3f8ee2a5f40018c1a7d4"
_DAY_MS = 86_400_000
_YEAR_MS = 365 * _DAY_MS + _DAY_MS // 4


# The klasses that have custom objects.
KLASSES = ("shopify-order", "return", "calendly-event")


def klass_of(record: Record) -> str:
    """The klass of a custom object."""
    return KLASSES[record.number % len(KLASSES)]


def object_id(kind: str, number: int) -> str:
    """Return the 24-hex, Mongo-like id of the nth object of a kind. No two pairs share an id."""
    mixed = (number * 0x9E3779B97F4A7D + 0x5DEECE66D) & 0xFF_FFFF_FFFF_FFFF
    place = f"5{KINDS.index(kind):x}{mixed >> 32:06x}"[:8]
    return f"{place}e1{mixed & 0xFFFFFFFF:08x}{number & 0xFFFFFF:06x}"


@dataclass(slots=True, eq=False)
class Record:
    """One version of one object. A change makes a new version."""

    kind: str
    number: int
    id: str
    created_ms: int
    updated_ms: int
    modified_ms: int
    order: int
    deleted_ms: int = 0
    rev: int = 1
    extra: Mapping[str, Any] | None = None
    _raw: bytes = field(default=b"", repr=False)

    @property
    def deleted(self) -> bool:
        """Whether this version is marked deleted."""
        return self.deleted_ms > 0

    @property
    def completed_ms(self) -> float:
        """When a work item was completed. NaN if it was not: every second one is not."""
        return self.modified_ms if self.number % 2 == 0 else math.nan

    @property
    def updated_at(self) -> str:
        """The version's updatedAt in the API's format."""
        return iso(self.updated_ms)

    def changed(self, at_ms: int, order: int, **changes: Any) -> Record:
        """Return the next version."""
        return replace(
            self,
            updated_ms=at_ms,
            modified_ms=at_ms,
            order=order,
            rev=self.rev + 1,
            _raw=b"",
            **changes,
        )

    def attribute(self, name: str) -> Any:
        """Return an attribute as the API serves it."""
        return orjson.loads(self.raw())["attributes"].get(name)

    def raw(self) -> bytes:
        """Return the JSON of this version."""
        if not self._raw:
            self._raw = _render(self)
        return self._raw


def grow(
    kind: str, count: int, *, seed: int, now_ms: int, years: float, ties: tuple[int, ...] = ()
) -> list[Record]:
    """Make `count` records updated within `years` before now, with groups of equal updatedAt.

    Later times are denser, as in an org that grows. A tie group represents a bulk edit. The groups
    are spread evenly over the last two years, or over the whole span if that is shorter.
    """
    if count == 0:
        return []
    if sum(ties) > count:
        raise ValueError(f"{sum(ties)} tied rows do not fit into {count} rows of {PLURALS[kind]}")
    random = Random(f"{seed}/{kind}")
    span = years * _YEAR_MS
    times = [now_ms - 120_000 - int(span * random.random() ** 1.4) for _ in range(count)]
    recent = min(span, 2 * _YEAR_MS)
    start = 0
    for place, size in enumerate(ties, start=1):
        at = now_ms - int(recent * (1 - place / (len(ties) + 1)))
        times[start : start + size] = [at] * size
        start += size
    records = []
    for number, updated in enumerate(times):
        age = int(random.expovariate(1 / (20 * _DAY_MS)))
        modified = updated - random.randrange(0, 800)
        record = Record(
            kind, number, object_id(kind, number), modified - age, updated, modified, number
        )
        records.append(record)
    return records


_FIRST = (
    "Amara",
    "Bruno",
    "Chloe",
    "Dmitri",
    "Elif",
    "Farid",
    "Grace",
    "Hiro",
    "Ines",
    "Jonas",
    "Kavya",
    "Lior",
    "Mila",
    "Noah",
    "Olga",
)
_LAST = (
    "Abara",
    "Bianchi",
    "Castell",
    "Dubois",
    "Eriksen",
    "Fuchs",
    "García",
    "Haddad",
    "Ivanova",
    "Jansen",
    "Moreau",
    "Nakamura",
)
_TEXTS = (
    "Hi, the parcel was marked as delivered yesterday but nothing is here. Can you check?",
    "Thanks for the quick reply! The replacement arrived and fits the door perfectly.",
    "I was charged twice for order A-20417. Please refund one of the two payments, thanks.",
    "Könnten Sie mir bitte die Rechnung für März noch einmal zusenden? Vielen Dank, M.",
    "The app says my code is invalid. I tried it three times, on 2 phones \U0001f62c",
    "Is there a way to change the delivery address after the order has been placed?",
    "Following up on my message from Monday \u2013 any news about the warranty claim?",
)
_COLORS = ("#5ad4d0", "#f2994a", "#9b51e0", "#27ae60", "#eb5757")
_CHANNELS = ("email", "chat", "sms", "voice", "whatsapp")


def _values(record: Record) -> dict[str, Any]:
    n = record.number
    h = (n * 2654435761) & 0xFFFFFFFF
    first, last = _FIRST[h % len(_FIRST)], _LAST[(h >> 7) % len(_LAST)]
    return {
        "id": record.id,
        "n": n,
        "rev": record.rev,
        "created": iso(record.created_ms),
        "updated": iso(record.updated_ms),
        "modified": iso(record.modified_ms),
        "deleted": "true" if record.deleted else "false",
        "first": first,
        "last": last,
        "mail": f"{first}.{n}@example.{'com' if h & 1 else 'org'}".lower(),
        "phone": f"+1555{h % 10_000_000:07d}",
        "text": _TEXTS[h % len(_TEXTS)],
        "color": _COLORS[h % len(_COLORS)],
        "channel": _CHANNELS[h % len(_CHANNELS)],
        # The same custom key has whole numbers and sometimes fractions.
        "amount": f"{h % 1900}.55" if h % 40 == 0 else str(h % 1900),
        "count": h % 9,
        "size": h % 90_000,
        "user": object_id("user", h % 40),
        "team": object_id("team", h % 12),
        "tag": object_id("tag", h % 60),
        "customer": object_id("customer", n // 3),
        "conversation": object_id("conversation", n // 4),
        "message": object_id("message", n * 2),
        "klass": KLASSES[n] if n < len(KLASSES) else f"thing-{n}",
    }


def _render(record: Record) -> bytes:
    shapes = _shapes(record.kind)
    raw = (shapes[record.number % len(shapes)] % _values(record)).encode()
    if not record.deleted and not record.extra:
        return raw
    resource = orjson.loads(raw)
    if record.deleted:
        resource["attributes"] |= {"deleted": True, "deletedAt": iso(record.deleted_ms)}
        resource["relationships"] |= {"deletedBy": _rel("user", object_id("user", 3))}
    for key, value in (record.extra or {}).items():
        merge = key == "attributes" and isinstance(value, Mapping)
        resource[key] = resource[key] | value if merge else value
    return orjson.dumps(resource)


@cache
def _shapes(kind: str) -> tuple[str, ...]:
    """Return the kind's templates for `%`. `<<x>>` is text, `"<<n:x>>"` a bare number or flag."""
    shapes = []
    for resource in _RESOURCES[kind]():
        text = orjson.dumps(resource).decode().replace("%", "%%")
        text = re.sub(r'"<<n:(\w+)>>"', r"%(\1)s", text)
        shapes.append(re.sub(r"<<(\w+)>>", r"%(\1)s", text))
    return tuple(shapes)


def _rel(kind: str, ident: str, type_: str = "") -> dict[str, Any]:
    return {
        "links": {"self": f"/v1/{PATHS[kind]}/{ident}"},
        "data": {"type": type_ or kind, "id": ident},
    }


def _org() -> dict[str, Any]:
    return {"data": {"type": "org", "id": ORG_ID}, "links": {"self": f"/v1/orgs/{ORG_ID}"}}


def _resource(
    kind: str, attributes: dict[str, Any], relationships: dict[str, Any], type_: str = ""
) -> dict[str, Any]:
    return {
        "type": type_ or kind,
        "id": "<<id>>",
        "attributes": attributes,
        "relationships": {"org": _org()} | relationships,
        "links": {"self": f"/v1/{PATHS[kind]}/<<id>>"},
    }


def _without(source: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in source.items() if key not in keys}


def _sla() -> dict[str, Any]:
    return {
        "name": "Standard",
        "version": "5c9b8f1be2a5f40018c1a001",
        "matchedAt": "<<created>>",
        "metrics": {"firstResponse": {"breachAt": "<<updated>>", "businessSchedule": None}},
        "breached": False,
        "status": "pending",
        "summary": {"firstBreachAt": "<<updated>>"},
    }


def _sla_relationships() -> dict[str, Any]:
    return {
        "sla": {
            "links": {"self": "/v1/slas/5c9b8f1be2a5f40018c1a000"},
            "data": {"type": "sla", "id": "5c9b8f1be2a5f40018c1a000"},
        },
        "slaVersion": {"data": {"type": "sla_version", "id": "5c9b8f1be2a5f40018c1a001"}},
    }


def _customers() -> list[dict[str, Any]]:
    mail: dict[str, Any] = {
        "type": "home",
        "email": "<<mail>>",
        "verified": False,
        "externalVerified": False,
    }
    attributes: dict[str, Any] = {
        "name": "<<first>> <<last>>",
        "firstName": "<<first>>",
        "lastName": "<<last>>",
        "displayColor": "<<color>>",
        "externalId": "C-<<n>>",
        "externalIds": [{"externalId": "C-<<n>>", "verified": True}],
        "emails": [mail],
        "phones": [{"type": "mobile", "phone": "<<phone>>", "verified": True}],
        "socials": [],
        "locations": [],
        "recentLocation": None,
        "locale": "en_US",
        "timeZone": "America/New_York",
        "tags": ["<<tag>>"],
        "sentiment": {"polarity": 0, "confidence": 0.61},
        "progressiveStatus": None,
        "verified": True,
        "rev": "<<n:rev>>",
        "recentItems": [
            {"type": "conversation", "id": "<<conversation>>", "updatedAt": "<<modified>>"}
        ],
        "createdAt": "<<created>>",
        "updatedAt": "<<updated>>",
        "modifiedAt": "<<modified>>",
        "lastActivityAt": "<<modified>>",
        "deleted": "<<n:deleted>>",
        "lastConversation": {"id": "<<conversation>>", "channels": ["<<channel>>"], "tags": []},
        "conversationCounts": {"done": "<<n:count>>", "open": 0, "all": "<<n:count>>"},
        "preview": {"type": "message_in", "channel": "<<channel>>", "text": "<<text>>",
                    "previewAt": "<<modified>>"},
        "custom": {
            "lifetimeValueNum": "<<n:amount>>",
            "loyaltyTierStr": "silver",
            "newsletterBool": True,
            "lastOrderAt": "2016-11-06T13:54:29-05:00",
        },
    }  # fmt: skip
    relationships = {
        "messages": {"links": {"self": "/v1/customers/<<id>>/messages"}},
        "createdBy": _rel("user", "<<user>>"),
        "modifiedBy": _rel("user", "<<user>>"),
    }
    rich = attributes | {
        "displayName": "<<first>> <<last>>",
        "displayIcon": "turtle",
        "sharedExternalIds": [],
        "sharedEmails": [],
        "sharedPhones": [],
        "whatsapps": [],
        "facebookIds": [],
        "instagramIds": [],
        "sharedSocials": [],
        "urls": [],
        "activeUsers": [],
        "watchers": [],
        "roleGroupVersions": [],
        "avatarUrl": "https://img.example.com/a/<<id>>.png?size=80%25",
        "birthdayAt": "1987-05-04T00:00:00.000Z",
        "companyName": "Fuchs & Söhne",
        "gender": "f",
        "importedAt": "<<created>>",
        "lastMessageIn": {"sentAt": "<<modified>>", "channel": "<<channel>>", "sentiment": None},
        "lastMessageOut": {"sentAt": "<<modified>>"},
        "locations": [{"type": "home", "address": "12 Long Street, Leeds"}],
        "recentLocation": {"updatedAt": "<<modified>>", "location": {"ip": "203.0.113.9"}},
        "signedUpAt": "<<created>>",
        "satisfactionLevel": {"firstSatisfaction": {"sentByTeams": []}, "lastSatisfaction": {}},
        "socials": [{"type": "twitter", "userid": "<<n>>", "username": "<<first>>", "url": "",
                     "verified": False}],
        "tags": [],
        "custom": {
            "lifetimeValueNum": "<<n:amount>>",
            "preferencesTree": "email.weekly.offers",
            "profileUrl": "https://shop.example.com/u/<<n>>",
            "notesTxt": "Prefers to be called in the morning.",
            "vipBool": False,
            "2faEnabledBool": True,
        },
    }  # fmt: skip
    sparse = _without(
        attributes, "externalId", "preview", "lastConversation", "recentLocation", "recentItems"
    )
    orders = {
        "links": {"self": "/v1/customers/<<id>>/klasses/shopify-order"},
        "meta": {"kobject": "<<message>>"},
    }
    company = _rel("user", "5c2f00aa11bb22cc33dd44ee", "company")
    company["links"] = {"self": "/v1/companies/5c2f00aa11bb22cc33dd44ee"}
    return [
        _resource("customer", attributes, relationships),
        _resource("customer", rich, relationships | {"company": company, "shopify-orders": orders}),
        _resource("customer", attributes | {"sla": _sla()}, relationships | _sla_relationships()),
        *[_resource("customer", sparse, relationships | {"modifiedBy": None})] * 4,
    ]


def _message_stub() -> dict[str, Any]:
    return {
        "id": "<<message>>",
        "sentAt": "<<created>>",
        "createdAt": "<<created>>",
        "channel": "email",
        "directionType": "initial-in",
        "createdByTeams": [],
        "meta": {"from": "<<mail>>", "to": [{"email": "help@shop.example.com"}], "cc": []},
    }


def _conversations() -> list[dict[str, Any]]:
    attributes = {
        "externalId": "conv-<<n>>",
        "name": "Order A-<<n>>",
        "channels": ["email"],
        "status": "open",
        "messageCount": "<<n:count>>",
        "noteCount": 0,
        "satisfaction": 0,
        "satisfactionLevel": {"sentByTeams": [], "answers": []},
        "createdAt": "<<created>>",
        "updatedAt": "<<updated>>",
        "modifiedAt": "<<modified>>",
        "lastActivityAt": "<<modified>>",
        "spam": False,
        "ended": False,
        "tags": ["<<tag>>"],
        "lastMessageIn": _message_stub(),
        "lastMessageUnrespondedTo": {},
        "lastMessageDirection": "in",
        "assignedUsers": ["<<user>>"],
        "assignedTeams": ["<<team>>"],
        "doneCount": 0,
        "reopenCount": 0,
        "open": {"statusAt": "<<created>>"},
        "snooze": None,
        "custom": {"reasonTree": "orders.delivery.late", "refundNum": "<<n:amount>>"},
        "sentiment": {},
        "priority": 3,
        "defaultLang": "en_us",
        "locale": "US",
        "modificationHistory": {"nameAt": None, "tagsAt": "<<modified>>"},
        "preview": "<<text>>",
        "direction": "in",
        "deleted": "<<n:deleted>>",
        "rev": "<<n:rev>>",
    }
    relationships = {
        "customer": _rel("customer", "<<customer>>"),
        "messages": {"links": {"self": "/v1/conversations/<<id>>/messages"}},
        "createdBy": _rel("user", "<<user>>"),
        "modifiedBy": _rel("user", "<<user>>"),
    }
    done = attributes | {
        "firstMessageIn": _message_stub(),
        "firstResponse": {"createdByTeams": [], "assignedTeams": [], "assignedUsers": []},
        "suggestedTags": [],
        "suggestedShortcuts": [],
        "predictions": [],
        "status": "done",
        "ended": True,
        "endedAt": "<<modified>>",
        "endedReason": "user_ended",
        "endedByType": "user",
        "lastDone": {"createdBy": "<<user>>", "createdByTeams": None, "assignedUsers": [],
                     "time": "<<n:size>>", "businessTime": "<<n:size>>",
                     "messageCountByChannel": {"email": "<<n:count>>"},
                     "outboundMessageCountByChannel": None},
        "satisfaction": 5,
        "satisfactionLevel": {"rating": 5, "score": 1, "status": "response", "channel": "email",
                              "answers": [], "sentByTeams": [], "createdAt": "<<modified>>"},
        "sentiment": {"polarity": 1, "confidence": 0.84},
        "lastMessageUnrespondedTo": None,
    }  # fmt: skip
    voice = attributes | {
        "channels": ["voice"],
        "firstMessageIn": _message_stub() | {"channel": "voice", "meta": {"to": "<<phone>>"}},
        "lastMessageIn": _message_stub() | {"channel": "voice", "meta": {"to": None}},
        "snooze": {"status": "scheduled", "time": "<<modified>>", "setting": "1d"},
        "status": "snoozed",
    }
    sparse = _without(
        attributes, "externalId", "lastMessageIn", "custom", "modificationHistory", "locale"
    )
    queue = {
        "links": {"self": "/v1/routing/queues/5d00aa11bb22cc33dd44ee01"},
        "data": {"type": "queue", "id": "5d00aa11bb22cc33dd44ee01"},
    }
    ended = {"endedBy": _rel("user", "<<user>>"), "brand": None}
    return [
        _resource("conversation", attributes, relationships | {"queue": queue}),
        _resource("conversation", done, relationships | ended),
        _resource(
            "conversation", attributes | {"sla": _sla()}, relationships | _sla_relationships()
        ),
        _resource("conversation", voice, _without(relationships, "modifiedBy")),
        *[_resource("conversation", sparse, relationships)] * 4,
    ]


def _messages() -> list[dict[str, Any]]:
    attributes = {
        "externalId": "<m<<n>>@mail.example.com>",
        "channel": "email",
        "app": "postmark",
        "size": "<<n:size>>",
        "subject": "Re: Order A-<<n>>",
        "preview": "<<text>>",
        "direction": "in",
        "directionType": "followup-in",
        "status": "received",
        "auto": False,
        "lang": "en_us",
        "redacted": False,
        "sentAt": "<<created>>",
        "createdAt": "<<created>>",
        "updatedAt": "<<updated>>",
        "modifiedAt": "<<modified>>",
        "responseTime": "<<n:size>>",
        "responseBusinessTime": 0,
        "assignedTeams": ["<<team>>"],
        "assignedUsers": ["<<user>>"],
        "createdByTeams": [],
        "reactions": [],
        "intentDetections": [],
        "sentiment": {"polarity": -1, "confidence": 0.72},
        "meta": {"from": "<<mail>>", "to": [{"email": "help@shop.example.com"}], "bcc": []},
        "rev": "<<n:rev>>",
    }  # fmt: skip
    relationships = {
        "customer": _rel("customer", "<<customer>>", "customers"),
        "conversation": _rel("conversation", "<<conversation>>"),
        "createdBy": _rel("user", "<<user>>"),
    }
    out = attributes | {
        "direction": "out",
        "directionType": "response-out",
        "status": "sent",
        "source": "shortcut",
        "sentiment": None,
        "createdByTeams": None,
        "firstDelivered": {"timestamp": "<<modified>>", "clientType": "web"},
        "firstRead": {"timestamp": "<<modified>>"},
        "custom": {"campaignStr": "spring"},
    }
    failed = attributes | {
        "channel": "sms",
        "app": "twilio",
        "status": "error",
        "error": {"code": 21610, "status": "400", "title": "Unsubscribed recipient",
                  "meta": {"appErrorCode": "21610"}},
        "errorAt": "<<modified>>",
        "meta": {"from": "+15550001111", "to": "<<phone>>"},
    }  # fmt: skip
    whatsapp = attributes | {
        "channel": "whatsapp",
        "app": "whatsapp",
        "meta": {"from": "whatsapp:<<phone>>", "to": "whatsapp:+15550002222", "attachmentNum": 1},
        "error": {"code": "63016", "status": 470, "title": "Outside window", "meta": {}},
    }
    voice = _without(attributes, "subject", "preview", "size") | {
        "channel": "voice",
        "app": "dialpad",
        "meta": {"from": "<<phone>>", "to": None, "answeredAt": "<<created>>"},
    }
    shortcuts = {"data": [{"type": "shortcut", "id": object_id("shortcut", 4)}]}
    rows = [
        _resource("message", attributes, relationships),
        _resource("message", out, relationships | {"shortcuts": shortcuts}),
        _resource("message", failed, relationships | {"modifiedBy": None}),
        _resource("message", whatsapp, relationships | {"shortcuts": {"data": []}}),
        _resource("message", voice, relationships),
    ]
    for row in rows:
        row["links"]["related"] = f"/v1/{row['attributes']['app']}/messages/<<id>>"
    return rows


def _notes() -> list[dict[str, Any]]:
    attributes = {
        "body": "<p><<text>></p>",
        "externalId": "note-<<n>>",
        "createdAt": "<<created>>",
        "updatedAt": "<<updated>>",
        "modifiedAt": "<<modified>>",
        "createdByTeams": ["<<team>>"],
        "userMentions": [],
        "teamMentions": [],
        "deleted": "<<n:deleted>>",
    }
    relationships = {
        "customer": _rel("customer", "<<customer>>"),
        "conversation": _rel("conversation", "<<conversation>>"),
        "createdBy": _rel("user", "<<user>>"),
        "modifiedBy": _rel("user", "<<user>>"),
    }
    imported = attributes | {"importedAt": "<<created>>", "userMentions": ["<<user>>"]}
    return [
        _resource("note", attributes, relationships),
        _resource("note", imported, _without(relationships, "conversation")),
        _resource("note", attributes, relationships | {"conversation": None}),
    ]


def _kobjects() -> list[dict[str, Any]]:
    rows = []
    for klass, custom in (
        ("shopify-order", {"orderNumberStr": "A-<<n>>", "orderTotalNum": "<<n:amount>>",
                           "orderCreatedAt": "<<created>>", "orderPaidBool": True,
                           "orderStatusUrl": "https://shop.example.com/o/<<n>>"}),
        ("return", {"returnReasonTree": "product.damaged.scratch", "itemsNum": "<<n:count>>"}),
        ("calendly-event", {"customersCompanyStr": "Fuchs", "inviteeId": "<<customer>>"}),
    ):  # fmt: skip
        attributes: dict[str, Any] = {
            "externalId": f"{klass}-<<n>>",
            "title": f"{klass} <<n>>",
            "description": "<<text>>",
            "icon": "box",
            "images": [],
            "custom": custom,
            "tags": [],
            "createdAt": "<<created>>",
            "updatedAt": "<<updated>>",
            "rev": "<<n:rev>>",
            "roleGroupVersions": [],
            "data": {"source": klass, "lines": [{"sku": "SKU-<<n>>", "quantity": "<<n:count>>"}]},
        }
        relationships: dict[str, Any] = {
            "klass": {
                "link": {"self": f"/v1/klasses/{klass}"},
                "data": {"type": "klass", "id": klass},
            },
            "customer": _rel("customer", "<<customer>>"),
            "createdBy": _rel("user", "<<user>>"),
        }
        if klass == "return":
            attributes |= {"status": "open", "assignedUser": "<<user>>", "doneCount": 0}
            relationships |= {"company": None}
        row = _resource("kobject", attributes, relationships, f"kobject.{klass}")
        row["links"] = {"self": f"/v1/klasses/{klass}/<<id>>"}
        rows.append(row)
    return rows


def _users() -> list[dict[str, Any]]:
    attributes = {
        "displayName": "<<first>>",
        "name": "<<first>> <<last>>",
        "email": "<<mail>>",
        "userType": "user",
        "avatarUrl": "https://img.example.com/u/<<id>>.png",
        "emailVerifiedAt": "<<created>>",
        "firstEmailVerifiedAt": "<<created>>",
        "verifiedEmailStatus": "verified",
        "isEmailValid": True,
        "password": {"allowNew": True, "forceNew": False, "updatedAt": "<<created>>"},
        "roles": ["org.permission.customer.read", "org.user"],
        "roleGroups": [],
        "mostRecentLoginAt": "<<modified>>",
        "createdAt": "<<created>>",
        "updatedAt": "<<updated>>",
        "modifiedAt": "<<modified>>",
    }
    relationships = {"createdBy": _rel("user", "<<user>>"), "modifiedBy": _rel("user", "<<user>>")}
    machine = _without(attributes, "email", "password", "mostRecentLoginAt") | {
        "userType": "machine"
    }
    gone = attributes | {"deletedAt": "<<modified>>", "mobile": "<<phone>>", "emailSignature": "--"}
    return [
        _resource("user", attributes, relationships),
        _resource("user", machine, {}),
        _resource("user", gone, relationships),
    ]


def _stamps() -> dict[str, Any]:
    return {
        "createdAt": "<<created>>",
        "updatedAt": "<<updated>>",
        "modifiedAt": "<<modified>>",
        "deleted": "<<n:deleted>>",
    }


def _authors() -> dict[str, Any]:
    return {"createdBy": _rel("user", "<<user>>"), "modifiedBy": _rel("user", "<<user>>")}


def _teams() -> list[dict[str, Any]]:
    attributes: dict[str, Any] = {
        "name": "Team <<n>>",
        "displayName": "Team <<last>>",
        "icon": "users",
        "members": ["<<user>>", object_id("user", 1)],
        "roleGroups": [],
    }
    return [
        _resource("team", attributes | _stamps(), _authors()),
        _resource("team", attributes | {"members": []} | _stamps(), {"modifiedBy": None}),
    ]


def _tags() -> list[dict[str, Any]]:
    attributes = {"name": "tag-<<n>>", "color": "<<color>>"}
    return [_resource("tag", attributes | _stamps(), _authors())]


def _shortcuts() -> list[dict[str, Any]]:
    attributes: dict[str, Any] = {
        "name": "Shortcut <<n>>",
        "draft": {"text": "Hello {{customer.firstName}}, <<text>>"},
        "conversation": {
            "name": {"operator": "set", "value": "Order"},
            "tags": {"operator": "add", "value": ["<<tag>>"]},
            "custom": {},
        },
        "payload": {
            "text": {
                "blocks": [{"key": "a1", "text": "<<text>>", "type": "unstyled"}],
                "entityMap": {"0": {"type": "LINK", "data": {"url": "https://shop.example.com"}}},
            }
        },
        "isPrivate": False,
        "appDisabled": False,
        "rev": "<<n:rev>>",
    }
    access: dict[str, Any] = {
        "accessUsers": [{"type": "user", "id": "<<user>>"}],
        "accessTeams": [],
        "attachments": {"data": []},
    }
    parent: dict[str, Any] = {
        "parent": _rel("shortcut", object_id("shortcut", 0)),
        "accessTeams": [],
    }
    return [
        _resource("shortcut", attributes | _stamps(), _authors() | access),
        _resource("shortcut", attributes | _stamps(), _authors() | parent),
    ]


def _brands() -> list[dict[str, Any]]:
    attributes = {"name": "Brand <<n>>", "default": False, "iconUrl": "https://img.example.com/b"}
    stamps = _without(_stamps(), "deleted")
    return [
        _resource("brand", attributes | {"default": True} | _without(stamps, "modifiedAt"), {}),
        _resource("brand", attributes | stamps, _authors()),
    ]


def _klasses() -> list[dict[str, Any]]:
    rows = []
    for status in ("enabled", "existing_only", "disabled"):
        attributes: dict[str, Any] = {
            "name": "<<klass>>",
            "displayName": "Klass <<n>>",
            "icon": "box",
            "color": "",
            "appDisabled": False,
            "status": status,
            "mixins": ["assignable", "commentable"],
            "s3DataUrl": None,
            "createdAt": "<<created>>",
            "updatedAt": "<<updated>>",
        }
        kobjects = {"links": {"self": "/v1/klasses/<<klass>>"}}
        rows.append(_resource("klass", attributes, {"kobjects": kobjects}))
    return rows


def _kb_articles() -> list[dict[str, Any]]:
    attributes: dict[str, Any] = {
        "hash": "a<<n>>",
        "title": "How to return order <<n>>",
        "source": "kustomer",
        "status": "published",
        "scope": "public",
        "publishedAt": "<<modified>>",
        "tags": ["returns"],
        "categories": [{"id": "5e00aa11bb22cc33dd44ee01", "position": 1}],
        "knowledgeBases": [{"id": "5e00aa11bb22cc33dd44ee02", "featured": False}],
        "metaKeywords": ["return"],
        "langVersions": {"en_us": {"version": 3}},
        "latestLangs": {"en_us": 3},
    }
    return [_resource("kb_article", attributes | _stamps(), _authors())]


def _kb_categories() -> list[dict[str, Any]]:
    attributes: dict[str, Any] = {
        "hash": "c<<n>>",
        "title": "Category <<n>>",
        "published": True,
        "positions": [],
        "categoryPositions": ["5e00aa11bb22cc33dd44ee01"],
        "root": False,
        "langs": {"en_us": {"title": "Category <<n>>"}},
    }
    return [_resource("kb_category", attributes | _stamps(), _authors())]


def _queues() -> list[dict[str, Any]]:
    attributes: dict[str, Any] = {
        "name": "QUEUE_<<n>>",
        "displayName": "Queue <<n>>",
        "description": "<<text>>",
        "priority": 3,
        "itemSize": 1,
        "system": False,
        "restrictTransfersByUsers": False,
        "settings": {"overrideAssignment": False, "putBackItemsOnOffline": True},
    }
    return [_resource("queue", attributes | _stamps(), _authors())]


def _role_groups() -> list[dict[str, Any]]:
    attributes: dict[str, Any] = {
        "name": "Permission set <<n>>",
        "description": "<<text>>",
        "display": True,
        "system": False,
        "roles": ["org.permission.customer.read"],
    }
    stamps = {"createdAt": "<<created>>", "updatedAt": "<<updated>>"}
    return [_resource("role_group", attributes | stamps, {})]


def _routing_statuses() -> list[dict[str, Any]]:
    attributes: dict[str, Any] = {"name": "Lunch", "statusType": "unavailable", "system": False}
    return [_resource("routing_status", attributes | _stamps(), _authors())]


def _satisfactions() -> list[dict[str, Any]]:
    attributes: dict[str, Any] = {
        "name": "Survey <<n>>",
        "formType": "csat",
        "enabled": True,
        "channel": "email",
        "from": {"channel": "email", "account": "help@shop.example.com", "app": "postmark"},
        "delayTime": 0,
        "scale": {"options": 5, "type": "number", "labelLow": "Bad", "labelHigh": "Good"},
        "questions": [],
        "criteria": {"and": [], "or": []},
        "createdAt": "<<created>>",
        "updatedAt": "<<updated>>",
        "modified": "<<modified>>",
    }
    row = _resource("satisfaction", attributes, _authors())
    del row["links"]
    return [row]


def _snoozes() -> list[dict[str, Any]]:
    shared = {"name": "Option <<n>>", "enabled": True} | _without(_stamps(), "deleted")
    return [
        _resource("snooze", shared | {"type": kind, "value": value}, _authors())
        for kind, value in (
            ("relative", 7_200_000),
            ("dynamic", {"day": {"type": "tomorrow", "value": 1}, "time": "09:00"}),
            ("absolute", 1_777_890_000_000),
        )
    ]


def _sub_statuses() -> list[dict[str, Any]]:
    shared = {"label": "Waiting <<n>>", "description": "<<text>>", "parentStatus": "open"}
    return [
        _resource("sub_status", shared | {"resourceType": kind} | _stamps(), _authors())
        for kind in ("conversation", "kobject")
    ]


def _routing_settings() -> list[dict[str, Any]]:
    attributes: dict[str, Any] = {"enabled": True, "workItemCapacity": 4, "externalQueues": []}
    relationships = {
        "team": _rel("team", "<<team>>"),
        "queues": {"data": [{"type": "queue", "id": "5d00aa11bb22cc33dd44ee01"}]},
    }
    return [_resource("routing_settings", attributes | _stamps(), _authors() | relationships)]


def _companies() -> list[dict[str, Any]]:
    attributes: dict[str, Any] = {
        "name": "<<last>> & Co",
        "externalId": "company-<<n>>",
        "emails": [{"type": "work", "email": "<<mail>>", "verified": False}],
        "phones": [],
        "domains": [{"domain": "company-<<n>>.example.com"}],
        "locations": [{"type": "work", "address": "12 Long Street, Leeds", "latitude": 53.8}],
        "employeeCount": "<<n:count>>",
        "tags": ["<<tag>>"],
        "custom": {"contractNum": "<<n:amount>>", "tierStr": "gold"},
        "defaultLang": "en_us",
        "rev": "<<n:rev>>",
        "roleGroupVersions": [],
    }
    return [_resource("company", attributes | _stamps(), _authors())]


def _conversation_times() -> list[dict[str, Any]]:
    attributes: dict[str, Any] = {
        "createdAt": "<<created>>",
        "handleAt": "<<created>>",
        "handleTime": "<<n:size>>",
        "channels": ["<<channel>>"],
        "assignedUsers": ["<<user>>"],
        "assignedTeams": [],
        "createdByTeams": ["<<team>>"],
    }
    relationships = {
        "customer": _rel("customer", "<<customer>>"),
        "conversation": _rel("conversation", "<<conversation>>"),
        "createdBy": _rel("user", "<<user>>"),
    }
    return [_resource("conversation_time", attributes, relationships)]


def _work_sessions() -> list[dict[str, Any]]:
    attributes: dict[str, Any] = {
        "routable": True,
        "active": False,
        "statusType": "offline",
        "workItemCount": 0,
        "signedInAt": "<<created>>",
        "signedOutAt": "<<modified>>",
        "capacity": [{"priority": 1, "limit": 4, "remaining": 4, "id": None}],
        "handledItemCount": "<<n:count>>",
        "rev": "<<n:rev>>",
        "totalAvailable": {"statusAt": "<<modified>>", "time": "<<n:size>>", "businessTime": 0},
        "totalTimeByStatus": {"5d00aa11bb22cc33dd44ee01": {"time": "<<n:size>>"}},
        "lastRevision": {"handledItemCount": 2},
    }
    relationships = {
        "user": _rel("user", "<<user>>"),
        "team": _rel("team", "<<team>>"),
        "lastRevision": {"data": {"type": "work_session_revision", "id": "<<message>>"}},
    }
    return [_resource("work_session", attributes | _stamps(), _authors() | relationships)]


def _attachments() -> list[dict[str, Any]]:
    attributes = {
        "name": "photo-<<n>>.jpg",
        "contentType": "image/jpeg",
        "contentLength": "<<n:size>>",
        "redacted": False,
    }
    row = _resource("attachment", attributes, {"message": _rel("message", "<<message>>")})
    del row["id"]
    signature = "X-Amz-Expires=600&X-Amz-Signature=made-up-signature"
    row["links"] = {
        "self": "/v1/messages/<<message>>/attachments/<<id>>",
        "related": f"https://files.example.com/<<id>>/photo.jpg?{signature}",
    }
    return [row]


def _work_items() -> list[dict[str, Any]]:
    attributes: dict[str, Any] = {
        "resourceType": "conversation",
        "status": "completed",
        "paused": False,
        "channel": "<<channel>>",
        "priority": 3,
        "itemSize": 1,
        "queuedCount": 1,
        "firstEnterQueueAt": "<<created>>",
        "completedAt": "<<modified>>",
        "workItemNumber": 1,
        "resourceRev": 12,
        "resourceDirection": "in",
        "resourceFirstQueueTime": "<<n:size>>",
        "rev": "<<n:rev>>",
        "handle": {"time": "<<n:size>>", "businessTime": 0, "completedAt": "<<modified>>"},
        "lastRevision": {"enteredQueueAt": "<<created>>", "queueTime": "<<n:size>>"},
        "resource": {"sla": {}},
    }
    relationships = {
        "resource": {"data": {"type": "conversation", "id": "<<conversation>>"}},
        "queue": {"data": {"type": "queue", "id": "5d00aa11bb22cc33dd44ee01"}},
        "assignedTo": _rel("user", "<<user>>"),
        "lastRevision": {"data": {"type": "work-item-revision", "id": "<<message>>"}},
    }
    # The numbers start at 0. Even ones are completed.
    queued = _without(attributes, "completedAt") | {"status": "queued", "handle": {"time": 0}}
    return [
        _resource("work_item", one | _stamps(), _authors() | relationships)
        for one in (attributes, queued)
    ]


def _slas() -> list[dict[str, Any]]:
    attributes = {"currentVersion": 1, "createdAt": "<<created>>"}
    return [_resource("sla", attributes, {"createdBy": _rel("user", "<<user>>")})]


def _sla_versions() -> list[dict[str, Any]]:
    attributes: dict[str, Any] = {
        "name": "Policy <<n>>",
        "description": "<<text>>",
        "version": 1,
        "hours": "calendar",
        "metrics": {"firstResponse": {"enabled": True, "times": {"1": 3_600_000}}},
        "criteria": {"and": [{"conversation_channel": {"operator": "contains", "value": "email"}}]},
        "createdAt": "<<created>>",
    }
    return [_resource("sla_version", attributes, {"createdBy": _rel("user", "<<user>>")})]


def _schedules() -> list[dict[str, Any]]:
    attributes: dict[str, Any] = {
        "name": "Hours <<n>>",
        "default": False,
        "timezone": "America/New_York",
        "hours": {"0": None, "1": [[480, 1020]], "6": None},
    }
    return [_resource("schedule", attributes | _without(_stamps(), "deleted"), _authors())]


def _holidays() -> list[dict[str, Any]]:
    attributes: dict[str, Any] = {
        "name": "Holiday <<n>>",
        "description": "<<text>>",
        "enabled": True,
        "startDate": "<<created>>",
        "endDate": "<<modified>>",
    }
    return [_resource("holiday", attributes | _without(_stamps(), "deleted"), _authors())]


def _audit_logs() -> list[dict[str, Any]]:
    attributes: dict[str, Any] = {
        "eventName": "kustomer.conversation.update",
        "eventVerb": "update",
        "org": ORG_ID,
        "userId": None,
        "userType": "system",
        "objectId": "<<conversation>>",
        "objectType": "conversation",
        "client": "routing-api",
        "ip": None,
        "changes": {
            "attributes": {"assignedUsers": {"op": "replace", "before": [], "after": ["<<user>>"]}},
            "relationships": {"company": {"op": "replace", "before": None, "after": "<<n>>"}},
        },
        "createdAt": "<<created>>",
        "publishedAt": "<<modified>>",
        "expiresAt": "<<modified>>",
    }
    row = _resource("audit_log", attributes, {"user": {"data": {"type": "user", "id": None}}})
    del row["links"], row["relationships"]["org"]
    return [row]


def _definition(name: str, target: str = "") -> dict[str, Any]:
    is_number = name.endswith("Num")
    made: dict[str, Any] = {
        "type": "number" if is_number else "string",
        "displayName": name,
        "modifiedBy": object_id("user", 2),
        "modifiedAt": "2023-11-08T12:53:21.532Z",
        "updatedAt": "2023-11-08T12:53:21.532Z",
    }
    return made | ({"target": target, "multi": True} if target else {})


# Kind of record -> the names of the custom attributes of its rows.
CUSTOM_ATTRIBUTES = {
    "company": ("contractNum", "tierStr"),
    "conversation": ("reasonTree", "refundNum"),
    "customer": (
        *("lifetimeValueNum", "loyaltyTierStr", "newsletterBool", "lastOrderAt", "notesTxt"),
        *("preferencesTree", "profileUrl", "vipBool", "2faEnabledBool"),
    ),
    "message": ("campaignStr",),
    "kobject.shopify-order": (
        *("orderNumberStr", "orderTotalNum", "orderCreatedAt", "orderPaidBool", "orderStatusUrl"),
    ),
    "kobject.return": ("returnReasonTree", "itemsNum"),
    "kobject.calendly-event": ("customersCompanyStr", "inviteeId"),
}


def metadata() -> dict[str, dict[str, dict[str, Any]]]:
    """Return the definitions of custom attributes: kind of record -> name -> definition."""
    return {
        kind: {name: _definition(name, "customer" if name.endswith("Id") else "") for name in names}
        for kind, names in CUSTOM_ATTRIBUTES.items()
    }


_RESOURCES = {
    "audit_log": _audit_logs,
    "holiday": _holidays,
    "schedule": _schedules,
    "sla": _slas,
    "sla_version": _sla_versions,
    "work_item": _work_items,
    "attachment": _attachments,
    "company": _companies,
    "conversation_time": _conversation_times,
    "work_session": _work_sessions,
    "brand": _brands,
    "kb_article": _kb_articles,
    "kb_category": _kb_categories,
    "klass": _klasses,
    "queue": _queues,
    "role_group": _role_groups,
    "routing_settings": _routing_settings,
    "routing_status": _routing_statuses,
    "satisfaction": _satisfactions,
    "snooze": _snoozes,
    "sub_status": _sub_statuses,
    "customer": _customers,
    "conversation": _conversations,
    "message": _messages,
    "note": _notes,
    "kobject": _kobjects,
    "user": _users,
    "team": _teams,
    "tag": _tags,
    "shortcut": _shortcuts,
}
