"""What we need of a container runtime: seven verbs, each safe to repeat."""

from collections.abc import Sequence
from typing import Protocol

from codeb.model.specs import Finding, Image, LogLine, Unit, UnitSpec


class Runtime(Protocol):
    """Containers. Every verb that changes something may be called again after a crash, with the same end.

    Raises `Unavailable` when the runtime does not answer; `Conflict` (code `name_taken`) when a container
    that CodeB does not own stands under the name; `Conflict` (code `port_taken`) when the host port is in use.
    """

    async def run(self, spec: UnitSpec) -> Unit:
        """Have this container running. One of the same name and deployment is kept; a half-made one is replaced.

        Published on 127.0.0.1 only, hardened as `spec.limits` says, not restarted by the runtime until `keep`.
        """

    async def keep(self, name: str) -> None:
        """From now on the runtime itself restarts this container when it dies or the machine reboots."""

    async def look(self, name: str) -> Unit | None:
        """The container of this name as it is now, ours or not; None when there is none."""

    async def units(self) -> Sequence[Unit]:
        """Every container of this installation, running or not."""

    async def shelve(self, name: str, seconds: int) -> None:
        """Stop gracefully (`seconds` before the kill) and set aside under `names.kept(name)`. Nothing there: nothing done."""

    async def unshelve(self, name: str, start: bool) -> None:
        """Bring back what `shelve` set aside, in place of whatever of ours stands there; start it if it ran before."""

    async def remove(self, name: str, seconds: int) -> None:
        """Stop gracefully and remove a container of ours. Nothing there: nothing done."""


class Restarter(Protocol):
    """Giving a container another life, without another container."""

    async def restart(self, name: str, seconds: int) -> None:
        """Stop it gracefully if it runs (`seconds` before the kill), and start it: a repetition is one more life.

        Raises as `Runtime` does, and `NotFound` (code `container_not_found`), `Conflict` (code `start_refused`).
        """


class Networks(Protocol):
    """Project networks."""

    async def remove_network(self, project: str) -> None:
        """Remove the project's network if it exists and is ours."""


class Upkeep(Protocol):
    """What it takes to put right what somebody else did to containers. Raises what `Runtime` does."""

    async def name_back(self, found: str, name: str) -> None:
        """Give a container of ours its name back, running or not. Nothing under `found`: nothing done."""

    async def networks(self) -> Sequence[str]:
        """The names of this installation's networks."""


class Logs(Protocol):
    """What containers print."""

    async def tail(self, name: str, lines: int, since: str | None = None) -> Sequence[LogLine]:
        """The last `lines` lines, newest last; only those stamped later than `since` (RFC 3339, nanoseconds) if given.

        A container that does not exist has no lines.
        """


class Ports(Protocol):
    """Which TCP ports of this server are in use, by two sources of their own."""

    async def published(self) -> dict[int, str]:
        """Host ports that any container publishes or would publish when started -> container name."""

    async def listening(self) -> frozenset[int]:
        """Ports with a listening TCP socket."""


class Images(Protocol):
    """Container images on this machine."""

    async def resolve(self, reference: str) -> Image:
        """Have the image here and say which one it is.

        A reference that names an image registry is asked for there each time; when that fails and the machine
        has a copy, the copy is used and `warning` says so. A reference that names none uses the machine's copy.
        Raises `NotFound` (code `image_not_found`) when there is none anywhere, `Unavailable` when nobody answers.
        """


class Checked(Protocol):
    """A driver that can say how it is."""

    async def check(self) -> Finding:
        """One finding; never raises."""
