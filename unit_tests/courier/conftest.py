"""Fixtures for tests of Courier's streams: a workspace behind `requests`, and reads of it.

def test_...(workspace, sync):
vendor = workspace(rows=25)
output = sync(vendor, "lists", "brands")
assert output.rows("lists") == fitting(vendor.rows("lists"))
"""

import pytest
from airbyte_cdk.models import AirbyteStreamStatus, SyncMode
from airbyte_cdk.test.catalog_builder import CatalogBuilder, ConfiguredAirbyteStreamBuilder
from airbyte_cdk.test.entrypoint_wrapper import read
from airbyte_cdk.test.state_builder import StateBuilder

from fake_vendor import Courier
from fake_vendor.courier import CourierSwitches
from source_courier import SourceCourier

HOST = "https://api.courier.com"
COMPLETE, INCOMPLETE = AirbyteStreamStatus.COMPLETE, AirbyteStreamStatus.INCOMPLETE


class Output:
    """What a sync printed, by stream."""

    def __init__(self, output):
        self.output = output

    def rows(self, stream):
        """The records of a stream, in order."""
        return [one.record.data for one in self.output.records if one.record.stream == stream]

    def states(self, stream):
        """The states of a stream, in order."""
        messages = [one.state.stream for one in self.output.state_messages]
        return [
            one.stream_state.__dict__ for one in messages if one.stream_descriptor.name == stream
        ]

    def is_complete(self, stream):
        """Whether the last status of a stream is COMPLETE."""
        return self.output.get_stream_statuses(stream)[-1] is COMPLETE

    def errors(self, stream):
        """The errors of a stream: failure type and message."""
        traces = [one.trace.error for one in self.output.errors]
        return [
            (one.failure_type, one.message)
            for one in traces
            if one.stream_descriptor is not None and one.stream_descriptor.name == stream
        ]

    def says(self, words):
        """Whether a log line has these words."""
        return self.output.is_in_logs(words)


@pytest.fixture
def workspace(requests_mock, answer):
    """Make a fake workspace that answers all requests: `workspace(rows=25, limit="honoured")`."""

    def workspace(rows=60, *, tables=None, seed=7, years=0.1, **switches):
        vendor = Courier(
            rows, tables=tables, seed=seed, years=years, switches=CourierSwitches(**switches)
        )
        answer(requests_mock, HOST, vendor)
        return vendor

    return workspace


@pytest.fixture
def sync():
    """Read streams: `sync(vendor, "lists", mode=..., states={...}, include_profiles=True)`."""

    def sync(vendor, *streams, mode=SyncMode.full_refresh, states=None, source=None, **config):
        catalog, saved = CatalogBuilder(), StateBuilder()
        for name in streams:
            stream = ConfiguredAirbyteStreamBuilder().with_name(name).with_sync_mode(mode)
            catalog = catalog.with_stream(stream)
        for name, state in (states or {}).items():
            saved = saved.with_stream_state(name, state)
        return Output(
            read(
                source or SourceCourier(),
                {"api_key": vendor.key, **config},
                catalog.build(),
                saved.build(),
            )
        )

    return sync
