"""The definitions of custom attributes: one row per attribute of each kind of record."""

import pytest
from airbyte_cdk.models import AirbyteStreamStatus, FailureType

COMPLETE, INCOMPLETE = AirbyteStreamStatus.COMPLETE, AirbyteStreamStatus.INCOMPLETE
KLASSES = {"klass": 3}


def asked(vendor):
    return sorted(entry.path for entry in vendor.journal.entries)


def test_one_request_for_each_kind_of_record_and_the_klasses_are_read_once(org, sync):
    vendor = org(setting_rows=KLASSES)
    vendor.metadata["customer"]["ordersId"] = {
        "type": "string",
        "target": "kobject.order",
        "multi": True,
        "enumeration": ["one", "two"],
        "displayName": "Orders",
        "tree": {"children": [{"id": "a", "displayName": "A", "children": []}]},
        "updatedAt": "2016-11-08T12:53:21.532Z",
        "newKey": 7,
    }
    synced = sync(vendor, "klasses", "custom_attributes", mode="full_refresh")
    (row,) = [one for one in synced.rows("custom_attributes") if one["name"] == "ordersId"]
    assert row == {
        "resource": "customer",
        "name": "ordersId",
        "type": "string",
        "target": "kobject.order",
        "multi": True,
        "enumeration": ["one", "two"],
        "display_name": "Orders",
        "tree": {"children": [{"id": "a", "display_name": "A", "children": []}]},
        "updated_at": "2016-11-08T12:53:21.532Z",
        "additional_attributes": {"new_key": 7},
    }
    kinds = ("company", "conversation", "customer", "message")
    klasses = ("calendly-event", "return", "shopify-order")
    assert asked(vendor) == sorted(
        [
            *["/v1/klasses"] * 3,
            *(f"/v1/metadata/{kind}" for kind in kinds),
            *(f"/v1/metadata/kobject.{klass}" for klass in klasses),
        ]
    )


def test_attributes_of_one_name_are_told_apart_by_their_kind_of_record(org, sync):
    vendor = org(setting_rows=KLASSES)
    vendor.metadata = {kind: {"planStr": {"type": "string"}} for kind in ("company", "message")}
    synced = sync(vendor, "custom_attributes", mode="full_refresh")
    assert sorted(synced.ids("custom_attributes")) == ["company.planStr", "message.planStr"]


@pytest.mark.parametrize("properties", [None, {}])
def test_a_kind_of_record_without_custom_attributes_has_no_rows(org, sync, properties):
    def edit(body, request, number):
        if "/metadata/" in request.path:
            body["data"]["attributes"] = {} if properties is None else {"properties": properties}

    synced = sync(org(setting_rows=KLASSES, edit=edit), "custom_attributes", mode="full_refresh")
    assert synced.rows("custom_attributes") == []
    assert synced.status("custom_attributes") is COMPLETE


@pytest.mark.parametrize("properties", [[], "text", {"planStr": "string"}])
def test_attributes_in_another_shape_fail_the_stream(org, sync, properties):
    def edit(body, request, number):
        if "/metadata/" in request.path:
            body["data"]["attributes"]["properties"] = properties

    synced = sync(org(setting_rows=KLASSES, edit=edit), "custom_attributes", mode="full_refresh")
    assert synced.status("custom_attributes") is INCOMPLETE
    assert synced.failures == {FailureType.system_error}
    assert "does not tell its attributes" in synced.failure("custom_attributes")


def test_a_missing_role_is_no_kind_of_record_without_attributes(org, sync):
    vendor = org(setting_rows=KLASSES, refused=("metadata",))
    synced = sync(vendor, "custom_attributes", "klasses", mode="full_refresh")
    assert synced.failures == {FailureType.config_error}
    assert "org.permission.metadata.read" in synced.failure("custom_attributes")
    assert synced.status("klasses") is COMPLETE


def test_no_metadata_of_any_kind_of_record_fails_the_stream(org, sync):
    vendor = org(setting_rows=KLASSES)
    vendor.metadata = {}
    synced = sync(vendor, "custom_attributes", mode="full_refresh")
    assert synced.status("custom_attributes") is INCOMPLETE
    assert "knows no metadata" in synced.failure("custom_attributes")


@pytest.mark.parametrize("name", [None, "", 7])
def test_a_klass_without_a_name_fails_the_stream(org, sync, name):
    vendor = org()
    vendor.insert("klass", resource={"attributes": {"name": name, "status": "enabled"}})
    synced = sync(vendor, "custom_attributes", mode="full_refresh")
    assert synced.failures == {FailureType.system_error}
    assert "has no name" in synced.failure("custom_attributes")


def test_another_refusal_is_no_kind_of_record_without_attributes(org, sync, requests_mock):
    vendor = org(setting_rows=KLASSES)
    requests_mock.get(
        "https://api.kustomerapp.com/v1/metadata/customer", status_code=409, json={"errors": []}
    )
    synced = sync(vendor, "custom_attributes", mode="full_refresh")
    assert synced.failures == {FailureType.system_error}
