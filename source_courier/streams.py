"""The streams of Courier, as facts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import requests
from airbyte_cdk.utils.traced_exception import AirbyteTracedException

from http_source.columns import Row
from http_source.errors import system_error
from http_source.instants import EpochMs, format_instant
from source_courier.children import GONE, ChildStream
from source_courier.derived import ParentPartStream, SectionStream
from source_courier.lists import CourierListStream
from source_courier.masking import masked
from source_courier.message_children import MessageChildStream
from source_courier.newest_first import NewestFirstStream
from source_courier.paging import CursorAlone, HasMore, OneReply
from source_courier.runs import RunStepStream, RunStream
from source_courier.stream import CourierStream

# Messages and what belongs to them.


class Messages(NewestFirstStream):
    """One message that Courier sent or tried to send to one recipient.

    https://www.courier.com/docs/reference/sent-messages/list-messages
    """

    name = "messages"
    endpoint = "messages"
    cursor_field = "enqueued"
    since_parameter = "enqueued_after"
    # The published example is in milliseconds. Others send ISO 8601: docs/vendors/courier.md.
    since_forms = (str, format_instant)
    has_row_cursors = True

    def lookback(self) -> EpochMs:
        """See `NewestFirstStream`."""
        return self._config.lookback

    def start(self) -> EpochMs | None:
        """See `NewestFirstStream`."""
        return self._config.start

    def parameters(self) -> Mapping[str, str]:
        """See `NewestFirstStream`."""
        return {"archived": "true"} if self._config.include_archived else {}

    def state_value(self, moment: EpochMs) -> int:
        """See `NewestFirstStream`."""
        return moment

    @property
    def requires_row(self) -> bool:  # type: ignore[override]
        """Whether the newest message that is not archived must come.

        Courier does not say whether `archived=true` shows archived messages too, or alone.
        """
        return self._config.include_archived

    def required_row(self, bound: EpochMs | None) -> str | None:
        """See `NewestFirstStream`."""
        for row in self.get_page(None, {}).rows:
            moment = self.moment(row)
            ident = str(row["id"])
            return ident if bound is None or moment is None or moment >= bound else None
        return None

    def missing(self, ident: str) -> AirbyteTracedException:
        """See `NewestFirstStream`."""
        return system_error(
            f"Stream {self.name}: GET /messages?archived=true does not show message {ident}, which "
            "is not archived. Expected all messages. Turn off 'Include archived messages'."
        )


class MessageInfo(MessageChildStream):
    """A message as it is shown alone, with the attempts of its providers.

    https://www.courier.com/docs/reference/sent-messages/get-message
    """

    name = "message_info"
    endpoint = "messages/{id}"
    parent = Messages
    cursor_field = "enqueued"
    # A reply is the row itself.
    rows_keys = ()

    def fetch(self, message: str, endpoint: str) -> list[Row]:
        """See `MessageChildStream`."""
        return [self.client.get_object(endpoint, {"id": message})]

    def prepare(self, row: Row, message: str, enqueued: EpochMs | None, number: int) -> Row:
        """Mask credentials that a provider's answer repeats."""
        return row if "providers" not in row else row | {"providers": masked(row["providers"])}


class _MessagePart(MessageChildStream):
    """A list that belongs to a message and comes in one reply."""

    parent = Messages
    cursor_field = "message_enqueued"
    key = ("message_id", "ordinal")
    id_keys = ()
    paging = OneReply

    def fetch(self, message: str, endpoint: str) -> list[Row]:
        """See `MessageChildStream`."""
        return list(self.try_page(None, {}, endpoint).rows)


class MessageHistory(_MessagePart):
    """One event in the life of a message. Credentials in it are masked.

    https://www.courier.com/docs/reference/sent-messages/get-message-history
    """

    name = "message_history"
    endpoint = "messages/{id}/history"

    def prepare(self, row: Row, message: str, enqueued: EpochMs | None, number: int) -> Row:
        """See `MessageChildStream`."""
        return super().prepare(masked(row), message, enqueued, number)


class MessageOutput(_MessagePart):
    """The rendered content of a message for one channel.

    https://www.courier.com/docs/reference/sent-messages/get-message-content
    """

    name = "message_output"
    endpoint = "messages/{id}/output"
    # A message has no content before it is rendered.
    may_all_be_missing = True


# Templates and content.


class NotificationTemplates(CourierListStream):
    """A notification template, of the first or of the second generation.

    https://www.courier.com/docs/api-reference/notification-templates/list-notifications
    """

    name = "notification_templates"
    endpoint = "notifications"

    def prepare(self, row: Row, params: Mapping[str, str]) -> Row:
        """Fill the columns of the second generation for a template of the first one."""
        names = {"name": "title", "created": "created_at", "updated": "updated_at"}
        filled = {
            new: row[old] for new, old in names.items() if old in row and row.get(new) is None
        }
        tags = row.get("tags")
        if isinstance(tags, dict) and isinstance(tags.get("data"), list):
            filled["tag_data"] = tags["data"]
            filled["tags"] = [one.get("name") for one in tags["data"] if isinstance(one, dict)]
        return row | filled


class _Versions(ChildStream):
    """Versions of a parent. Their labels change: `published:v003` becomes `v003`."""

    id_keys = ("version",)

    def prepare(self, row: Row) -> Row:
        """Name a version by its number alone. The label is kept as Courier sends it."""
        return row | {"version": row["version"].rpartition(":")[2], "label": row["version"]}


class NotificationTemplateVersions(_Versions):
    """One version of a notification template, or its draft.

    https://www.courier.com/docs/api-reference/notification-templates/list-versions
    """

    name = "notification_template_versions"
    endpoint = "notifications/{id}/versions"
    parent = NotificationTemplates
    parent_id = "notification_id"
    key = ("notification_id", "version")
    rows_keys = ("versions",)
    page_limit = 10


class Brands(CourierListStream):
    """A brand: the colours and texts that templates share.

    https://www.courier.com/docs/api-reference/brands/list-brands
    """

    name = "brands"
    endpoint = "brands"


class RoutingStrategies(CourierListStream):
    """A routing strategy: the channels of a send, and their order.

    https://www.courier.com/docs/api-reference/routing-strategies/list-routing-strategies
    """

    name = "routing_strategies"
    endpoint = "routing-strategies"


class Broadcasts(CourierListStream):
    """A send to a list or an audience that was made in the app.

    https://www.courier.com/docs/api-reference/broadcasts/list-broadcasts
    """

    name = "broadcasts"
    endpoint = "broadcasts"


# Lists and audiences.


class Lists(CourierListStream):
    """A list of subscribers.

    https://www.courier.com/docs/api-reference/lists/get-all-lists
    """

    name = "lists"
    endpoint = "lists"
    # The documentation of 2024 says `results`, the SDKs say `items`.
    rows_keys = ("items", "results")


class ListSubscriptions(ChildStream):
    """A subscriber of a list.

    https://www.courier.com/docs/api-reference/lists/get-all-subscriptions
    """

    name = "list_subscriptions"
    endpoint = "lists/{id}/subscriptions"
    parent = Lists
    parent_id = "list_id"
    key = ("list_id", "recipientId")
    id_keys = ("recipientId",)
    rows_keys = ("items",)


class Audiences(CourierListStream):
    """A group of users that a filter on their profiles selects.

    https://www.courier.com/docs/api-reference/audiences/list-all-audiences
    """

    name = "audiences"
    endpoint = "audiences"
    rows_keys = ("items",)


class AudienceMembers(ChildStream):
    """A user in an audience, as Courier last calculated it.

    https://www.courier.com/docs/api-reference/audiences/list-audience-members
    """

    name = "audience_members"
    endpoint = "audiences/{id}/members"
    parent = Audiences
    parent_id = "audience_id"
    key = ("audience_id", "member_id")
    id_keys = ("member_id",)
    rows_keys = ("items",)
    # The documentation names 400, not 404, for an audience that does not exist.
    gone_statuses = GONE | {requests.codes.bad_request}


# Tenants.


class Tenants(CourierListStream):
    """A tenant: a customer of the workspace's owner.

    https://www.courier.com/docs/api-reference/tenants/get-a-list-of-tenants
    """

    name = "tenants"
    endpoint = "tenants"
    paging = HasMore
    rows_keys = ("items",)
    child_columns = ("id", "default_preferences")

    def prepare(self, row: Row, params: Mapping[str, str]) -> Row:
        """Leave out the profile, or mask credentials in it."""
        return _with_profile(row, "user_profile", is_wanted=self._config.include_profiles)


class TenantUsers(ChildStream):
    """A user of a tenant.

    https://www.courier.com/docs/api-reference/tenants/get-users-in-tenant
    """

    name = "tenant_users"
    endpoint = "tenants/{id}/users"
    parent = Tenants
    parent_id = "tenant_id"
    key = ("tenant_id", "user_id")
    # The SDK allows a user without an ID.
    id_keys = ()
    paging = HasMore
    rows_keys = ("items",)
    rows_may_be_null = True

    def prepare(self, row: Row) -> Row:
        """Leave out the profile, or mask credentials in it."""
        return _with_profile(row, "profile", is_wanted=self._config.include_profiles)


class TenantPreferences(ParentPartStream):
    """A default preference of a tenant, from the tenant's own row.

    https://www.courier.com/docs/api-reference/tenants/get-a-list-of-tenants
    """

    name = "tenant_preferences"
    endpoint = "tenants"
    parent = Tenants
    key = ("tenant_id", "id")

    def rows_of(self, parent: Row) -> Iterator[Row]:
        """See `ParentPartStream`."""
        preferences: Any = parent["default_preferences"]
        items = preferences.get("items") if isinstance(preferences, dict) else preferences
        if items is None:
            return
        if not isinstance(items, list) or not all(isinstance(one, dict) for one in items):
            raise system_error(
                f"Stream {self.name}: GET /tenants shows default preferences of tenant "
                f"{parent['id']!r:.100} in another form. Expected a list under 'items'."
            )
        for item in items:
            yield {**item, "tenant_id": parent["id"]}


class TenantTemplates(ChildStream):
    """A template that belongs to a tenant.

    https://www.courier.com/docs/api-reference/tenants/list-tenant-templates
    """

    name = "tenant_templates"
    endpoint = "tenants/{id}/templates"
    parent = Tenants
    parent_id = "tenant_id"
    key = ("tenant_id", "id")
    paging = HasMore
    rows_keys = ("items",)
    rows_may_be_null = True


def _with_profile(row: Row, column: str, *, is_wanted: bool) -> Row:
    """Leave out a profile that is not wanted, and mask credentials in the whole row."""
    return {name: value for name, value in masked(row).items() if is_wanted or name != column}


# Preferences and digests.


class PreferenceSections(SectionStream):
    """A section of the preference page, with its topics.

    https://www.courier.com/docs/api-reference/workspace-preferences/list-sections
    """

    name = "preference_sections"

    def rows_of(self, section: Row) -> Iterator[Row]:
        """See `SectionStream`."""
        yield section


class PreferenceTopics(SectionStream):
    """A topic that users can subscribe to.

    https://www.courier.com/docs/api-reference/workspace-preferences/list-sections
    """

    name = "preference_topics"

    def rows_of(self, section: Row) -> Iterator[Row]:
        """See `SectionStream`."""
        for topic in self.part(section, "topics"):
            yield {**topic, "section_id": section["id"]}


class DigestSchedules(SectionStream):
    """A schedule by which a topic's messages are collected.

    https://www.courier.com/docs/api-reference/workspace-preferences/list-sections
    """

    name = "digest_schedules"
    key = ("schedule_id",)
    child_columns = ("schedule_id",)

    def rows_of(self, section: Row) -> Iterator[Row]:
        """See `SectionStream`."""
        for topic in self.part(section, "topics"):
            digest: Any = topic.get("digest")
            if digest is None:
                continue
            if not isinstance(digest, dict):
                raise system_error(
                    f"Stream {self.name}: GET /{self.endpoint} shows a digest of topic "
                    f"{topic.get('id')!r:.100} that is no object. Expected one, or null."
                )
            parents = {name: digest.get(name) for name in ("template_id", "audience_id")}
            for schedule in self.part(digest, "schedules"):
                yield {**schedule, **parents, "topic_id": topic.get("id")}


class DigestInstances(ChildStream):
    """The events that are collected for one user by one schedule.

    https://www.courier.com/docs/api-reference/digests/list-digest-instances
    """

    name = "digest_instances"
    requests = "one per page for each row of `{parent}`, and the one for all tables of sections"
    endpoint = "digests/schedules/{id}/instances"
    parent = DigestSchedules
    parent_id = "schedule_id"
    key = ("schedule_id", "digest_instance_id")
    id_keys = ("digest_instance_id",)
    paging = HasMore
    rows_keys = ("items",)
    rows_may_be_null = True


class PreferenceLogs(NewestFirstStream):
    """A change of a user's preference.

    https://www.courier.com/docs/api-reference/workspace-preferences/list-logs
    """

    name = "preference_logs"
    endpoint = "preferences/logs"
    rows_keys = ("items",)
    cursor_field = "timestamp"
    since_parameter = "since"
    since_forms = (format_instant,)


class AuditEvents(CourierListStream):
    """A change that somebody made in the workspace. Only some plans have it.

    https://www.courier.com/docs/api-reference/audit-events/get-all-audit-events
    """

    name = "audit_events"
    endpoint = "audit-events"
    key = ("auditEventId",)
    id_keys = ("auditEventId",)
    child_columns = ("auditEventId",)


# Journeys and automations.


class _Flows(CourierListStream):
    """Published flows, then drafts."""

    requests = "one per page of the published ones, and one per page of the drafts"
    key = ("id", "version")
    paging = CursorAlone
    rows_keys = ("templates",)
    rows_may_be_null = True
    variants = ({"version": "published"}, {"version": "draft"})

    def prepare(self, row: Row, params: Mapping[str, str]) -> Row:
        """Name the version that was asked for, if a row names none."""
        return row if row.get("version") else row | {"version": params["version"]}


class Journeys(_Flows):
    """A journey: a flow of messages and waits.

    https://www.courier.com/docs/api-reference/journeys/list-journeys
    """

    name = "journeys"
    endpoint = "journeys"


class Automations(_Flows):
    """An automation template.

    https://www.courier.com/docs/api-reference/automations/list-automations
    """

    name = "automations"
    endpoint = "automations"


class JourneyVersions(_Versions):
    """One version of a journey.

    https://www.courier.com/docs/api-reference/journeys/list-journey-versions
    """

    name = "journey_versions"
    endpoint = "journeys/{id}/versions"
    parent = Journeys
    parent_id = "journey_id"
    key = ("journey_id", "version")


class JourneyRuns(RunStream):
    """One run of a journey for one user.

    https://www.courier.com/docs/api-reference/journeys/list-journey-runs
    """

    name = "journey_runs"
    endpoint = "journeys/runs"


class AutomationRuns(RunStream):
    """One run of an automation.

    https://www.courier.com/docs/api-reference/automations/list-automation-runs
    """

    name = "automation_runs"
    endpoint = "automations/runs"


class JourneyRunSteps(RunStepStream):
    """One step of a run of a journey.

    https://www.courier.com/docs/api-reference/journeys/list-journey-run-steps
    """

    name = "journey_run_steps"
    endpoint = "journeys/runs/{id}/steps"
    parent = JourneyRuns


class AutomationRunSteps(RunStepStream):
    """One step of a run of an automation.

    https://www.courier.com/docs/api-reference/automations/list-automation-run-steps
    """

    name = "automation_run_steps"
    endpoint = "automations/runs/{id}/steps"
    parent = AutomationRuns


STREAMS: tuple[type[CourierStream], ...] = (
    *(Messages, MessageInfo, MessageHistory, MessageOutput),
    *(NotificationTemplates, NotificationTemplateVersions, Brands, RoutingStrategies, Broadcasts),
    *(Lists, ListSubscriptions, Audiences, AudienceMembers),
    *(Tenants, TenantUsers, TenantPreferences, TenantTemplates),
    *(PreferenceSections, PreferenceTopics, PreferenceLogs, DigestSchedules, DigestInstances),
    *(Journeys, JourneyVersions, JourneyRuns, JourneyRunSteps),
    *(Automations, AutomationRuns, AutomationRunSteps),
    AuditEvents,
)
