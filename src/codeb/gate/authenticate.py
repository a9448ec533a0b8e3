"""From the text of a key to an actor. The stored role counts, never what the text claims."""

import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime

from codeb.errors import Unauthenticated
from codeb.model.access import Actor, Key, Role, development_key
from codeb.model.secret import Secret

NOBODY = Key("nobody", "0" * 64, "", Role.VIEWER, expires_at=datetime(1970, 1, 1, tzinfo=UTC))
"""what is compared and looked at for a text that is no key: the same work as for one that is"""


def digest(token: Secret) -> str:
    return hashlib.sha256(token.reveal().encode("utf-8", "surrogatepass")).hexdigest()


def authenticate(token: Secret | None, keys: Mapping[str, Key], now: datetime, *, development: bool = False) -> Actor:
    """Raises `Unauthenticated`: the same answer, by the same steps, for unknown, wrong, malformed, revoked and expired.

    In `development` a text that is nobody's key, and has the form of one, is taken at its word.
    """
    if token is None:
        raise Unauthenticated(
            "This call needs an API key; nothing was done.",
            hint="Send it as X-API-Key or Authorization: Bearer. The first one is in owner.key in CodeB's home.",
        )
    found = digest(token)
    key = keys.get(found, NOBODY)
    if development and key is NOBODY:
        key = development_key(token, found) or NOBODY
    same, usable = hmac.compare_digest(key.sha256, found), key.usable(now)
    if not (same and usable):
        raise Unauthenticated("This API key is not valid; nothing was done.", hint="Ask an owner of your team for a new one.")
    return key.actor
