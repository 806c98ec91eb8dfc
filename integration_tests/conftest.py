"""The listening fake vendor, and the configs with which the CDK's standard suites reach it."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

# The CDK's own hook. It runs the tests of a suite for each config in acceptance-test-config.yml.
from airbyte_cdk.test.standard_tests.pytest_hooks import pytest_generate_tests  # noqa: F401

from fake_vendor import Courier, FakeVendor, Kustomer

HERE = Path(__file__).resolve().parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark all tests in this folder as slow: most of them start processes."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def vendor() -> Iterator[FakeVendor]:
    """Both vendors on a free loopback port. Some rows are older than Kustomer's two years."""
    with FakeVendor(
        Kustomer(rows=300, child_rows=40, event_rows=50, ties=(40,)), Courier(rows=123)
    ) as listening:
        yield listening


@pytest.fixture(scope="session")
def reachable_configs(vendor: FakeVendor) -> Iterator[None]:
    """Copy each sample config to .tmp/ next to it, with the address of the vendor.

    The port is only known now, and the suites read their configs from files.
    """
    written = []
    for name in ("sample_config.json", "invalid_config.json"):
        for config in HERE.glob(f"*/{name}"):
            copy = config.parent / ".tmp" / name
            copy.parent.mkdir(exist_ok=True)
            copy.write_text(json.dumps(json.loads(config.read_text()) | {"api_url": vendor.url}))
            written.append(copy)
    yield
    for copy in written:
        copy.unlink()
