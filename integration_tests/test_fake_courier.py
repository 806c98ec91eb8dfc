"""Checks that the fake Courier serves every list as the real one is documented to do."""

import base64
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import orjson
import pytest
import requests

from fake_vendor import Clock, Courier, FakeVendor, Request
from fake_vendor.__main__ import _parser
from fake_vendor.courier import ENDPOINTS, SECRET_MARK

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
# Stream -> path, family of paging, key of the rows, stream of the parents and their key.
LISTS = {
    "messages": ("/messages", "paging", "results"),
    "notification_templates": ("/notifications", "paging", "results"),
    "brands": ("/brands", "paging", "results"),
    "lists": ("/lists", "paging", "items"),
    "audiences": ("/audiences", "paging", "items"),
    "routing_strategies": ("/routing-strategies", "paging", "results"),
    "broadcasts": ("/broadcasts", "paging", "results"),
    "audit_events": ("/audit-events", "paging", "results"),
    "tenants": ("/tenants", "list", "items"),
    "preference_sections": ("/preferences/sections", "none", "results"),
    "preference_logs": ("/preferences/logs", "paging", "items"),
    "journeys": ("/journeys", "cursor", "templates"),
    "automations": ("/automations", "cursor", "templates"),
    "journey_runs": ("/journeys/runs", "next_cursor", "runs"),
    "automation_runs": ("/automations/runs", "next_cursor", "runs"),
}
CHILDREN = {
    "message_history": ("/messages/{}/history", "none", "results", "messages", "id"),
    "message_output": ("/messages/{}/output", "none", "results", "messages", "id"),
    "notification_template_versions": (
        "/notifications/{}/versions", "paging", "versions", "notification_templates", "id"),
    "list_subscriptions": ("/lists/{}/subscriptions", "paging", "items", "lists", "id"),
    "audience_members": ("/audiences/{}/members", "paging", "items", "audiences", "id"),
    "tenant_users": ("/tenants/{}/users", "list", "items", "tenants", "id"),
    "tenant_templates": ("/tenants/{}/templates", "list", "items", "tenants", "id"),
    "digest_instances": (
        "/digests/schedules/{}/instances", "list", "items", "digest_schedules", "schedule_id"),
    "journey_versions": ("/journeys/{}/versions", "paging", "results", "journeys", "id"),
    "journey_run_steps": ("/journeys/runs/{}/steps", "none", "steps", "journey_runs", "run_id"),
    "automation_run_steps": (
        "/automations/runs/{}/steps", "none", "steps", "automation_runs", "run_id"),
}  # fmt: skip
# The columns of the connector that are not in the replies.
ADDED = {
    "message_id", "message_enqueued", "notification_id", "label", "list_id", "audience_id",
    "tenant_id", "schedule_id", "journey_id", "run_id", "run_created_at", "ordinal", "name",
    "created", "updated", "tag_data",
}  # fmt: skip
TIES = 25
every_switch = pytest.mark.parametrize(
    "switches",
    [
        {},
        {"last_cursor": "null"},
        {"limit": "honoured"},
        {"lists_key": "results", "audit_target": "object"},
        {"cursor_form": "signed"},
        {"cursor_form": "opaque", "built_cursor": "honoured"},
    ],
    ids=str,
)


@pytest.fixture
def workspace():
    """A workspace whose clock stands still. Many of its messages have the same `enqueued`."""
    made = Courier(rows=40, clock=Clock(NOW))
    for _ in range(TIES):
        made.insert(NOW - HOUR)
    return made


def ask(vendor, path, **params):
    headers = {"authorization": f"Bearer {vendor.key}"}
    return vendor.handle(Request.from_target("GET", path, headers) if not params else Request(
        "GET", path, {name: str(value) for name, value in params.items()}, headers))  # fmt: skip


def good(vendor, path, **params):
    reply = ask(vendor, path, **params)
    assert reply.status == 200, (path, params, reply.body)
    return reply.json()


def walk(vendor, path, family, rows_key, **params):
    """Return the rows of all pages."""
    rows, asked = [], dict(params)
    while True:
        body = good(vendor, path, **asked)
        rows += body[rows_key] or []
        paging = body.get("paging", body)
        cursor = paging.get("next_cursor" if family == "next_cursor" else "cursor")
        more = {"paging": "more", "list": "has_more"}.get(family)
        if more:
            assert paging[more] is bool(cursor)
        if not cursor or family == "none":
            return rows
        assert cursor != asked.get("cursor")
        asked["cursor"] = cursor


def path_of(stream, parent=""):
    path = (LISTS | CHILDREN)[stream][0]
    return path.format(quote(parent, safe=""))


def walk_stream(vendor, stream, **params):
    """Return all rows of a stream, those below parents too."""
    if stream in LISTS:
        path, family, rows_key = LISTS[stream]
        if stream == "lists":
            rows_key = vendor.switches.lists_key
        versions = [{}]
        if family == "cursor":
            versions = [{"version": "published"}, {"version": "draft"}]
        return [
            row for one in versions for row in walk(vendor, path, family, rows_key, **one, **params)
        ]
    _, family, rows_key, above, key = CHILDREN[stream]
    rows = []
    for parent in dict.fromkeys(row[key] for row in vendor.rows(above)):
        path = path_of(stream, parent)
        if stream == "message_output":
            # Before a message is rendered, the answer is a 404 or an empty list.
            reply = ask(vendor, path)
            rows += reply.json()[rows_key] if reply.status == 200 else []
            continue
        rows += walk(vendor, path, family, rows_key, **params)
    return rows


def assert_same(served, wanted):
    """Every wanted row is served, once and in order, apart from what the connector adds."""
    assert len(served) == len(wanted) > 0
    for row, full in zip(served, wanted, strict=True):
        changed = {"tags", *({"version"} if "label" in full else ())}
        assert set(full) - set(row) <= ADDED
        assert {name: full[name] for name in row if name not in changed} == {
            name: row[name] for name in row if name not in changed
        }
        if "label" in full:
            assert row["version"] == full["label"]


@every_switch
@pytest.mark.parametrize("stream", [*LISTS, *CHILDREN])
def test_a_walk_serves_every_row_once(workspace, stream, switches):
    workspace.switch(**switches)
    assert_same(walk_stream(workspace, stream), workspace.rows(stream))


@pytest.mark.parametrize("stream", [*LISTS, *CHILDREN])
def test_there_is_a_second_page_where_there_are_pages(workspace, stream):
    family = (LISTS | CHILDREN)[stream][1]
    walk_stream(workspace, stream)
    asked = [e for e in workspace.journal.entries if e.endpoint == stream and e.status == 200]
    assert any("cursor" in entry.criteria for entry in asked) is (family != "none")
    assert sum(entry.rows for entry in asked) == len(workspace.rows(stream))


@pytest.mark.parametrize("stream", [*LISTS, *CHILDREN])
def test_another_workspace_with_the_same_seed_has_the_same_rows(stream):
    one, same, other = (Courier(rows=9, seed=n, clock=Clock(NOW)) for n in (3, 3, 4))
    assert one.rows(stream) == same.rows(stream)
    if stream != "lists":  # its ids are chosen by people
        assert one.rows(stream) != other.rows(stream)


def test_the_number_of_rows_can_be_set_per_table():
    made = Courier(rows=0, tables={"brands": 0, "lists": 3, "list_subscriptions": 2})
    assert made.rows("brands") == good(made, "/brands")["results"] == []
    assert [row["id"] for row in made.rows("lists")] == [
        "beta.testers",
        "shop.1.news",
        "shop.2.news",
    ]
    assert len([r for r in made.rows("list_subscriptions") if r["list_id"] == "shop.1.news"]) == 2
    with pytest.raises(ValueError, match="no tables"):
        Courier(tables={"tenant_preferences": 3})


# Derived tables, and what a connector changes


def test_one_reply_has_sections_topics_and_schedules(workspace):
    sections = good(workspace, "/preferences/sections")["results"]
    topics = [(s["id"], topic) for s in sections for topic in s["topics"]]
    assert [{"section_id": s, **t} for s, t in topics] == [
        {"section_id": row["section_id"]} | row for row in workspace.rows("preference_topics")
    ]
    schedules = [
        one
        | {"topic_id": topic["id"]}
        | {name: topic["digest"][name] for name in ("template_id", "audience_id")}
        for _, topic in topics
        if topic["digest"]
        for one in topic["digest"]["schedules"]
    ]
    assert schedules == workspace.rows("digest_schedules")
    assert len(schedules) > 1


def test_the_preferences_of_a_tenant_are_in_its_row(workspace):
    rows = [
        {"tenant_id": tenant["id"], **item}
        for tenant in walk_stream(workspace, "tenants")
        for item in (tenant["default_preferences"] or {"items": []})["items"]
    ]
    assert rows == workspace.rows("tenant_preferences") != []


def test_templates_have_two_shapes_and_the_connectors_rows_have_one(workspace):
    served = walk_stream(workspace, "notification_templates")
    assert {"title" in row for row in served} == {True, False}
    for row, full in zip(served, workspace.rows("notification_templates"), strict=True):
        assert full["name"] == row.get("name", row.get("title"))
        assert full["created"] == row.get("created", row.get("created_at"))
        if isinstance(row["tags"], dict):
            assert full["tag_data"] == row["tags"]["data"]
            assert full["tags"] == [tag["name"] for tag in row["tags"]["data"]]


def test_message_info_has_providers_and_columns_that_no_list_has(workspace):
    listed = {row["id"]: row for row in workspace.rows("messages")}
    names = set()
    for row in workspace.rows("message_info"):
        assert good(workspace, f"/messages/{row['id']}") == row
        assert listed[row["id"]].items() <= row.items()
        names |= row.keys() - listed[row["id"]].keys()
    assert names == {
        "providers", "requestId", "expiresAt", "accountId", "runId", "automationTemplateId",
    }  # fmt: skip
    tenants = {row["id"] for row in workspace.rows("tenants")}
    assert {
        row["accountId"] for row in workspace.rows("message_info") if "accountId" in row
    } <= tenants


def test_credentials_are_in_profiles_and_nowhere_else(workspace):
    with_secrets = {
        stream
        for stream in [*LISTS, *CHILDREN, "message_info", "tenant_preferences"]
        if SECRET_MARK in str(workspace.rows(stream))
    }
    assert with_secrets == {"tenants", "tenant_users", "message_history"}
    for row in workspace.rows("message_history"):
        assert row["type"] == "PROFILE_LOADED" or SECRET_MARK not in str(row)


def test_the_history_of_a_message_only_grows(workspace):
    ident = workspace.insert(NOW - HOUR, status="OPENED", opened=int(NOW.timestamp()) * 1000 - 5).id
    path = f"/messages/{ident}/history"
    before = good(workspace, path)["results"]
    assert before[0]["type"] == "ENQUEUED"
    later = int(NOW.timestamp()) * 1000
    workspace.update(ident, opened=later)
    workspace.update(ident, status="CLICKED", clicked=later + 5)
    after = good(workspace, path)["results"]
    assert after[: len(before)] == before
    assert [(e["type"], e["ts"]) for e in after[len(before) :]] == [
        ("OPENED", later), ("CLICKED", later + 5),
    ]  # fmt: skip
    assert good(workspace, path, type="CLICKED")["results"] == after[-1:]


def test_opens_repeat_and_the_last_one_is_in_the_row(workspace):
    opens = {}
    for row in workspace.rows("message_history"):
        if row["type"] == "OPENED":
            opens.setdefault(row["message_id"], []).append(row["ts"])
    assert max(map(len, opens.values())) > 3
    rows = {row["id"]: row for row in workspace.rows("messages")}
    assert all(rows[ident]["opened"] == times[-1] for ident, times in opens.items())


# Filters


@pytest.mark.parametrize("kind", ["journey", "automation"])
def test_both_bounds_of_runs_are_inclusive_and_runs_without_a_time_match_none(workspace, kind):
    path, runs = f"/{kind}s/runs", workspace.rows(f"{kind}_runs")
    dated = [run for run in runs if "created_at" in run]
    assert dated == sorted(dated, key=lambda run: run["created_at"], reverse=True)
    assert 0 < len(runs) - len(dated) < 5
    newest, oldest = dated[5], dated[17]
    bounds = {"start_date": oldest["created_at"], "end_date": newest["created_at"]}
    assert walk_stream(workspace, f"{kind}_runs", **bounds) == dated[5:18]
    assert walk_stream(workspace, f"{kind}_runs", start_date="2020-01-01") == dated
    assert walk_stream(workspace, f"{kind}_runs", end_date=newest["created_at"]) == dated[5:]
    assert good(workspace, path, end_date="2020-01-01")["runs"] == []
    for bad in ("1777896000000", "yesterday", "20260101", "2026-13-01"):
        assert ask(workspace, path, start_date=bad).status == 400, bad
        assert ask(workspace, path, end_date=bad).status == 400, bad
    workspace.switch(runs_filter="refused")
    assert ask(workspace, path, **bounds).status == 400
    workspace.switch(runs_filter="ignored")
    assert walk_stream(workspace, f"{kind}_runs", **bounds) == runs


def test_runs_are_forgotten_after_95_days(workspace):
    before = workspace.rows("journey_runs")
    workspace.clock.advance(60 * 86_400)
    after = workspace.rows("journey_runs")
    oldest = (NOW - timedelta(days=35)).isoformat()
    assert 0 < len(after) < len(before)
    assert after == [run for run in before if run.get("created_at", "9") >= oldest]
    assert walk_stream(workspace, "journey_runs") == after
    lost = next(run["run_id"] for run in before if run not in after)
    assert ask(workspace, f"/journeys/runs/{lost}/steps").status == 404


def test_since_is_inclusive_and_a_date_is_midnight(workspace):
    logs = workspace.rows("preference_logs")
    assert logs == sorted(logs, key=lambda log: log["timestamp"], reverse=True)
    assert walk_stream(workspace, "preference_logs", since=logs[30]["timestamp"]) == logs[:31]
    workspace.add("preference_logs", id="at-midnight", timestamp="2026-05-04T00:00:00.000Z")
    newest = walk_stream(workspace, "preference_logs", since="2026-05-04")
    assert newest[-1]["id"] == "at-midnight"
    assert ask(workspace, "/preferences/logs", since="1777896000000").status == 400
    workspace.switch(since="ignored")
    assert len(walk_stream(workspace, "preference_logs", since="2026-05-04")) == 131
    workspace.switch(since="refused")
    assert ask(workspace, "/preferences/logs", since="2026-05-04").status == 400


def test_workflows_are_published_unless_a_version_is_asked_for(workspace):
    for name in ("journeys", "automations"):
        rows = workspace.rows(name)
        assert len({row["id"] for row in rows}) < len(rows)
        published = [row for row in rows if row["version"] == "published"]
        assert walk(workspace, f"/{name}", "cursor", "templates") == published
        assert ask(workspace, f"/{name}", version="v001").status == 400
        assert ask(workspace, f"/{name}", cursor="bm9uc2Vuc2U=").status == 400


@pytest.mark.parametrize(
    ("mode", "as_ms", "as_iso"),
    [
        ("honoured", "bounded", "bounded"),
        ("ignored", "all", "all"),
        ("ms_only", "bounded", 400),
        ("iso_only", 400, "bounded"),
        ("refused", 400, 400),
        ("empty", "none", "none"),
    ],
)
def test_what_enqueued_after_does_can_be_switched(workspace, mode, as_ms, as_iso):
    workspace.switch(enqueued_after=mode)
    rows = workspace.rows("messages")
    bound = int((NOW - HOUR).timestamp()) * 1000
    found = {
        "all": rows,
        "none": [],
        "bounded": [row for row in rows if row["enqueued"] >= bound],
    }
    assert len(found["bounded"]) >= TIES
    for text, expected in ((str(bound), as_ms), ((NOW - HOUR).isoformat(), as_iso)):
        if expected == 400:
            assert ask(workspace, "/messages", enqueued_after=text).status == 400
        else:
            assert walk_stream(workspace, "messages", enqueued_after=text) == found[expected]


def test_an_archived_message_is_only_listed_when_archived_ones_are_asked_for(workspace):
    rows = workspace.rows("messages")
    for row in rows[3::4]:
        workspace.archive(row["id"])
    assert walk_stream(workspace, "messages") == [r for r in rows if r not in rows[3::4]]
    assert walk_stream(workspace, "messages", archived="true") == rows
    assert workspace.rows("messages", archived=True) == rows
    workspace.update(rows[3]["id"], status="CLICKED")
    assert good(workspace, "/messages", archived="true")["results"][3]["status"] == "CLICKED"


# Limits


@pytest.mark.parametrize(
    ("path", "default", "most"),
    [
        ("/tenants", 20, 100),
        ("/routing-strategies", 20, 100),
        ("/preferences/logs", 25, 100),
        ("/notifications/3SXDTQ2F0P4K8EKH18WMGQCV7G1N/versions", 10, 10),
    ],
)
def test_a_documented_limit_has_a_default_and_a_maximum(path, default, most):
    tables = dict.fromkeys(("tenants", "routing_strategies", "preference_logs"), 120)
    vendor = Courier(rows=0, tables=tables)

    def count(**params):
        body = good(vendor, path, **params)
        return len(body.get("items") or body.get("results") or body.get("versions"))

    assert (count(), count(limit=most), count(limit=3)) == (default, most, 3)
    for bad in (most + 1, 0, -1, "ten", ""):
        assert ask(vendor, path, limit=bad).status == 400, bad


def test_the_limit_of_runs_is_clamped(workspace):
    path = "/automations/runs"
    counts = [len(good(workspace, path, limit=n)["runs"]) for n in (1, 0, -5, 20, 50, 51, 1000)]
    assert counts == [1, 1, 1, 20, 50, 50, 50]
    assert len(good(workspace, path)["runs"]) == 20
    assert ask(workspace, path, limit="ten").status == 400


@pytest.mark.parametrize("path", ["/messages", "/lists", "/brands", "/audit-events", "/journeys"])
def test_an_undocumented_limit_is_ignored_honoured_or_refused(workspace, path):
    def count(**params):
        body = good(workspace, path, **params)
        return len(next(value for value in body.values() if isinstance(value, list)))

    assert count(limit=3) == 10
    workspace.switch(limit="honoured", limit_max=12)
    assert (count(limit=3), count(limit=100), count()) == (3, 12, 10)
    workspace.switch(limit="refused")
    assert ask(workspace, path, limit=10).status == 400
    assert count() == 10


# Cursors


def built(row, *, later=0):
    return base64.b64encode(f"{row['enqueued'] + later},{row['id']}".encode()).decode()


def test_a_cursor_can_be_built_from_any_row_when_that_is_switched_on(workspace):
    rows = workspace.rows("messages")
    between = built({"enqueued": rows[-1]["enqueued"] + 1, "id": "1-made-up"})
    for cursor in (built(rows[4]), between):
        assert ask(workspace, "/messages", cursor=cursor).status == 400
    workspace.switch(built_cursor="honoured")
    for number in (0, 4, 12, len(rows) - 2):
        page = good(workspace, "/messages", cursor=built(rows[number]))["results"]
        assert page == rows[number + 1 : number + 11]
    assert good(workspace, "/messages", cursor=between)["results"] == rows[-1:]
    assert ask(workspace, "/messages", cursor="doctor").status == 400
    workspace.switch(built_cursor="from_the_top")
    assert good(workspace, "/messages", cursor=built(rows[4]))["results"] == rows[:10]
    workspace.switch(built_cursor="empty")
    assert good(workspace, "/messages", cursor=built(rows[4])) == {
        "paging": {"more": False}, "results": [],
    }  # fmt: skip


def test_a_signed_cursor_names_its_row_and_cannot_be_built(workspace):
    workspace.switch(cursor_form="signed", built_cursor="honoured")
    rows = workspace.rows("messages")
    cursor = good(workspace, "/messages")["paging"]["cursor"]
    named = f"{rows[9]['enqueued']},{rows[9]['id']},"
    assert base64.b64decode(cursor).decode().startswith(named)
    assert good(workspace, "/messages", cursor=cursor)["results"] == rows[10:20]
    assert ask(workspace, "/messages", cursor=built(rows[9])).status == 400


@pytest.mark.parametrize("stream", ["messages", "brands", "tenants", "automations", "journey_runs"])
def test_the_row_of_a_cursor_comes_again_when_it_is_inclusive(workspace, stream):
    workspace.switch(cursor_row="inclusive")
    path, family, rows_key = LISTS[stream]
    served = walk(workspace, path, family, rows_key)
    once = [row for n, row in enumerate(served) if n == 0 or row != served[n - 1]]
    assert len(served) > len(once)
    wanted = workspace.rows(stream)
    assert once == [
        row for row in wanted if row.get("version") != "draft" or stream != "automations"
    ]


@pytest.mark.parametrize("stream", ["messages", "brands", "tenants", "journeys", "journey_runs"])
def test_a_cursor_expires(workspace, stream):
    path, family, rows_key = LISTS[stream]
    name = {"paging": "cursor", "next_cursor": "next_cursor"}.get(family, "cursor")

    def cursor():
        body = good(workspace, path)
        return body.get("paging", body)[name]

    workspace.switch(cursor_life=2, built_cursor="honoured")
    first = cursor()
    assert ask(workspace, path, cursor=first).status == 200
    assert ask(workspace, path, cursor=first).status == 200
    assert ask(workspace, path, cursor=first).status == 400
    workspace.switch(cursor_life=0)
    second = cursor()
    workspace.expire_cursors()
    assert ask(workspace, path, cursor=second).status == 400
    workspace.switch(unknown_cursor="ignored")
    assert good(workspace, path, cursor=second)[rows_key] == good(workspace, path)[rows_key]


def test_rows_of_a_table_neither_shift_nor_repeat_when_others_are_added_and_removed(workspace):
    rows = workspace.rows("journey_runs")
    cursor = good(workspace, "/journeys/runs")["next_cursor"]
    workspace.add("journey_runs")
    workspace.remove("journey_runs", rows[3]["run_id"])
    workspace.remove("journey_runs", rows[19]["run_id"])
    assert good(workspace, "/journeys/runs", cursor=cursor)["runs"] == rows[20:40]


def test_messages_of_one_millisecond_are_not_lost_between_pages(workspace):
    for _ in range(30):
        workspace.insert(NOW)
    served = walk_stream(workspace, "messages")
    assert len({row["id"] for row in served}) == len(served) == 40 + TIES + 30


# Shapes, refusals and faults


def test_an_empty_list_may_be_null(workspace):
    tenants = [row["id"] for row in workspace.rows("tenants")]
    users = {row["tenant_id"] for row in workspace.rows("tenant_users")}
    empty = path_of("tenant_users", next(one for one in tenants if one not in users))
    assert good(workspace, empty)["items"] == []
    workspace.switch(null_items=True)
    assert good(workspace, empty)["items"] is None
    body = good(Courier(rows=0, tables={"journeys": 0}), "/journeys")
    assert body == {"templates": []}


def test_the_target_of_an_audit_event_is_a_text_or_an_object(workspace):
    assert isinstance(workspace.rows("audit_events")[0]["target"], str)
    workspace.switch(audit_target="object")
    assert set(workspace.rows("audit_events")[0]["target"]) == {"id", "email"}


def test_a_legacy_schedule_answers_only_when_its_id_is_encoded(workspace):
    rows = workspace.rows("digest_instances")
    ident = next(row["schedule_id"] for row in rows if row["schedule_id"].startswith("sch/"))
    path = path_of("digest_instances", ident)
    assert "sch%2F" in path
    assert good(workspace, path)["items"]
    assert ask(workspace, f"/digests/schedules/{ident}/instances").status == 404
    with FakeVendor(courier=workspace) as vendor:
        headers = {"authorization": f"Bearer {workspace.key}"}
        over_http = requests.get(f"{vendor.url}{path}", headers=headers, timeout=10)
        assert over_http.json()["items"] == good(workspace, path)["items"]


def test_the_next_url_leads_to_the_next_page(workspace):
    first = good(workspace, "/tenants", limit="5")
    second = good(workspace, first["next_url"])
    assert second["items"] == workspace.rows("tenants")[5:10]
    assert good(workspace, "/tenants", limit="100")["next_url"] is None


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_every_endpoint_can_be_refused_and_can_break(workspace, endpoint):
    path = path_of(endpoint) if endpoint in LISTS else f"/messages/{workspace.messages()[0].id}"
    if endpoint in CHILDREN:
        _, _, _, above, key = CHILDREN[endpoint]
        path = path_of(endpoint, workspace.rows(above)[0][key])
    workspace.switch(refused=[f"{endpoint}=402"])
    assert ask(workspace, path).status == 402
    assert ask(workspace, "/brands" if endpoint != "brands" else "/lists").status == 200
    workspace.switch(refused=[], faults=[{"kind": "503", "every": 1, "endpoint": endpoint}])
    assert ask(workspace, path).status == 503
    workspace.switch(faults=[{"kind": "no_data", "every": 1, "endpoint": endpoint}])
    body = ask(workspace, path).json()
    assert not any(key in body for key in ("results", "items", "templates", "runs", "steps", "id"))
    assert {entry.endpoint for entry in workspace.journal.entries if entry.path == path} == {
        endpoint
    }


def test_a_refusal_that_cannot_be_read_is_an_error(workspace):
    with pytest.raises(ValueError, match="endpoint=status"):
        workspace.switch(refused=["brands"])


@pytest.mark.parametrize("stream", CHILDREN)
def test_the_children_of_a_parent_that_is_gone_answer_404(workspace, stream):
    _, _, rows_key, above, key = CHILDREN[stream]
    parents, rows = [row[key] for row in workspace.rows(above)], workspace.rows(stream)
    parent = next(
        one for one in parents if ask(workspace, path_of(stream, one)).json().get(rows_key)
    )
    workspace.switch(gone=[parent])
    assert ask(workspace, path_of(stream, parent)).status == 404
    assert parent in [row[key] for row in workspace.rows(above)]
    assert len(workspace.rows(stream)) < len(rows)


def test_what_an_unknown_parent_answers_depends_on_the_list(workspace):
    statuses = {stream: ask(workspace, path_of(stream, "nobody")).status for stream in CHILDREN}
    assert statuses == dict.fromkeys(CHILDREN, 404) | {
        # The docs name only 400 for audiences. A wrong schedule is an empty list.
        "audience_members": 400,
        "digest_instances": 200,
    }


# Changes


@pytest.mark.parametrize(
    ("table", "parent"),
    [
        ("brands", {}),
        ("list_subscriptions", {"list_id": "beta.testers"}),
        ("audience_members", {"audience_id": ""}),
        ("notification_template_versions", {"notification_id": "3SXDTQ2F0P4K8EKH18WMGQCV7G1N"}),
        ("journey_run_steps", {"run_id": ""}),
        ("digest_schedules", {"topic_id": ""}),
    ],
)
def test_rows_can_be_added_changed_and_removed(workspace, table, parent):
    keys = {
        "brands": ("id",),
        "list_subscriptions": ("list_id", "recipientId"),
        "audience_members": ("audience_id", "member_id"),
        "notification_template_versions": ("notification_id", "version"),
        "journey_run_steps": ("run_id", "ordinal"),
        "digest_schedules": ("schedule_id",),
    }
    before = workspace.rows(table)
    parent = {name: value or before[0][name] for name, value in parent.items()}
    fields = {"version": "v999"} if "versions" in table else {}
    row = workspace.add(table, **parent, **fields)
    key = tuple(row[name] for name in keys[table])

    def found():
        rows = workspace.rows(table)
        return [one for one in rows if tuple(one[name] for name in keys[table]) == key]

    assert len(workspace.rows(table)) == len(before) + 1
    assert len(found()) == 1
    workspace.change(table, key, novelty=7)
    assert found()[0]["novelty"] == 7
    if table in CHILDREN:
        assert 7 in [one.get("novelty") for one in walk_stream(workspace, table)]
    workspace.remove(table, key)
    assert workspace.rows(table) == before
    with pytest.raises(KeyError):
        workspace.remove(table, key)


def test_the_children_of_a_removed_parent_are_gone_and_a_new_parent_has_none(workspace):
    workspace.remove("lists", "beta.testers")
    assert ask(workspace, path_of("list_subscriptions", "beta.testers")).status == 404
    assert "beta.testers" not in {row["list_id"] for row in workspace.rows("list_subscriptions")}
    workspace.add("lists", id="a/b c", name="New")
    assert good(workspace, path_of("list_subscriptions", "a/b c"))["items"] == []
    workspace.add("list_subscriptions", list_id="a/b c", recipientId="ada")
    (item,) = good(workspace, path_of("list_subscriptions", "a/b c"))["items"]
    assert item["recipientId"] == "ada"
    with pytest.raises(KeyError):
        workspace.add("list_subscriptions", list_id="nobody")


def test_a_changed_run_moves_to_its_place(workspace):
    oldest = workspace.rows("journey_runs")[40]
    workspace.change("journey_runs", oldest["run_id"], created_at=NOW.isoformat(), status="ODD")
    assert workspace.rows("journey_runs")[0] == oldest | {
        "created_at": NOW.isoformat(), "status": "ODD",
    }  # fmt: skip


def test_messages_can_be_added_changed_and_removed_as_rows_of_a_table(workspace):
    row = workspace.add("messages", at=NOW, status="SENT")
    assert workspace.rows("messages")[0] == row
    assert workspace.change("messages", row["id"], status="OPENED")["status"] == "OPENED"
    workspace.remove("messages", row["id"])
    assert ask(workspace, f"/messages/{row['id']}").status == 404
    assert len(workspace.rows("messages")) == 40 + TIES


def test_the_command_line_sets_the_rows_of_all_tables_or_of_one(capsys):
    asked = _parser().parse_args(["--courier-tables", "3,brands=7"]).courier_tables
    made = Courier(rows=0, tables=asked)
    assert [len(made.rows(name)) for name in ("brands", "lists", "tenants")] == [7, 3, 3]
    assert _parser().parse_args([]).courier_tables == {}
    with pytest.raises(SystemExit):
        _parser().parse_args(["--courier-tables", "messages=7"])
    assert "no stream 'messages'" in capsys.readouterr().err


def test_threads_may_read_and_change_a_workspace_at_once(workspace):
    def work(number):
        for _ in range(20):
            workspace.add("journey_runs")
            workspace.insert()
            list_of_runs = good(workspace, "/journeys/runs", limit="50")["runs"]
            assert len({run["run_id"] for run in list_of_runs}) == 50
            good(workspace, "/messages", enqueued_after="0")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert len(workspace.rows("journey_runs")) == 60 + 160
    assert walk_stream(workspace, "messages") == workspace.rows("messages")
    assert len(workspace.rows("messages")) == 40 + TIES + 160


def test_control_endpoints_add_messages_and_set_switches():
    vendor = FakeVendor(courier=Courier(rows=1, tables={"brands": 2}))
    body = orjson.dumps({"context": "courier", "count": 3})
    assert vendor.handle(Request("POST", "/_control/insert", body=body)).status == 200
    switches = orjson.dumps({"courier": {"refused": ["brands=403"], "gone": ["x"]}})
    assert vendor.handle(Request("POST", "/_control/switches", body=switches)).status == 200
    headers = {"authorization": f"Bearer {vendor.courier.key}"}
    assert vendor.handle(Request("GET", "/brands", headers=headers)).status == 403
    assert len(vendor.handle(Request("GET", "/messages", headers=headers)).json()["results"]) == 4
