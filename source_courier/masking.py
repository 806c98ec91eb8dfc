"""Masks credentials in values that a user's systems wrote, such as profiles. Pure.

A profile may hold the tokens of chat and push channels:
https://www.courier.com/docs/reference/tenants/get-tenant.
"""

from __future__ import annotations

import re
from typing import Any

MASK = "****"
# Parts of the names under which Courier's channels take credentials: `access_token`, `expo.tokens`,
# `firebaseToken`, `apn`, `apiKey`, `client_secret`, `incoming_webhook.url`, `authorization`.
_SECRET = re.compile(
    r"token|secret|password|passphrase|credential|api_?-?key|private_?-?key|authorization"
    r"|signing|webhook|^apn$|^auth$",
    re.IGNORECASE,
)


def masked(value: Any) -> Any:
    """Return a copy in which every value below a name that stands for a credential is masked."""
    if isinstance(value, dict):
        return {
            name: _hidden(inner) if _SECRET.search(name) else masked(inner)
            for name, inner in value.items()
        }
    return [masked(inner) for inner in value] if isinstance(value, list) else value


def _hidden(value: Any) -> Any:
    """Mask each text and number of a value. Its structure stays."""
    if isinstance(value, dict):
        return {name: _hidden(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_hidden(inner) for inner in value]
    return value if value is None or isinstance(value, bool) else MASK
