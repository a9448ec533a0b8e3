"""From the text of a key to an actor. The stored role counts, never what the text claims."""

import hmac
from datetime import UTC, datetime

from codeb.contracts.store import Snapshot
from codeb.errors import Unauthenticated
from codeb.model.access import Actor, Key, Role, Team, development_key, digest, worth
from codeb.model.secret import Secret

__all__ = ["authenticate", "digest"]

NOBODY = Key("nobody", "0" * 64, "", Role.VIEWER, expires_at=datetime(1970, 1, 1, tzinfo=UTC))
"""what is compared and looked at for a text that is no key: the same work as for one that is"""


def authenticate(token: Secret | None, registry: Snapshot, now: datetime, *, development: bool = False) -> Actor:
    """Raises `Unauthenticated`: the same answer, by the same steps, for unknown, wrong, malformed, revoked and expired, and
    for the key of a removed member or a deleted team (S13).

    In `development` a text that is nobody's key, and has the form of one, is taken at its word.
    """
    if token is None:
        raise Unauthenticated(
            "This call needs an API key; nothing was done.",
            hint="Send it as X-API-Key or Authorization: Bearer. The first one is in owner.key in CodeB's home.",
        )
    found = digest(token)
    key, teams = registry.keys.get(found, NOBODY), registry.teams
    if development and key is NOBODY:
        key = development_key(token, found) or NOBODY
        teams = {key.team: Team(key.team)}
    same = hmac.compare_digest(key.sha256, found)
    actor = worth(key, teams, registry.members, now)
    if not same or actor is None:
        raise refused()
    return actor


def refused() -> Unauthenticated:
    return Unauthenticated("This API key is not valid; nothing was done.", hint="Ask an owner of your team for a new one.")
