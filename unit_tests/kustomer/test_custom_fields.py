"""Custom attributes as columns of their own, and one stream for each klass."""

import pytest
from airbyte_cdk.models import (
    AirbyteStreamStatus,
    ConfiguredAirbyteCatalog,
    ConfiguredAirbyteStream,
    DestinationSyncMode,
    FailureType,
    SyncMode,
)
from airbyte_cdk.test import entrypoint_wrapper
from airbyte_cdk.test.state_builder import StateBuilder

from fake_vendor.data import KLASSES, klass_of
from source_kustomer import SourceKustomer
from source_kustomer.custom_fields import MAX_COLUMNS
from unit_tests.kustomer.conftest import Sync

COMPLETE = AirbyteStreamStatus.COMPLETE
CUTOFF = "2026-05-31T23:58:00.000Z"
KLASS_STREAMS = {f"kobject_{klass}": klass for klass in KLASSES}
both_modes = pytest.mark.parametrize("mode", ["incremental", "full_refresh"])


def config(vendor, **more):
    typed = {"typed_custom_fields": True, "start_date": "2015-01-01"}
    return {"api_token": vendor.token} | typed | more


@pytest.fixture
def typed_org(org):
    def typed_org(rows=0, **options):
        return org(rows, setting_rows={"klass": len(KLASSES)}, **options)

    return typed_org


def discovered(vendor, **more):
    output = entrypoint_wrapper.discover(SourceKustomer(), config(vendor, **more))
    streams = [] if output.errors else output.catalog.catalog.streams
    return output, {stream.name: stream for stream in streams}


def read(vendor, streams, *names, mode="incremental", state=None, **more):
    catalog = ConfiguredAirbyteCatalog(
        [
            ConfiguredAirbyteStream(streams[name], SyncMode(mode), DestinationSyncMode.append)
            for name in names
        ]
    )
    saved = StateBuilder()
    for name, value in (state or {}).items():
        saved.with_stream_state(name, value)
    output = entrypoint_wrapper.read(
        SourceKustomer(), config(vendor, **more), catalog, saved.build()
    )
    return Sync(output)


def custom_columns(stream):
    return {
        name: column
        for name, column in stream.json_schema["properties"].items()
        if name.startswith("custom_")
    }


def ids(vendor, klass=None):
    rows = vendor.records("kobject")
    return sorted(row.id for row in rows if klass is None or klass_of(row) == klass)


# Discover


def test_discover_without_the_option_asks_nothing_and_adds_nothing(typed_org):
    vendor = typed_org()
    _, streams = discovered(vendor, typed_custom_fields=False)
    assert custom_columns(streams["customers"]) == {}
    assert not KLASS_STREAMS.keys() & streams.keys()
    assert vendor.journal.entries == []


def test_discover_gives_each_attribute_a_column_of_its_type(typed_org):
    vendor = typed_org()
    vendor.metadata["customer"] = {
        "planStr": {"type": "string", "enumeration": ["a", "b"]},
        "notesTxt": {"type": "string"},
        "homeUrl": {"type": "string"},
        "reasonTree": {"type": "string"},
        "ordersId": {"type": "string", "target": "kobject.order", "multi": True},
        "companyId": {"type": "string", "target": "company"},
        "tagsStr": {"type": "string", "array": True},
        "valueNum": {"type": "number"},
        "vipBool": {"type": "string"},
        "renewalAt": {"type": "string"},
        "oddOne": {"type": "number"},
        "goneStr": {"type": "string", "deletedAt": "2024-01-01T00:00:00Z"},
    }
    _, streams = discovered(vendor)
    text, number = ["null", "string"], ["null", "number"]
    found = custom_columns(streams["customers"])
    assert {name: column["type"] for name, column in found.items()} == {
        "custom_plan_str": text,
        "custom_notes_txt": text,
        "custom_home_url": text,
        "custom_reason_tree": text,
        "custom_orders_id": ["null", "array"],
        "custom_company_id": text,
        "custom_tags_str": ["null", "array"],
        "custom_value_num": number,
        "custom_vip_bool": ["null", "boolean"],
        "custom_renewal_at": text,
        "custom_odd_one": number,
        "custom_gone_str": text,
    }
    assert found["custom_renewal_at"]["airbyte_type"] == "timestamp_with_timezone"
    assert "enum" not in found["custom_plan_str"]
    for name in ("companies", "conversations", "messages", "kobjects"):
        assert custom_columns(streams[name])
    for column in found.values():
        assert column["description"]


def test_discover_costs_a_request_for_each_kind_of_record_and_three_for_the_klasses(typed_org):
    vendor = typed_org()
    discovered(vendor)
    assert len(vendor.journal.entries) == 3 + 4 + len(KLASSES)


def test_discover_offers_a_stream_for_each_klass_and_one_for_all(typed_org):
    _, streams = discovered(typed_org())
    assert KLASS_STREAMS.keys() <= streams.keys()
    order = streams["kobject_shopify-order"]
    assert set(custom_columns(order)) == {
        "custom_order_number_str",
        "custom_order_total_num",
        "custom_order_created_at",
        "custom_order_paid_bool",
        "custom_order_status_url",
    }
    assert set(custom_columns(order)) < set(custom_columns(streams["kobjects"]))
    assert order.default_cursor_field == ["updated_at"]
    assert order.source_defined_primary_key == [["id"]]


def test_attributes_whose_names_collide_or_tell_no_type_stay_in_custom_and_are_told(typed_org):
    vendor = typed_org()
    vendor.metadata["customer"] = {
        "planStr": {"type": "string"},
        "PlanStr": {"type": "string"},
        "oddOne": {"type": "object"},
        "fineStr": {"type": "string"},
    }
    output, streams = discovered(vendor)
    assert set(custom_columns(streams["customers"])) == {"custom_fine_str"}
    said = "\n".join(message.log.message for message in output.logs)
    assert "the same in snake_case, or that of another column: PlanStr, planStr" in said
    assert "no ending that tells a type: oddOne" in said


def test_a_table_gets_no_more_columns_than_the_cap(typed_org):
    vendor = typed_org()
    vendor.metadata["customer"] = {
        f"a{number:04}Str": {"type": "string"} for number in range(MAX_COLUMNS + 7)
    }
    output, streams = discovered(vendor)
    assert len(custom_columns(streams["customers"])) == MAX_COLUMNS
    said = "\n".join(message.log.message for message in output.logs)
    assert f"a table has at most {MAX_COLUMNS} of them" in said


@pytest.mark.parametrize(
    ("endpoint", "role"),
    [("metadata", "org.permission.metadata.read"), ("klass", "org.permission.klass.read")],
)
def test_discover_names_the_role_that_is_missing(typed_org, endpoint, role):
    output, streams = discovered(typed_org(refused=(endpoint,)))
    assert streams == {}
    (error,) = output.errors
    assert error.trace.error.failure_type is FailureType.config_error
    assert role in error.trace.error.message


# Rows


@both_modes
def test_values_come_in_their_columns_and_stay_in_custom(typed_org, mode):
    vendor = typed_org({"customer": 30})
    _, streams = discovered(vendor)
    vendor.journal.clear()
    synced = read(vendor, streams, "customers", mode=mode)
    assert len(synced.ids("customers")) == 30
    rich = [row for row in synced.rows("customers") if "lifetime_value_num" in row["custom"]]
    assert rich
    for row in rich:
        assert row["custom_lifetime_value_num"] == row["custom"]["lifetime_value_num"]
    dated = [row for row in rich if "last_order_at" in row["custom"]]
    assert dated
    for row in dated:
        assert row["custom_last_order_at"] == "2016-11-06T13:54:29-05:00"
        assert row["custom_newsletter_bool"] is True
        assert "custom_vip_bool" not in row
    assert {entry.endpoint for entry in vendor.journal.entries} == {"search", "archive_search"}


def test_a_value_that_does_not_fit_is_null_stays_in_custom_and_is_counted(typed_org):
    vendor = typed_org()
    vendor.metadata["customer"] = {
        "planStr": {},
        "valueNum": {},
        "vipBool": {},
        "renewalAt": {},
        "ordersId": {"multi": True},
        "companyId": {},
    }
    customs = [
        {"planStr": 7, "valueNum": "***", "vipBool": "***", "renewalAt": "soon", "ordersId": 7},
        {"planStr": "a", "valueNum": 7.5, "vipBool": False, "renewalAt": "2024-01-31"},
        {"ordersId": "5a", "companyId": ["5b"], "valueNum": True, "newStr": "new"},
        {"ordersId": ["5a", {"id": "5c", "type": "kobject"}], "companyId": ["5b", "5c"]},
    ]
    for custom in customs:
        vendor.insert("customer", indexed=True, resource={"attributes": {"custom": custom}})
    _, streams = discovered(vendor)
    synced = read(vendor, streams, "customers", mode="full_refresh")
    rows = [
        {name: value for name, value in row.items() if name.startswith("custom_")}
        for row in synced.rows("customers")
    ]
    assert rows == [
        {},
        {
            "custom_plan_str": "a",
            "custom_value_num": 7.5,
            "custom_vip_bool": False,
            "custom_renewal_at": "2024-01-31T00:00:00Z",
        },
        {"custom_orders_id": ["5a"], "custom_company_id": "5b"},
        {"custom_orders_id": ["5a", "5c"]},
    ]
    assert synced.rows("customers")[0]["custom"]["value_num"] == "***"
    assert synced.rows("customers")[2]["custom"]["new_str"] == "new"
    (said,) = [line for line in synced.logs if "do not have the type of their column" in line]
    assert "custom_value_num 2" in said
    assert "custom_company_id 1" in said
    assert "custom_plan_str 1" in said


def test_a_catalog_without_typed_columns_gets_none(typed_org, sync):
    vendor = typed_org({"customer": 9})
    synced = sync(vendor, "customers", start_date="2015-01-01", typed_custom_fields=True)
    assert len(synced.ids("customers")) == 9
    assert not [row for row in synced.rows("customers") if custom_keys(row)]


def custom_keys(row):
    return [name for name in row if name.startswith("custom_")]


# One stream for each klass


@both_modes
@pytest.mark.parametrize("klass_search", ["supported", "refused", "ignored"])
def test_each_klass_is_read_exactly_in_its_stream(typed_org, time, mode, klass_search):
    vendor = typed_org({"kobject": 90}, page_size_max=20, klass_search=klass_search)
    _, streams = discovered(vendor)
    vendor.journal.clear()
    first = read(vendor, streams, *KLASS_STREAMS, "kobjects", mode=mode)
    for stream, klass in KLASS_STREAMS.items():
        assert sorted(first.ids(stream)) == ids(vendor, klass)
        assert {row["klass_name"] for row in first.rows(stream)} == {klass}
        assert first.status(stream) is COMPLETE
        assert first.state(stream) == {"updated_at": CUTOFF}
    assert sorted(first.ids("kobjects")) == ids(vendor)
    row = first.rows("kobject_shopify-order")[0]
    assert row["custom_order_number_str"].startswith("A-")
    time.tick(3600)
    changed = [vendor.touch("kobject", ident) for ident in ids(vendor)[:7]]
    time.tick(3600)
    state = {stream: first.state(stream) for stream in KLASS_STREAMS}
    vendor.journal.clear()
    second = read(vendor, streams, *KLASS_STREAMS, mode="incremental", state=state)
    for stream, klass in KLASS_STREAMS.items():
        wanted = sorted(row.id for row in changed if klass_of(row) == klass)
        assert sorted(second.ids(stream)) == wanted
    if klass_search != "supported":
        fallbacks = [line for line in second.logs if "taken from a read of all" in line]
        assert len(fallbacks) == len(KLASS_STREAMS)
        assert not [entry for entry in vendor.journal.entries if entry.rows > 10]


def test_streams_that_share_one_read_begin_at_their_own_states(typed_org):
    vendor = typed_org({"kobject": 90}, klass_search="refused", years=1)
    _, streams = discovered(vendor)
    borders = dict(zip(KLASS_STREAMS, ("2025-09-01", "2026-01-01", "2026-03-01"), strict=True))
    state = {stream: {"updated_at": f"{day}T00:00:00.000Z"} for stream, day in borders.items()}
    synced = read(vendor, streams, *KLASS_STREAMS, state=state)
    for stream, klass in KLASS_STREAMS.items():
        wanted = [
            row.id
            for row in vendor.records("kobject")
            if klass_of(row) == klass and row.updated_at >= borders[stream]
        ]
        assert sorted(synced.ids(stream)) == sorted(wanted)
        assert wanted


def test_a_stream_of_a_klass_is_unknown_without_the_option(typed_org):
    vendor = typed_org({"kobject": 9})
    _, streams = discovered(vendor)
    synced = read(vendor, streams, "kobject_return", typed_custom_fields=False)
    assert synced.failures
    assert synced.rows("kobject_return") == []


def test_two_klasses_of_one_name_are_one_stream(typed_org):
    vendor = typed_org()
    vendor.insert("klass", resource={"attributes": {"name": KLASSES[0], "status": "disabled"}})
    output, _ = discovered(vendor)
    names = [stream.name for stream in output.catalog.catalog.streams]
    assert names.count(f"kobject_{KLASSES[0]}") == 1


@pytest.mark.parametrize("klass_search", ["supported", "refused"])
def test_a_klass_is_known_by_its_relationship_too(typed_org, klass_search):
    """Kustomer's examples have a klass `orders` and custom objects of the type `kobject.order`."""

    def edit(body, request, number):
        for row in body.get("data", ()) if request.method == "POST" else ():
            row["type"] = row["type"].removesuffix("n")  # kobject.retur

    vendor = typed_org({"kobject": 30}, edit=edit, klass_search=klass_search)
    _, streams = discovered(vendor)
    synced = read(vendor, streams, "kobject_return")
    assert sorted(synced.ids("kobject_return")) == ids(vendor, "return")
