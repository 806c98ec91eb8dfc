"""The rate limiter with a test clock, against vendors that count in different ways."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from http_source.rate_limiter import RateLimiter


class Vendor:
    """Counts requests when they arrive. It refuses those above the limit."""

    def __init__(self, limit: int, *, sliding: bool, others: float = 0.0) -> None:
        self.limit, self.sliding, self.others = limit, sliding, others
        self.arrivals: list[float] = []
        self.window = 0.0

    def answer(self, at: float) -> tuple[int, int]:
        if self.sliding:
            self.arrivals = [past for past in self.arrivals if past > at - 60]
        elif at >= self.window + 60:
            self.window, self.arrivals = at - (at - self.window) % 60, []
        foreign = int(self.others * ((at - self.window) % 60))
        left = self.limit - len(self.arrivals) - foreign
        if left <= 0:
            return 429, 0
        self.arrivals.append(at)
        return 200, left - 1


def run(
    vendor: Vendor, limiter: RateLimiter, requests: int, *, threads: int, seed: int, told: bool
) -> tuple[float, int]:
    """Return the seconds until all requests are answered, and how many were refused."""
    chance = random.Random(seed)
    under_way: list[tuple[float, float, int]] = []  # arrival, answer, request
    now, sent, refused, arrived = 0.0, 0, 0, {}
    while sent < requests or under_way:
        wait = limiter.wait("search", now)
        if sent < requests and len(under_way) < threads and wait <= 0:
            arrival = now + chance.uniform(0.01, 0.4)
            under_way.append((arrival, arrival + chance.uniform(0.01, 0.4), sent))
            limiter.sent("search", sent, now)
            sent += 1
            continue
        events = [answer for _, answer, _ in under_way]
        if sent < requests and len(under_way) < threads:
            events.append(now + wait)
        now = min(events)
        for arrival, _, request in sorted(under_way):
            if arrival <= now and request not in arrived:
                arrived[request] = vendor.answer(arrival)
        for entry in [entry for entry in under_way if entry[1] <= now]:
            under_way.remove(entry)
            status, left = arrived[entry[2]]
            refused += status == 429
            headers = {"x-ratelimit-limit": str(vendor.limit), "x-ratelimit-remaining": str(left)}
            limiter.answered("search", entry[2], status, headers if told else {}, now)
    return now, refused


@settings(max_examples=15, deadline=None)
@given(st.booleans(), st.integers(1, 8), st.integers(0, 999))
def test_a_documented_limit_is_used_up_and_never_exceeded(sliding, threads, seed):
    limiter = RateLimiter({"search": 100})
    limiter.answered("search", -1, 200, {"x-ratelimit-limit": "1000"}, 0.0)
    seconds, refused = run(
        Vendor(100, sliding=sliding), limiter, 350, threads=threads, seed=seed, told=False
    )
    assert refused == 0
    assert seconds <= 1.05 * 350 / 100 * 60


@settings(max_examples=15, deadline=None)
@given(st.integers(4, 8), st.integers(0, 999), st.sampled_from([0.0, 2.0]))
def test_an_announced_limit_is_respected_while_other_clients_eat_of_it(threads, seed, others):
    seconds, refused = run(
        Vendor(300, sliding=False, others=others),
        RateLimiter({}),
        600,
        threads=threads,
        seed=seed,
        told=True,
    )
    assert refused <= (6 if others else 0)
    assert seconds <= 1.35 * 600 / (300 - 60 * others) * 60


def test_a_vendor_that_speaks_of_no_limit_is_not_waited_for():
    seconds, _ = run(
        Vendor(10_000, sliding=True),
        RateLimiter({"search": 100}),
        500,
        threads=8,
        seed=1,
        told=False,
    )
    assert seconds < 60


def test_a_share_leaves_the_rest_of_both_limits_to_others():
    limiter = RateLimiter({"search": 100}, share=0.5)
    for request in range(50):
        assert limiter.wait("search", 1.0) == 0
        limiter.sent("search", request, 1.0)
        limiter.answered("search", request, 200, {"x-ratelimit-limit": "1000"}, 2.0)
    assert limiter.wait("search", 3.0) == pytest.approx(59.0)
    headers = {"x-ratelimit-limit": "1000", "x-ratelimit-remaining": "501"}
    limiter.answered("list", 1, 200, headers, 3.0)
    assert limiter.wait("list", 4.0) == 0
    limiter.answered("list", 2, 200, {**headers, "x-ratelimit-remaining": "500"}, 4.0)
    assert limiter.wait("list", 5.0) > 50


def test_an_absurd_reset_is_capped_and_reported(caplog):
    limiter = RateLimiter({})
    headers = {
        "x-ratelimit-limit": "300",
        "x-ratelimit-remaining": "0",
        "x-ratelimit-reset": "99999",
    }
    limiter.answered("list", 1, 200, headers, 0.0)
    assert 0 < limiter.wait("list", 0.0) <= 120
    assert "resets in 99999 s" in caplog.text


def test_a_request_that_is_never_answered_frees_its_place_in_time():
    limiter = RateLimiter({"search": 1})
    limiter.answered("search", 0, 200, {"x-ratelimit-limit": "1000"}, -100.0)
    limiter.sent("search", 1, 0.0)
    assert limiter.wait("search", 60.0) > 0
    assert limiter.wait("search", 121.0) == 0


@pytest.mark.parametrize(
    "headers", [{"retry-after": "7"}, {"retry-after": "7", "x-ratelimit-remaining": "0"}]
)
def test_a_refusal_holds_all_requests_for_as_long_as_it_says(headers):
    limiter = RateLimiter({})
    limiter.answered("list", 1, 429, headers, 0.0)
    limiter.hold("list", 7.0, 0.0)  # the backoff of the request makes this call
    assert limiter.wait("list", 0.0) == pytest.approx(7.0)
    assert limiter.wait("list", 7.1) == 0


def test_a_refusal_that_names_no_time_holds_no_other_request():
    limiter = RateLimiter({})
    limiter.answered("list", 1, 429, {"x-ratelimit-remaining": "0"}, 0.0)
    assert limiter.wait("list", 0.0) == 0
