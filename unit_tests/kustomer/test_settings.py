"""Lists of settings that hide rows, or that need a parameter which is not verified."""

import pytest
import requests
from airbyte_cdk.models import AirbyteStreamStatus, FailureType

from source_kustomer import SourceKustomer
from source_kustomer.lists import FullRefreshListStream

HOST = "https://api.kustomerapp.com"
COMPLETE, INCOMPLETE = AirbyteStreamStatus.COMPLETE, AirbyteStreamStatus.INCOMPLETE
LISTS = [one for one in SourceKustomer.stream_classes if issubclass(one, FullRefreshListStream)]
REFUSED = {"status_code": 400, "json": {"errors": [{"title": "made-up words"}]}}


def ids(vendor, kind):
    return sorted(record.id for record in vendor.records(kind))


def full(sync, vendor, *streams):
    return sync(vendor, *streams, mode="full_refresh")


def test_klasses_of_every_status_are_read_though_the_list_shows_the_enabled_alone(org, sync):
    vendor = org(setting_rows={"klass": 9})
    synced = full(sync, vendor, "klasses")
    assert sorted(synced.ids("klasses")) == ids(vendor, "klass")
    found = {row["status"] for row in synced.rows("klasses")}
    assert found == {"enabled", "existing_only", "disabled"}
    asked = [entry.criteria.get("status") for entry in vendor.journal.entries]
    assert asked == [None, "existing_only", "disabled"]


def test_klasses_are_emitted_once_when_the_vendor_respects_no_status(org, sync, monkeypatch):
    vendor = org(setting_rows={"klass": 9})
    monkeypatch.setattr(vendor, "_listed", lambda kind, _params: vendor.records(kind))
    synced = full(sync, vendor, "klasses")
    assert sorted(synced.ids("klasses")) == ids(vendor, "klass")


def test_the_stream_fails_when_a_status_of_klasses_is_refused(org, sync, requests_mock):
    vendor = org(setting_rows={"klass": 9})
    requests_mock.get(f"{HOST}/v1/klasses?status=disabled", **REFUSED)
    synced = full(sync, vendor, "klasses")
    assert synced.failures == {FailureType.system_error}
    assert synced.status("klasses") is INCOMPLETE


@pytest.mark.parametrize(
    ("refused", "complete"),
    [
        (["?resourceType=conversation", "?resourceType=kobject"], True),
        (["?page=1&pageSize=100"], True),
        (["?resourceType=kobject"], True),
        (["?page=1&pageSize=100", "?resourceType=kobject"], False),
    ],
    ids=[
        "no parameter is known",
        "the parameter is needed",
        "one type is not known",
        "a part is missing",
    ],
)
def test_sub_statuses_are_read_whichever_form_the_vendor_knows(
    org, sync, requests_mock, refused, complete
):
    vendor = org(setting_rows={"sub_status": 6})
    for query in refused:

        def without_type(request):
            return "resourcetype" not in request.qs

        bare = "resourceType" not in query
        matcher = {"additional_matcher": without_type} if bare else {}
        requests_mock.get(f"{HOST}/v1/sub-statuses{query}", **REFUSED, **matcher)
    synced = full(sync, vendor, "sub_statuses")
    assert (synced.status("sub_statuses") is COMPLETE) is complete
    assert (sorted(synced.ids("sub_statuses")) == ids(vendor, "sub_status")) is complete


def test_a_later_page_of_sub_statuses_that_is_refused_is_no_unknown_form(org, sync, requests_mock):
    vendor = org(setting_rows={"sub_status": 150})
    requests_mock.get(f"{HOST}/v1/sub-statuses?page=2", **REFUSED)
    synced = full(sync, vendor, "sub_statuses")
    assert synced.status("sub_statuses") is INCOMPLETE


def test_the_stream_fails_when_every_form_of_sub_statuses_is_refused(org, sync, requests_mock):
    vendor = org(setting_rows={"sub_status": 6})
    requests_mock.get(f"{HOST}/v1/sub-statuses", **REFUSED)
    synced = full(sync, vendor, "sub_statuses")
    assert synced.failures == {FailureType.system_error}
    assert "made-up words" in synced.failure("sub_statuses")


@pytest.mark.parametrize("status", [404, 500, 403])
def test_a_form_of_sub_statuses_that_fails_otherwise_fails_the_stream(
    org, sync, requests_mock, status
):
    vendor = org(setting_rows={"sub_status": 6})
    requests_mock.get(f"{HOST}/v1/sub-statuses?resourceType=kobject", status_code=status)
    assert full(sync, vendor, "sub_statuses").status("sub_statuses") is INCOMPLETE


@pytest.mark.parametrize("stream", LISTS, ids=lambda stream: stream.name)
@pytest.mark.parametrize("status", [requests.codes.unauthorized, requests.codes.forbidden])
def test_a_missing_role_disables_one_stream_and_the_others_finish(
    org, sync, requests_mock, stream, status
):
    vendor = org(setting_rows=3)
    requests_mock.get(
        f"{HOST}/v1/{stream.endpoint}",
        status_code=status,
        json={"errors": [{"title": "Missing required role"}]},
    )
    names = [one.name for one in LISTS]
    synced = full(sync, vendor, *names)
    assert synced.failures == {FailureType.config_error}
    assert stream.role in synced.failure(stream.name)
    for name in names:
        assert synced.status(name) is (INCOMPLETE if name == stream.name else COMPLETE)


def test_options_of_snoozes_keep_their_value_whatever_form_it_has(org, sync):
    vendor = org(setting_rows={"snooze": 3})
    rows = full(sync, vendor, "snoozes").rows("snoozes")
    values = {row["attribute_type"]: row["additional_attributes"]["value"] for row in rows}
    assert values == {
        "relative": 7_200_000,
        "dynamic": {"day": {"type": "tomorrow", "value": 1}, "time": "09:00"},
        "absolute": 1_777_890_000_000,
    }


@pytest.mark.parametrize("respects", ["page numbers", "nothing"])
def test_a_list_that_tells_no_links_is_read_whole(org, sync, respects):
    """Like Kustomer's example of /satisfaction, which may not support page numbers."""

    def edit(body, request, number):
        del body["links"]
        if respects == "nothing":
            body["data"] = first.setdefault("data", body["data"])

    first = {}
    vendor = org(setting_rows={"satisfaction": 6}, edit=edit)
    synced = full(sync, vendor, "satisfaction_forms")
    assert sorted(synced.ids("satisfaction_forms")) == ids(vendor, "satisfaction")
    assert synced.status("satisfaction_forms") is COMPLETE
    assert len(vendor.journal.entries) <= 3
