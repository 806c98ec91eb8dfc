"""Reads the files of a command: config, catalog, state. An error says what is wrong with a file."""

from __future__ import annotations

import codecs
from pathlib import Path
from typing import Any

from http_source.body import parse_json
from http_source.errors import config_error


def read_json_file(path: str, what: str) -> Any:
    """Return the JSON value in a file. `what` names the file to the user, as in "config file".

    Raises a config error that says what is wrong with the file and what to do.
    """
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError:
        raise config_error(f"The {what} {path} does not exist. Check the path.") from None
    except IsADirectoryError:
        raise config_error(f"The {what} {path} is a folder. Name a JSON file.") from None
    except PermissionError:
        raise config_error(
            f"This user has no permission to read the {what} {path}. Change its permissions."
        ) from None
    except (OSError, ValueError) as error:
        raise config_error(f"The {what} {path!r} cannot be read: {error}.") from None
    if content.startswith((codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise config_error(
            f"The {what} {path} begins with a byte order mark. Save it as UTF-8 without one."
        )
    if not content.strip():
        raise config_error(f"The {what} {path} is empty. It must hold JSON.")
    try:
        return parse_json(content)
    except (ValueError, RecursionError) as error:
        # The error tells the position, but not the text around it. That text may be a key.
        raise config_error(f"The {what} {path} is not JSON: {error}.") from None


def json_kind(value: Any) -> str:
    """Name the kind of a JSON value: "a list", "null", ..."""
    kinds = {dict: "an object", list: "a list", str: "a text", bool: "true or false"}
    return "null" if value is None else kinds.get(type(value), "a number")
