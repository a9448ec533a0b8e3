"""What we need to keep secrets at rest: to seal and open them, and to look after the master keys that do it."""

import asyncio
from collections.abc import Collection, Sequence
from typing import Protocol

from codeb.errors import PublicError, Unavailable
from codeb.model.secret import Secret


def closed(why: str, fix: str) -> Unavailable:
    """What is said of a vault that does not work: why, and what mends it."""
    return Unavailable(f"{why} What is sealed stays sealed; everything else works.", code="vault_closed", hint=fix)


class Vault(Protocol):
    """`about` says what is sealed and whose it is (`answer/{key id}/{key}`, `{project}/{environment}/{name}`): what was sealed
    for one opens for no other, so rows cannot be swapped."""

    def seal(self, secret: Secret, about: str) -> str:
        """As a text of one line that names its key. Two seals of the same are never equal.

        Raises `Unavailable` (`vault_closed`) when there is no key to seal with.
        """

    def open(self, sealed: str, about: str) -> Secret:
        """Raises `Unavailable` (`vault_closed`) when its key is not here, and `Conflict` (`seal_broken`) when it was altered,
        or sealed for something else."""


class Keyring(Protocol):
    """The master keys in memory and in their file. Sealing takes the first, opening the one that a sealed text names.

    What writes the file raises `Unavailable` (`vault_closed`) when it cannot; memory and file are then as they were.
    """

    @property
    def turn(self) -> asyncio.Lock:
        """Held while keys are looked at or changed together with the registry."""

    @property
    def where(self) -> str:
        """The file, for people."""

    @property
    def ids(self) -> Sequence[str]:
        """Of the keys here, newest first; none when there is no file, or none to believe."""

    @property
    def fault(self) -> PublicError | None:
        """Why nothing is sealed; None when all is well."""

    def read(self) -> bool:
        """Take over what the file has; False when there is none. One that is gone while its keys are here is written back.

        Raises `Unavailable` (`vault_closed`) for one that is not to be used: readable by others, somebody else's, or no keys in
        it. No key is then here.
        """

    def begin(self) -> None:
        """Have one more key, before all others, in the file first. Makes the file when there is none, never in place of one."""

    def keep(self, ids: Collection[str]) -> None:
        """Let go of all keys but these and the first one."""

    def shut(self, fault: PublicError | None) -> None:
        """From now on sealing raises this; None: it works. Opening goes on with the keys that are here."""

    def fits(self, in_force: str | None) -> None:
        """Raises `Unavailable` (`vault_closed`) unless what is sealed now is opened by all who have the key `in_force`, the one
        that the registry names."""
