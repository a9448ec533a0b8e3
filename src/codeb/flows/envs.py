"""Environment variables: reading, writing and publishing their versions; what seals, opens and numbers them.

`write` and `generated` work in the caller's transaction; `publish` brings the files up to date after it. A file that could not
be written is written later by `settle`, which looks at all of them.
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from codeb.contracts.envs import EnvCopy
from codeb.contracts.kit import Kit
from codeb.contracts.store import Registry
from codeb.errors import Conflict
from codeb.model import envfile
from codeb.model.deletion import PURGING
from codeb.model.envs import Env, EnvVersion, difference, next_moment, with_generated
from codeb.model.names import Place
from codeb.model.sealed import about_env
from codeb.model.secret import Secret

log = logging.getLogger("codeb.envs")

MOST_VERSIONS = 1_000
"""of a place whose files are made anew"""


@dataclass(frozen=True)
class Held:
    """What a place has now; `version` is None where nothing was ever written."""

    version: EnvVersion | None
    env: Env

    @property
    def number(self) -> int:
        return self.version.number if self.version else 0


def opened(kit: Kit, version: EnvVersion) -> Env:
    """Raises `Unavailable` (`vault_closed`) and `Conflict` (`seal_broken`)."""
    place = version.place
    return Env.of(kit.vault.open(version.sealed, about_env(place.project, place.environment, version.number)))


async def newest(kit: Kit, registry: Registry, place: Place) -> Held:
    """What the next deploy takes. Raises as `opened` does."""
    found = await registry.envs.newest(place)
    return Held(found, opened(kit, found) if found else Env())


async def values_of(kit: Kit, place: Place, number: int | None) -> tuple[tuple[str, str], ...]:
    """What a container of this version gets. None: it was deployed without any.

    Raises `Conflict` (`env_version_gone`) rather than let a program run without what it was deployed with; and as `opened` does.
    """
    if number is None:
        return ()
    found = await kit.store.consult(lambda registry: registry.envs.get(place, number))
    if found is None:
        raise Conflict(
            f"Version {number} of the environment variables of {place.key} is not on record any more.", code="env_version_gone",
            hint="Write them anew with env_sync, from env-backup in the home if it has them; then deploy again.",
        )  # fmt: skip
    return tuple(sorted(opened(kit, found).values.items()))


async def write(
    kit: Kit, registry: Registry, place: Place, now: Held, after: Env, *, by: str, action: str
) -> EnvVersion | None:  # fmt: skip
    """One more version; None where it would be as `now`. Raises `Unavailable` (`vault_closed`)."""
    made = difference(now.env.values, after.values)
    if not made and after.generated == now.env.generated:
        return None
    kit.keyring.fits(await registry.seals.in_force())
    number = max(now.number, await _named(registry, place)) + 1
    version = EnvVersion(
        place=place, number=number, created_at=next_moment(kit.world.now(), now.version.created_at if now.version else None),
        created_by=by, action=action, count=len(after.values), difference=made,
        sealed=kit.vault.seal(after.text(), about_env(place.project, place.environment, number)),
    )  # fmt: skip
    await registry.envs.add(version)
    return version


async def _named(registry: Registry, place: Place) -> int:
    """The newest version that a slot names: after a loss of the registry it may be newer than any on record, and its number
    must not come to mean another one."""
    pair = await registry.slots.pair(place)
    return max((row.env_version or 0 for row in pair.rows), default=0) if pair else 0


async def generated(
    kit: Kit, registry: Registry, place: Place, values: Mapping[str, Secret], *, without: Iterable[str] = (), by: str
) -> EnvVersion | None:  # fmt: skip
    """Add variables that CodeB made (a database's address, a password) to what the place has, protected from now on; take back
    those of `without` that it made. In the caller's transaction; call `publish` after it.

    Safe to repeat: None where everything is so already. Raises `Unavailable` (`vault_closed`) before anything is written.
    """
    now = await newest(kit, registry, place)
    return await write(kit, registry, place, now, with_generated(now.env, values, without), by=by, action="generate")


# files


async def publish(kit: Kit, place: Place) -> None:
    """Have the files of this place say what the registry has. Safe to repeat; nothing to do costs two looks.

    Raises `Unavailable` (`env_files`, `vault_closed`).
    """
    since = await kit.env_files.current(place)
    head = (await kit.store.consult(lambda registry: registry.envs.history(place, 1)))[:1]
    if not head or head[0].created_at == since:
        return
    for number, first in await kit.store.consult(lambda registry: _lacking(registry, place, since)):
        await _publish(kit, place, number, first)


async def _publish(kit: Kit, place: Place, number: int, first: bool) -> None:
    # one at a time: each may be large
    version = await kit.store.consult(lambda registry: registry.envs.get(place, number))
    if version is not None:
        await kit.env_files.keep(place, EnvCopy(version, _text(kit, version), first))


async def _lacking(registry: Registry, place: Place, since: datetime | None) -> list[tuple[int, bool]]:
    """The versions that the files do not have, oldest first, and which is the first of all."""
    first = await registry.envs.first(place)
    found = await registry.envs.history(place, MOST_VERSIONS)
    numbers = {each.number for each in found if since is None or each.created_at > since}
    if first is not None and since is None:
        numbers.add(first.number)
    return [(number, first is not None and number == first.number) for number in sorted(numbers)]


def _text(kit: Kit, version: EnvVersion) -> Secret:
    place, when = version.place, version.created_at.isoformat(timespec="milliseconds")
    about = (
        f"{place.project} {place.environment}: environment variables, version {version.number} of {when}.",
        "Written by CodeB; the registry is what counts, so what is changed here is set aside: use env_set or env_sync.",
    )
    return Secret(envfile.render(opened(kit, version).values, *about))


async def settle(kit: Kit) -> None:
    """`publish` every place whose files are behind, or were touched. Never raises for one of them."""
    for place, at in (await kit.store.consult(lambda registry: registry.envs.heads())).items():
        project = kit.store.snapshot.projects.get(place.project)
        if project is None or project.state == PURGING:
            continue
        try:
            if await kit.env_files.current(place) != at:
                await publish(kit, place)
        except Exception as fault:  # whatever is wrong with one, the others are looked at
            log.error("the env files of %s are behind: %s", place.key, fault)
