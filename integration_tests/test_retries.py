"""Retries over real sockets: a broken answer is requested again, on the same session."""

import json
import time
from collections import Counter
from typing import get_args

import pytest
from airbyte_cdk.models import AirbyteStreamStatus, SyncMode
from airbyte_cdk.test.catalog_builder import CatalogBuilder
from airbyte_cdk.test.entrypoint_wrapper import read

from fake_vendor import Courier, FakeVendor, Fault, Kustomer
from fake_vendor.faults import FaultKind
from source_courier import SourceCourier
from source_kustomer import SourceKustomer

KINDS = pytest.mark.parametrize("kind", get_args(FaultKind))


@pytest.fixture(autouse=True)
def waits(monkeypatch):
    """The seconds of every wait. Nothing sleeps."""
    recorded = []
    monkeypatch.setattr(
        time, "sleep", lambda seconds: recorded.append(seconds) if seconds else None
    )
    return recorded


def catalog(*streams, mode):
    builder = CatalogBuilder()
    for stream in streams:
        builder.with_stream(stream, SyncMode(mode))
    return builder.build()


@KINDS
def test_every_row_of_kustomer_is_read_once_when_every_third_answer_breaks(waits, kind):
    org = Kustomer({"note": 130}, list_rows={"tag": 230}, years=1)
    org.switch(page_size_max=50, faults=(Fault(kind, every=3),))
    with FakeVendor(kustomer=org) as vendor:
        config = {"api_token": org.token, "start_date": "2020-01-01", "api_url": vendor.url}
        output = read(SourceKustomer(), config, catalog("notes", "tags", mode="incremental"))
    assert output.errors == []
    for stream, of_kind in (("notes", "note"), ("tags", "tag")):
        rows = [one.record.data["id"] for one in output.records if one.record.stream == stream]
        assert sorted(rows) == sorted(record.id for record in org.records(of_kind))
        assert output.get_stream_statuses(stream)[-1] is AirbyteStreamStatus.COMPLETE
    struck = org.journal.stats()["faults"]
    if kind != "timed_out":  # lists have no such flag
        assert len(waits) == struck[kind] >= 3


@KINDS
def test_every_row_of_courier_is_read_once_when_every_third_answer_breaks(waits, kind):
    courier = Courier(rows=83)
    courier.switch(faults=[{"kind": kind, "every": 3}])
    with FakeVendor(courier=courier) as vendor:
        config = {"api_key": courier.key, "api_url": vendor.url, "parallel_walks": 1}
        output = read(SourceCourier(), config, catalog("messages", mode="full_refresh"))
    assert output.errors == []
    newest_first = [message.id for message in reversed(courier.messages())]
    assert [one.record.data["id"] for one in output.records] == newest_first
    assert len(waits) == courier.journal.stats()["faults"][kind]


def test_a_body_that_breaks_the_contract_is_asked_for_four_times_in_all(waits):
    """Each try is its own request on the socket. Each query counts its own tries."""
    org = Kustomer({"note": 5}, list_rows=0, years=1)
    org.switch(faults=(Fault("no_data", every=1),))
    with FakeVendor(kustomer=org) as vendor:
        config = {"api_token": org.token, "start_date": "2025-01-01", "api_url": vendor.url}
        output = read(SourceKustomer(), config, catalog("notes", mode="incremental"))
    assert "breaks the contract" in output.errors[0].trace.error.message
    tries = Counter(json.dumps(entry.criteria) for entry in org.journal.entries)
    assert set(tries.values()) == {4}
    assert len(waits) == 3 * len(tries)
