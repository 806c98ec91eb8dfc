"""What a sync reports about its progress."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from airbyte_cdk.models import TraceType, Type

from fake_vendor import Reply
from http_source import progress as progress_module
from http_source import rate_limiter as budget_module
from http_source.progress import ProgressLog, announce_rate_limit
from http_source.rate_limiter import RateBudget
from source_kustomer.stream import PREFETCH_VALID_SECONDS


def test_the_estimates_end_at_the_number_of_rows_when_a_stream_is_read(org, sync):
    done = sync(org({"note": 120, "message": 30}, page_size_max=50), "notes", "messages")
    estimates = [
        message.trace.estimate
        for message in done.messages
        if message.type is Type.TRACE and message.trace.type is TraceType.ESTIMATE
    ]
    last = {estimate.name: estimate.row_estimate for estimate in estimates}
    assert last["notes"] == len(done.rows("notes")) > 50
    assert done.messages.index(next(m for m in done.messages if m.type is Type.RECORD)) > 0


def test_a_long_wait_is_told_once_and_ends_with_the_window(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(budget_module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    budget = RateBudget({"search": 2})
    monkeypatch.setattr(
        budget._changed, "wait", lambda seconds: now.__setitem__(0, now[0] + seconds)
    )
    told: list[float] = []
    for _ in range(5):
        request = object()
        budget.acquire("search", request, told.append)
        budget.settle("search", request, 200, {"x-ratelimit-limit": "1000"})
    assert told == [pytest.approx(60.0), pytest.approx(60.0)]
    assert now[0] == pytest.approx(120.0)
    assert budget.waited == pytest.approx(120.0)


def test_a_wait_for_the_limit_is_a_status_message_on_stdout(capsys):
    announce_rate_limit("customers")
    status = json.loads(capsys.readouterr().out)["trace"]["stream_status"]
    assert status["stream_descriptor"]["name"] == "customers"
    assert status["status"] == "RUNNING"
    assert [reason["type"] for reason in status["reasons"]] == ["RATE_LIMITED"]


def test_progress_is_logged_once_a_minute_at_most(monkeypatch):
    now, lines = [0.0], []
    monkeypatch.setattr(progress_module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    logger = SimpleNamespace(info=lambda text, *values: lines.append(text % values))
    progress = ProgressLog(logger, "notes")
    for second in range(0, 150, 10):
        now[0] = float(second)
        progress.note(rows=second * 100, left=20_000 - second * 100, waited=3.0)
    assert lines == [
        "Stream notes: 6000 rows, 100 a second, 14000 left, 3 s waited for the rate limit.",
        "Stream notes: 12000 rows, 100 a second, 8000 left, 3 s waited for the rate limit.",
    ]


@pytest.mark.parametrize(("stream", "bucket"), [("notes", "search"), ("tags", "list")])
def test_a_429_that_names_a_wait_holds_the_requests_of_its_limit(
    org, sync, monkeypatch, stream, bucket
):
    def edit(body, request, number):
        return Reply(429, {}, b"{}") if number == 1 else None

    held = []
    monkeypatch.setattr(
        RateBudget, "hold", lambda budget, name, seconds: held.append((name, seconds))
    )
    vendor = org({"note": 9}, list_rows=9, edit=edit)
    handle = vendor.handle

    def with_a_wait(request):
        reply = handle(request)
        return replace(reply, headers={**reply.headers, "retry-after": "7"})

    monkeypatch.setattr(vendor, "handle", with_a_wait)
    assert len(sync(vendor, stream).ids(stream)) == 9
    assert held == [(bucket, 7.0)]


def test_pages_that_were_fetched_too_long_ago_are_fetched_again(org, sync, time):
    def edit(body, request, number):
        if "notes" not in str(request.body) and "/search" in request.path:
            first.append(request)
            if len(first) == 5:
                time.tick(PREFETCH_VALID_SECONDS + 1)
                late.append(vendor.insert("note", at=at, indexed=True).id)

    first, late = [], []
    at = datetime(2025, 7, 1, tzinfo=UTC)
    vendor = org({"message": 200, "note": 9}, page_size_max=20, edit=edit)
    synced = sync(vendor, "messages", "notes")
    assert late
    assert set(late) <= set(synced.ids("notes"))
