"""The streams of Kustomer, as facts."""

from source_kustomer.children import ChildStream
from source_kustomer.events import EventLogStream
from source_kustomer.guarded import GuardedSearchStream
from source_kustomer.included import DetailedListStream, IncludedStream
from source_kustomer.lists import FullRefreshListStream, IncrementalListStream
from source_kustomer.metadata import MetadataStream
from source_kustomer.search import SearchStream


class Conversations(SearchStream):
    """A thread of messages with one customer. https://developer.kustomer.com/api/core-resources"""

    name = "conversations"
    query_context = "conversation"


class Customers(SearchStream):
    """A person who writes in. https://developer.kustomer.com/api/core-resources"""

    name = "customers"
    query_context = "customer"


class Kobjects(SearchStream):
    """A custom object, of any klass. https://developer.kustomer.com/api/core-resources"""

    name = "kobjects"
    query_context = "kobject"
    klass_column = "klass_name"


class Messages(SearchStream):
    """One message of a conversation. https://developer.kustomer.com/api/core-resources"""

    name = "messages"
    query_context = "message"


class Notes(SearchStream):
    """An internal note on a conversation. https://developer.kustomer.com/api/core-resources"""

    name = "notes"
    query_context = "note"
    has_archive = False


class Shortcuts(IncrementalListStream):
    """A canned reply. https://developer.kustomer.com/api/settings-and-configurations"""

    name = "shortcuts"
    endpoint = "shortcuts"
    role = "org.permission.shortcut.read (or org.user.shortcut.read)"


class Tags(IncrementalListStream):
    """A label for conversations and customers. https://developer.kustomer.com/api"""

    name = "tags"
    endpoint = "tags"
    role = "org.permission.tag.read (or org.user.tag.read)"


class Teams(IncrementalListStream):
    """A group of users. https://developer.kustomer.com/api/access-management"""

    name = "teams"
    endpoint = "teams"
    page_size = 500
    role = "org.permission.team.read (or org.user.team.read)"


class Users(IncrementalListStream):
    """An agent or machine user. https://developer.kustomer.com/api/access-management/get-users"""

    name = "users"
    endpoint = "users"
    page_size = 500
    role = "org.permission.user.read (or org.user.read)"


class Brands(FullRefreshListStream):
    """A brand under which an organisation writes. https://developer.kustomer.com/api/core-resources

    The default brand is among them.
    """

    name = "brands"
    endpoint = "brands"
    role = "org.permission.brand.read (or org.user.brand.read)"


class Klasses(FullRefreshListStream):
    """A kind of custom object. https://developer.kustomer.com/api/core-resources

    The list shows those with the status "enabled", if no status is asked for.
    """

    name = "klasses"
    endpoint = "klasses"
    role = "org.permission.klass.read (or org.user.klass.read)"
    variants = ({"status": "existing_only"}, {"status": "disabled"})
    is_shared = True


class KbArticles(FullRefreshListStream):
    """An article of the knowledge base. https://developer.kustomer.com/api/knowledge-base

    Its text is in its versions, one series for each language, which this list does not hold.
    """

    name = "kb_articles"
    endpoint = "kb/articles"
    role = "org.permission.kb.read (or org.admin.kb)"


class KbCategories(FullRefreshListStream):
    """A category of the knowledge base. https://developer.kustomer.com/api/knowledge-base"""

    name = "kb_categories"
    endpoint = "kb/categories"
    role = "org.permission.kb.read (or org.admin.kb)"


class Queues(FullRefreshListStream):
    """A queue of routing. https://developer.kustomer.com/api/queues-and-routing/get-queues"""

    name = "queues"
    endpoint = "routing/queues"
    role = "org.permission.queue.read (or org.permission.routing.read, org.user.routing.read)"


class RoleGroups(FullRefreshListStream):
    """A permission set. https://developer.kustomer.com/api/access-management"""

    name = "role_groups"
    endpoint = "role-groups"
    role = "that reads permission sets (Kustomer does not document its name)"


class RoutingStatuses(FullRefreshListStream):
    """A status that an agent can have. https://developer.kustomer.com/api/queues-and-routing"""

    name = "routing_statuses"
    endpoint = "routing/statuses"
    role = "org.permission.routing_status.read (or org.permission.routing.read)"


class SatisfactionForms(FullRefreshListStream):
    """A survey, not an answer to one. https://developer.kustomer.com/api/core-resources

    Answers are in `satisfaction_level` of conversations.
    """

    name = "satisfaction_forms"
    endpoint = "satisfaction"
    role = "org.permission.satisfaction.read (or org.user.satisfaction.read)"


class Snoozes(FullRefreshListStream):
    """An option for how long to snooze. https://developer.kustomer.com/api

    These are the options of the menu, not conversations that are snoozed.
    """

    name = "snoozes"
    endpoint = "snoozes"
    role = "org.permission.snooze.read"


class SubStatuses(FullRefreshListStream):
    """A finer status of conversations or custom objects. https://developer.kustomer.com/api

    Kustomer's page speaks of the sub-statuses "for a specific resource type". It is not known
    whether, and by which parameter, the type must be named.
    """

    name = "sub_statuses"
    endpoint = "sub-statuses"
    role = "org.permission.sub_status.read (or org.permission.conversation.read)"
    variants = ({"resourceType": "conversation"}, {"resourceType": "kobject"})
    are_variants_needed = False


class TeamRoutingSettings(FullRefreshListStream):
    """How work is routed to a team. https://developer.kustomer.com/api/queues-and-routing"""

    name = "team_routing_settings"
    endpoint = "routing/settings"
    role = "org.permission.routing.read (or org.user.routing.read)"


class _CompaniesList(IncrementalListStream):
    """Companies, if their search cannot be relied on. https://developer.kustomer.com/api"""

    name = "companies"
    endpoint = "companies"
    role = "org.permission.company.read (or org.user.company.read)"


class Companies(GuardedSearchStream):
    """An organisation to which customers belong. https://developer.kustomer.com/api/core-resources

    `company_updated_at` is documented for the archive alone. Readers in production use it for the
    normal search too.
    """

    name = "companies"
    query_context = "company"
    fallback = _CompaniesList


class ConversationTimes(GuardedSearchStream):
    """A session of one agent on one conversation. https://developer.kustomer.com/api/core-resources

    It is written once. `conversation_time_created_at` is documented to be searched by, but not to
    be sorted by.
    """

    name = "conversation_times"
    query_context = "conversation_time"
    cursor_attribute = "created_at"
    has_archive = False


class _WorkSessionsList(IncrementalListStream):
    """Work sessions, if their search cannot be relied on. https://developer.kustomer.com/api"""

    name = "work_sessions"
    endpoint = "routing/work-sessions"
    role = "org.permission.work_session.read (or org.permission.routing.read)"


class WorkSessions(GuardedSearchStream):
    """An agent's shift in routing. https://developer.kustomer.com/api/queues-and-routing

    `work_session_updated_at` is not documented. A loader in production uses it.
    """

    name = "work_sessions"
    query_context = "work_session"
    has_archive = False
    fallback = _WorkSessionsList


class Attachments(ChildStream):
    """A file of a conversation's messages. https://developer.kustomer.com/api/core-resources

    What is known of the file, not the file itself.
    """

    name = "attachments"
    endpoint = "conversations/{id}/attachments"
    role = "org.permission.attachment.read (or org.user.attachment.read)"
    parent = Conversations
    parent_name = "conversation"
    parent_role = "org.permission.conversation.read (or org.user.conversation.read)"
    has_signed_links = True


class _CompletedWorkItems(GuardedSearchStream):
    """Work items, if they cannot be searched by `updated_at`.

    `work_item_handle_completed_at` is not documented either. A loader in production uses it.
    """

    name = "work_items"
    query_context = "work_item"
    cursor_attribute = "handle_completed_at"
    cursor_path = "handle.completedAt"
    former_cursors = ("updated_at",)
    has_archive = False
    restriction = "So this stream reads only the items that an agent has completed."


class WorkItems(GuardedSearchStream):
    """A conversation's way through routing. https://developer.kustomer.com/api/queues-and-routing

    `work_item_updated_at` is not documented, and nobody has been seen to use it.
    """

    name = "work_items"
    query_context = "work_item"
    former_cursors = ("handle_completed_at",)
    has_archive = False
    fallback = _CompletedWorkItems


class Slas(DetailedListStream):
    """A service level agreement. https://developer.kustomer.com/api/core-resources/get-sla-by-id

    Kustomer documents how to read one by its ID. A reader in production reads the list.
    """

    name = "slas"
    endpoint = "slas"
    role = "org.permission.sla.read (or org.user.sla.read)"
    params = "versions=all"
    detail_params = "versions=all"
    included_by = "versions"
    referring = (Conversations, "sla")


class SlaVersions(IncludedStream):
    """A version of a service level agreement. https://developer.kustomer.com/api/core-resources"""

    name = "sla_versions"
    endpoint = "slas"
    role = Slas.role
    container = Slas
    included_type = "sla_version"


class Schedules(DetailedListStream):
    """A schedule of business hours. https://developer.kustomer.com/api/core-resources"""

    name = "schedules"
    endpoint = "schedules"
    role = "org.permission.schedule.read (or org.user.schedule.read)"
    detail_params = "include=holidays"


class Holidays(IncludedStream):
    """A holiday of a schedule. https://developer.kustomer.com/api/core-resources

    Kustomer documents `include=holidays` for one schedule, not for the list of them.
    """

    name = "holidays"
    endpoint = "schedules/{id}"
    role = Schedules.role
    container = Schedules
    included_type = "holiday"


class CustomAttributes(MetadataStream):
    """The definition of a custom attribute. https://developer.kustomer.com/docs/concepts"""

    name = "custom_attributes"
    endpoint = "metadata/{resource}"
    key = ("resource", "name")
    role = "org.permission.metadata.read (or org.user.metadata.read)"
    resources = ("company", "conversation", "customer", "message")
    klasses = Klasses


class AuditLogs(EventLogStream):
    """What somebody or something changed. https://developer.kustomer.com/api/core-resources

    An entry is never edited. Kustomer deletes it at its `expires_at`: after 90 days if such events
    are frequent, otherwise after 12 months.
    """

    name = "audit_logs"
    endpoint = "audit-logs"
    role = "org.permission.audit_logs.read (or org.user.audit_logs.read)"
    # Kustomer's example of an entry was published seven seconds after it was created. No figure is
    # stated, so much more is allowed for.
    index_lag = 15 * 60 * 1000
