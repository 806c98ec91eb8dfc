"""The five families of paging, and what paces and cuts a walk: each on its own."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from http_source.body import BrokenBodyError
from source_courier.density import DensityMap
from source_courier.pace import Pace
from source_courier.paging import CursorAlone, HasMore, MoreAndCursor, NextCursor, OneReply


@pytest.mark.parametrize(
    ("family", "body", "cursor"),
    [
        (MoreAndCursor, {"paging": {"more": True, "cursor": "c"}}, "c"),
        (MoreAndCursor, {"paging": {"more": False, "cursor": "c"}}, None),
        (MoreAndCursor, {"paging": {"more": False}}, None),
        (HasMore, {"has_more": True, "cursor": "c", "next_url": "/x", "type": "list"}, "c"),
        (HasMore, {"has_more": False, "cursor": "c"}, None),
        (HasMore, {"has_more": False, "cursor": None}, None),
        (CursorAlone, {"cursor": "c"}, "c"),
        (CursorAlone, {"cursor": None}, None),
        (CursorAlone, {"cursor": ""}, None),
        (CursorAlone, {}, None),
        (NextCursor, {"next_cursor": "c", "prev_cursor": "b"}, "c"),
        (NextCursor, {"next_cursor": None, "prev_cursor": "b"}, None),
        (NextCursor, {}, None),
        (OneReply, {}, None),
        (OneReply, {"paging": {"more": False}}, None),
    ],
)
def test_a_family_reads_its_own_envelope(family, body, cursor):
    assert family.next_cursor(body) == cursor


@pytest.mark.parametrize(
    ("family", "body"),
    [
        (MoreAndCursor, {}),
        (MoreAndCursor, {"has_more": False}),
        (MoreAndCursor, {"cursor": "c"}),
        (MoreAndCursor, {"paging": {"more": True}}),
        (HasMore, {}),
        (HasMore, {"paging": {"more": False}}),
        (HasMore, {"has_more": "false"}),
        (HasMore, {"has_more": True, "cursor": ""}),
        (CursorAlone, {"cursor": 7}),
        (CursorAlone, {"paging": {"more": True, "cursor": "c"}}),
        (CursorAlone, {"has_more": True}),
        (CursorAlone, {"next_cursor": "c"}),
        (NextCursor, {"next_cursor": ["c"]}),
        (NextCursor, {"cursor": "c"}),
        (NextCursor, {"paging": {"more": True}}),
        (OneReply, {"paging": {"more": True}}),
        (OneReply, {"has_more": True}),
        (OneReply, {"next_cursor": "c"}),
    ],
)
def test_the_envelope_of_another_family_is_never_the_end(family, body):
    with pytest.raises(BrokenBodyError):
        family.next_cursor(body)


def test_a_refusal_halves_the_pace_and_calm_raises_it_again():
    pace = Pace(8)
    for _ in range(4):
        pace.answered(0.1, 0)
    assert pace.limit == 8
    pace.answered(0.1, 1)
    assert pace.limit == 4
    pace.answered(0.1, 1)
    assert pace.limit == 4
    pace.answered(0.1, 5)
    pace.answered(0.1, 9)
    pace.answered(0.1, 13)
    assert pace.limit == 1
    for _ in range(60):
        pace.answered(0.1, 13)
    assert pace.limit == 2


def test_answers_that_take_longer_and_longer_lower_the_pace():
    pace = Pace(8)
    for _ in range(30):
        pace.answered(0.1, 0)
    assert pace.limit == 8
    for _ in range(60):
        pace.answered(0.9, 0)
    assert pace.limit < 8


@given(
    pages=st.lists(st.lists(st.integers(0, 10**6), min_size=1, max_size=5), max_size=20),
    newer=st.integers(0, 10**6),
    older=st.integers(0, 10**6),
    share=st.floats(0.1, 0.9),
)
def test_a_cut_lies_between_its_ends_and_parts_the_rows(pages, newer, older, share):
    density = DensityMap()
    for page in pages:
        density.add(page)
    rows = density.rows(newer, older)
    assert rows >= 0
    if older < newer:
        moment = density.cut(newer, older, share)
        assert older <= moment <= newer
        both = density.rows(newer, moment) + density.rows(moment, older)
        assert both == pytest.approx(rows, rel=0.01, abs=1)
