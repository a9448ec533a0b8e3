"""What we need to keep environment variables: their versions in the registry, and files of them for people."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from codeb.model.envs import EnvVersion
from codeb.model.names import Place
from codeb.model.secret import Secret


class Envs(Protocol):
    """Versions by place and number, only ever added; all of a project's go with it, a preview's with the preview.

    What is in them is sealed. To read and write them use `flows/envs.py`, which seals, opens and numbers.
    """

    async def add(self, version: EnvVersion) -> None:
        """Raises `Conflict`: `env_version_exists`, or `project_gone` when there is no such project."""

    async def get(self, place: Place, number: int) -> EnvVersion | None: ...

    async def newest(self, place: Place, until: datetime | None = None) -> EnvVersion | None:
        """`until`: of those written by then."""

    async def first(self, place: Place) -> EnvVersion | None:
        """The oldest there is."""

    async def history(self, place: Place, limit: int, before: int | None = None) -> Sequence[EnvVersion]:
        """Newest first, without what is sealed; `before` is a number."""

    async def remove(self, place: Place) -> None:
        """All versions of one environment that is no more. Safe to repeat."""

    async def heads(self) -> Mapping[Place, datetime]:
        """When the newest version of every place was written."""


@dataclass(frozen=True)
class EnvCopy:
    """One version as the files have it. `text` is the whole `.env` file, with the values in it."""

    version: EnvVersion
    text: Secret
    first: bool = False
    """whether it is the first one of its place: `master.env`"""


class EnvFiles(Protocol):
    """`env/{project}/.env.{environment}`, and `env-backup/{project}/{environment}/` with every version, below the home; 0600.

    The registry is the truth, these are copies: what somebody else did to them is set aside, never believed. Every verb
    raises `Unavailable` (`env_files`) when the files cannot be read or written, or are not where they should be.
    """

    async def current(self, place: Place) -> datetime | None:
        """When the version was written that all files of this place say is current; None: none, or they do not agree."""

    async def keep(self, place: Place, copy: EnvCopy) -> None:
        """Have the files of this version, which is then the current one. Safe to repeat; an older one than the files have
        changes nothing, and `master.env` is written once."""

    async def remove(self, project: str, environment: str | None = None) -> None:
        """Have no file of it, or of one environment of it. Safe to repeat."""
