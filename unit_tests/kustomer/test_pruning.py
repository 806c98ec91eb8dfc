"""Resources with undocumented attributes, read into a destination that prunes."""

import json
from collections import Counter

import pytest
import requests_mock as wire
from airbyte_cdk.models import SyncMode
from airbyte_cdk.test.catalog_builder import CatalogBuilder
from airbyte_cdk.test.entrypoint_wrapper import discover, read

from integration_tests.destination import Destination
from source_courier import SourceCourier
from source_kustomer import SourceKustomer

KINDS = {
    "conversations": "conversation",
    "customers": "customer",
    "kobjects": "kobject",
    "messages": "message",
    "notes": "note",
    "shortcuts": "shortcut",
    "tags": "tag",
    "teams": "team",
    "users": "user",
}
# Each value has its own digits, so that a test finds it wherever it is stored.
NOVELTY = {
    "novelText": "value 1001",
    "novelNumber": "value 1002",
    "novelList": ["value 1003", {"deepKey": ["value 1004", {"deeperKey": "value 1005"}]}],
    "novelObject": {"aB": {"cD": {"eF": "value 1006"}}},
    "custom": {"newStr": "value 1007", "newTree": {"leaf": ["value 1008"]}},
    "queue": "value 1009",
    "additionalAttributes": {"own": "value 1010"},
    "id": "value 1011",
    "type": "value 1012",
    "updated_at": "value 1013",
    "createdBy": "value 1014",
    "emails": {"type": "work", "novelKey": "value 1015"},
    "tags": "value 1016",
    "rev": "value 1017",
    "deleted": "value 1018",
    "importedAt": "value 1019",
    "sentiment": {"polarity": 1, "novelKey": "value 1020"},
    "name": {"first": "value 1021"},
}
RELATIONSHIPS = {
    "customer": {"data": {"type": "customer", "id": "value 1022", "novelKey": {"a": "value 1023"}}},
    "org": "value 1024",
    "novelOne": {"meta": {"kobject": "value 1025"}},
    "novelMany": [{"type": "user", "id": "value 1026"}],
    "modifiedBy": {"data": {"type": "user", "id": "value 1027"}, "meta": {"aB": "value 1028"}},
    "id": {"data": {"type": "x", "id": "value 1029"}},
    "type": {"data": {"type": "x", "id": "value 1030"}},
    "updatedAt": {"data": {"type": "x", "id": "value 1031"}},
    "brand": {"data": None, "meta": {"a": "value 1032"}},
}
LINKS = {"self": "/v1/x", "novelLink": {"href": "value 1033"}}


def values(value):
    """Count every leaf of a value, as text."""
    if isinstance(value, dict):
        return sum(map(values, value.values()), Counter())
    if isinstance(value, list):
        return sum(map(values, value), Counter())
    return Counter() if value is None else Counter([str(value)])


def kept(stream, schema, rows):
    """Return the rows of a destination that drops everything that is not declared."""
    destination = Destination({stream: schema})
    destination.begin(stream, overwrite=False, resumed=False)
    for row in rows:
        line = json.dumps({"type": "RECORD", "record": {"stream": stream, "data": row}})
        destination.take(line.encode() + b"\n")
    return destination.copies[stream].rows


@pytest.fixture(scope="module")
def schemas():
    config = {"api_token": "made-up", "start_date": "2024-01-01"}
    with wire.Mocker():
        found = discover(SourceKustomer(), config).catalog.catalog.streams
    return {stream.name: stream.json_schema for stream in found}


@pytest.mark.parametrize("stream", KINDS)
def test_a_destination_holds_every_value_that_kustomer_sent(org, sync, schemas, stream):
    def edit(body, request, number):
        for resource in body["data"]:
            resource["attributes"] |= NOVELTY
            resource["relationships"] = dict(RELATIONSHIPS)
            resource["links"] = LINKS
            resource["novelPart"] = {"aB": "value 1034"}
        sent.extend(body["data"])

    sent = []
    kind = KINDS[stream]
    rows = {"list_rows": {kind: 3}} if stream in ("shortcuts", "tags", "teams", "users") else {}
    vendor = org({} if rows else {kind: 3}, edit=edit, **rows)
    synced = sync(vendor, stream)
    table = kept(stream, schemas[stream], synced.rows(stream))
    assert len(table) == 3
    told = {f"value {number}" for number in range(1001, 1035)}
    for resource in sent:
        held = values(table[resource["id"]])
        assert told - held.keys() == set()
        for lost in values(resource["attributes"]) - held:
            # A boolean or a number that became text is written as in JSON.
            assert lost in ("True", "False")
    (line,) = [line for line in synced.logs if "additional_attributes" in line]
    assert "novel_text" in line


def test_a_destination_holds_every_value_that_courier_sent(requests_mock):
    novelty = {
        "novelText": "value 1",
        "novelObject": {"aB": [{"cD": "value 2"}]},
        "providers": [{"provider": "sendgrid", "novelKey": {"a": "value 3"}}],
        "utm": {"source": "x", "novelKey": "value 4"},
        "tags": "value 5",
        "enqueued": "value 6",
        "status": {"now": "value 7"},
        "additional_attributes": {"own": "value 8"},
    }
    page = {"paging": {"more": False}, "results": [{"id": "1-one", **novelty}, {"id": "1-two"}]}
    requests_mock.get("https://api.courier.com/messages", json=page)
    source, config = SourceCourier(), {"api_key": "made-up-key"}
    streams = discover(source, config).catalog.catalog.streams
    (stream,) = [one for one in streams if one.name == "messages"]
    catalog = CatalogBuilder().with_stream("messages", SyncMode.full_refresh).build()
    rows = [record.record.data for record in read(source, config, catalog).records]
    table = kept("messages", stream.json_schema, rows)
    assert {f"value {number}" for number in range(1, 9)} <= values(table["1-one"]).keys()
    assert "additional_attributes" not in table["1-two"]
