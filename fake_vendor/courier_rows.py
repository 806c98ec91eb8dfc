"""Makes the rows of the fake Courier's tables, each from its number and the seed alone.

A row contains all columns, also the ones that the connector adds. courier_tables.py knows which
ones Courier does not send.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import blake2b

from fake_vendor.clock import iso
from fake_vendor.courier_messages import LIST_ID, TEMPLATE_ID, Row, profile

_DAY_MS = 86_400_000
# Runs are kept for 95 days. The oldest made ones have an hour left, so that none goes in a test.
RUN_LIFE_MS = 95 * _DAY_MS
_RUN_SPAN_MS = RUN_LIFE_MS - 3_600_000
# The documented statuses of a run. More may follow.
_RUN_STATUSES = (
    *("PROCESSED",) * 4, "PROCESSING", "WAITING", "CANCELED", "ERROR", "THROTTLED", "NOT PROCESSED",
)  # fmt: skip
_STEP_STATUSES = ("PROCESSED", "SKIPPED", "COMPUTING", "WAITING", "ERROR")
_NAMES = ("Orders", "Beta & friends", "Rückfragen", "Weekly news", "Invoices", "Alerts")
_USERS = 5000


@dataclass(frozen=True)
class Maker:
    """Makes rows. `counts` are the rows per table, or per parent for a table below a parent."""

    seed: int
    now_ms: int
    counts: Mapping[str, int]

    def make(self, table: str, number: int, parent: Row, place: int, siblings: int) -> Row:
        """Make the row with this number, which is the row `place` of `siblings` below `parent`."""
        if table in _BELOW:
            return _BELOW[table](self, number, parent, place, siblings)
        return _TOP[table](self, number)

    def hash(self, kind: str, number: int) -> int:
        """Return a number that looks random."""
        return int(self.hex(kind, number)[:12], 16)

    def hex(self, kind: str, number: int) -> str:
        """Return 32 hex digits."""
        return blake2b(f"{self.seed}/{kind}/{number}".encode(), digest_size=16).hexdigest()

    def uuid(self, kind: str, number: int) -> str:
        """Return a text that looks like a UUID."""
        text = self.hex(kind, number)
        return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:]}"

    def ms(self, kind: str, number: int, span_ms: int = 400 * _DAY_MS) -> int:
        """Return a time within the span before now."""
        return self.now_ms - 60_000 - self.hash(f"{kind}/at", number) % span_ms

    def iso(self, kind: str, number: int, later_ms: int = 0) -> str:
        """Return a time as text."""
        return iso(self.ms(kind, number) + later_ms)

    # The ids of rows that other rows name.

    def tenant(self, number: int) -> str:
        """Every tenth id has characters that a path must encode."""
        return f"tenant-{number}" if number % 10 != 1 else f"acme/{number} ü"

    def topic(self, number: int) -> str:
        """A topic of the first section, if there is one."""
        count = self.counts["preference_topics"]
        return f"TPC{self.hex('preference_topics', number % count if count else number)[:20]}"

    def sender(self, number: int) -> dict[str, str]:
        """The undocumented columns of a message that name its tenant or its run."""
        fields: dict[str, str] = {}
        if number % 4 == 1 and self.counts["tenants"]:
            fields["accountId"] = self.tenant(number % self.counts["tenants"])
        if number % 5 == 2 and self.counts["automation_runs"]:
            run = number % self.counts["automation_runs"]
            fields["runId"] = self.uuid("automation_runs", run)
            fields["automationTemplateId"] = self.uuid("automations", run % 3)
        return fields


def _user(number: int) -> str:
    return f"user-{number}"


def _name(number: int) -> str:
    return f"{_NAMES[number % len(_NAMES)]} {number}"


def _notification_template(m: Maker, n: int) -> Row:
    at = m.ms("notification_templates", n)
    tags = [{"id": m.uuid("tag", k), "name": f"tag {k}"} for k in range(n % 3)]
    if n % 2 == 0:
        ident = m.hex("notification_templates", n)[:28].upper()
        return {
            "id": ident if n else TEMPLATE_ID,
            "title": None if n % 10 == 4 else _name(n),
            "created_at": at - _DAY_MS,
            "updated_at": at,
            "event_ids": ["order-shipped"] if n % 4 == 0 else [],
            "routing": {"method": "single", "channels": ["email", "push"]},
            "topic_id": m.topic(n),
            "tags": None if n % 8 == 6 else {"data": tags},
            "note": None,
        }
    topic = m.topic(n) if n % 3 else None
    return {
        "id": f"nt_{m.hex('notification_templates', n)[:26]}",
        "name": _name(n),
        "created": at - _DAY_MS,
        "updated": None if n % 10 == 3 else at,
        "creator": _user(n % 7),
        "updater": None if n % 10 == 3 else _user(n % 5),
        "state": "PUBLISHED" if n % 4 == 1 else "DRAFT",
        "tags": [tag["name"] for tag in tags],
        "subscription_topic_id": topic,
        "topic_id": topic,
    }


def _version(m: Maker, place: int, siblings: int) -> Row:
    """Versions come in order of age: the draft, the published one, and those before it."""
    version = "draft" if place == 0 else f"v{siblings - place:03d}"
    label = f"published:{version}" if place == 1 else version
    return {"version": version, "label": label, "created": m.now_ms - _DAY_MS * (1 + place % 400)}


def _notification_template_version(m: Maker, n: int, parent: Row, place: int, siblings: int) -> Row:
    row = _version(m, place, siblings)
    row = {"notification_id": parent["id"], **row, "creator": _user(n % 7)}
    return row if place else row | {"has_changes": n % 2 == 0}


def _brand(m: Maker, n: int) -> Row:
    at = m.ms("brands", n)
    return {
        "id": m.hex("brands", n)[:28].upper(),
        "name": _name(n),
        "created": at - _DAY_MS,
        "updated": at,
        "published": None if n % 4 == 3 else at,
        "version": None if n % 4 == 3 else iso(at),
        "settings": {"colors": {"primary": "#9d3789"}, "email": {"header": {}}, "inapp": None},
        "snippets": {"items": [{"name": "sign-off", "value": "Bye!"}]} if n % 3 else None,
    }


def _list(m: Maker, n: int) -> Row:
    return {
        "id": f"shop.{n}.news" if n else LIST_ID,
        "name": _name(n),
        "created": None if n % 9 == 5 else m.iso("lists", n),
        "updated": None if n % 9 == 5 else m.iso("lists", n, 60_000),
    }


def _members(m: Maker, table: str, parent: str, place: int) -> str:
    """The user of a row below a parent. No two rows of a parent have the same."""
    first = m.hash(f"{table}/{parent}", 0) % _USERS
    return _user(first + place)


def _list_subscription(m: Maker, n: int, parent: Row, place: int, siblings: int) -> Row:
    preferences = {"status": "OPTED_IN", "channel_preferences": [{"channel": "email"}], "rules": []}
    return {
        "list_id": parent["id"],
        "recipientId": _members(m, "list_subscriptions", parent["id"], place),
        "created": None if n % 9 == 5 else m.iso(f"list_subscriptions/{parent['id']}", n),
        "preferences": {"categories": {m.topic(n): preferences}, "notifications": {}}
        if n % 3 == 0
        else None,
    }


def _audience(m: Maker, n: int) -> Row:
    title: Row = {"path": "title", "value": "Software Engineer", "operator": "EQ"}
    several: Row = {"path": "city", "value": ["Leeds", "Porto"], "operator": "ANY_OF"}
    # Three shapes occur in the sources.
    filters: tuple[Row | None, ...] = (
        title,
        {"operator": "AND", "rules": [title, several]},
        {"operator": "OR", "filters": [title, {"operator": "AND", "filters": [several]}]},
        None,
    )
    return {
        "id": f"audience-{m.hex('audiences', n)[:8]}",
        "name": _name(n),
        "description": f"Users of {_name(n)}",
        "created_at": m.iso("audiences", n),
        "updated_at": m.iso("audiences", n, 60_000),
        "filter": filters[n % 4],
        "operator": (None, "AND", "OR", None)[n % 4],
    }


def _audience_member(m: Maker, n: int, parent: Row, place: int, siblings: int) -> Row:
    return {
        "audience_id": parent["id"],
        "member_id": _members(m, "audience_members", parent["id"], place),
        "added_at": m.iso(f"audience_members/{parent['id']}", n),
        "audience_version": 1 + n % 3,
        "reason": "EQ('title', 'Software Engineer') => true",
    }


def _routing_strategy(m: Maker, n: int) -> Row:
    at = m.ms("routing_strategies", n)
    return {
        "id": f"rs_{m.hex('routing_strategies', n)[:26]}",
        "name": _name(n),
        "description": None if n % 3 == 0 else "E-mail, then push",
        "tags": None if n % 4 == 0 else ["default"],
        "created": at - _DAY_MS,
        "creator": _user(n % 7),
        "updated": None if n % 5 == 0 else at,
        "updater": None if n % 5 == 0 else _user(n % 5),
    }


def _broadcast(m: Maker, n: int) -> Row:
    schedule = {
        "recipient_id": LIST_ID,
        "recipient_type": "list",
        # A time on the clock on the wall, without an offset.
        "scheduled_to": m.iso("broadcasts", n, _DAY_MS).removesuffix("Z"),
        "timezone": "Europe/Berlin",
    }
    return {
        "id": f"bst_{m.hex('broadcasts', n)[:26]}",
        "name": _name(n),
        "channel": ("email", "sms", "push", "inbox", "slack", "msteams")[n % 6],
        "status": ("draft", "scheduled", "sending", "sent")[n % 4],
        "created_at": m.iso("broadcasts", n),
        "updated_at": m.iso("broadcasts", n, 60_000),
        "archived_at": None,
        "created_by": _user(n % 7),
        "updated_by": _user(n % 5),
        "archived_by": None,
        "schedule": schedule if n % 4 else None,
    }


def _audit_event(m: Maker, n: int) -> Row:
    actor = {"id": _user(n % 7), "email": None if n % 4 == 0 else f"user-{n % 7}@example.com"}
    return {
        "auditEventId": m.uuid("audit_events", n),
        "type": ("notification:published", "user:role-changed", "api-key:created")[n % 3],
        "timestamp": m.iso("audit_events", n),
        "source": "studio",
        "actor": actor,
        "target": {"id": TEMPLATE_ID, "email": f"user-{n % 5}@example.com"},
    }


def _tenant(m: Maker, n: int) -> Row:
    items: list[Row] = [
        {
            "id": m.topic(k),
            "status": ("OPTED_IN", "OPTED_OUT", "REQUIRED")[(n + k) % 3],
            "has_custom_routing": k % 2 == 1,
            "custom_routing": ["email"] if k % 2 else [],
        }
        for k in range(min(n % 4, m.counts["preference_topics"]))
    ]
    return {
        "id": m.tenant(n),
        "name": _name(n),
        "parent_tenant_id": m.tenant(0) if n % 5 == 2 else None,
        "brand_id": None,
        "properties": {"tier": "gold"} if n % 3 else None,
        "user_profile": profile(f"tenant-{n}", n) if n % 2 else None,
        "default_preferences": {"items": items} if items or n % 8 else None,
    }


def _tenant_user(m: Maker, n: int, parent: Row, place: int, siblings: int) -> Row:
    user = _members(m, "tenant_users", parent["id"], place)
    return {
        "tenant_id": parent["id"],
        "user_id": user,
        "type": "user",
        "profile": profile(user, n) if n % 2 == 0 else None,
    }


def _tenant_template(m: Maker, n: int, parent: Row, place: int, siblings: int) -> Row:
    kind = f"tenant_templates/{parent['id']}"
    return {
        "tenant_id": parent["id"],
        "id": f"template-{place}",
        "created_at": m.iso(kind, n),
        "updated_at": m.iso(kind, n, 60_000),
        "published_at": m.iso(kind, n, 60_000) if n % 3 else None,
        "version": f"v{1 + n % 4:03d}",
        "data": {"routing": {"method": "single", "channels": ["email"]}},
    }


def _preference_section(m: Maker, n: int) -> Row:
    return {
        "id": f"SEC{m.hex('preference_sections', n)[:20]}",
        "name": _name(n),
        "description": None if n % 2 else "What users see",
        "has_custom_routing": n % 2 == 0,
        "routing_options": ["email", "push"],
        "created": m.iso("preference_sections", n),
        "updated": None if n % 3 == 0 else m.iso("preference_sections", n, 60_000),
        "creator": _user(n % 7),
        "updater": None if n % 3 == 0 else _user(n % 5),
    }


def _preference_topic(m: Maker, n: int, parent: Row, place: int, siblings: int) -> Row:
    digest = {
        "template_id": TEMPLATE_ID,
        "audience_id": None,
        "trigger_empty": False,
        "categories": [{"category_key": "orders", "limit": 5, "retain": "first", "sort_key": "at"}],
        "created": m.iso("digest", n),
        "updated": m.iso("digest", n, 60_000),
    }
    return {
        "section_id": parent["id"],
        "id": f"TPC{m.hex('preference_topics', n)[:20]}",
        "name": _name(n),
        "description": None,
        "default_status": ("OPTED_IN", "OPTED_OUT", "REQUIRED")[n % 3],
        "allowed_preferences": ["snooze", "channel_preferences"],
        "routing_options": ["email"],
        "include_unsubscribe_header": n % 2 == 0,
        "topic_data": {"color": "#9d3789"} if n % 2 else {},
        "created": m.iso("preference_topics", n),
        "updated": m.iso("preference_topics", n, 60_000),
        "creator": _user(n % 7),
        "updater": None,
        "digest": digest if n % 2 == 0 else None,
    }


def _digest_schedule(m: Maker, n: int, parent: Row, place: int, siblings: int) -> Row:
    kind = f"digest_schedules/{parent['id']}"
    # The first schedule of a topic has an id of the old form.
    ident = m.uuid(kind, n)
    row: Row = {
        "topic_id": parent["id"],
        "schedule_id": ident if place else f"sch/{ident}",
        "frequency": ("daily", "weekly", "weekdays", "custom_days", "monthly")[n % 5],
        "time": "09:30",
        "timezone": "Europe/Berlin",
        "is_default": place == 0,
        "disabled": n % 4 == 3,
        "created": m.iso(kind, n),
        "updated": m.iso(kind, n, 60_000),
    }
    extras: tuple[Row, ...] = (
        {}, {"day_of_week": "monday"}, {}, {"days_of_week": ["monday", "friday"]},
        {"day_of_month": 1},
    )  # fmt: skip
    return row | extras[n % 5]


def _digest_instance(m: Maker, n: int, parent: Row, place: int, siblings: int) -> Row:
    kind = f"digest_instances/{parent['schedule_id']}"
    return {
        "schedule_id": parent["schedule_id"],
        "digest_instance_id": m.uuid(kind, place),
        "user_id": _members(m, "digest_instances", parent["schedule_id"], place),
        "tenant_id": m.tenant(0) if n % 4 == 0 else None,
        "status": "IN_PROGRESS" if n % 2 else "COMPLETED",
        "event_count": n % 7,
        "category_key_counts": {"orders": n % 7} if n % 3 else None,
        "categories": [{"category_key": "orders", "retain": "first"}] if n % 3 else None,
        "created_at": None if n % 9 == 5 else m.iso(kind, n),
        "disabled": None if n % 4 else False,
    }


def _preference_log(m: Maker, n: int) -> Row:
    previous: Row = {"status": "OPTED_IN", "has_custom_routing": False, "custom_routing": []}
    return {
        "id": m.uuid("preference_logs", n),
        "timestamp": m.iso("preference_logs", n),
        "user_id": _user(m.hash("preference_logs", n) % 40),
        "tenant_id": m.tenant(0) if n % 5 == 0 else None,
        "topic_id": m.topic(n),
        "topic_name": _name(n % 3),
        "status": "OPTED_OUT" if n % 2 else "OPTED_IN",
        "has_custom_routing": n % 3 == 0,
        "custom_routing": ["email"] if n % 3 == 0 else [],
        "previous": previous if n % 4 else None,
    }


def _workflow(table: str) -> Callable[[Maker, int], Row]:
    """Two workflows have three rows: one is published and has a draft, the other has one row."""

    def make(m: Maker, n: int) -> Row:
        group, place = divmod(n, 3)
        number = 2 * group + (place == 2)
        is_draft = place == 1 or (place == 2 and group % 2 == 1)
        return {
            "id": m.uuid(table, number),
            "name": _name(number),
            "version": "draft" if is_draft else "published",
            "createdAt": None if n % 9 == 5 else m.iso(table, number),
            "updatedAt": None if n % 9 == 5 else m.iso(table, number, 60_000 * (1 + place)),
        }

    return make


def _journey_version(m: Maker, n: int, parent: Row, place: int, siblings: int) -> Row:
    row = _version(m, place, siblings)
    return {
        "journey_id": parent["id"],
        **row,
        "name": parent["name"],
        "created": None if n % 9 == 5 else row["created"],
        "published": row["created"] + 60_000 if place else None,
        "creator": None if n % 4 == 0 else _user(n % 7),
    }


def _run(table: str, workflows: str) -> Callable[[Maker, int], Row]:
    def make(m: Maker, n: int) -> Row:
        row: Row = {
            "run_id": m.uuid(table, n),
            "template_id": None if n % 7 == 6 else m.uuid(workflows, n % 3),
            "status": _RUN_STATUSES[n % len(_RUN_STATUSES)],
            "created_at": iso(m.ms(table, n, _RUN_SPAN_MS)),
            "source": ["api", f"invoke/{n}"],
        }
        if n % 20 == 13:
            # A few old runs have no such time.
            del row["created_at"]
        return row

    return make


def _step(m: Maker, n: int, parent: Row, place: int, siblings: int, named: Row) -> Row:
    return {
        "run_id": parent["run_id"],
        "action": ("send", "delay", "fetch-data")[place % 3],
        "status": _STEP_STATUSES[(n + place) % len(_STEP_STATUSES)],
        # The message of a step may be older than the log of messages.
        "message_id": f"1-{m.hex('step', n)[:8]}-{m.hex('step', n)[8:32]}" if n % 3 else None,
        "created_at": None if n % 9 == 5 else m.iso(f"step/{parent['run_id']}", n),
        "updated_at": None if n % 9 == 5 else m.iso(f"step/{parent['run_id']}", n, 5_000),
    } | named


def _journey_run_step(m: Maker, n: int, parent: Row, place: int, siblings: int) -> Row:
    named: Row = {
        # A loop comes to the same node again.
        "node_id": None if n % 9 == 5 else f"node-{place % 2}",
        "error": {"message": "Fetch failed"} if n % 5 == 4 else None,
        "skip_reason": "condition" if n % 5 == 1 else None,
    }
    return _step(m, n, parent, place, siblings, named)


def _automation_run_step(m: Maker, n: int, parent: Row, place: int, siblings: int) -> Row:
    return _step(m, n, parent, place, siblings, {"step_id": None if n % 9 == 5 else f"s{place}"})


_TOP: dict[str, Callable[[Maker, int], Row]] = {
    "notification_templates": _notification_template,
    "brands": _brand,
    "lists": _list,
    "audiences": _audience,
    "routing_strategies": _routing_strategy,
    "broadcasts": _broadcast,
    "audit_events": _audit_event,
    "tenants": _tenant,
    "preference_sections": _preference_section,
    "preference_logs": _preference_log,
    "journeys": _workflow("journeys"),
    "automations": _workflow("automations"),
    "journey_runs": _run("journey_runs", "journeys"),
    "automation_runs": _run("automation_runs", "automations"),
}
_BELOW: dict[str, Callable[[Maker, int, Row, int, int], Row]] = {
    "notification_template_versions": _notification_template_version,
    "list_subscriptions": _list_subscription,
    "audience_members": _audience_member,
    "tenant_users": _tenant_user,
    "tenant_templates": _tenant_template,
    "preference_topics": _preference_topic,
    "digest_schedules": _digest_schedule,
    "digest_instances": _digest_instance,
    "journey_versions": _journey_version,
    "journey_run_steps": _journey_run_step,
    "automation_run_steps": _automation_run_step,
}
