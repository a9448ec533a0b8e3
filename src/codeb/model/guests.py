"""Guests: containers that CodeB did not make. What is seen of one before it is taken over, and what speaks against that."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from codeb.errors import Conflict, InvalidParams
from codeb.model import envs, grammar, names
from codeb.model.names import Place, Slot
from codeb.model.secret import Secret
from codeb.model.specs import Health, Limits

LOOPBACK, ANYWHERE = "127.0.0.1", ("0.0.0.0", "::")  # noqa: S104 - read, not bound
NOT_TAKEN = "PORT"
"""a variable that the platform sets itself"""


@dataclass(frozen=True)
class Binding:
    """One TCP port that a container publishes."""

    host: str
    port: int
    inner: int


@dataclass(frozen=True)
class Guest:
    """A container as the runtime describes it, CodeB's or not."""

    id: str
    name: str
    running: bool
    image: str
    """the reference it was started with"""
    image_id: str
    digest: str
    """by which an image registry knows its image; the image's id where none does"""
    health: Health = Health.NONE
    ours: bool = False
    """whether this installation made it"""
    managed: bool = False
    """whether some installation of CodeB made it"""
    vanishes: bool = False
    """whether the runtime removes it as soon as it stops"""
    bindings: tuple[Binding, ...] = ()
    env: tuple[tuple[str, Secret], ...] = field(default=(), repr=False)
    """its variables, without those its image brings"""
    memory_mb: int | None = None
    """None: no limit"""
    cpus: float | None = None
    composed: str | None = None
    """the compose project it belongs to"""
    lost: tuple[str, ...] = ()
    """in words, what it has and a container that CodeB makes has not"""

    @property
    def env_names(self) -> tuple[str, ...]:
        return tuple(sorted(name for name, _ in self.env))


def refuse(guest: Guest) -> None:
    """Raises `Conflict`: `container_ours`, `container_managed`, `container_stopped`, `container_vanishes`."""
    if guest.ours:
        raise Conflict(f"{guest.name} is CodeB's own already.", code="container_ours", hint="See slot_list for where it stands.")
    if guest.managed:
        raise Conflict(
            f"{guest.name} belongs to another installation of CodeB; nothing was done.", code="container_managed",
            hint="Delete it there, or deploy its image here.",
        )  # fmt: skip
    if not guest.running:
        raise Conflict(
            f"{guest.name} does not run; nothing was done.",
            code="container_stopped",
            hint=f"Start it: docker start {guest.name}.",
        )
    if guest.vanishes:
        raise Conflict(
            f"{guest.name} is removed as soon as it stops (--rm), so there would be no way back to it; nothing was done.",
            code="container_vanishes", hint="Start it without --rm first, or deploy its image.",
        )  # fmt: skip


def refuse_needed(guest: Guest, needed: Mapping[int, str]) -> None:
    """`needed`: ports of this machine at which CodeB asks somebody, and whom. Taking over ends with the container's end.

    Raises `Conflict` (`container_needed`).
    """
    if found := next((each for each in guest.bindings if each.port in needed), None):
        raise Conflict(
            f"{guest.name} publishes {found.port}, where CodeB has {needed[found.port]}; nothing was done.",
            code="container_needed", hint="What CodeB itself needs is no project: the next version would take its place.",
        )  # fmt: skip


def binding_of(guest: Guest, inner: int | None) -> Binding:
    """The published port that the proxy would ask: the only one, or the one of the port that is named.

    Raises `Conflict` (`not_published`, `not_on_loopback`), `InvalidParams` where several could be meant.
    """
    found = [each for each in guest.bindings if inner in (None, each.inner)]
    if not found:
        which = "no TCP port" if inner is None else f"not its port {inner}"
        raise Conflict(
            f"{guest.name} publishes {which} on this server, so the proxy cannot reach it; nothing was done.",
            code="not_published",
            hint="Publish it when it is started: docker run -p 127.0.0.1:8080:8080. Or deploy its image.",
            details={"published": [f"{each.host}:{each.port}->{each.inner}" for each in guest.bindings]},
        )  # fmt: skip
    near = [each for each in found if each.host == LOOPBACK or each.host in ANYWHERE]
    if not near:
        raise Conflict(
            f"{guest.name} publishes on {found[0].host} only, not on {LOOPBACK}, where the proxy asks; nothing was done.",
            code="not_on_loopback", hint=f"Publish it on {LOOPBACK} too, or deploy its image.",
        )  # fmt: skip
    if len({(each.port, each.inner) for each in near}) > 1:
        said = sorted({each.inner for each in near})
        raise InvalidParams(
            f"{guest.name} publishes several ports ({', '.join(map(str, said))}); nothing was done.",
            hint="Say with containerPort at which one the application is asked.",
            details={"fields": [{"field": "containerPort", "problem": "is missing, and several could be meant"}]},
        )  # fmt: skip
    return near[0]


def version_of(image: str) -> str:
    """How the version is called: the image's tag; `adopted` where it has none that could be one."""
    bare = not image.startswith("sha256:") and "@" not in image
    tag = (grammar.image_tag(image) or "latest") if bare else ""
    try:
        return grammar.version(tag)
    except ValueError:
        return "adopted"


def slot_for(guest: Guest, place: Place, ports: Iterable[tuple[Slot, int]], port: int) -> Slot:
    """Where it belongs: the slot whose port it has, else the one whose name it has, else blue.

    Raises `Conflict` (`name_reserved`) for a name that is another slot's: a deploy there would meet it.
    """
    named = names.parse_container(guest.name)
    slot = next((each for each, own in ports if own == port), None)
    if slot is None and named is not None and named[0] == place:
        slot = named[1]
    slot = slot or Slot.BLUE
    if named is not None and (named != (place, slot) or guest.name != place.container(slot)):
        raise Conflict(
            f"{guest.name} is how CodeB calls the container of another slot; nothing was done.", code="name_reserved",
            hint=f"Give it another name; one that runs does not notice: docker rename {guest.name} {place.project}-old.",
        )  # fmt: skip
    return slot


def taken_env(guest: Guest) -> tuple[dict[str, str], tuple[str, ...]]:
    """Its variables as a first version of an environment's, and the names of those that cannot be among them."""
    values, left = dict[str, str](), list[str]()
    for name, secret in guest.env:
        try:
            values[envs.key(name)] = envs.value(secret.reveal())
        except ValueError:
            left.append(name)
    if values.pop(NOT_TAKEN, None) is not None:
        left.append(NOT_TAKEN)
    return values, tuple(sorted(left))


def warnings_of(guest: Guest, limits: Limits, binding: Binding, *, keep_env: bool) -> list[str]:
    """What whoever takes it over should know, the dangerous first."""
    found = []
    if open_ones := sorted({each.port for each in guest.bindings if each.host not in (LOOPBACK, "::1")}):
        said = ", ".join(map(str, open_ones))
        found.append(
            f"{guest.name} publishes {said} beyond {LOOPBACK}: whoever reaches this server reaches it past the proxy, until the "
            f"next version has taken its place. A version that CodeB deploys is on {LOOPBACK} only."
        )
    if others := sorted({each.inner for each in guest.bindings} - {binding.inner}):
        found.append(
            f"Only {binding.inner} is asked through the proxy; the next deploy publishes no {', '.join(map(str, others))}."
        )
    if guest.lost:
        found.append(f"The next deploy will not have: {'; '.join(guest.lost)}.")
    if guest.memory_mb is None or guest.memory_mb > limits.memory_mb:
        has = "no memory limit" if guest.memory_mb is None else f"{guest.memory_mb} MiB of memory"
        found.append(f"It has {has}; the next deploy has {limits.memory_mb} MiB (project_update memoryMb).")
    if guest.cpus is not None and guest.cpus > limits.cpus:
        found.append(f"It has {guest.cpus:g} CPUs; the next deploy has {limits.cpus:g} (project_update cpus).")
    if guest.env and not keep_env:
        found.append("Its variables are not taken over: the next deploy has only what env_set says (or keepEnv now).")
    if guest.composed:
        found.append(f"docker compose ({guest.composed}) would make it anew: take it out of that file.")
    return found
