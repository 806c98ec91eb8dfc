"""The CDK's standard suite for the Courier source, and that its sample files are up to date."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from airbyte_cdk.models import ConfiguredAirbyteCatalogSerializer
from airbyte_cdk.test.entrypoint_wrapper import discover, read
from airbyte_cdk.test.standard_tests import SourceTestSuiteBase

from source_courier import SourceCourier

HERE = Path(__file__).resolve().parent
pytestmark = [
    pytest.mark.usefixtures("reachable_configs"),
    pytest.mark.filterwarnings(
        "error::airbyte_cdk.test.standard_tests.DiscoveredCatalogWarning",
    ),
]


class TestSourceCourier(SourceTestSuiteBase):
    """What the CDK asks of every source."""

    connector = SourceCourier


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


def test_the_sample_catalog_is_what_discover_prints(config, catalog):
    """But for the schemas, which are long and not what a catalog chooses."""
    printed = discover(SourceCourier(), config).catalog.catalog.streams
    without_schemas = [replace(stream, json_schema={}) for stream in printed]
    assert [configured.stream for configured in catalog.streams] == without_schemas


def test_every_row_arrives_when_the_sample_files_are_used(config, catalog, vendor):
    output = read(SourceCourier(), config, catalog)
    ids = [record.record.data["id"] for record in output.records]
    assert ids == [message.id for message in reversed(vendor.courier.messages())]
