"""PyAirbyte installs the wheels, and reads both sources into its DuckDB cache, twice."""

import contextlib
import io
import json
import os
import re
import subprocess
import sys
import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path

# It is read when PyAirbyte is imported. Without it, PyAirbyte asks a registry for each source.
os.environ["AIRBYTE_OFFLINE_MODE"] = "1"

import airbyte as ab
import pytest
from airbyte.exceptions import AirbyteConnectorFailedError

from fake_vendor.data import (
    CHILD_KINDS,
    CUSTOM_ATTRIBUTES,
    EVENT_KINDS,
    INCLUDED_KINDS,
    LIST_KINDS,
    PLURALS,
    SETTING_KINDS,
)

ROOT = Path(__file__).resolve().parents[2]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
# Kustomer keeps no archive of these. So their rows are as many as a search counts.
NO_ARCHIVE = ("note", "conversation_time", "work_item", "work_session")
# What PyAirbyte prints for a column whose type it does not understand (airbyte/types.py).
TYPE_WARNINGS = ("Could not determine airbyte type", "Could not find SQL type")
# What the cache makes of the types of a JSON schema.
SQL_TYPES = {
    "array": "JSON",
    "boolean": "BOOLEAN",
    "integer": "BIGINT",
    "number": "DECIMAL(38,9)",
    "object": "JSON",
    "string": "VARCHAR",
}


def get_source(name, vendor, dist, install_root):
    return ab.get_source(
        f"source-{name}",
        pip_url=f"airbyte-source-{name}=={VERSION} --find-links {dist}",
        config=vendor.config(name),
        install_root=install_root,
    )


@pytest.fixture(scope="module")
def install_root(tmp_path_factory):
    return tmp_path_factory.mktemp("venvs")


@pytest.fixture(scope="module")
def kustomer(vendor, dist, install_root):
    return get_source("kustomer", vendor, dist, install_root)


@pytest.fixture(scope="module")
def courier(vendor, dist, install_root):
    return get_source("courier", vendor, dist, install_root)


@pytest.fixture(scope="module")
def new_cache(tmp_path_factory):
    return lambda: ab.DuckDBCache(db_path=tmp_path_factory.mktemp("cache") / "cache.duckdb")


class Reader:
    """Reads a source into one cache, as often as asked."""

    def __init__(self, source, cache):
        self.source, self.cache = source, cache

    def read(self, streams="*"):
        """Return the rows that the source sent, per stream, and all that PyAirbyte printed."""
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            result = self.source.read(cache=self.cache, streams=streams)
        return result, printed.getvalue()

    def sql(self, query):
        with self.cache.get_sql_engine().connect() as connection:
            return [tuple(row) for row in connection.exec_driver_sql(query)]

    def count(self, stream):
        ((rows,),) = self.sql(f"SELECT count(*) FROM {stream}")
        return rows

    def synced_since(self, stream, moment):
        """Return the ids of rows that came after a moment, by when the source sent them."""
        query = f"SELECT id FROM {stream} WHERE _airbyte_extracted_at >= '{moment:%F %T.%f}'"
        return {row for (row,) in self.sql(query)}


@pytest.fixture(scope="module")
def kustomer_read(kustomer, new_cache):
    """The first read of all streams of Kustomer."""
    reader = Reader(kustomer, new_cache())
    reader.began = datetime.now(UTC)
    reader.result, reader.printed = reader.read()
    return reader


@pytest.fixture(scope="module")
def courier_read(courier, new_cache):
    """The first read of all streams of Courier."""
    reader = Reader(courier, new_cache())
    reader.began = datetime.now(UTC)
    reader.result, reader.printed = reader.read()
    return reader


def kustomer_rows(vendor, streams):
    """Return how many rows of each stream the vendor has."""
    rows = dict.fromkeys(streams, vendor.rows)
    rows |= {PLURALS[kind]: vendor.list_rows for kind in LIST_KINDS}
    rows |= {PLURALS[kind]: vendor.setting_rows for kind in (*SETTING_KINDS, *INCLUDED_KINDS)}
    rows |= {PLURALS[kind]: vendor.child_rows for kind in CHILD_KINDS}
    rows |= {PLURALS[kind]: vendor.event_rows for kind in EVENT_KINDS}
    rows |= {"custom_attributes": sum(map(len, CUSTOM_ATTRIBUTES.values()))}
    for kind in NO_ARCHIVE:
        found = vendor.ask("/v1/customers/search?pageSize=1", {"queryContext": kind})
        rows[PLURALS[kind]] = found["meta"]["total"]
    return rows


@pytest.mark.parametrize("name", ["kustomer", "courier"])
def test_installed_from_the_wheels_and_checked(name, request):
    source = request.getfixturevalue(name)
    assert source.connector_version == VERSION
    source.check()
    assert source.get_available_streams()


@pytest.mark.parametrize("page", ["README.md", "docs/pyairbyte.md"])
def test_the_first_sync_of_the_docs_runs_as_written(vendor, dist, tmp_path, page):
    text = (ROOT / page).read_text().replace("http://127.0.0.1:8765", vendor.url)
    (program,) = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets/kustomer.json").write_text(json.dumps(vendor.config("kustomer")))
    (tmp_path / "dist").symlink_to(dist)
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    counts = [int(number) for number in re.findall(r"'n': (\d+)", done.stdout)]
    assert sum(counts) > vendor.rows / 2


def test_check_fails_with_the_sentence_of_the_source(vendor, dist, install_root):
    source = get_source("kustomer", vendor, dist, install_root)
    source.set_config(vendor.config("kustomer") | {"api_token": "wrong-token"})
    with pytest.raises(Exception, match="refused the API key"):
        source.check()


def test_first_read_of_kustomer_has_the_rows_of_the_vendor(kustomer_read, vendor):
    streams = kustomer_read.source.get_available_streams()
    assert {stream: kustomer_read.count(stream) for stream in streams} == kustomer_rows(
        vendor, streams
    )


def test_first_read_of_courier_has_the_rows_of_the_vendor(courier_read, vendor):
    assert courier_read.count("messages") == vendor.courier_rows
    streams = courier_read.source.get_available_streams()
    assert [stream for stream in streams if courier_read.count(stream) == 0] == []


@pytest.mark.parametrize("name", ["kustomer_read", "courier_read"])
def test_every_column_has_the_type_of_its_schema(name, request):
    reader = request.getfixturevalue(name)
    query = "SELECT table_name, column_name, data_type FROM information_schema.columns"
    found = {(table, column): kind for table, column, kind in reader.sql(query)}
    for stream in reader.source.get_available_streams():
        properties = reader.source.get_stream_json_schema(stream)["properties"]
        for column, schema in properties.items():
            (kind,) = {*schema["type"]} - {"null"}
            wanted = "TIMESTAMP" if schema.get("format") == "date-time" else SQL_TYPES[kind]
            assert found[stream, column.lower()] == wanted, (stream, column)


@pytest.mark.parametrize("name", ["kustomer_read", "courier_read"])
def test_no_column_has_a_type_that_the_client_does_not_know(name, request):
    printed = request.getfixturevalue(name).printed
    assert not [warning for warning in TYPE_WARNINGS if warning in printed]
    assert "warning" not in printed.lower()


def test_values_are_those_of_the_vendor(kustomer_read, vendor):
    listed = vendor.ask("/v1/tags?pageSize=100")["data"]
    wanted = {(one["id"], one["attributes"]["name"]) for one in listed}
    assert set(kustomer_read.sql("SELECT id, name FROM tags")) == wanted


def test_a_value_inside_json_joins_two_tables(kustomer_read, vendor):
    query = """
        SELECT count(*) FROM conversations
        JOIN customers ON customers.id = (conversations.customer ->> '$.id')
    """
    assert kustomer_read.sql(query) == [(vendor.rows,)]


def test_second_read_of_kustomer_brings_what_changed_and_nothing_else(kustomer_read, vendor):
    # A sync leaves the last two minutes to the next one. So the changes are older than that, but
    # not older than what the first read has left: it began more than ten seconds ago.
    at = datetime.now(UTC) - timedelta(seconds=125)
    assert at > kustomer_read.began - timedelta(seconds=120)
    touched = vendor.control("touch", context="conversation", count=3, at=at.isoformat())
    (inserted,) = vendor.control("insert", context="customer", at=at.isoformat())
    streams = ["conversations", "customers", "messages", "tags", "users"]
    rows = {stream: kustomer_read.count(stream) for stream in streams}

    moment = datetime.now(UTC)
    result, _ = kustomer_read.read(streams)

    came = {stream: kustomer_read.synced_since(stream, moment) for stream in streams}
    assert came.pop("conversations") == {record["id"] for record in touched}
    assert came.pop("customers") == {inserted["id"]}
    assert not any(came.values())
    assert result.processed_records == len({record["id"] for record in touched}) + 1
    after = {stream: kustomer_read.count(stream) for stream in streams}
    assert after == rows | {"customers": rows["customers"] + 1}
    ((newest,),) = kustomer_read.sql("SELECT max(updated_at) FROM conversations")
    assert abs(newest.replace(tzinfo=UTC) - at) < timedelta(seconds=1)


def test_second_read_of_courier_brings_what_is_new_and_doubles_nothing(courier_read, vendor):
    at = datetime.now(UTC) - timedelta(seconds=125)
    vendor.control("insert", context="courier", count=2, at=at.isoformat())
    courier_read.read(["messages"])
    assert courier_read.count("messages") == vendor.courier_rows + 2
    assert courier_read.sql("SELECT count(DISTINCT id) FROM messages") == [
        (vendor.courier_rows + 2,)
    ]


def test_one_failing_stream_fails_a_read_of_several_and_only_its_own_read(
    kustomer, vendor, new_cache
):
    streams = ["tags", "teams", "users"]
    reader = Reader(kustomer, new_cache())
    vendor.control("switches", kustomer={"refused": ["team"]})
    try:
        with pytest.raises(AirbyteConnectorFailedError):
            reader.read(streams)
        # What the other streams sent is not in the cache.
        assert "tags" not in {table for (table,) in reader.sql("SHOW TABLES")}

        failed = []
        for stream in streams:
            try:
                reader.read([stream])
            except AirbyteConnectorFailedError:
                failed.append(stream)
        assert failed == ["teams"]
        assert reader.count("tags") == reader.count("users") == vendor.list_rows
    finally:
        vendor.control("switches", kustomer={"refused": []})
    reader.read(["teams"])
    assert reader.count("teams") == vendor.list_rows
