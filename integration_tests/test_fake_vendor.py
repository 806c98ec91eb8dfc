"""Checks that the fake vendor behaves like the real ones, where other tests depend on it."""

import socket
from contextlib import closing
from datetime import UTC, datetime, timedelta

import orjson
import pytest
import requests

from fake_vendor import Clock, Courier, FakeVendor, Kustomer, Request

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)


def day(number):
    return NOW - timedelta(days=number)


@pytest.fixture
def org():
    """An org without rows. Its clock stands still."""
    return Kustomer(rows=0, list_rows=0, clock=Clock(NOW))


def search(org, *, archive=False, page=1, size=500, context="customer", **body):
    path = "/v1/customers/archive/search" if archive else "/v1/customers/search"
    return org.handle(
        Request(
            "POST",
            path,
            {"page": str(page), "pageSize": str(size)},
            {"authorization": f"Bearer {org.token}"},
            orjson.dumps({"queryContext": context, **body}),
        )
    )


def get(vendor, secret, path, **params):
    headers = {"authorization": f"Bearer {secret}"}
    return vendor.handle(Request("GET", path, params, headers))


def found(reply):
    assert reply.status == 200, reply.body
    return [resource["id"] for resource in reply.json()["data"]]


def updated(**bounds):
    return {"customer_updated_at": {key: at.isoformat() for key, at in bounds.items()}}


def test_search_window_is_closed_by_gte_and_lte_and_open_by_gt_and_lt(org):
    old, middle, new = (org.insert("customer", day(n)).id for n in (3, 2, 1))
    for bounds, ids in (
        ({"gte": day(2)}, [middle, new]),
        ({"gt": day(2)}, [new]),
        ({"lte": day(2)}, [old, middle]),
        ({"lt": day(2)}, [old]),
        ({"gte": day(3), "lt": day(1)}, [old, middle]),
    ):
        criteria = [updated(**{key: at}) for key, at in bounds.items()]
        reply = search(org, **{"and": criteria}, sort=[{"customer_updated_at": "asc"}])
        assert found(reply) == ids, bounds


def test_search_sorts_by_the_first_key_alone(org):
    ids = [org.insert("customer", day(2), created=day(9 - n)).id for n in range(3)]
    later = org.insert("customer", day(1)).id
    by_update = [{"customer_updated_at": "desc"}, {"customer_created_at": "desc"}]
    assert found(search(org, sort=by_update)) == [later, *ids]


def test_search_refuses_what_the_vendor_does_not_know(org):
    for body in (
        {"and": [{"customer_favourite_colour": {"equals": "red"}}]},
        {"and": [{"customer_updated_at": {"gte": "yesterday"}}]},
        {"sort": [{"customer_updated_at": "upwards"}]},
        {"limit": 10},
    ):
        assert search(org, **body).status == 400, body


def test_page_size_is_cut_to_500_and_page_101_is_refused_though_it_is_promised():
    org = Kustomer(rows={"customer": 700}, list_rows=0, years=1)
    assert len(found(search(org, size=1000))) == 500
    last = search(org, page=100, size=6)
    assert len(found(last)) == 6
    assert last.json()["meta"]["total"] == 700
    assert "page=101" in last.json()["links"]["next"]
    assert search(org, page=101, size=6).status == 404


def test_rows_beyond_the_row_cap_cannot_be_read(org):
    org.switch(row_cap=20)
    for _ in range(30):
        org.insert("customer", day(1))
    assert len(found(search(org, page=2, size=10))) == 10
    assert search(org, page=3, size=10).status == 404
    org.switch(past_cap="empty")
    assert found(search(org, page=3, size=10)) == []


def test_rows_are_in_the_archive_once_they_are_two_years_old(org):
    old, new = (org.insert("customer", day(n)).id for n in (731, 729))
    assert found(search(org)) == [new]
    assert found(search(org, archive=True)) == [old]
    org.clock.advance(timedelta(days=2).total_seconds())
    assert found(search(org)) == []
    assert found(search(org, archive=True)) == [old, new]


def test_notes_have_no_archive(org):
    assert search(org, context="note").status == 200
    assert search(org, context="note", archive=True).status == 400


def test_a_changed_row_moves_to_the_tail_once_the_index_has_caught_up(org):
    org.switch(index_lag_seconds=60)
    first, second = (org.insert("customer", day(n), indexed=True).id for n in (2, 1))
    org.touch("customer", first)
    by_update = [{"customer_updated_at": "asc"}]
    assert found(search(org, sort=by_update)) == [first, second]
    org.clock.advance(60)
    assert found(search(org, sort=by_update)) == [second, first]


def test_a_deleted_row_is_found_only_when_asked_for(org):
    ident = org.insert("customer", day(1)).id
    org.delete("customer", ident)
    assert found(search(org)) == []
    (resource,) = search(org, includeDeleted=True).json()["data"]
    assert resource["attributes"]["deleted"] is True


def test_ties_come_in_another_order_when_they_are_shuffled(org):
    org.switch(tie_order="shuffled")
    ids = {org.insert("customer", day(1)).id for _ in range(50)}
    orders = {tuple(found(search(org))) for _ in range(5)}
    assert len(orders) == 5
    assert {frozenset(order) for order in orders} == {frozenset(ids)}


@pytest.mark.parametrize(
    ("form", "reset"),
    [
        ("epoch", str(int(NOW.timestamp()) + 60)),
        ("epoch_ms", str(int(NOW.timestamp() + 60) * 1000)),
        ("delta", "60"),
        ("http_date", "Mon, 04 May 2026 12:01:00 GMT"),
        ("iso", "2026-05-04T12:01:00.000Z"),
    ],
)
def test_a_search_over_the_limit_is_told_when_the_limit_is_lifted(org, form, reset):
    org.switch(search_limit=2, reset_form=form)
    assert [search(org).status for _ in range(2)] == [200, 200]
    refused = search(org)
    assert refused.status == 429
    assert refused.headers["x-ratelimit-remaining"] == "0"
    assert refused.headers["x-ratelimit-reset"] == reset
    org.clock.advance(60)
    assert search(org).status == 200


def test_the_search_limit_does_not_touch_lists_but_the_orgs_does(org):
    org.switch(search_limit=1)
    assert [search(org).status for _ in range(2)] == [200, 429]
    assert get(org, org.token, "/v1/users").status == 200
    org.switch(org_limit=1)
    assert [get(org, org.token, "/v1/users").status for _ in range(2)] == [200, 429]


def test_lists_are_walked_by_next_links_in_order_of_creation():
    org = Kustomer(rows=0, list_rows={"tag": 250}, clock=Clock(NOW))
    first, second, third = (get(org, org.token, "/v1/tags", page=str(n)) for n in (1, 2, 3))
    assert [len(found(page)) for page in (first, second, third)] == [100, 100, 50]
    assert first.json()["links"]["next"] == "/v1/tags?page=2&pageSize=100"
    assert third.json()["links"]["next"] is None
    rows = [row for page in (first, second, third) for row in page.json()["data"]]
    created = [row["attributes"]["createdAt"] for row in rows]
    assert created == sorted(created)


def test_the_largest_list_page_depends_on_the_list():
    org = Kustomer(rows=0, list_rows=600)
    sizes = {
        name: len(found(get(org, org.token, f"/v1/{name}", pageSize="1000")))
        for name in ("users", "teams", "tags", "shortcuts")
    }
    assert sizes == {"users": 500, "teams": 500, "tags": 100, "shortcuts": 100}


def test_courier_serves_ten_rows_newest_first_and_a_cursor_to_the_next():
    workspace = Courier(rows=25)
    ids, cursor = [], {}
    for size, more in ((10, True), (10, True), (5, False)):
        body = get(workspace, workspace.key, "/messages", limit="100", **cursor).json()
        assert len(body["results"]) == size
        assert body["paging"]["more"] is more
        ids += [row["id"] for row in body["results"]]
        cursor = {"cursor": body["paging"].get("cursor")}
    assert cursor == {"cursor": None}
    assert ids == [message.id for message in reversed(workspace.messages())]


def test_a_courier_cursor_points_at_a_row_and_not_at_an_offset():
    workspace = Courier(rows=25)
    first = get(workspace, workspace.key, "/messages").json()
    for _ in range(3):
        workspace.insert()
    cursor = first["paging"]["cursor"]
    second = get(workspace, workspace.key, "/messages", cursor=cursor).json()
    assert not {row["id"] for row in first["results"]} & {row["id"] for row in second["results"]}


def test_a_courier_cursor_is_refused_once_it_is_expired_or_made_up():
    workspace = Courier(rows=25)
    cursor = get(workspace, workspace.key, "/messages").json()["paging"]["cursor"]
    workspace.expire_cursors()
    for unknown in (cursor, "bm9uc2Vuc2U="):
        assert get(workspace, workspace.key, "/messages", cursor=unknown).status == 400


def test_a_wrong_secret_is_refused_by_both():
    assert get(Kustomer(rows=0), "wrong", "/v1/users").status == 401
    assert get(Courier(rows=0), "wrong", "/messages").status == 401


def test_faults_break_the_connection_when_it_is_a_real_one():
    courier = Courier(rows=5)
    courier.switch(faults=[{"kind": "reset", "at": (1,)}, {"kind": "truncate", "at": (2,)}])
    with FakeVendor(courier=courier) as vendor, requests.Session() as session:
        session.headers["authorization"] = f"Bearer {courier.key}"
        with pytest.raises(requests.ConnectionError):
            session.get(f"{vendor.url}/messages", timeout=10)
        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            session.get(f"{vendor.url}/messages", timeout=10)
        assert session.get(f"{vendor.url}/messages", timeout=10).ok


def test_nothing_listens_any_more_when_the_vendor_has_stopped():
    with FakeVendor(Kustomer(rows=0), Courier(rows=0)) as vendor:
        host, port = vendor.url.removeprefix("http://").split(":")
    with closing(socket.socket()) as client, pytest.raises(ConnectionRefusedError):
        client.connect((host, int(port)))
