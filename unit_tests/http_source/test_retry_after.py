"""The wait that a vendor's headers ask for, in every format that vendors use."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from requests.structures import CaseInsensitiveDict

from http_source.retry_after import backoff_ceiling, wait_hint

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
EPOCH = int(NOW.timestamp())
NAMES = ("Retry-After", "retry-after-ms", "x-ratelimit-reset", "RateLimit-Reset", "Date")


def http_date(seconds: float) -> str:
    return format_datetime(NOW + timedelta(seconds=seconds), usegmt=True)


def asked(status, headers):
    return wait_hint(status, CaseInsensitiveDict(headers), NOW)


@pytest.mark.parametrize("status", [429, 503, 200])
@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "30"}, 30),
        ({"Retry-After": " 30 "}, 30),
        ({"Retry-After": "0.25"}, 0.25),
        ({"Retry-After": http_date(90)}, 90),
        ({"retry-after-ms": "1500"}, 1.5),
        ({"retry-after-ms": "1500", "Retry-After": "2"}, 1.5),
        ({"retry-after-ms": "soon", "Retry-After": "2"}, 2),
    ],
)
def test_retry_after_is_respected_when_any_status_carries_it(status, headers, seconds):
    assert asked(status, headers) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "reset",
    [
        "45",
        "45.0",
        str(EPOCH + 45),
        str((EPOCH + 45) * 1000),
        http_date(45),
        "2026-05-04T12:00:45Z",
        "2026-05-04T14:00:45+02:00",
        "2026-05-04T12:00:45",
    ],
)
@pytest.mark.parametrize("name", ["x-ratelimit-reset", "X-RateLimit-Reset", "RateLimit-Reset"])
def test_reset_is_read_when_it_is_spelled_in_any_form(name, reset):
    assert asked(429, {name: reset}) == pytest.approx(45)


@pytest.mark.parametrize("status", [200, 500, 503, None])
def test_reset_asks_for_nothing_when_the_status_is_not_429(status):
    assert asked(status, {"x-ratelimit-reset": "45"}) is None


def test_retry_after_wins_when_both_it_and_a_reset_are_sent():
    assert asked(429, {"Retry-After": "5", "x-ratelimit-reset": "45"}) == 5


def test_reset_is_respected_when_retry_after_cannot_be_read():
    assert asked(429, {"Retry-After": "soon", "x-ratelimit-reset": "45"}) == 45


@pytest.mark.parametrize("skew", [-3600, 3600])
@pytest.mark.parametrize("spelled", [http_date, lambda at: str(EPOCH + at)])
def test_an_instant_is_measured_on_the_vendors_clock_when_it_differs_from_ours(skew, spelled):
    headers = {"Date": http_date(skew), "x-ratelimit-reset": spelled(skew + 20)}
    assert asked(429, headers) == pytest.approx(20)
    headers = {"Date": http_date(skew), "Retry-After": http_date(skew + 20)}
    assert asked(503, headers) == pytest.approx(20)


def test_a_number_of_seconds_is_left_alone_when_the_vendors_clock_differs_from_ours():
    assert asked(429, {"Date": http_date(-3600), "Retry-After": "20"}) == 20


def test_our_clock_counts_when_the_vendors_date_cannot_be_read():
    assert asked(429, {"Date": "yesterday", "x-ratelimit-reset": str(EPOCH + 20)}) == 20


@pytest.mark.parametrize("name", ["Retry-After", "retry-after-ms", "x-ratelimit-reset"])
@pytest.mark.parametrize(
    "value",
    [
        "0",
        "-5",
        str(EPOCH - 60),
        str((EPOCH - 60) * 1000),
        http_date(-60),
        "2026-05-04T11:59:00Z",
        "",
        "soon",
        "nan",
        "inf",
        "-inf",
        "1e999",
        "30, 60",
        "Wed, 99 Foo 2026 12:00:00 GMT",
    ],
)
def test_nothing_is_asked_when_the_header_is_past_or_garbage(name, value):
    assert asked(429, {name: value}) is None


def test_nothing_is_asked_when_no_header_speaks_of_waiting():
    assert asked(429, {"x-ratelimit-remaining": "0"}) is None


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", ["Fri, 31 Dec 9999 23:59:59 -0100", "0001-01-01T00:00:00+23:59"])
def test_a_header_never_raises_when_its_date_lies_at_the_end_of_the_calendar(name, value):
    hint = asked(429, {name: value})
    assert hint is None or hint > 0


@settings(deadline=None)  # the machine may be slow
@given(
    st.sampled_from([200, 429, 503]),
    st.dictionaries(
        st.sampled_from(NAMES),
        st.text(max_size=30)
        | st.floats().map(str)
        | st.datetimes().map(lambda at: at.isoformat())
        | st.datetimes(timezones=st.just(UTC)).map(lambda at: format_datetime(at, usegmt=True)),
    ),
)
def test_a_hint_is_none_or_positive_and_finite_whatever_the_headers_say(status, headers):
    hint = asked(status, headers)
    assert hint is None or 0 < hint < float("inf")


def test_exponential_waits_double_from_a_second_and_stop_at_a_minute():
    ceilings = [backoff_ceiling(attempt) for attempt in (1, 2, 3, 6, 7, 8, 10_000)]
    assert ceilings == [1, 2, 4, 32, 60, 60, 60]
