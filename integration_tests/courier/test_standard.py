"""The CDK's standard suite for the Courier source, and a check that sample files are current."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from airbyte_cdk.models import ConfiguredAirbyteCatalogSerializer
from airbyte_cdk.test.entrypoint_wrapper import discover, read
from airbyte_cdk.test.standard_tests import SourceTestSuiteBase

from source_courier import SourceCourier

HERE = Path(__file__).resolve().parent
pytestmark = [
    # All tests that use the files in .tmp/ run in one process.
    pytest.mark.xdist_group("reachable_configs"),
    pytest.mark.usefixtures("reachable_configs"),
    pytest.mark.filterwarnings(
        "error::airbyte_cdk.test.standard_tests.DiscoveredCatalogWarning",
    ),
]


class TestSourceCourier(SourceTestSuiteBase):
    """The CDK's tests for every source."""

    connector = SourceCourier


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


def test_the_sample_catalog_is_what_discover_prints(config, catalog):
    """Schemas are not compared. They are long, and a catalog does not choose them."""
    printed = discover(SourceCourier(), config).catalog.catalog.streams
    without_schemas = [replace(stream, json_schema={}) for stream in printed]
    assert [configured.stream for configured in catalog.streams] == without_schemas


def test_every_row_arrives_when_the_sample_files_are_used(config, catalog, vendor):
    output = read(SourceCourier(), config, catalog)
    found = Counter(record.record.stream for record in output.records)
    # Runs without a moment come with a full refresh only.
    moments = {
        **dict.fromkeys(("journey_runs", "automation_runs"), "created_at"),
        **dict.fromkeys(("journey_run_steps", "automation_run_steps"), "run_created_at"),
    }
    for stream in (one.stream.name for one in catalog.streams):
        rows = vendor.courier.rows(stream)
        if stream in moments:
            rows = [row for row in rows if row.get(moments[stream])]
        assert found[stream] == len(rows), stream
