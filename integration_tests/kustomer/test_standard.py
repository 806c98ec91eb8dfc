"""The CDK's standard suite for the Kustomer source, and a check that sample files are current."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from airbyte_cdk.models import (
    AirbyteStateMessageSerializer,
    ConfiguredAirbyteCatalogSerializer,
    SyncMode,
)
from airbyte_cdk.test.entrypoint_wrapper import discover, read
from airbyte_cdk.test.standard_tests import SourceTestSuiteBase

from fake_vendor.clock import iso, to_ms
from fake_vendor.data import PLURALS
from source_kustomer import SourceKustomer
from source_kustomer.events import EventLogStream
from source_kustomer.timeline import HORIZON

KINDS = {name: kind for kind, name in PLURALS.items()}
HERE = Path(__file__).resolve().parent
SAMPLE_START = json.loads((HERE / "sample_config.json").read_text())["start_date"]
pytestmark = [
    # All tests that use the files in .tmp/ run in one process.
    pytest.mark.xdist_group("reachable_configs"),
    pytest.mark.usefixtures("reachable_configs"),
    pytest.mark.filterwarnings(
        "error::airbyte_cdk.test.standard_tests.DiscoveredCatalogWarning",
    ),
]


class TestSourceKustomer(SourceTestSuiteBase):
    """The CDK's tests for every source."""

    connector = SourceKustomer


@pytest.fixture
def config():
    """The sample config with the address of the fake vendor."""
    return json.loads((HERE / ".tmp/sample_config.json").read_text())


@pytest.fixture
def catalog():
    """The sample catalog."""
    return ConfiguredAirbyteCatalogSerializer.load(
        json.loads((HERE / "configured_catalog.json").read_text())
    )


@pytest.fixture
def state():
    """The sample state. It is the same moment for every stream."""
    saved = json.loads((HERE / "sample_state.json").read_text())
    return [AirbyteStateMessageSerializer.load(message) for message in saved]


def ids(output):
    """The stream and id of each row; custom attributes have no id."""
    rows = [(message.record.stream, message.record.data) for message in output.records]
    return {(stream, row["id"]) for stream, row in rows if "id" in row}


def test_the_sample_catalog_is_what_discover_prints(config, catalog):
    """Schemas are not compared. They are long, and a catalog does not choose them."""
    printed = discover(SourceKustomer(), config).catalog.catalog.streams
    without_schemas = [replace(stream, json_schema={}) for stream in printed]
    assert [configured.stream for configured in catalog.streams] == without_schemas


def is_due(configured, record, since):
    """Whether a row is read. Full-refresh lists ignore dates, and some searches have no archive."""
    if configured.sync_mode is SyncMode.full_refresh:
        return True
    stream = next(
        one for one in SourceKustomer.stream_classes if one.name == configured.stream.name
    )
    if issubclass(stream, EventLogStream):
        return iso(record.created_ms) >= SAMPLE_START
    two_years_ago = iso(to_ms(datetime.now(UTC)) - HORIZON)
    reach = two_years_ago if not getattr(stream, "has_archive", True) else ""
    return record.updated_at >= max(since, reach)


def test_every_row_since_the_sample_state_arrives_when_the_sample_files_are_used(
    config, catalog, state, vendor
):
    since = {one.stream.stream_descriptor.name: one.stream.stream_state.updated_at for one in state}
    output = read(SourceKustomer(), config, catalog, state)
    wanted = {
        (configured.stream.name, record.id)
        for configured in catalog.streams
        if configured.stream.name in KINDS
        for record in vendor.kustomer.records(KINDS[configured.stream.name])
        if not record.deleted and is_due(configured, record, since.get(configured.stream.name, ""))
    }
    assert output.errors == []
    assert ids(output) == wanted
    attributes = [one for one in output.records if one.record.stream == "custom_attributes"]
    assert len(attributes) == sum(map(len, vendor.kustomer.metadata.values()))
