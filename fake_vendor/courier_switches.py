"""The switches of the fake Courier."""

from __future__ import annotations

import re
from dataclasses import dataclass
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
    built_cursor: Literal["refused", "honoured", "from_the_top", "empty"] = "refused"
    # `more` is a text where it is true; it is true on the last page too.
    more_as_text: bool = False
    more_without_end: bool = False
    row_order: Literal["newest", "oldest_on_page"] = "newest"
    # Filters. `empty` shows no rows, as a vendor that misreads the value.
    enqueued_after: Literal["honoured", "ignored", "ms_only", "iso_only", "refused", "empty"] = (
        "honoured"
    )
    runs_filter: Literal["honoured", "ignored", "refused"] = "honoured"
    since: Literal["honoured", "ignored", "refused"] = "honoured"
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
