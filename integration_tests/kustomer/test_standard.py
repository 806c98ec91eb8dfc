"""The CDK's standard suite for the Kustomer source, and that its sample files are up to date."""

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
from source_kustomer.timeline import HORIZON

KINDS = {name: kind for kind, name in PLURALS.items()}
HERE = Path(__file__).resolve().parent
pytestmark = [
    pytest.mark.usefixtures("reachable_configs"),
    pytest.mark.filterwarnings(
        "error::airbyte_cdk.test.standard_tests.DiscoveredCatalogWarning",
    ),
]


class TestSourceKustomer(SourceTestSuiteBase):
    """What the CDK asks of every source."""

    connector = SourceKustomer


@pytest.fixture
def config():
    """The sample config, as the suite reaches the vendor by it."""
    return json.loads((HERE / ".tmp/sample_config.json").read_text())


@pytest.fixture
def catalog():
    """The sample catalog."""
    return ConfiguredAirbyteCatalogSerializer.load(
        json.loads((HERE / "configured_catalog.json").read_text())
    )


@pytest.fixture
def state():
    """The sample state, which is the same moment for every stream."""
    saved = json.loads((HERE / "sample_state.json").read_text())
    return [AirbyteStateMessageSerializer.load(message) for message in saved]


def ids(output):
    return {(record.record.stream, record.record.data["id"]) for record in output.records}


def test_the_sample_catalog_is_what_discover_prints(config, catalog):
    """But for the schemas, which are long and not what a catalog chooses."""
    printed = discover(SourceKustomer(), config).catalog.catalog.streams
    without_schemas = [replace(stream, json_schema={}) for stream in printed]
    assert [configured.stream for configured in catalog.streams] == without_schemas


def is_due(configured, record, since):
    """Whether a row is read: full-refresh lists know no date, and some searches no archive."""
    if configured.sync_mode is SyncMode.full_refresh:
        return True
    stream = next(
        one for one in SourceKustomer.stream_classes if one.name == configured.stream.name
    )
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
        for record in vendor.kustomer.records(KINDS[configured.stream.name])
        if not record.deleted and is_due(configured, record, since.get(configured.stream.name, ""))
    }
    assert output.errors == []
    assert ids(output) == wanted
