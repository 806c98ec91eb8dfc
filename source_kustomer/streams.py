"""The nine streams of Kustomer, as facts."""

from source_kustomer.lists import IncrementalListStream
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
