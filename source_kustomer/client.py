"""The one place that speaks to Kustomer: requests, the shapes of answers, and what refusals mean.

https://developer.kustomer.com/docs/concepts/search and .../pagination. What is relied on is listed
with its evidence in docs/vendors/kustomer.md.
"""

from __future__ import annotations

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
from http_source.retry import BackoffMixin, RefusedError
from source_kustomer.context import LISTS, SEARCHES, KustomerContext
from source_kustomer.paging import PAGE_WEIGHT, Page, Query, Record
from source_kustomer.rows import camel_case
from source_kustomer.timeline import LATEST, EpochMs, format_instant, parse_instant

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


class AttributeNotHeededError(Exception):
    """A search refuses or ignores an attribute that Kustomer does not document."""


@dataclass(frozen=True)
class ListPage:
    """One page of a list. What it says of more is a hint, never relied on alone.

    `total` is the vendor's count of rows and `granted` the size of page that it granted, where it
    tells them. `link` leads to the next page; `has_link` tells null from left out.
    """

    resources: Sequence[Resource]
    total: int | None = None
    granted: int | None = None
    link: str | None = None
    has_link: bool = False


class KustomerClient(VendorClient):
    """Kustomer's search, its lists, and the key itself."""

    buckets = (SEARCHES, LISTS)

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
        guarded subject AttributeNotHeededError.
        """
        is_single = query.size == 1
        is_guarded = subject.is_guarded and not archive

        def accept(content: bytes) -> Page:
            heavy = weight(content)
            if heavy > _MAX_SEARCH_WEIGHT and not is_single:
                raise PageTooLargeError
            try:
                return validate_search_page(subject, query, parse_body(content), heavy)
            except NotAsAskedError as error:
                if is_guarded:
                    raise AttributeNotHeededError(str(error)) from None
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
                raise AttributeNotHeededError(f"HTTP 400: {refused.text}") from None
            raise self._explain_search_error(refused, archive=archive) from None

    def any_record(self, subject: SearchSubject) -> Record | None:
        """Some record of the normal search, found without naming an attribute; None without any."""
        body: dict[str, Any] = {"queryContext": subject.context}
        if self._include_deleted:
            body["includeDeleted"] = True
        name = camel_case(subject.cursor)

        def accept(content: bytes) -> Record | None:
            resources = _resources(parse_body(content))
            if not resources:
                return None
            return Record(resources[0]["id"], _timestamp(resources[0], name), resources[0])

        try:
            return self.fetch(
                "POST",
                "customers/search",
                accept,
                params={"page": "1", "pageSize": "1"},
                json=body,
                bucket=SEARCHES,
            )
        except RefusedError as refused:
            raise self.explain_error(refused) from None

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
        try:
            return self.fetch(
                "GET",
                endpoint,
                partial(validate_list_page, token, check, has_signed_links=has_signed_links),
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

    def page_token(self, endpoint: str, link: str) -> dict[str, str]:
        """The query of a link to the next page. Raises a system error if it leads elsewhere."""
        target, own = urlsplit(link), urlsplit(self.base_url)
        is_foreign = target.netloc and (target.scheme, target.netloc) != (own.scheme, own.netloc)
        if is_foreign or not target.path.endswith(f"/{endpoint}"):
            raise system_error(
                f"Stream {self._name}: Kustomer's next link leads elsewhere ({link}). Expected "
                f"/v1/{endpoint} on {own.netloc}; the API key is not sent to other places."
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
                {f"{subject.context}_{attribute}": {operator: format_instant(bound)}}
                for attribute, operator, bound in _bounds(subject, query)
            ],
            "sort": [{f"{subject.context}_{subject.cursor}": "asc"}],
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
    name = camel_case(subject.cursor)
    records = [
        Record(resource["id"], _timestamp(resource, name), resource) for resource in resources
    ]
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


def _timestamp(resource: Resource, name: str) -> EpochMs:
    try:
        return parse_instant(resource["attributes"][name])
    except (KeyError, TypeError, ValueError, OverflowError):
        msg = f"expected a timestamp under 'attributes.{name}' of every resource"
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
        f"expected {subject.context}_{attribute} {operator} {format_instant(limit)}, "
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
    has_signed_links: bool = False,
) -> ListPage:
    """A page of a list whose further parts, where they are there, have the expected shapes."""
    body = parse_body(content)
    if has_signed_links:
        _unsign(body)
    resources = _resources(body)
    if is_deeper_than(MAX_LEVELS, body):
        raise BrokenBodyError(TOO_DEEP)
    meta, links = _part(body, "meta"), _part(body, "links")
    page = ListPage(
        resources,
        _count(meta, "total"),
        _count(meta, "pageSize"),
        _next_link(links),
        "next" in links,
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


def _unsign(body: Any) -> None:
    """Take signed links out of the resources of a page, and give each its id.

    Kustomer's example of attachments has no `id`, and a link to the file that anybody may use for
    ten minutes: GET /v1/conversations/{id}/attachments in its OpenAPI.
    """
    data = body.get("data") if isinstance(body, dict) else None
    for resource in data if isinstance(data, list) else ():
        if not isinstance(resource, dict):
            continue
        links = resource.pop("links", None)
        own = links.get("self") if isinstance(links, dict) else None
        if isinstance(own, str):
            path = urlsplit(own).path
            resource["links"] = {"self": path}
            resource.setdefault("id", path.rstrip("/").rpartition("/")[2])


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
    msg = f"expected a URL or null under 'links.next', got {link!r:.200}"
    raise BrokenBodyError(msg)
