"""A kit whose changing verbs first make sure that the operation still holds its lock."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, TypeVar, cast

from codeb.contracts.databases import Caches, Databases
from codeb.contracts.instances import Inside
from codeb.contracts.kit import Kit
from codeb.errors import FenceLost
from codeb.model.secret import Secret
from codeb.model.storage import Endpoint

D = TypeVar("D")

CHANGING = frozenset({
    "run", "keep", "shelve", "unshelve", "remove", "remove_network", "restart", "name_back", "stop", "start", "rename",
    "prepare", "put_site", "remove_site", "set_live", "set_fallback", "draw",
    "make_zone", "drop_zone", "change", "admit", "make", "allow", "dump", "drop", "erase",
    "propose", "review", "merge",
})  # fmt: skip


class _Fenced:
    def __init__(self, driver: object, check: Callable[[], Awaitable[None]]) -> None:
        self._driver = driver
        self._check = check

    def __getattr__(self, name: str) -> Any:
        verb = getattr(self._driver, name)
        if name not in CHANGING:
            return verb

        async def checked(*args: Any, **kwargs: Any) -> Any:
            await self._check()
            return await verb(*args, **kwargs)

        return checked


def _fenced(driver: D, check: Callable[[], Awaitable[None]]) -> D:
    return cast(D, _Fenced(driver, check))


class _FencedInside:
    """Who is spoken to inside is made at each call, and fenced with it."""

    def __init__(self, inside: Inside, check: Callable[[], Awaitable[None]]) -> None:
        self._inside = inside
        self._check = check

    def databases(self, at: Endpoint, password: Secret) -> Databases:
        return _fenced(self._inside.databases(at, password), self._check)

    def caches(self, at: Endpoint, password: Secret) -> Caches:
        return _fenced(self._inside.caches(at, password), self._check)


def fence_kit(kit: Kit, operation_id: str, fence: int) -> Kit:
    """The same kit; before every changing verb outside the lock is looked up in the store.

    The verb raises `FenceLost` instead of acting when a newer holder has the lock, or another process leads.
    """

    async def check() -> None:
        await kit.store.consult(lambda registry: registry.journal.holds(operation_id, fence))
        # Last, for the answer above may be an hour old: nothing is waited for between this and the act.
        if not kit.store.standing.leads:
            raise FenceLost(f"this process does not lead any more; operation {operation_id} is not its own")

    return replace(
        kit,
        runtime=_fenced(kit.runtime, check),
        restarter=_fenced(kit.restarter, check),
        networks=_fenced(kit.networks, check),
        upkeep=_fenced(kit.upkeep, check),
        guests=_fenced(kit.guests, check),
        env_files=_fenced(kit.env_files, check),
        image_registry=_fenced(kit.image_registry, check),
        proxy=_fenced(kit.proxy, check),
        proxy_upkeep=_fenced(kit.proxy_upkeep, check),
        curtain=_fenced(kit.curtain, check),
        dns=_fenced(kit.dns, check) if kit.dns is not None else None,
        databases=_fenced(kit.databases, check),
        caches=_fenced(kit.caches, check),
        instances=_fenced(kit.instances, check),
        inside=_FencedInside(kit.inside, check),
        firewall=_fenced(kit.firewall, check),
        pulls=_fenced(kit.pulls, check),
    )
