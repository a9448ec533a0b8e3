"""What we need of the storage server: databases of PostgreSQL, parts of a Redis. Each project reaches its own and no other.

All verbs may be repeated. `admit` and `make` raise `Conflict` (`name_taken`) where the name is there with another mark or
none: a namesake's data is never given to anybody. What takes something away lets a namesake be. Without a server they raise
`Conflict` (`storage_not_set`), with one that does not answer `Unavailable` (`storage_unavailable`).
"""

from collections.abc import Collection, Mapping
from typing import Protocol

from codeb.errors import Conflict, NotFound
from codeb.model.secret import Secret
from codeb.model.storage import Endpoint, Found, Holding


def taken(name: str) -> Conflict:
    """The refusal of a name that somebody else has."""
    return Conflict(
        f"The storage server has something called {name} that is not this environment's; it was not touched.", code="name_taken",
        hint="Look at it there: rename or remove it by hand, then call this again.", details={"name": name},
    )  # fmt: skip


def gone(name: str) -> NotFound:
    """The answer about something that is not on the server, or not this environment's."""
    return NotFound(f"The storage server has no {name} of this environment.", code="storage_gone", hint="See db_list.")


class Databases(Protocol):
    """PostgreSQL: an owner role that nobody logs in as, one database it owns, one login role per generation of the password
    that acts as the owner. None of them may make roles or databases, replicate, or enter another database."""

    @property
    def where(self) -> Endpoint | None:
        """Where containers reach it; None: there is none."""

    async def admit(self, what: Holding, generation: int, password: Secret) -> None:
        """Owner and login are there, and this password lets in."""

    async def make(self, what: Holding) -> None:
        """The database is there, and closed to all but its owner."""

    async def keep(self, what: Holding, generations: Collection[int]) -> None:
        """No login but these is left; sessions of the others end, what they own is the owner's."""

    async def allow(self, what: Holding, entry: bool) -> None:
        """Whether its logins let in. Without, sessions end and nothing writes any more. What is not there is let be."""

    async def dump(self, what: Holding, stem: str) -> str:
        """Write all of it to a file of `stem` in the backups (0600, whole or not at all, looked through); gives its path.

        Raises `NotFound` (`storage_gone`) when it is not there, `StepFailed` (`dump_failed`) when it cannot be dumped, or the
        dump not be read.
        """

    async def drop(self, what: Holding) -> None:
        """Database, owner and logins are gone, sessions ended."""

    async def all(self) -> Mapping[str, Found]:
        """Everything there that bears a mark of CodeB, by name."""


class Caches(Protocol):
    """Redis: a user per project that reads and writes keys and channels of its own prefix, and cannot see others' names."""

    @property
    def where(self) -> Endpoint | None:
        """Where containers reach it; None: there is none."""

    async def admit(self, what: Holding, passwords: Mapping[int, Secret]) -> None:
        """The user is there and may do what a tenant may; exactly these passwords let in, by generation.

        Raises `Conflict` also for a server that lets everybody in, or would forget its users (`redis_unfit`).
        """

    async def allow(self, what: Holding, entry: bool) -> None:
        """Whether its user may log in. Without, its connections end. What is not there is let be."""

    async def dump(self, what: Holding, stem: str) -> str:
        """As `Databases.dump`; the file holds RESTORE commands for `redis-cli --pipe`."""

    async def drop(self, what: Holding) -> None:
        """Its keys and its user are gone, its connections ended."""

    async def all(self) -> Mapping[str, Found]:
        """Everything there that bears a mark of CodeB, by name."""
