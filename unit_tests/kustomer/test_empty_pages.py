"""A first page without rows that says that there are rows."""

import pytest
from airbyte_cdk.models import AirbyteStreamStatus, FailureType

from fake_vendor import Kustomer


def empty_first_pages(times, link):
    def edit(body, request, number):
        if request.params.get("page") == "1" and number <= times:
            body["data"] = []
            body["links"]["next"] = link

    return edit


def ids(vendor: Kustomer, kind: str) -> set[str]:
    return {record.id for record in vendor.records(kind)}


@pytest.mark.parametrize("link", [None, "/v1/customers/search?page=2&pageSize=500"])
@pytest.mark.parametrize("times", [1, 3])
def test_every_row_is_emitted_when_a_first_page_is_empty_in_passing(org, sync, waits, times, link):
    vendor = org({"note": 130}, edit=empty_first_pages(times, link))
    assert set(sync(vendor, "notes").ids("notes")) == ids(vendor, "note")


@pytest.mark.parametrize("link", [None, "/v1/customers/search?page=2&pageSize=500"])
def test_the_stream_fails_and_its_state_stays_when_the_emptiness_lasts(org, sync, waits, link):
    def edit(body, request, number):
        body["data"] = []
        body["links"]["next"] = link

    vendor = org({"note": 130}, edit=edit)
    state = {"updated_at": "2026-05-01T00:00:00.000Z"}
    synced = sync(vendor, "notes", state={"notes": state})
    assert synced.status("notes") is AirbyteStreamStatus.INCOMPLETE
    assert synced.failures == {FailureType.system_error}
    assert "that it counts, got none" in synced.failure("notes")
    assert all(one == state for one in synced.states("notes"))
