"""From the text of a key to an actor. The stored role counts, never what the text claims."""

import hmac
from datetime import datetime

from codeb.contracts.store import Snapshot
from codeb.errors import Unauthenticated
from codeb.model.access import Actor, Key, Role, digest, worth
from codeb.model.secret import Secret

__all__ = ["authenticate", "digest"]

NOBODY = Key("", "0" * 64, "", Role.VIEWER)
"""stands in for a key that is not there, so that an unknown one takes the same path as a wrong one"""


def authenticate(token: Secret | None, registry: Snapshot, now: datetime) -> Actor:
    """Raises `Unauthenticated`: the same answer, by the same path, for unknown, wrong, malformed, revoked and expired, and
    for the key of a removed member or a deleted team (S13)."""
    if token is None:
        raise Unauthenticated(
            "This call needs an API key; nothing was done.",
            hint="Send it as X-API-Key or Authorization: Bearer. The first one is in owner.key in CodeB's home.",
        )
    found = digest(token)
    key = registry.keys.get(found, NOBODY)
    same = hmac.compare_digest(key.sha256, found)
    actor = worth(key, registry.teams, registry.members, now)
    if not same or actor is None:
        raise refused()
    return actor


def refused() -> Unauthenticated:
    return Unauthenticated("This API key is not valid; nothing was done.", hint="Ask an owner of your team for a new one.")
