"""From the text of a key to an actor. The stored role counts, never what the text claims."""

import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime

from codeb.errors import Unauthenticated
from codeb.model.access import Actor, Key
from codeb.model.secret import Secret

NOBODY = "0" * 64


def digest(token: Secret) -> str:
    return hashlib.sha256(token.reveal().encode("utf-8", "surrogatepass")).hexdigest()


def authenticate(token: Secret | None, keys: Mapping[str, Key], now: datetime) -> Actor:
    """Raises `Unauthenticated`: the same answer, by the same path, for unknown, wrong, malformed, revoked and expired."""
    if token is None:
        raise Unauthenticated(
            "This call needs an API key; nothing was done.",
            hint="Send it as X-API-Key or Authorization: Bearer. The first one is in owner.key in CodeB's home.",
        )
    found = digest(token)
    key = keys.get(found)
    same = hmac.compare_digest(key.sha256 if key else NOBODY, found)
    if not same or key is None or not key.usable(now):
        raise Unauthenticated("This API key is not valid; nothing was done.", hint="Ask an owner of your team for a new one.")
    return key.actor
