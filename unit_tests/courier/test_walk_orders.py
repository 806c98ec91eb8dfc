"""Walks whose requests are answered in any order, with pages that leave rows out and archived rows.

A walk runs without HTTP here: the fake vendor answers its requests one at a time, and chance says
which one is next. So thousands of orders are tried in a second each.
"""

from concurrent.futures import Future
from datetime import UTC, datetime
from random import Random
from types import SimpleNamespace

import pytest

from fake_vendor import Courier
from fake_vendor.courier import CourierSwitches
from fake_vendor.wire import Request
from source_courier import walk
from source_courier.client import CursorRefusedError, Page

# Very many cases.
pytestmark = pytest.mark.slow


class Pool:
    """Runs a call when chance chooses it."""

    def __init__(self, chance):
        self.chance, self.calls = chance, {}

    def submit(self, call, *arguments):
        """Keep a call for later, except the first page, which nobody waits for in a group."""
        future = Future()
        self.calls[future] = (call, arguments)
        if call is walk.first_page:
            self.run(future)
        return future

    def run(self, future):
        call, arguments = self.calls.pop(future)
        future.set_result(call(*arguments))

    def wait(self, futures, **_):
        """Replaces `concurrent.futures.wait` for the first call that ends."""
        chosen = self.chance.choice(list(futures))
        self.run(chosen)
        return {chosen}, set(futures) - {chosen}


class Pages:
    """The list of messages of a fake workspace, with events before some of its requests."""

    name = endpoint = "messages"
    key = ("id",)

    def __init__(self, vendor, events, *, is_gappy):
        self.vendor, self.events, self.is_gappy = vendor, events, is_gappy
        self.sent, self.jumps, self.requests = {None}, 0, 0

    def try_page(self, cursor, params):
        """Answer one request. After the proof, pages at built cursors may leave out rows."""
        self.requests += 1
        for event in self.events.get(self.requests, ()):
            event()
        asked = dict(params) | ({} if cursor is None else {"cursor": cursor})
        headers = {"authorization": f"Bearer {self.vendor.key}"}
        reply = self.vendor.handle(Request("GET", "/messages", asked, headers))
        if reply.status != 200:
            raise CursorRefusedError("messages", reply.status, "made-up refusal")
        body = reply.json()
        rows, paging = body["results"], body["paging"]
        if cursor not in self.sent:
            self.jumps += 1
            rows = rows[::2] if self.is_gappy and self.jumps > 2 else rows
        following = paging["cursor"] if paging["more"] else None
        self.sent.add(following)
        return Page(rows, following)

    def explain(self, refused):
        return refused

    def moment(self, row):
        return row["enqueued"]


def archiving(vendor, place, count, gone):
    def archive():
        messages = vendor.messages()
        place_now = place % max(1, len(messages))
        for message in messages[place_now : place_now + count]:
            vendor.archive(message.id)
            gone.add(message.id)

    return archive


@pytest.mark.parametrize("group", range(8))
def test_every_row_comes_once_in_any_order_of_answers(monkeypatch, group):
    for seed in range(group * 25, group * 25 + 25):
        chance = Random(seed)
        switches = CourierSwitches(
            built_cursor="honoured",
            page_size=chance.randint(2, 4),
            cursor_row=chance.choice(("inclusive", "exclusive")),
        )
        vendor = Courier(0, seed=seed, switches=switches)
        at = vendor.clock.ms() - 1_000
        for _ in range(chance.randint(3, 20)):
            for _ in range(chance.randint(1, 12)):
                vendor.insert(datetime.fromtimestamp(at / 1000, tz=UTC))
            at -= int(10 ** chance.uniform(0, 9))
        before, gone, events = {one.id for one in vendor.messages()}, set(), {}
        for _ in range(chance.randint(0, 5)):
            event = archiving(vendor, chance.randrange(10**6), chance.choice((1, 10, 25)), gone)
            events.setdefault(chance.randint(2, 60), []).append(event)
        pool = Pool(chance)
        monkeypatch.setattr(walk, "wait", pool.wait)
        pages = Pages(vendor, events, is_gappy=chance.random() < 0.5)
        read = walk.Walk(
            pages,
            SimpleNamespace(pool=pool, budget=None),
            walk.Range(),
            most_segments=chance.randint(2, 8),
        )
        emitted = [row["id"] for rows in read.rows() for row in rows]
        assert len(emitted) == len(set(emitted)), seed
        assert before - gone <= set(emitted) <= before, seed
