"""The switches of the fake Courier."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields, replace
from typing import Literal

from fake_vendor.faults import Fault


@dataclass(frozen=True)
class CourierSwitches:
    """How this Courier behaves where the real one is undocumented or faulty."""

    latency_ms: float = 0
    # The documentation says 401. A request to the live API got 403.
    bad_key_status: Literal[401, 403] = 401
    # `endpoint=status`: endpoints that the plan or the key does not include, as `brands=403`.
    refused: tuple[str, ...] = ()
    # IDs of parents whose children answer 404, because they were deleted or are too old.
    gone: tuple[str, ...] = ()
    # The rows per page of the lists without a documented `limit`, and what a `limit` does there.
    page_size: int = 10
    limit: Literal["ignored", "honoured", "refused"] = "ignored"
    limit_max: int = 100
    last_cursor: Literal["omitted", "null", "repeated"] = "omitted"
    repeat_cursor_every: int = 0
    cursor_life: int = 0
    # Whether the row that a cursor names comes again as the first row of the next page.
    cursor_row: Literal["exclusive", "inclusive"] = "exclusive"
    # What it does wrong with cursors: the first page is shown again; each further use of a cursor
    # shows other rows; rows are left out between two pages; one that it did not send is accepted.
    cursor_ignored: bool = False
    cursor_drifts: bool = False
    boundary_gap: int = 0
    unknown_cursor: Literal["refused", "ignored"] = "refused"
    # The documented example of a cursor is a row, `<ms>,<id>`. No newer one is public.
    cursor_form: Literal["row", "opaque", "signed"] = "row"
    # What happens to a cursor of the messages in that form that it did not send. A refused one is
    # an unknown cursor. Cursors of the other forms cannot be built.
    # `row_only` honours one that names a message, `between_only` one that names none.
    built_cursor: Literal[
        "refused", "honoured", "from_the_top", "empty", "row_only", "between_only"
    ] = "refused"
    # `more` is a text where it is true; it is true on the last page too.
    more_as_text: bool = False
    more_without_end: bool = False
    row_order: Literal["newest", "oldest_on_page"] = "newest"
    # Lists that show the oldest row first, as `journey_runs`.
    oldest_first: tuple[str, ...] = ()
    # Filters. `empty` shows no rows, as a vendor that misreads the value. `exclusive` leaves out
    # the rows at the bounds, and `hiding` every third row.
    enqueued_after: Literal[
        "honoured", "ignored", "ms_only", "iso_only", "refused", "empty", "hiding"
    ] = "honoured"
    runs_filter: Literal["honoured", "ignored", "refused", "exclusive", "hiding"] = "honoured"
    since: Literal["honoured", "ignored", "refused", "exclusive", "hiding"] = "honoured"
    # Whether runs without a time come with the others of a span.
    undated_runs: Literal["left_out", "shown"] = "left_out"
    status_filter: Literal["honoured", "ignored", "refused"] = "honoured"
    archived: Literal["too", "alone"] = "too"
    version_filter: Literal["honoured", "ignored"] = "honoured"
    # The lists to which the switches in `_OF_LISTS` apply, as `messages`. Empty: all lists.
    only: tuple[str, ...] = ()
    # Shapes for which the sources differ: the key of the rows of /lists, an empty list of the
    # families with a cursor at the top level, and the target of an audit event.
    lists_key: Literal["items", "results"] = "items"
    null_items: bool = False
    audit_target: Literal["text", "object"] = "text"
    limit_headers: bool = False
    # How far the `Date` header is ahead of the clock.
    clock_skew_seconds: float = 0
    arrival_every: int = 0
    faults: tuple[Fault, ...] = ()

    def __post_init__(self) -> None:
        """Raise ValueError for a refusal that cannot be read."""
        for one in self.refused:
            endpoint, _, status = one.partition("=")
            if not endpoint or not re.fullmatch("[45][0-9][0-9]", status):
                raise ValueError(f"not endpoint=status: {one!r}")

    def of(self, name: str) -> CourierSwitches:
        """Return the switches as they apply to a list."""
        if not self.only or name in self.only:
            return self
        defaults = {one.name: one.default for one in fields(self) if one.name in _OF_LISTS}
        return replace(self, **defaults)  # type: ignore[arg-type]


# What a list does wrong with its pages.
_OF_LISTS = frozenset(
    {"cursor_ignored", "cursor_drifts", "boundary_gap", "more_as_text", "more_without_end"}
)
