"""Parallel requests, counted over real sockets with real threads."""

import threading
import time
from types import SimpleNamespace

import pytest
from airbyte_cdk.models import SyncMode
from airbyte_cdk.test.catalog_builder import CatalogBuilder
from airbyte_cdk.test.entrypoint_wrapper import read

from fake_vendor import Courier, FakeVendor, Kustomer
from http_source import rate_limiter
from http_source.context import MAX_REQUESTS_AT_ONCE
from http_source.rate_limiter import RateBudget
from source_courier import SourceCourier
from source_kustomer import SourceKustomer
from source_kustomer.children import ChildStream
from source_kustomer.streams import Conversations

# Longer than any answer that needs no wait. A test that waits this long has failed.
PATIENCE_SECONDS = 20


class Watched:
    """A vendor that counts its requests. A test may delay an answer."""

    def __init__(self, vendor, before):
        self._vendor, self._before = vendor, before
        self.clock, self.journal = vendor.clock, vendor.journal
        self._lock = threading.Lock()
        self._under_way = 0
        self.most = 0
        self.threads = 0

    def handle(self, request):
        """Answer one request after `before(request)` has returned."""
        with self._lock:
            self._under_way += 1
            self.most = max(self.most, self._under_way)
            self.threads = max(self.threads, len(requesting()))
        try:
            self._before(request)
            return self._vendor.handle(request)
        finally:
            with self._lock:
                self._under_way -= 1


def requesting():
    """Return the threads of this process that send requests."""
    return [one for one in threading.enumerate() if one.name.startswith("requests")]


def catalog(*streams, mode="incremental"):
    builder = CatalogBuilder()
    for stream in streams:
        builder.with_stream(stream, SyncMode(mode))
    return builder.build()


def config_of(org, vendor):
    return {"api_token": org.token, "start_date": "2020-01-01", "api_url": vendor.url}


def is_search(request, context):
    return request.path.endswith("/search") and f'"{context}"'.encode() in request.body


@pytest.mark.parametrize(("stream", "kind", "following"), [
    ("notes", "note", ("messages", "message")),
    ("notes", "note", ("tags", "tags")),
    ("tags", "tags", ("notes", "note")),
])  # fmt: skip
def test_the_next_streams_first_page_is_under_way_while_a_stream_is_read(stream, kind, following):
    """The vendor answers the stream's own page only after a request of the next stream."""
    name, context = following
    came = threading.Event()
    met = []

    def is_of(request, wanted):
        return is_search(request, wanted) or request.path == f"/v1/{wanted}"

    def before(request):
        if is_of(request, context):
            came.set()
        elif is_of(request, kind):
            met.append(came.wait(PATIENCE_SECONDS))

    org = Kustomer({"note": 30, "message": 30}, list_rows=30, years=1)
    watched = Watched(org, before)
    with FakeVendor(kustomer=watched) as vendor:
        output = read(SourceKustomer(), config_of(org, vendor), catalog(stream, name))
    assert output.errors == []
    assert len(output.records) == 60
    assert met
    assert all(met)


def test_a_search_has_several_pages_under_way_and_no_more_than_it_may():
    gathered = threading.Barrier(4)

    def before(request):
        # Pages after a first one are answered when four of them were requested.
        if request.params["page"] in ("2", "3", "4", "5"):
            gathered.wait(PATIENCE_SECONDS)

    org = Kustomer({"customer": 4400}, list_rows=0, years=1)
    watched = Watched(org, before)
    with FakeVendor(kustomer=watched) as vendor:
        config = config_of(org, vendor) | {"include_archived": False}
        output = read(SourceKustomer(), config, catalog("customers"))
    assert output.errors == []
    assert len(output.records) == 4400
    assert 4 <= watched.most <= 6


def test_all_streams_share_one_pool_of_threads_that_ends_with_the_sync():
    before = len(requesting())
    org = Kustomer(300, list_rows=300, years=1)
    org.switch(page_size_max=20)
    watched = Watched(org, lambda _request: None)
    names = [stream.name for stream in SourceKustomer.stream_classes]
    with FakeVendor(kustomer=watched) as vendor:
        output = read(SourceKustomer(), config_of(org, vendor), catalog(*names))
    assert output.errors == []
    assert 1 <= watched.threads - before <= MAX_REQUESTS_AT_ONCE
    deadline = time.monotonic() + PATIENCE_SECONDS
    while len(requesting()) > before and time.monotonic() < deadline:
        threading.Event().wait(0.01)
    assert len(requesting()) <= before


def test_couriers_next_page_is_under_way_while_a_page_is_emitted():
    courier = Courier(rows=35)
    asked = threading.Semaphore(0)
    watched = Watched(courier, lambda _request: asked.release())
    ahead = []

    class Source(SourceCourier):
        def read(self, *arguments):
            for message in super().read(*arguments):
                if message.record is not None and len(ahead) < 2:
                    # There are two requests before the first row: its own page and the next one.
                    ahead.append(asked.acquire(timeout=PATIENCE_SECONDS))
                yield message

    with FakeVendor(courier=watched) as vendor:
        config = {"api_key": courier.key, "api_url": vendor.url}
        output = read(Source(), config, catalog("messages", mode="full_refresh"))
    assert len(output.records) == 35
    assert ahead == [True, True]
    assert watched.most <= 2


class ConversationMessages(ChildStream):
    """The messages of each conversation."""

    name = "conversation_messages"
    endpoint = "conversations/{id}/messages"
    role = "org.permission.message.read"
    parent = Conversations
    parent_name = "conversation"

    def load_schema(self):
        return {"properties": {"id": {"type": "string"}}}


class WithChildren(SourceKustomer):
    """The source with a child stream."""

    stream_classes = (*SourceKustomer.stream_classes, ConversationMessages)


def test_children_are_fetched_for_several_parents_at_once_and_no_more_than_eight():
    released = threading.Event()
    asked = []

    def before(request):
        # No request is answered before eight have arrived and a ninth had time to arrive.
        if "/conversations/" in request.path:
            asked.append(request)
            if len(asked) == 8:
                threading.Timer(0.3, released.set).start()
            assert released.wait(PATIENCE_SECONDS)

    org = Kustomer({"conversation": 40, "message": 200}, list_rows=0, years=1)
    watched = Watched(org, before)
    with FakeVendor(kustomer=watched) as vendor:
        config = config_of(org, vendor) | {"include_archived": False}
        output = read(WithChildren(), config, catalog("conversation_messages"))
    assert output.errors == []
    assert len({record.record.data["id"] for record in output.records}) == 200
    assert watched.most == 8


class Hurried:
    """Makes the clock and the waits of the rate limiter a hundred times as fast."""

    SPEED = 100.0

    def __init__(self, monkeypatch):
        started = time.monotonic()
        self.now = lambda: (time.monotonic() - started) * self.SPEED
        speed = self.SPEED

        class Condition(threading.Condition):
            def wait(self, timeout=None):
                return super().wait(None if timeout is None else timeout / speed)

        monkeypatch.setattr(rate_limiter, "time", SimpleNamespace(monotonic=self.now))
        monkeypatch.setattr(rate_limiter, "threading", SimpleNamespace(Condition=Condition))


@pytest.mark.parametrize("is_sliding", [True, False])
def test_the_budget_keeps_a_limit_when_many_threads_ask_at_once(monkeypatch, is_sliding):
    clock = Hurried(monkeypatch)
    budget = RateBudget({"search": 40})
    lock, arrivals, refused, told = threading.Lock(), [], [], []

    def count(now):
        if is_sliding:
            return sum(at > now - 60 for at in arrivals)
        return sum(at // 60 == now // 60 for at in arrivals)

    def work():
        for _ in range(15):
            request = object()
            budget.acquire("search", request, told.append)
            with lock:
                now = clock.now()
                arrivals.append(now)
                left = 40 - count(now)
                refused.append(left < 0)
            headers = {"x-ratelimit-limit": "1000", "x-ratelimit-remaining": "900"}
            budget.settle("search", request, 200, headers)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
    assert len(arrivals) == 120
    assert not any(refused)
    assert told
    # Forty requests at once, and forty more in each of the next two windows.
    assert clock.now() < 60 * 3.5
    assert budget.waited > 0


def test_a_refusal_of_one_thread_holds_the_others_back(monkeypatch):
    clock = Hurried(monkeypatch)
    budget = RateBudget({})
    first = object()
    budget.acquire("list", first, lambda _: None)
    budget.settle("list", first, 429, {"x-ratelimit-limit": "300"})
    budget.hold("list", 30.0)
    held_at = clock.now()
    sent = []

    def work():
        request = object()
        budget.acquire("list", request, lambda _: None)
        sent.append(clock.now())
        budget.settle("list", request, 200, {})

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
    assert len(sent) == 6
    assert min(sent) >= held_at + 29
