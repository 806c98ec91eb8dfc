"""Resources that a list includes: one read gives both tables, and no named resource is missing."""

import re

import pytest
from airbyte_cdk.models import AirbyteStreamStatus, FailureType

COMPLETE, INCOMPLETE = AirbyteStreamStatus.COMPLETE, AirbyteStreamStatus.INCOMPLETE
SLAS = {"sla": 4, "sla_version": 9}
DEEP = []
for _ in range(700):
    DEEP = [DEEP]
SCHEDULES = {"schedule": 4, "holiday": 9}


def ids(vendor, kind):
    return sorted(record.id for record in vendor.records(kind))


def asked(vendor):
    return [entry.path for entry in vendor.journal.entries]


@pytest.mark.parametrize("names", [("slas", "sla_versions"), ("sla_versions", "slas")])
def test_one_request_serves_slas_and_their_versions(org, sync, names):
    vendor = org(setting_rows=SLAS)
    synced = sync(vendor, *names, mode="full_refresh")
    assert sorted(synced.ids("slas")) == ids(vendor, "sla")
    assert sorted(synced.ids("sla_versions")) == ids(vendor, "sla_version")
    assert asked(vendor) == ["/v1/slas"]
    row = synced.rows("sla_versions")[0]
    assert row["sla_data"]["type"] == "sla"
    assert synced.rows("slas")[0]["versions"][0]["type"] == "sla_version"


def test_one_list_serves_schedules_and_holidays_and_one_request_a_schedule(org, sync):
    vendor = org(setting_rows=SCHEDULES)
    synced = sync(vendor, "schedules", "holidays", mode="full_refresh")
    assert sorted(synced.ids("schedules")) == ids(vendor, "schedule")
    assert sorted(synced.ids("holidays")) == ids(vendor, "holiday")
    assert len(asked(vendor)) == 1 + 4


@pytest.mark.parametrize("included", ["first", "none"])
def test_an_sla_whose_versions_are_not_all_included_is_read_alone(org, sync, included):
    vendor = org(setting_rows=SLAS, included=included)
    synced = sync(vendor, "sla_versions", mode="full_refresh")
    assert sorted(synced.ids("sla_versions")) == ids(vendor, "sla_version")
    assert synced.status("sla_versions") is COMPLETE


def test_a_version_that_is_named_and_nowhere_included_fails_the_stream(org, sync):
    def edit(body, request, number):
        body.pop("included", None)

    vendor = org(setting_rows=SLAS, edit=edit)
    synced = sync(vendor, "slas", "sla_versions", mode="full_refresh")
    assert synced.status("slas") is COMPLETE
    assert synced.status("sla_versions") is INCOMPLETE
    assert synced.failures == {FailureType.system_error}
    assert "that it does not include" in synced.failure("sla_versions")


def test_a_schedule_that_is_deleted_meanwhile_has_no_holidays(org, sync):
    def edit(body, request, number):
        if request.path == "/v1/schedules" and number == 1:
            vendor.delete("schedule", gone)

    vendor = org(setting_rows=SCHEDULES, edit=edit, hard_delete=True)
    gone = vendor.records("schedule")[1].id
    of_gone = {record.id for record in vendor.beside("holiday", vendor.records("schedule")[1])}
    synced = sync(vendor, "holidays", mode="full_refresh")
    assert synced.status("holidays") is COMPLETE
    assert set(synced.ids("holidays")) == set(ids(vendor, "holiday")) - of_gone


def test_slas_are_found_on_conversations_when_there_is_no_list_of_them(org, sync):
    vendor = org({"conversation": 60}, setting_rows=SLAS, missing_lists=("slas",), page_size_max=20)
    first, second, third, _ = vendor.records("sla")
    for sla in (first, second, third, first):
        reference = {"data": {"type": "sla", "id": sla.id}}
        vendor.insert("conversation", indexed=True, resource={"relationships": {"sla": reference}})
    unknown = {"data": {"type": "sla", "id": "5c9b8f1be2a5f40018c1a000"}}
    vendor.insert("conversation", indexed=True, resource={"relationships": {"sla": unknown}})
    synced = sync(vendor, "slas", "sla_versions", mode="full_refresh")
    assert set(synced.ids("slas")) == {first.id, second.id, third.id}
    wanted = {
        version.id
        for sla in (first, second, third)
        for version in vendor.beside("sla_version", sla)
    }
    assert set(synced.ids("sla_versions")) == wanted
    assert synced.status("sla_versions") is COMPLETE
    said = [line for line in synced.logs if "does not serve the list GET /v1/slas" in line]
    assert len(said) == 1
    assert asked(vendor).count("/v1/slas") == 1


def test_a_missing_list_that_nothing_refers_to_fails_its_stream(org, sync):
    vendor = org(setting_rows=SCHEDULES, missing_lists=("schedules",))
    synced = sync(vendor, "schedules", mode="full_refresh")
    assert synced.failures == {FailureType.system_error}


@pytest.mark.parametrize("shape", [7, "text", [7], [{"id": "x"}], {"attributes": {}}])
def test_what_is_included_in_another_shape_fails_the_stream(org, sync, shape):
    def edit(body, request, number):
        body["included"] = shape

    vendor = org(setting_rows=SLAS, edit=edit)
    synced = sync(vendor, "sla_versions", mode="full_refresh")
    assert synced.status("sla_versions") is INCOMPLETE
    assert synced.rows("sla_versions") == []
    assert "'included'" in synced.failure("sla_versions")


def test_schedules_that_are_listed_but_not_found_fail_their_holidays(org, sync, requests_mock):
    vendor = org(setting_rows=SCHEDULES)
    requests_mock.get(re.compile(r".*/v1/schedules/.*"), status_code=404, json={"errors": []})
    synced = sync(vendor, "holidays", mode="full_refresh")
    assert synced.status("holidays") is INCOMPLETE
    assert synced.failures == {FailureType.system_error}


@pytest.mark.parametrize(
    "body",
    [{"data": []}, [], {"data": {"id": "5a"}}, {"data": {"id": "5a", "attributes": {"a": DEEP}}}],
)
def test_one_row_in_another_shape_fails_the_stream(org, sync, requests_mock, body):
    vendor = org(setting_rows=SCHEDULES)
    requests_mock.get(re.compile(r".*/v1/schedules/.*"), json=body)
    synced = sync(vendor, "holidays", mode="full_refresh")
    assert synced.status("holidays") is INCOMPLETE
    assert synced.failures == {FailureType.system_error}


@pytest.mark.parametrize("status", [400, 409])
def test_one_row_that_is_refused_fails_the_stream(org, sync, requests_mock, status):
    vendor = org(setting_rows=SCHEDULES)
    requests_mock.get(re.compile(r".*/v1/schedules/.*"), status_code=status, json={"errors": []})
    synced = sync(vendor, "holidays", mode="full_refresh")
    assert synced.failures == {FailureType.system_error}
