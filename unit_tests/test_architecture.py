"""Checks what docs/architecture.md says about the code."""

import ast
import re
import sys
from pathlib import Path

import pytest
from airbyte_cdk.models import SyncMode, Type
from airbyte_cdk.test.catalog_builder import CatalogBuilder

from fake_vendor import Kustomer
from source_kustomer import SourceKustomer

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs/architecture.md").read_text()
PACKAGES = ("http_source", "source_courier", "source_kustomer")
PURE = {
    "http_source/body.py", "http_source/columns.py", "http_source/retry_after.py",
    "http_source/instants.py", "source_courier/cuts.py", "source_courier/density.py",
    "source_courier/masking.py", "source_courier/pace.py", "source_courier/progress_guard.py",
    "source_courier/row_cursor.py", "source_courier/segments.py",
    "source_courier/paging.py", "source_kustomer/custom_fields.py", "source_kustomer/paging.py",
    "source_kustomer/rows.py",
    "source_kustomer/seam.py", "source_kustomer/state.py", "source_kustomer/timeline.py",
}  # fmt: skip
FILES = [
    path.relative_to(ROOT).as_posix()
    for package in PACKAGES
    for path in sorted((ROOT / package).glob("*.py"))
]


def imports(file):
    """Yield the modules that a file imports."""
    for node in ast.walk(ast.parse((ROOT / file).read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def route():
    """Return the files of the table "The route of a record"."""
    table = PAGE.partition("## The route of a record")[2].partition("\n## ")[0]
    return re.findall(r"^\| `(\S+\.py)` \|", table, re.MULTILINE)


@pytest.mark.parametrize("file", FILES)
def test_packages_import_in_one_direction(file):
    own = file.split("/")[0]
    foreign = {name.split(".")[0] for name in imports(file)} & set(PACKAGES)
    assert foreign <= {own, "http_source"}
    assert not {name.split(".")[0] for name in imports(file)} & {"fake_vendor", "unit_tests"}


@pytest.mark.parametrize("file", sorted(PURE))
def test_pure_files_make_no_request(file):
    assert not {"requests", "time", "threading", "concurrent.futures"} & set(imports(file))


@pytest.mark.parametrize("file", FILES)
def test_every_file_is_in_the_box_of_its_package(file):
    package, name = file.split("/")
    upper, _, lower = PAGE.partition("+-- http_source/")
    boxes = {
        "http_source": lower.partition("```")[0],
        "source_kustomer": "\n".join(line[:50] for line in upper.splitlines()),
        "source_courier": "\n".join(line[50:] for line in upper.splitlines()),
    }
    assert name == "__init__.py" or re.search(rf"(?<!\w){re.escape(name)}", boxes[package])


def test_every_file_in_the_flow_exists():
    flow = PAGE.partition("```mermaid")[2].partition("```")[0]
    named = set(re.findall(r"\w+\.py", flow))
    assert {"process.py", "client.py", "output.py"} <= named
    assert named <= {file.rpartition("/")[2] for file in FILES}


def test_a_record_passes_the_files_of_the_route_and_no_more_than_ten(requests_mock, answer):
    """Collects our files that are called while a record is made and emitted."""
    on_route = set(route())
    assert len(route()) == len(on_route) <= 10
    org = Kustomer({"customer": 12}, list_rows=0, years=1)
    answer(requests_mock, "https://api.kustomerapp.com", org)
    config = {"api_token": org.token, "start_date": "2015-01-01"}
    catalog = CatalogBuilder().with_stream("customers", SyncMode.incremental).build()
    called = set()

    def watch(frame, event, _argument):
        file = Path(frame.f_code.co_filename)
        if event == "call" and file.is_relative_to(ROOT) and ".venv" not in file.parts:
            called.add(file.relative_to(ROOT).as_posix())

    messages = SourceKustomer().read(_Logger(), config, catalog, [])
    found = next(message for message in messages if message.type is Type.RECORD)
    sys.setprofile(watch)
    try:
        # Between two records, only files of the route are called.
        found = next(message for message in messages if message.type is Type.RECORD)
    finally:
        sys.setprofile(None)
    assert found.record.data["id"]
    assert {file for file in called if file.split("/")[0] in PACKAGES} <= on_route


class _Logger:
    """A logger that ignores everything."""

    def __getattr__(self, _name):
        return lambda *_, **__: None
