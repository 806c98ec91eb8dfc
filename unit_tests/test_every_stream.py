"""Tests that every stream must pass, based on the output of `discover`."""

import json
from pathlib import Path

import jsonschema
import pytest
from airbyte_cdk.test.entrypoint_wrapper import discover

from source_courier import SourceCourier
from source_kustomer import SourceKustomer

ROOT = Path(__file__).resolve().parent.parent
# The top-level columns of the retired connectors. A few columns of Kustomer's messages are left
# out, because they belonged to another resource.
RETIRED_COLUMNS = json.loads((ROOT / "unit_tests/resource/retired_columns.json").read_text())
SOURCES = {
    "courier": (SourceCourier, {"api_key": "made-up"}),
    "kustomer": (SourceKustomer, {"api_token": "made-up", "start_date": "2024-01-01"}),
}
STREAMS = [
    pytest.param(name, stream, id=f"{name}-{stream.name}")
    for name, (source, config) in SOURCES.items()
    for stream in source().streams(config)
]
every_stream = pytest.mark.parametrize(("source", "stream"), STREAMS)


@pytest.fixture(scope="module")
def catalogs():
    """The output of `discover`, by source and stream."""
    found = {}
    for name, (source, config) in SOURCES.items():
        streams = discover(source(), config).catalog.catalog.streams
        found[name] = {stream.name: stream for stream in streams}
        assert len(found[name]) == len(streams), "two streams share a name"
    return found


@pytest.fixture
def discovered(catalogs, source, stream):
    return catalogs[source][stream.name]


@pytest.fixture
def columns(discovered):
    return discovered.json_schema["properties"]


def subschemas(schema, path="#"):
    """Yield every schema inside a schema, with its path."""
    yield path, schema
    for name, inner in schema.get("properties", {}).items():
        yield from subschemas(inner, f"{path}/{name}")
    for keyword in ("items", "additionalProperties"):
        if isinstance(schema.get(keyword), dict):
            yield from subschemas(schema[keyword], f"{path}/{keyword}")
    for branch in (*schema.get("anyOf", ()), *schema.get("oneOf", ())):
        yield from subschemas(branch, f"{path}/anyOf")


def types(schema):
    given = schema.get("type", [])
    return {given} if isinstance(given, str) else set(given)


@pytest.mark.parametrize("source", SOURCES)
def test_discover_lists_exactly_the_streams_of_the_source(catalogs, source):
    listed = {stream.values[1].name for stream in STREAMS if stream.values[0] == source}
    assert set(catalogs[source]) == listed == set(RETIRED_COLUMNS[source])


@every_stream
def test_schema_is_a_valid_json_schema_without_references(discovered):
    jsonschema.Draft7Validator.check_schema(discovered.json_schema)
    assert "$ref" not in json.dumps(discovered.json_schema)
    assert discovered.json_schema["type"] == "object"


@every_stream
def test_key_and_cursor_are_columns(stream, discovered, columns):
    assert discovered.source_defined_primary_key == [[name] for name in stream.key]
    for name in stream.key:
        # The place of a row among the rows of its parent is a number.
        assert types(columns[name]) == {"null", "integer" if name == "ordinal" else "string"}
    if "incremental" in {mode.value for mode in discovered.supported_sync_modes}:
        assert discovered.source_defined_cursor is True
        (cursor,) = discovered.default_cursor_field
        # Courier's messages have moments in milliseconds.
        is_number = types(columns[cursor]) == {"null", "integer"}
        assert is_number or columns[cursor]["format"] == "date-time"
    else:
        assert not discovered.default_cursor_field


@every_stream
def test_every_column_has_a_description(columns):
    assert [name for name, column in columns.items() if not column.get("description")] == []


@every_stream
def test_no_value_is_refused_for_being_null_or_having_more_keys(discovered):
    strict = []
    for path, schema in subschemas(discovered.json_schema):
        if path != "#" and types(schema) and "null" not in types(schema):
            strict.append(f"{path} is never null")
        if "object" in types(schema) and schema.get("additionalProperties") is not True:
            strict.append(f"{path} is closed")
        if "enum" in schema:
            strict.append(f"{path} is an enum")
    assert strict == []


@every_stream
def test_a_destination_that_prunes_has_nothing_to_prune(discovered, columns):
    """A destination drops keys that a schema does not declare, so no nested object declares any."""
    assert types(columns["additional_attributes"]) == {"null", "object"}
    for path, schema in subschemas(discovered.json_schema):
        assert path == "#" or "properties" not in schema, path
        assert len(types(schema) - {"null"}) <= 1, path


@every_stream
def test_every_timestamp_says_that_it_has_a_zone(discovered):
    for path, schema in subschemas(discovered.json_schema):
        if schema.get("format") == "date-time":
            assert schema["airbyte_type"] == "timestamp_with_timezone", path
            assert types(schema) == {"null", "string"}, path


@every_stream
def test_columns_of_the_retired_connector_are_all_there(source, stream, columns):
    assert set(RETIRED_COLUMNS[source][stream.name]) - set(columns) == set()


@every_stream
def test_class_says_what_a_row_is_and_where_the_vendor_documents_it(source, stream):
    assert f"{source}.com/" in type(stream).__doc__
    assert type(stream).__doc__.partition(".")[0].strip()


@pytest.mark.parametrize("stream", SourceKustomer.stream_classes, ids=lambda stream: stream.name)
def test_the_page_of_streams_names_the_role_and_the_requests(stream):
    page = (ROOT / "docs/streams.md").read_text()
    (row,) = [line for line in page.splitlines() if line.startswith(f"| `{stream.name}` |")]
    _, _, role, limit, requests, _ = (cell.strip() for cell in row.split("|"))
    assert role.replace("`", "") == stream.role
    assert limit
    assert requests
