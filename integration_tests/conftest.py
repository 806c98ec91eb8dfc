"""The fake vendor that listens, and the configs by which the CDK's standard suites reach it."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

# The CDK's own hook: it runs a suite's tests for each config in acceptance-test-config.yml.
from airbyte_cdk.test.standard_tests.pytest_hooks import pytest_generate_tests  # noqa: F401

from fake_vendor import Courier, FakeVendor, Kustomer

HERE = Path(__file__).resolve().parent


@pytest.fixture(scope="session")
def vendor() -> Iterator[FakeVendor]:
    """Both vendors on a free loopback port, with rows older than Kustomer's two years as well."""
    with FakeVendor(Kustomer(rows=300, child_rows=40, ties=(40,)), Courier(rows=123)) as listening:
        yield listening


@pytest.fixture(scope="session")
def reachable_configs(vendor: FakeVendor) -> Iterator[None]:
    """A copy of each sample config in .tmp/ beside it, with the address where the vendor listens.

    The port is known only now, and the suites read their configs from files.
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
