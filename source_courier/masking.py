"""Masks credentials in values that a user's systems wrote, such as profiles. Pure.

A profile may hold the tokens of chat and push channels:
https://www.courier.com/docs/reference/tenants/get-tenant.
"""

from __future__ import annotations

import json
import re
from typing import Any

MASK = "****"
# Parts of the names under which Courier's channels take credentials: `access_token`, `expo.tokens`,
# `firebaseToken`, `apn`, `apiKey`, `client_secret`, `incoming_webhook.url`, `authorization`.
_SECRET = re.compile(
    r"token|secret|password|passphrase|pwd|credential|(api|access|private)[-_]?key|authorization"
    r"|bearer|cookie|signing|webhook|^apn$|^fcm$|^auth$",
    re.IGNORECASE,
)


def masked(value: Any) -> Any:
    """Return a copy in which every value below a name that stands for a credential is masked.

    A text that is a JSON object or list is masked like one: some profiles come as text.
    """
    if isinstance(value, str):
        return _masked_text(value)
    if isinstance(value, dict):
        return {
            name: _hidden(inner) if _SECRET.search(name) else masked(inner)
            for name, inner in value.items()
        }
    return [masked(inner) for inner in value] if isinstance(value, list) else value


def _masked_text(text: str) -> str:
    if not text.startswith(("{", "[")) or not _SECRET.search(text):
        return text
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return json.dumps(masked(value))


def _hidden(value: Any) -> Any:
    """Mask each text and number of a value. Its structure stays."""
    if isinstance(value, dict):
        return {name: _hidden(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_hidden(inner) for inner in value]
    return value if value is None or isinstance(value, bool) else MASK
