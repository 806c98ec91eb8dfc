"""The one place that speaks to Kustomer: requests, the shapes of answers, and what refusals mean.

https://developer.kustomer.com/docs/concepts/search and .../pagination. What is relied on is listed
with its evidence in docs/vendors/kustomer.md.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import requests
from airbyte_cdk.models import FailureType
from airbyte_cdk.utils.traced_exception import AirbyteTracedException

from http_source.body import (
    MAX_LEVELS,
    TOO_DEEP,
    BrokenBodyError,
    PageTooLargeError,
    UnfinishedBodyError,
    is_deeper_than,
    is_id,
    parse_body,
    weight,
)
from http_source.client import VendorClient
from http_source.errors import config_error, system_error
from http_source.instants import EARLIEST, LATEST, EpochMs, format_instant, parse_instant
from http_source.retry import BackoffMixin, RefusedError, without_queries
from source_kustomer.context import LISTS, SEARCHES, KustomerContext
from source_kustomer.paging import PAGE_SIZE, PAGE_WEIGHT, Page, Query, Record
from source_kustomer.rows import camel_case, klasses_of

Resource = Mapping[str, Any]

# A page that is heavier than this is not parsed, and one that is longer not read to its end:
# smaller ones are asked for. A page of one row may have any size.
_MAX_SEARCH_WEIGHT = 2 * PAGE_WEIGHT
_MAX_SEARCH_BYTES = 2 * PAGE_WEIGHT // 3
# Four pages of a list are in memory while it is read again.
_MAX_LIST_BYTES = 6 * 1024 * 1024

# Client errors but for 408, 425 and 429, and 501: the archive is not for this key, plan or pod.
_ARCHIVE_REFUSALS = frozenset({*range(400, 500), 501} - {408, 425, 429})
_NOT_IMPLEMENTED = 501
_SECOND: EpochMs = 1000

_NEW_KEY = "Make a new one in Kustomer under Settings > Security > API Keys."
# A path on the same host, or a whole URL.
_LINK = re.compile(r"(/|https?://)\S*", re.IGNORECASE)


@dataclass(frozen=True)
class SearchSubject:
    """Which records a search is about, and the attributes that order them and part their ties.

    `is_guarded` if Kustomer does not document the cursor attribute for its normal search.
    """

    context: str
    cursor: str = "updated_at"
    tiebreak: str = "created_at"
    is_guarded: bool = False
    # The first part of the names of its attributes, if not that of the context.
    attribute_context: str = ""
    # The klass that each record must be of, for the search of one klass.
    klass: str = ""
    # Whether the archive too may not support the context.
    is_archive_guarded: bool = False
    # Where the cursor stands in the attributes of a record, as in `handle.completedAt`.
    cursor_path: str = "updatedAt"

    def attribute(self, name: str) -> str:
        """What a search calls an attribute: `customer_updated_at`."""
        return f"{self.attribute_context or self.context}_{name}"


class UnsupportedAttributeError(Exception):
    """A search refuses or ignores an attribute that Kustomer does not document."""


@dataclass(frozen=True)
class EventQuery:
    """A page of events in [lower, upper), newest first: of those before the event `before`."""

    lower: EpochMs
    upper: EpochMs
    before: str | None = None
    count: int = 1000


@dataclass(frozen=True)
class Event:
    """An entry of a log, and the moment of its `createdAt`."""

    id: str
    created_at: EpochMs
    resource: Resource


@dataclass(frozen=True)
class ListPage:
    """One page of a list. What it says of more is a hint, never relied on alone.

    `total` is the vendor's count of rows and `granted` the size of page that it granted, where it
    tells them. `link` leads to the next page; `has_link` tells null from left out. `included` are
    resources of another type that belong to those of the page.
    """

    resources: Sequence[Resource]
    total: int | None = None
    granted: int | None = None
    link: str | None = None
    has_link: bool = False
    included: Sequence[Resource] = ()


class KustomerClient(VendorClient):
    """Kustomer's search, its lists, and the key itself."""

    def __init__(self, stream: BackoffMixin, context: KustomerContext, role: str) -> None:
        """`role` is what reading this stream takes, for the sentence that a refusal ends in."""
        config = context.config
        super().__init__(stream, context, f"{config.host}/v1", config.api_token)
        self._name = stream.name
        self._role = role
        self._include_deleted = config.include_deleted
        self._clock = context.clock

    def observe(self, headers: Mapping[str, str]) -> None:
        """Every good answer tells Kustomer's clock."""
        self._clock.observe(headers)

    def search(self, subject: SearchSubject, query: Query, *, archive: bool) -> Page | None:
        """A page of the normal search or of the archive's; None for a page that is not served.

        `POST /v1/customers/search`. Raises PageTooLargeError, and an AirbyteTracedException; of a
        guarded subject UnsupportedAttributeError.
        """
        is_single = query.size == 1
        is_guarded = subject.is_guarded and (subject.is_archive_guarded or not archive)

        not_as_asked: NotAsAskedError | None = None

        def accept(content: bytes) -> Page:
            nonlocal not_as_asked
            not_as_asked = None
            heavy = weight(content)
            if heavy > _MAX_SEARCH_WEIGHT and not is_single:
                raise PageTooLargeError
            try:
                return validate_search_page(subject, query, parse_body(content), heavy)
            except NotAsAskedError as error:
                not_as_asked = error
                raise

        try:
            return self.fetch(
                "POST",
                "customers/archive/search" if archive else "customers/search",
                accept,
                params={"page": str(query.page), "pageSize": str(query.size)},
                json=self._criteria(subject, query),
                bucket=SEARCHES,
                max_bytes=None if is_single else _MAX_SEARCH_BYTES,
                permanent={_NOT_IMPLEMENTED} if archive else (),
            )
        except RefusedError as refused:
            if query.page > 1 and refused.status in (400, 404):
                # Kustomer's links promise pages that it answers with 404, as its public readers
                # found.
                return None
            if is_guarded and refused.status == requests.codes.bad_request:
                raise UnsupportedAttributeError(f"HTTP 400: {refused.text}") from None
            raise self._explain_search_error(refused, archive=archive) from None
        except AirbyteTracedException:
            # The last of several tries was not as asked, so it is no passing fault.
            if is_guarded and not_as_asked is not None:
                raise UnsupportedAttributeError(str(not_as_asked)) from None
            raise

    def any_record(self, subject: SearchSubject) -> Record | None:
        """A record of the normal search that has the cursor, found without naming an attribute.

        None if no record has it. Raises UnsupportedAttributeError if that cannot be told.
        """
        body: dict[str, Any] = {"queryContext": subject.context}
        if self._include_deleted:
            body["includeDeleted"] = True
        for size in (1, PAGE_SIZE):
            try:
                record, are_all = self.fetch(
                    "POST",
                    "customers/search",
                    partial(_first_with_cursor, subject),
                    params={"page": "1", "pageSize": str(size)},
                    json=body,
                    bucket=SEARCHES,
                )
            except RefusedError as refused:
                if refused.status == requests.codes.bad_request:
                    msg = f"a search without an attribute: HTTP 400: {refused.text}"
                    raise UnsupportedAttributeError(msg) from None
                raise self.explain_error(refused) from None
            if record is not None or are_all:
                return record
        msg = f"no record of the first {PAGE_SIZE} has {subject.cursor_path}"
        raise UnsupportedAttributeError(msg)

    def last_record(self, subject: SearchSubject, query: Query) -> Record | None:
        """The record that the normal search shows first when it sorts a query descending."""
        body = {
            **self._criteria(subject, query),
            "sort": [{subject.attribute(subject.cursor): "desc"}],
        }
        try:
            record, _ = self.fetch(
                "POST",
                "customers/search",
                partial(_first_with_cursor, subject),
                params={"page": "1", "pageSize": "1"},
                json=body,
                bucket=SEARCHES,
            )
        except RefusedError as refused:
            if refused.status == requests.codes.bad_request:
                raise UnsupportedAttributeError(f"HTTP 400: {refused.text}") from None
            raise self.explain_error(refused) from None
        return record

    def list_page(
        self,
        endpoint: str,
        token: Mapping[str, str],
        *,
        any_size: bool = False,
        check: Callable[[Resource], object] | None = None,
        has_signed_links: bool = False,
    ) -> ListPage | None:
        """A page of a list; None for one behind the first that is not there (404).

        `GET /v1/<endpoint>`, with the page token `{"page": ..., "pageSize": ...}` as its query.
        `check` may raise BrokenBodyError for a resource. With `has_signed_links` the resources lose
        all links but `self`, from which they take an `id` if they have none.

        Raises PageTooLargeError unless `any_size`, and an AirbyteTracedException, which is a
        ListRefusedError if nothing explains the refusal.
        """
        signed = endpoint.rpartition("/")[2] if has_signed_links else ""
        try:
            return self.fetch(
                "GET",
                endpoint,
                partial(validate_list_page, token, check, signed_collection=signed),
                params=token,
                bucket=LISTS,
                max_bytes=None if any_size else _MAX_LIST_BYTES,
            )
        except RefusedError as refused:
            is_first = token.get("page", "1") == "1"
            if refused.status == requests.codes.not_found and not is_first:
                return None
            error = self.explain_error(refused)
            if error.failure_type is FailureType.system_error:
                raise ListRefusedError(refused) from None
            raise error from None

    def resource(self, endpoint: str, params: Mapping[str, str]) -> ListPage:
        """One resource as a page of one row, with what is included: `GET /v1/<endpoint>`.

        Raises an AirbyteTracedException, which is a ListRefusedError if nothing explains the
        refusal.
        """
        try:
            return self.fetch("GET", endpoint, validate_resource, params=dict(params), bucket=LISTS)
        except RefusedError as refused:
            error = self.explain_error(refused)
            if error.failure_type is FailureType.system_error:
                raise ListRefusedError(refused) from None
            raise error from None

    def events(self, endpoint: str, query: EventQuery) -> list[Event]:
        """As `_events_once`. An empty page that counts events is fetched again."""
        events, is_counted = self._events_once(endpoint, query)
        return events if events or not is_counted else self._events_once(endpoint, query)[0]

    def _events_once(self, endpoint: str, query: EventQuery) -> tuple[list[Event], bool]:
        """A page of a log of events, `GET /v1/<endpoint>`, checked to lie in the window.

        The window that is sent is a second wider on both sides, because Kustomer does not say
        whether it counts the bounds in, and whether it cuts them to seconds. Raises an
        AirbyteTracedException.
        """
        lower = max(EARLIEST, query.lower - _SECOND)
        upper = min(LATEST, query.upper + _SECOND)
        params = {
            "count": str(query.count),
            "filter[start]": format_instant(lower),
            "filter[end]": format_instant(upper),
        }
        if query.before is not None:
            params["before"] = query.before
        try:
            return self.fetch(
                "GET",
                endpoint,
                partial(validate_events, lower - _SECOND, upper + _SECOND),
                params=params,
                bucket=LISTS,
            )
        except RefusedError as refused:
            raise self.explain_error(refused) from None

    def page_token(self, endpoint: str, link: str) -> dict[str, str]:
        """The query of a link to the next page. Raises a system error if it leads elsewhere."""
        target, own = urlsplit(link), urlsplit(self.base_url)
        is_foreign = target.netloc and (target.scheme, target.netloc) != (own.scheme, own.netloc)
        if is_foreign or not target.path.endswith(f"/{endpoint}"):
            raise system_error(
                f"Stream {self._name}: Kustomer's next link leads elsewhere "
                f"({without_queries(link)}). Expected /v1/{endpoint} on {own.netloc}; the API key "
                "is not sent to other places."
            )
        return dict(parse_qsl(target.query))

    def accepts_key(self) -> bool:
        """Whether Kustomer knows the key, whatever its roles. It tells a bad key from a role.

        `GET /v1/auth/tokens/current` "works for any valid key whatever its roles":
        https://developer.kustomer.com/docs/get-started/quickstart.
        """
        try:
            self.fetch("GET", "auth/tokens/current", parse_body, bucket=LISTS)
        except (RefusedError, AirbyteTracedException):
            return False
        return True

    def _criteria(self, subject: SearchSubject, query: Query) -> Mapping[str, Any]:
        """The body of a search. Timestamps are sent in UTC, which Kustomer never shifts."""
        body: dict[str, Any] = {
            "queryContext": subject.context,
            "and": [
                {subject.attribute(name): {operator: format_instant(bound)}}
                for name, operator, bound in _bounds(subject, query)
            ],
            "sort": [{subject.attribute(subject.cursor): "asc"}],
        }
        if self._include_deleted:
            body["includeDeleted"] = True
        return body

    def explain_error(self, refused: RefusedError) -> AirbyteTracedException:
        """What a refusal of Kustomer's means to the user.

        401 covers a bad or expired key and a missing role alike
        (https://developer.kustomer.com/kustomer-api-docs/reference/errors).
        """
        status, text = refused.status, refused.text
        lowered = text.lower()
        if "pod" in lowered and "token" in lowered:
            # "Auth token associated with pod prod2 but request is being handled by prod1".
            return config_error(
                f"This API key belongs to another region than the one asked ({text}). Set the "
                "subdomain to the one you sign in with, or choose the right region."
            )
        if status == requests.codes.payment_required:
            return config_error(
                f"Kustomer's plan does not include {self._name} (HTTP 402: {text}). Ask Kustomer "
                "to add it to the plan, or remove the stream from the sync."
            )
        if status not in (requests.codes.unauthorized, requests.codes.forbidden):
            return system_error(str(refused))
        if "expired" in lowered:
            return config_error(f"The API key has expired. {_NEW_KEY} (Kustomer said: {text})")
        return config_error(
            f"Kustomer refused the API key for {self._name} (HTTP {status}: {text}). Either the "
            f"key is wrong, or it lacks the role {self._role}. {_NEW_KEY} If the key has the role, "
            "the plan may not include this."
        )

    def _explain_search_error(
        self, refused: RefusedError, *, archive: bool
    ) -> AirbyteTracedException:
        error = self.explain_error(refused)
        if not archive or refused.status not in _ARCHIVE_REFUSALS:
            return error
        is_explained = error.failure_type is FailureType.config_error
        text = error.message if is_explained else refused.text
        return config_error(
            f"{text} This was a search of Kustomer's archive (HTTP {refused.status}). If your key "
            "reads everything else, set 'Include archived records' (include_archived) to false to "
            "sync without what was last updated more than two years ago."
        )


class ListRefusedError(AirbyteTracedException):
    """A list is refused with a `status` that neither key nor plan explains.

    404 means of a list of children that their parent is gone.
    """

    def __init__(self, refused: RefusedError) -> None:
        super().__init__(str(refused), str(refused), FailureType.system_error)
        self.status = refused.status


class NotAsAskedError(BrokenBodyError):
    """A page of a search whose rows are not those that were asked for, or not in that order."""


def _bounds(subject: SearchSubject, query: Query) -> list[tuple[str, str, EpochMs]]:
    """The attribute, operator and limit of each condition that a query sends."""
    bounds = (
        (subject.cursor, "gte", query.lower),
        (subject.cursor, "lt", query.upper),
        (subject.tiebreak, "gte", query.tiebreak_from),
        (subject.tiebreak, "lt", query.tiebreak_to),
    )
    return [
        (attribute, operator, bound)
        for attribute, operator, bound in bounds
        if bound is not None and bound <= LATEST
    ]


def _resources(body: Any) -> list[Resource]:
    """The resources of a page. Raises BrokenBodyError unless each has an id and attributes."""
    if not isinstance(body, dict) or not isinstance(body.get("data"), list):
        msg = "expected a list under 'data'"
        raise BrokenBodyError(msg)
    resources: list[Resource] = body["data"]
    for resource in resources:
        if not (
            isinstance(resource, dict)
            and is_id(resource.get("id"))
            and isinstance(resource.get("attributes"), dict)
        ):
            msg = "expected resources with an 'id' and 'attributes' under 'data'"
            raise BrokenBodyError(msg)
    return resources


def validate_search_page(subject: SearchSubject, query: Query, body: Any, heavy: int) -> Page:
    """A page of a search, checked to be what was asked for: complete, in range, in order."""
    resources = _resources(body)
    meta, links = _part(body, "meta"), _part(body, "links")
    if meta.get("timed_out") is True:
        msg = "the search timed out (meta.timed_out), so its rows may be incomplete"
        raise UnfinishedBodyError(msg)
    name = subject.cursor_path
    records = [
        Record(resource["id"], _timestamp(resource, name), resource) for resource in resources
    ]
    for record in records if subject.klass else ():
        if subject.klass not in klasses_of(record.resource):
            msg = f"expected custom objects of the klass {subject.klass}, got {record.id}"
            raise NotAsAskedError(msg)
    if any(later.cursor < earlier.cursor for earlier, later in pairwise(records)):
        msg = f"expected rows ascending by {name}"
        raise NotAsAskedError(msg)
    _require_bounds(subject, query, records)
    total = _count(meta, "total")
    if total and not records and query.page == 1:
        # The state would pass by all that the page does not show.
        msg = f"expected some of the {total} rows that it counts, got none"
        raise BrokenBodyError(msg)
    return Page(
        records,
        total,
        _count(meta, "pageSize"),
        promises_more=_next_link(links) is not None,
        weight=heavy,
    )


def _first_with_cursor(subject: SearchSubject, content: bytes) -> tuple[Record | None, bool]:
    """The first record of a page that has the cursor, and whether the page shows all records."""
    body = parse_body(content)
    resources = _resources(body)
    for resource in resources:
        with contextlib.suppress(NotAsAskedError):
            cursor = _timestamp(resource, subject.cursor_path)
            return Record(resource["id"], cursor, resource), False
    return None, not resources or _count(_part(body, "meta"), "total") == len(resources)


def _timestamp(resource: Resource, path: str) -> EpochMs:
    try:
        # The hot path: nearly all cursors stand right in the attributes.
        value = resource["attributes"]
        for name in (path,) if path in value else path.split("."):
            value = value[name]
        return parse_instant(value)
    except (KeyError, TypeError, ValueError, OverflowError):
        msg = f"expected a timestamp under 'attributes.{path}' of every resource"
        raise NotAsAskedError(msg) from None


def _require_bounds(subject: SearchSubject, query: Query, records: Sequence[Record]) -> None:
    """Raise BrokenBodyError unless every record is within the bounds that the request sent.

    Where it asked for one instant, the tiebreak parts its records, so it must be a date.
    """
    if not records:
        return
    first, last = records[0], records[-1]  # they ascend
    if first.cursor < query.lower:
        raise _out_of_bounds(subject, subject.cursor, "gte", query.lower, first)
    if query.upper is not None and last.cursor >= query.upper:
        raise _out_of_bounds(subject, subject.cursor, "lt", query.upper, last)
    is_one_instant = query.upper is not None and query.upper - query.lower == 1
    lower, upper = query.tiebreak_from, query.tiebreak_to
    if not is_one_instant and lower is None and upper is None:
        return
    for record in records:
        value = _tiebreak(subject, record)
        if lower is not None and (value is None or value < lower):
            raise _out_of_bounds(subject, subject.tiebreak, "gte", lower, record)
        if upper is not None and (value is None or value >= upper):
            raise _out_of_bounds(subject, subject.tiebreak, "lt", upper, record)


def _out_of_bounds(
    subject: SearchSubject, attribute: str, operator: str, limit: EpochMs, record: Record
) -> NotAsAskedError:
    return NotAsAskedError(
        f"expected {subject.attribute(attribute)} {operator} {format_instant(limit)}, "
        f"got record {record.id}"
    )


def _tiebreak(subject: SearchSubject, record: Record) -> EpochMs | None:
    name = camel_case(subject.tiebreak)
    try:
        return record.instant(name)
    except (TypeError, ValueError, OverflowError):
        msg = f"expected a timestamp under 'attributes.{name}' of record {record.id}"
        raise BrokenBodyError(msg) from None


def validate_list_page(
    token: Mapping[str, str],
    check: Callable[[Resource], object] | None,
    content: bytes,
    *,
    signed_collection: str = "",
) -> ListPage:
    """A page of a list whose further parts, where they are there, have the expected shapes."""
    body = parse_body(content)
    if is_deeper_than(MAX_LEVELS, body):
        raise BrokenBodyError(TOO_DEEP)
    if signed_collection:
        _unsign(body, signed_collection)
    resources = _resources(body)
    meta, links = _part(body, "meta"), _part(body, "links")
    page = ListPage(
        resources,
        _count(meta, "total"),
        _count(meta, "pageSize"),
        _next_link(links),
        "next" in links,
        _included(body),
    )
    number, size = token.get("page", ""), token.get("pageSize", "")
    if page.total and not resources and number.isdigit() and size.isdigit():
        before = (int(number) - 1) * int(size)
        if page.total > before:
            msg = f"expected rows from number {before + 1} on of the {page.total} that it counts"
            raise BrokenBodyError(msg)
    if check is not None:
        for resource in resources:
            check(resource)
    return page


def validate_events(lower: EpochMs, upper: EpochMs, content: bytes) -> tuple[list[Event], bool]:
    """The events of a page, and whether it counts any.

    Raises BrokenBodyError unless all events are within [lower, upper]. Kustomer's schema shows
    one event under `data`, its example a list of them.
    """
    body = parse_body(content)
    if is_deeper_than(MAX_LEVELS, body):
        raise BrokenBodyError(TOO_DEEP)
    if isinstance(body, dict) and isinstance(body.get("data"), dict):
        body["data"] = [body["data"]]
    events = [
        Event(resource["id"], _timestamp(resource, "createdAt"), resource)
        for resource in _resources(body)
    ]
    if not events and _next_link(_part(body, "links")) is not None:
        msg = "expected events, got none and a link to more"
        raise BrokenBodyError(msg)
    for event in events:
        if not lower <= event.created_at <= upper:
            msg = (
                f"expected events from {format_instant(lower)} to {format_instant(upper)}, got "
                f"{event.id} of {format_instant(event.created_at)}"
            )
            raise BrokenBodyError(msg)
    meta = _part(body, "meta")
    return events, any(_count(meta, name) for name in ("total", "cursorCount"))


def validate_resource(content: bytes) -> ListPage:
    """The one resource of an answer, and what is included. Raises BrokenBodyError."""
    body = parse_body(content)
    if not isinstance(body, dict) or not isinstance(body.get("data"), dict):
        msg = "expected one resource under 'data'"
        raise BrokenBodyError(msg)
    if is_deeper_than(MAX_LEVELS, body):
        raise BrokenBodyError(TOO_DEEP)
    return ListPage(_resources({"data": [body["data"]]}), included=_included(body))


def _included(body: Mapping[str, Any]) -> Sequence[Resource]:
    """The resources under `included`. Kustomer's examples show a list of them, and one alone."""
    included = body.get("included")
    if included is None:
        return ()
    try:
        return _resources({"data": [included] if isinstance(included, dict) else included})
    except BrokenBodyError as error:
        raise BrokenBodyError(str(error).replace("'data'", "'included'")) from None


def _unsign(body: Any, collection: str) -> None:
    """Take signed links out of the resources of a page, and give each its ID.

    The ID is the end of the path of the resource, behind the name of the collection.

    Kustomer's example of attachments has no `id`, and a link to the file that anybody may use for
    ten minutes: GET /v1/conversations/{id}/attachments in its OpenAPI.
    """
    data = body.get("data") if isinstance(body, dict) else None
    for resource in data if isinstance(data, list) else ():
        if not isinstance(resource, dict):
            continue
        links = resource.pop("links", None)
        path = _path(links.get("self") if isinstance(links, dict) else None)
        folder, _, ident = path.rpartition("/")
        if ident and folder.endswith(f"/{collection}"):
            resource["links"] = {"self": path}
            resource.setdefault("id", ident)
        for name, value in resource.items():
            resource[name] = _without_signatures(value)
    ids = [one.get("id") for one in data or () if isinstance(one, dict)]
    if isinstance(data, list) and len(set(map(str, ids))) < len(ids):
        msg = "expected a link to each resource that ends in its ID; two have the same"
        raise BrokenBodyError(msg)


def _path(link: Any) -> str:
    """The path of a link, without a slash at its end; empty if it is no link."""
    try:
        return urlsplit(link).path.rstrip("/") if isinstance(link, str) else ""
    except ValueError:
        return ""


def _without_signatures(value: Any) -> Any:
    """A value whose texts have no signed links. The page was checked not to be nested deeply."""
    if isinstance(value, str):
        return without_queries(value)
    if isinstance(value, dict):
        return {key: _without_signatures(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_signatures(item) for item in value]
    return value


def updated_at(resource: Resource) -> EpochMs | None:
    """When it changed last, or None where it tells no such moment. Raises BrokenBodyError."""
    updated = resource["attributes"].get("updatedAt")
    try:
        return None if updated is None else parse_instant(updated)
    except (TypeError, ValueError, OverflowError):
        msg = f"expected a timestamp in updatedAt of record {resource['id']}"
        raise BrokenBodyError(msg) from None


def _part(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """An object within an answer, such as `meta`; {} where it is absent. Raises BrokenBodyError."""
    value = body.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        msg = f"expected an object under '{name}'"
        raise BrokenBodyError(msg)
    return value


def _count(meta: Mapping[str, Any], name: str) -> int | None:
    """A number of rows that an answer tells; None where it tells none. Raises BrokenBodyError."""
    value = meta.get(name)
    if isinstance(value, dict):
        value = value.get("value")  # as Elasticsearch tells a total since version 7
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if value is None or (type(value) is int and value < 0):
        return None
    if type(value) is not int:
        msg = f"expected a number under 'meta.{name}'"
        raise BrokenBodyError(msg)
    return value


def _next_link(links: Mapping[str, Any]) -> str | None:
    """The link to the next page, or None where there is none. Raises BrokenBodyError."""
    link = links.get("next")
    if link is None or link == "":
        return None
    try:
        if isinstance(link, str) and _LINK.fullmatch(link):
            urlsplit(link)
            return link
    except ValueError:
        pass
    msg = f"expected a URL or null under 'links.next', got {without_queries(repr(link)):.200}"
    raise BrokenBodyError(msg)
