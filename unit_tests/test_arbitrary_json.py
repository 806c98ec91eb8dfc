"""Any JSON of a vendor, a header or a saved state leads to valid rows or to documented errors."""

import contextlib
import json
import math
import re
from collections import Counter
from datetime import UTC, datetime

import jsonschema
import pytest
import requests
from airbyte_cdk.models import FailureType
from airbyte_cdk.utils.traced_exception import AirbyteTracedException
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from http_source.body import BrokenBodyError, UnfinishedBodyError, parse_json
from http_source.columns import ADDITIONAL, Columns
from http_source.rate_limiter import RateLimiter
from http_source.retry import error_text
from http_source.retry_after import wait_hint
from source_courier import SourceCourier
from source_courier.client import validate_page
from source_kustomer import SourceKustomer
from source_kustomer.client import updated_at, validate_list_page, validate_search_page
from source_kustomer.paging import Query
from source_kustomer.rows import flatten
from source_kustomer.search import SearchStream
from source_kustomer.state import Bookmark, bookmark, state_messages

# `make unit` leaves these out.
pytestmark = pytest.mark.slow

COURIER = SourceCourier().streams({"api_key": "made-up"})
KUSTOMER = SourceKustomer().streams({"api_token": "made-up", "start_date": "2024-01-01"})
STREAMS = [*COURIER, *KUSTOMER]
every_stream = pytest.mark.parametrize("stream", STREAMS, ids=lambda one: type(one).__qualname__)
often = settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))

dates = st.sampled_from(["2024-01-01T00:00:00.000Z", "2024-02-30", "20240101", "0000-01-01", ""])
texts = st.one_of(st.text(max_size=8), dates)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    texts,
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.one_of(texts, st.sampled_from(["id", "type", "aB"])), inner, max_size=3),
    ),
    max_leaves=8,
)


def columns_of(stream):
    return list(stream.get_json_schema()["properties"])


def camel(name):
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def leaves(value):
    """Count every scalar of a value except null, in a form in which numbers and texts compare."""
    if isinstance(value, dict):
        return sum(map(leaves, value.values()), Counter())
    if isinstance(value, list):
        return sum(map(leaves, value), Counter())
    return Counter() if value is None else Counter([spelled(value)])


_NUMBER = re.compile(r"-?\d+\.\d+(e[+-]?\d+)?|-?\d+e[+-]?\d+")


def spelled(value):
    # A text column stores 0.0 as "0.0", an integer column as 0.
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        value = json.loads(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, str) else json.dumps(value)


def assert_fits(stream, row):
    jsonschema.validate(
        row, stream.get_json_schema(), format_checker=jsonschema.Draft7Validator.FORMAT_CHECKER
    )
    undeclared = row.keys() - stream.get_json_schema()["properties"].keys()
    assert undeclared == set()


@every_stream
@often
@given(data=st.data())
def test_a_row_fits_its_columns_and_keeps_every_value(stream, data):
    names = st.one_of(st.sampled_from(columns_of(stream)), texts)
    if stream in COURIER:
        sent = data.draw(st.dictionaries(names, values, max_size=6)) | {"id": "1-one"}
        row = dict(sent)
    else:
        spellings = names.map(camel)
        sent = {
            "id": "5a",
            "type": "made-up",
            "attributes": data.draw(st.dictionaries(spellings, values, max_size=6)),
            "relationships": data.draw(
                st.dictionaries(spellings, values.filter(without_pointers), max_size=4)
            ),
            **data.draw(st.dictionaries(st.sampled_from(["links", "meta"]), values, max_size=2)),
        }
        row = flatten(json.loads(json.dumps(sent)))
    assert_fits(stream, fitted := Columns(stream.get_json_schema()).fit(row))
    assert leaves(sent) - leaves(fitted) == Counter()


def without_pointers(value):
    # Links to other resources are left out, as docs/rows.md says.
    return not isinstance(value, dict) or not {"links", "link"} & value.keys()


@every_stream
@often
@given(data=st.data())
def test_an_envelope_is_taken_or_is_a_broken_body(stream, data):
    keys = ["data", "meta", "links", "results", "paging", "total", "next", "more", "cursor",
            "id", "attributes", "updatedAt", "createdAt", "timed_out", "pageSize"]  # fmt: skip
    body = data.draw(
        st.recursive(
            scalars,
            lambda inner: st.one_of(
                st.lists(inner, max_size=3),
                st.dictionaries(st.sampled_from(keys), inner, max_size=5),
            ),
            max_leaves=15,
        )
    )
    shaped = {"data": [body], "results": [body], "meta": body, "links": body, "paging": body}
    for one in (body, shaped, {"data": []}, {"data": [], "meta": {"total": 0}}):
        with contextlib.suppress(BrokenBodyError, UnfinishedBodyError):
            assert validate(stream, one) is not None


def validate(stream, body):
    """Return the page that the stream's client makes from a body."""
    content = json.dumps(body).encode()
    if stream in COURIER:
        return validate_page(stream.envelope, content)
    if isinstance(stream, SearchStream):
        return validate_search_page(stream._subject, Query(0, None), body, len(content))
    return validate_list_page({"page": "1", "pageSize": "500"}, updated_at, content)


@often
@given(values)
def test_the_words_of_a_refusal_are_found_whatever_its_body_holds(body):
    assert error_text(json.dumps(body).encode(), 400)


headers = st.dictionaries(
    st.sampled_from(
        [
            "Retry-After",
            "retry-after-ms",
            "x-ratelimit-reset",
            "ratelimit-reset",
            "Date",
            "x-ratelimit-limit",
            "x-ratelimit-remaining",
        ]
    ),
    st.one_of(
        texts,
        st.integers(-(2**70), 2**70).map(str),
        st.floats().map(str),
        st.sampled_from(
            ["nan", "-inf", "Wed, 21 Oct 2015 07:28:00 GMT", "Thu, 99 Foo 9999", "1e999"]
        ),
    ),
)


@often
@given(headers, st.sampled_from([200, 429, 503, None]))
def test_a_wait_is_a_finite_number_of_seconds_whatever_the_headers_say(told, status):
    told = requests.structures.CaseInsensitiveDict(told)
    hint = wait_hint(status, told, datetime(2026, 1, 1, tzinfo=UTC))
    assert hint is None or (math.isfinite(hint) and hint > 0)


@often
@given(headers, st.sampled_from([200, 429, 503]))
def test_requests_wait_no_longer_than_two_minutes_whatever_the_headers_say(told, status):
    limiter = RateLimiter({"search": 100})
    limiter.sent("search", 1, 0.0)
    limiter.answered("search", 1, status, requests.structures.CaseInsensitiveDict(told), 1.0)
    assert 0 <= limiter.wait("search", 1.0) <= 120


@often
@given(st.one_of(values, st.dictionaries(
    st.sampled_from(["updated_at", "bookmarks", "full_refresh", "currently_syncing", "customers"]),
    values, max_size=4)))  # fmt: skip
def test_a_state_is_understood_or_is_a_config_error(state):
    if isinstance(state, dict):
        found = outcome(bookmark, "customers", state)
        assert found is None or isinstance(found, Bookmark) or is_config_error(found)
    messages = outcome(state_messages, [state], ["customers", "tags"])
    assert is_config_error(messages) or all(one.stream or one.global_ for one in messages)


def outcome(function, *arguments):
    """Return the result of a function, or its documented error."""
    try:
        return function(*arguments)
    except AirbyteTracedException as error:
        return error


def is_config_error(value):
    return (
        isinstance(value, AirbyteTracedException) and value.failure_type is FailureType.config_error
    )


@often
@given(st.one_of(st.binary(max_size=40), values.map(lambda value: json.dumps(value).encode())))
def test_a_body_is_json_that_strict_readers_take_or_is_refused(content):
    try:
        value = parse_json(content)
    except ValueError:
        return
    written = json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    assert json.loads(written) == value


@pytest.mark.parametrize(
    ("content", "value"),
    [
        (rb'"half \ud83d of it"', "half \ufffd of it"),
        (rb'{"\udc00": ["\ud83d\ude00"]}', {"\ufffd": ["\U0001f600"]}),
        (b"[NaN, Infinity, -Infinity]", [None, None, None]),
        (b"[1e400, -1e400, 1e300]", ["1e400", "-1e400", 1e300]),
        (b"12345678901234567890123", 12345678901234567890123),
        (b"-9223372036854775809", -9223372036854775809),
        (b"[18446744073709551615, 18446744073709551616]", [2**64 - 1, 2**64]),
        (b"1" * 5000, "1" * 5000),
    ],
)
def test_what_strict_readers_refuse_is_mended_and_digits_are_kept(content, value):
    assert parse_json(content) == value


def test_what_has_no_column_is_named_once():
    columns = Columns(KUSTOMER[1].get_json_schema())
    columns.fit({"id": "5a", "novelty": 1, "tags": "vip", "rev": "seven"})
    columns.fit({"id": "5b", "novelty": 2})
    assert columns.report() == (
        f"Values in {ADDITIONAL}: without a column: novelty; not of their column's type: rev."
    )


@pytest.mark.parametrize(
    ("column", "value", "fitted"),
    [
        ("tags", "vip", ["vip"]),
        ("tags", ["vip", 7, True], ["vip", "7", "true"]),
        ("org", "5b", {"id": "5b"}),
        ("name", 7, "7"),
        ("name", True, "true"),
        ("rev", 7.0, 7),
        ("emails", {"email": "a@example.com"}, [{"email": "a@example.com"}]),
    ],
)
def test_a_value_is_converted_when_its_column_can_hold_it(column, value, fitted):
    row = Columns(KUSTOMER[1].get_json_schema()).fit({"id": "5a", column: value})
    assert row == {"id": "5a", column: fitted}


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("rev", "seven"),
        ("rev", 7.5),
        ("rev", True),
        ("deleted", "no"),
        ("name", {"first": "Amara"}),
        ("org", [1]),
        ("created_at", "yesterday"),
        ("created_at", "20240101"),
        ("tags", [["vip"]]),
        ("novelty", None),
    ],
)
def test_a_value_moves_as_it_is_when_no_column_can_hold_it(column, value):
    row = Columns(KUSTOMER[1].get_json_schema()).fit({"id": "5a", column: value})
    assert row == {"id": "5a", ADDITIONAL: {column: value}}
