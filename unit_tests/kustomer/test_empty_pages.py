"""A first page without rows, though it says that there are some."""

import pytest
from airbyte_cdk.models import AirbyteStreamStatus

from integration_tests.fake_vendor import Kustomer


def empty_first_pages(times):
    def edit(body, request, number):
        if request.params.get("page") == "1" and number <= times:
            body["data"] = []
            body["links"]["next"] = "/v1/customers/search?page=2&pageSize=500"

    return edit


def ids(vendor: Kustomer, kind: str) -> set[str]:
    return {record.id for record in vendor.records(kind)}


@pytest.mark.parametrize("times", [1, 3])
def test_every_row_is_emitted_when_a_first_page_is_empty_in_passing(org, sync, waits, times):
    vendor = org({"note": 130}, edit=empty_first_pages(times))
    assert set(sync(vendor, "notes").ids("notes")) == ids(vendor, "note")


def test_the_emptiness_is_believed_with_a_warning_when_it_lasts(org, sync, waits):
    def edit(body, request, number):
        body["meta"]["total"] = 10**6
        body["links"]["next"] = "/v1/customers/search?page=2&pageSize=500"

    synced = sync(org({"note": 0}, edit=edit), "notes")
    assert synced.status("notes") is AirbyteStreamStatus.COMPLETE
    assert any("counts 1000000 rows, but shows none" in line for line in synced.logs)
