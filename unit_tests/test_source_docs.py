"""Compares the pages of `docs/sources/` with the code that they describe.

The tables of streams, columns, fields, error messages and changed columns are made from the code.
In the pages they are between two marks, `<!-- generated: NAME -->` and `<!-- end: NAME -->`. All
other text is written by hand. This command writes the tables anew:

    python -m unit_tests.test_source_docs
"""

import ast
import json
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from http_source.stream import VendorStream
from source_courier import SourceCourier
from source_courier.stream import CourierStream
from source_kustomer import SourceKustomer

ROOT = Path(__file__).resolve().parent.parent
PLACE = ROOT / "docs" / "sources"
COMMAND = "python -m unit_tests.test_source_docs"
# What the retired connectors declared: the type of each column, without the keys of objects.
RETIRED = json.loads((ROOT / "unit_tests/resource/retired_types.json").read_text())
# The columns of the retired `messages` of Kustomer that belonged to another resource are left out.
RETIRED_COLUMNS = json.loads((ROOT / "unit_tests/resource/retired_columns.json").read_text())
# Their primary keys, if other than `id`.
RETIRED_KEYS = {"message_history": ("message_id",), "message_output": ("message_id",)}
CONFIGS = {
    "courier": {"api_key": "made-up"},
    "kustomer": {"api_token": "made-up", "start_date": "2024-01-01"},
}
CLASSES = {"courier": SourceCourier, "kustomer": SourceKustomer}
SOURCES = tuple(CLASSES)
STREAMS: dict[str, list[VendorStream]] = {
    source: CLASSES[source]().streams(config) for source, config in CONFIGS.items()
}
# The path of a request is the endpoint of its stream below these.
PREFIXES = {"courier": "/", "kustomer": "/v1/"}

# Types, as users of a destination call them

# JSON type: word for the type, Airbyte's type, and what DuckDB makes of it (PyAirbyte 0.71.3).
TYPES = {
    "string": ("text", "String", "VARCHAR"),
    "timestamp": ("timestamp", "Timestamp with timezone", "TIMESTAMP"),
    "integer": ("integer", "Integer", "BIGINT"),
    "number": ("number", "Number", "DECIMAL"),
    "boolean": ("boolean", "Boolean", "BOOLEAN"),
    "object": ("object", "Object", "JSON"),
    "array": ("list", "Array", "JSON"),
}


def kind_of(column: Mapping[str, Any]) -> str:
    """Return the key in `TYPES` of a column of our schemas."""
    given = column["type"]
    (kind,) = {given} if isinstance(given, str) else set(given) - {"null"}
    return "timestamp" if column.get("format") == "date-time" else kind


def retired_kind(given: str) -> str:
    """Return the key in `TYPES` of a column of a retired connector."""
    return "timestamp" if given == "string:date-time" else given.partition("[")[0]


def word(kind: str) -> str:
    return TYPES[kind][0]


def columns_of(stream: VendorStream) -> Mapping[str, Any]:
    return stream.get_json_schema()["properties"]


# Tables


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |" for line in lines
    )


def code(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def described(stream: VendorStream) -> tuple[str, str]:
    """Return what a row is, and the vendor's page, from the docstring of the class."""
    text = type(stream).__doc__ or ""
    found = re.search(r"https://\S+", text)
    before = text[: found.start()] if found else text
    first, _, _ = before.strip().partition("\n\n")
    return " ".join(first.split()).rstrip("."), found.group() if found else ""


def requests_of(source: str, stream: VendorStream) -> str:
    """Return the endpoint of a stream, as a link to the vendor's page."""
    kind = type(stream)
    endpoint = getattr(kind, "endpoint", None)
    _, page = described(stream)
    if endpoint is None:
        return f"[none of its own]({page})"
    method = "POST" if getattr(kind, "query_context", None) else "GET"
    parts = [f"[`{method} {PREFIXES[source]}{endpoint}`]({page})"]
    if getattr(kind, "has_archive", False):
        parts.append("archive")
    other = getattr(getattr(kind, "fallback", None), "endpoint", endpoint)
    if other != endpoint:
        parts.append(f"or `GET {PREFIXES[source]}{other}`")
    return ", ".join(parts)


def cost_of(stream: VendorStream) -> str:
    """Return how many requests a stream of Courier makes, as its class says; else nothing."""
    if not isinstance(stream, CourierStream):
        return ""
    parent = getattr(stream, "parent", None)
    return stream.requests.format(parent=parent.name if parent else "")


def table_of_streams(source: str) -> str:
    rows = []
    for stream in STREAMS[source]:
        row, _ = described(stream)
        modes = ["full refresh"]
        if stream.supports_incremental:
            modes.append(f"incremental by `{stream.cursor_field}`")
        linked = f"[`{stream.name}`]({source}-columns.md#{stream.name})"
        cells = [linked, row, code(stream.key), ", ".join(modes), requests_of(source, stream)]
        rows.append(cells + [cost_of(stream)] * (source == "courier"))
    head = ["stream", "a row is", "primary key", "sync modes", "request"]
    # Kustomer's costs are in docs/streams.md, beside the roles.
    return table(head + ["how many"] * (source == "courier"), rows)


def table_of_fields(source: str) -> str:
    form = CLASSES[source].config_class.connection_specification()
    rows = []
    for name, field in form["properties"].items():
        default = json.dumps(field["default"]) if "default" in field else ""
        needed = "yes" if name in form["required"] else "no"
        meaning = field["description"] + (" Secret." if field.get("airbyte_secret") else "")
        rows.append((field["title"], f"`{name}`", needed, default and f"`{default}`", meaning))
    return table(("title", "field", "required", "default", "meaning"), rows)


def table_of_types(source: str) -> str:
    found: dict[str, str] = {}
    for stream in STREAMS[source]:
        for name, column in columns_of(stream).items():
            found.setdefault(kind_of(column), f"`{stream.name}.{name}`")
    rows = [
        (given, airbyte, duckdb, found[kind])
        for kind, (given, airbyte, duckdb) in TYPES.items()
        if kind in found
    ]
    return table(("in these pages", "Airbyte", "DuckDB, by PyAirbyte", "for example"), rows)


# Error messages

# The names of values in messages, as a user would call them. The first one that occurs counts.
PLACEHOLDERS = {
    "sentences": "field: problem", "chosen": "streams", "unknown": "names", "_searches": "streams",
    "path": "path", "config_path": "path", "catalog_path": "path", "status": "status",
    "what": "config, catalog or state file", "vendor_domain": "the vendor's domain",
    "host": "address", "_name": "stream", "role": "role", "_role": "role", "parent_role": "role",
    "parent_name": "record", "parent": "ID", "json_kind": "a list, a text, ...",
    "text": "what the vendor says", "message": "reason", "error": "reason", "item": "value",
}  # fmt: skip


def named(value: ast.expr) -> str:
    """Return the placeholder for an expression in a message."""
    names = [node.attr for node in ast.walk(value) if isinstance(node, ast.Attribute)]
    if names == ["name"]:
        return "<stream>"
    names += [node.id for node in ast.walk(value) if isinstance(node, ast.Name)]
    known = (words for name, words in PLACEHOLDERS.items() if name in names)
    return f"<{next(known, names[0].strip('_'))}>"


def sentence(value: ast.expr | None, own: Mapping[str, ast.expr]) -> str | None:
    """Return a message as a user sees it, with placeholders. None if it is not a plain text."""
    if isinstance(value, ast.Constant) and isinstance(value.value, str):
        return value.value
    if isinstance(value, ast.JoinedStr):
        return "".join(
            part.value if isinstance(part, ast.Constant) else filled(part, own)
            for part in value.values
        )
    if isinstance(value, ast.Name):
        return sentence(own.get(value.id), own)
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute):
        return sentence(own.get(f"{value.func.attr}()"), own)
    return None


def filled(part: ast.expr, own: Mapping[str, ast.expr]) -> str:
    assert isinstance(part, ast.FormattedValue)
    constant = part.value.id if isinstance(part.value, ast.Name) else ""
    text = sentence(own.get(constant), own) if constant.strip("_").isupper() else None
    return text or named(part.value)


def assigned(tree: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """Yield the names of a piece of code with their values, and functions with what they return."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            yield node.targets[0].id, node.value
        if isinstance(node, ast.FunctionDef) and isinstance(node.body[-1], ast.Return):
            result = node.body[-1].value
            if result is not None and node.name == "unreachable":
                yield f"{node.name}()", result


def calls(tree: ast.AST, name: str) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name:
            yield node


def messages(source: str) -> Iterator[tuple[str, str | None]]:
    """Yield the place and the text of every config error: those of the vendor first."""

    def parsed(package: str) -> dict[Path, ast.Module]:
        # The messages of the verb `windows` come last.
        paths = sorted((ROOT / package).glob("*.py"), key=lambda path: path.name == "backfill.py")
        return {path: ast.parse(path.read_text(encoding="utf-8")) for path in paths}

    vendor, shared = parsed(f"source_{source}"), parsed("http_source")
    of_package = {name: value for tree in vendor.values() for name, value in assigned(tree)}
    for path, tree in (vendor | shared).items():
        for function in ast.walk(tree):
            if isinstance(function, ast.FunctionDef):
                own = of_package | dict(assigned(tree)) | dict(assigned(function))
                for call in calls(function, "config_error"):
                    yield f"{path.name}:{call.lineno}", sentence(call.args[0], own)


def config_errors(source: str) -> list[str]:
    found = (" ".join(text.split()) for _, text in messages(source) if text)
    return list(dict.fromkeys(found))


def field_problems(source: str) -> list[str]:
    """Return what a config error may say of a field: the messages of the validators."""
    found: dict[str, None] = {}
    for path in (ROOT / f"source_{source}/config.py", ROOT / "http_source/config.py"):
        for name, value in assigned(ast.parse(path.read_text())):
            text = sentence(value, {}) if name == "msg" else None
            if text:
                found.setdefault(text)
    return list(found)


def list_of_errors(source: str) -> str:
    lines = [f"- `{text}`" for text in config_errors(source)]
    lines += ["", "The problems of fields that the first one may name:", ""]
    invalid = [line for line in lines if line.startswith("- `The configuration is not valid.")]
    others = [line for line in lines if line not in invalid]
    problems = [f"- `{text}`" for text in field_problems(source)]
    return "\n".join((*invalid, *others, *problems))


# Columns


COLUMNS_INTRODUCTION = """# {name}: streams and columns

This page is made from the schemas that `discover` prints. Every column may be null. Nested objects
hold every key that the vendor sends. [../nested-columns.md](../nested-columns.md) describes the
known ones, and [../rows.md](../rows.md) how rows are made.
"""


def page_of_columns(source: str) -> str:
    parts = [COLUMNS_INTRODUCTION.format(name=source.capitalize())]
    for stream in STREAMS[source]:
        row, page = described(stream)
        rows = [
            (f"`{column}`", word(kind_of(given)), given.get("description", ""))
            for column, given in columns_of(stream).items()
        ]
        about = f"{row}. Primary key: {code(stream.key)}. The vendor's page: <{page}>."
        parts += [f"## {stream.name}\n", f"{about}\n"]
        parts.append(table(("column", "type", "meaning"), rows) + "\n")
    return "\n".join(parts)


# Migration


@dataclass(frozen=True)
class Change:
    """What becomes of the columns of one stream of a retired connector."""

    stream: str
    # Column, former type, type now.
    retyped: Sequence[tuple[str, str, str]]
    gone: Sequence[str]
    new: Sequence[str]
    # The primary key before and now.
    keys: tuple[tuple[str, ...], tuple[str, ...]]


def changes(source: str) -> Iterator[Change]:
    for stream in STREAMS[source]:
        before = RETIRED[source].get(stream.name)
        if before is None:
            continue
        now = {name: kind_of(column) for name, column in columns_of(stream).items()}
        retyped = [
            (name, retired_kind(given), now[name])
            for name, given in before.items()
            if name in now and retired_kind(given) != now[name]
        ]
        gone = [name for name in before if name not in now]
        new = [name for name in now if name not in before]
        keys = RETIRED_KEYS.get(stream.name, ("id",)), stream.key
        yield Change(stream.name, retyped, gone, new, keys)


def list_of_streams(source: str) -> str:
    offered = [stream.name for stream in STREAMS[source]]
    kept = [name for name in offered if name in RETIRED[source]]
    gone = [name for name in RETIRED[source] if name not in offered]
    new = [name for name in offered if name not in RETIRED[source]]
    lines = [f"- **{len(kept)} stay**: {code(kept)}."]
    lines.append(f"- **{len(gone)} are gone**: {code(gone)}. Remove them from the connection."
                 if gone else "- **None is gone.**")  # fmt: skip
    lines.append(f"- **{len(new)} are new**: {code(new)}." if new else "- **None is new.**")
    return "\n".join(lines)


def sections_of_changes(source: str) -> str:
    parts = []
    for change in changes(source):
        parts.append(f"#### `{change.stream}`\n")
        if change.retyped:
            grouped: dict[tuple[str, str], list[str]] = {}
            for name, before, now in change.retyped:
                grouped.setdefault((word(before), word(now)), []).append(name)
            rows = [
                (before, now, str(len(names)), code(names))
                for (before, now), names in grouped.items()
            ]
            parts.append(table(("was", "is", "how many", "columns"), rows) + "\n")
        else:
            parts.append("No column changes its type.\n")
        before, now = change.keys
        if before != now:
            parts.append(f"The primary key was {code(before)}, and is {code(now)}.\n")
        if change.gone:
            parts.append(f"Gone: {code(change.gone)}.\n")
        if change.new:
            parts.append(f"New: {code(change.new)}.\n")
    return "\n".join(parts).rstrip()


def sums_of_changes(source: str) -> str:
    """The number of columns for each pair of types, over all streams."""
    found: dict[tuple[str, str], int] = {}
    for change in changes(source):
        for _, before, now in change.retyped:
            found[word(before), word(now)] = found.get((word(before), word(now)), 0) + 1
    rows = [
        (before, now, str(count))
        for (before, now), count in sorted(found.items(), key=lambda item: -item[1])
    ]
    return table(("was", "is", "columns"), rows)


# Pages

BLOCKS: Mapping[str, Mapping[str, Callable[[str], str]]] = {
    "{source}.md": {
        "fields": table_of_fields,
        "streams": table_of_streams,
        "types": table_of_types,
        "errors": list_of_errors,
    },
    "{source}-migrations.md": {
        "streams": list_of_streams,
        "sums": sums_of_changes,
        "columns": sections_of_changes,
    },
}
PAGES = [(source, name) for source in SOURCES for name in (*BLOCKS, "{source}-columns.md")]


def path_of(source: str, name: str) -> Path:
    return PLACE / name.format(source=source)


def made(source: str, name: str) -> str:
    """Return a page with its generated parts made anew."""
    if name not in BLOCKS:
        return page_of_columns(source)
    text = path_of(source, name).read_text(encoding="utf-8")
    for block, make in BLOCKS[name].items():
        start, end = f"<!-- generated: {block} -->", f"<!-- end: {block} -->"
        before, begins, rest = text.partition(start)
        _, ends, after = rest.partition(end)
        assert begins, f"{path_of(source, name)} has no {start}"
        assert ends, f"{path_of(source, name)} has no {end}"
        text = f"{before}{start}\n\n{make(source)}\n\n{end}{after}"
    return text


@pytest.mark.parametrize(("source", "name"), PAGES)
def test_the_pages_tell_what_the_code_does_when_they_are_made_anew(source, name):
    written = path_of(source, name).read_text(encoding="utf-8")
    assert written == made(source, name), f"out of date, run: {COMMAND}"


def section(source, heading):
    """Return the text below a heading of the source's page, up to the next heading of its level."""
    page = path_of(source, "{source}.md").read_text(encoding="utf-8")
    _, found, rest = page.partition(f"\n## {heading}\n")
    assert found, heading
    return rest.partition("\n## ")[0]


@pytest.mark.parametrize("source", SOURCES)
def test_prerequisites_name_every_required_field_by_its_title(source):
    form = CLASSES[source].config_class.connection_specification()
    prerequisites = section(source, "Prerequisites")
    for name in form["required"]:
        assert form["properties"][name]["title"] in prerequisites


@pytest.mark.parametrize("source", SOURCES)
def test_the_changelog_has_a_row_for_the_version(source):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert f"| {project['version']} |" in section(source, "Changelog")


@pytest.mark.parametrize("source", SOURCES)
def test_every_config_error_of_the_code_has_a_text_that_can_be_listed(source):
    """Pass a text, or a variable with a text, to `config_error`. Others would be left out."""
    assert [place for place, text in messages(source) if not text] == []


@pytest.mark.parametrize(("source", "name"), PAGES)
def test_links_of_the_pages_lead_to_files(source, name):
    page = path_of(source, name)
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("source", SOURCES)
def test_no_column_of_the_retired_connector_is_forgotten(source):
    for stream, names in RETIRED_COLUMNS[source].items():
        assert set(names) <= set(RETIRED[source].get(stream, ()))


def changed(source, stream, column):
    """Return the former and the present type of a column that changes its type."""
    (change,) = [one for one in changes(source) if one.stream == stream]
    return {name: (before, now) for name, before, now in change.retyped}[column]


def test_the_guide_tells_the_changes_that_break_queries():
    assert changed("kustomer", "customers", "updated_at") == ("string", "timestamp")
    assert changed("kustomer", "customers", "tags") == ("string", "array")
    assert changed("kustomer", "conversations", "satisfaction") == ("string", "number")
    assert changed("courier", "messages", "enqueued") == ("number", "integer")


def write() -> None:
    """Write the generated parts of all pages."""
    for source, name in PAGES:
        path_of(source, name).write_text(made(source, name), encoding="utf-8")


if __name__ == "__main__":
    write()
