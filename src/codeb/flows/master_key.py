"""The master key over its life: made once, held against the registry, and changed without anything becoming unreadable.

Keys are in a file, what is sealed is in the store, so no transaction spans both. The order makes every instant safe: a new key
is in the file before anything is sealed with it, and an old one leaves the file only when nothing in the store names it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from codeb.contracts.kit import Kit
from codeb.contracts.store import Registry, Sealed
from codeb.contracts.vault import Keyring, closed
from codeb.errors import Conflict, PublicError

log = logging.getLogger("codeb.vault")

BATCH = 200
"""rows that one transaction seals anew: other writers wait that long"""


async def settle(kit: Kit) -> None:
    """Have a key that may be used, or say why not. Makes one only where nothing in the registry ever named one. Lets go of keys
    that nothing names any more: a change that was written down as done died before the file was.

    Never raises for a key that is lost, another or not to be believed: the vault is shut then, and the rest works. Safe to
    repeat.
    """
    async with kit.keyring.turn:
        await _settle(kit)


async def _settle(kit: Kit) -> None:
    former = kit.keyring.fault
    try:
        fault = await _unfit(kit)
    except PublicError as refused:
        fault = refused
    kit.keyring.shut(fault)
    if fault is not None and (former is None or former.message != fault.message):
        log.error("%s %s", fault.message, fault.hint)


async def _unfit(kit: Kit) -> PublicError | None:
    """Why the keys here are not the registry's. Raises `PublicError` when that cannot be known."""
    ring, standing = kit.keyring, kit.store.standing
    in_force, named, changing = await kit.store.consult(_needed)
    may_claim = standing.leads and not standing.degraded
    if not await asyncio.to_thread(ring.read):
        if in_force is not None or named:
            return _lost(ring.where, in_force, named)
        if not may_claim:
            return closed("There is no master key yet: the process that leads makes it.", f"Copy its file to {ring.where}.")
        await asyncio.to_thread(ring.begin)
        log.warning("first start: the master key is in %s; keep a copy of it apart from the backups of the registry", ring.where)
    if in_force is None and may_claim and set(named) <= set(ring.ids):
        in_force = await kit.store.transact(lambda registry: _claim(registry, ring.ids[0]))
    if in_force is None and set(named) <= set(ring.ids):
        return None
    if may_claim and in_force == ring.ids[0] and len(ring.ids) > 1 and not (changing or standing.pending or standing.owed):
        await _let_go(ring, named)
    return None if in_force in ring.ids else _another(ring.where, in_force, named)


async def _let_go(ring: Keyring, named: Mapping[str, int]) -> None:
    """Of the keys of a change that ended; a file that cannot be written keeps them, and everything stays readable."""
    try:
        await asyncio.to_thread(ring.keep, named)
    except PublicError as fault:
        log.warning("an old master key stays in its file for now: %s", fault)


async def _needed(registry: Registry) -> tuple[str | None, Mapping[str, int], bool]:
    return await registry.seals.in_force(), await registry.seals.named(), await registry.seals.changing()


async def _claim(registry: Registry, key_id: str) -> str:
    """The key in force: this one, unless another home was first."""
    if (there := await registry.seals.in_force()) is not None:
        return there
    await registry.seals.use(key_id)
    return key_id


def _lost(where: str, in_force: str | None, named: Mapping[str, int]) -> PublicError:
    return closed(
        f"There is no master key at {where}: it is gone, or was never in this home, and {_what(in_force, named)}.",
        f"Put the kept copy back at {where}, or copy the file of another home on this registry, such as the one that leads. "
        "Only if it is gone for good: we keys rotate-master --lost",
    )


def _another(where: str, in_force: str | None, named: Mapping[str, int]) -> PublicError:
    return closed(
        f"{where} has another master key than the registry: {_what(in_force, named)}.",
        f"Copy the file of the home that has it to {where}. Only if that key is gone for good: we keys rotate-master --lost",
    )


def _what(in_force: str | None, named: Mapping[str, int]) -> str:
    count = sum(named.values())
    return f"{count} secrets are sealed, and the key in force is {in_force or ' or '.join(sorted(named))}"


@dataclass(frozen=True)
class Changed:
    """How a change of the master key ended. `unreadable`: rows whose key is not here, or which were altered; they stay as they
    are. `finished`: it was the end of an earlier change that was interrupted."""

    key_id: str
    retired: tuple[str, ...] = ()
    resealed: int = 0
    unreadable: int = 0
    finished: bool = False


Note = Callable[[Registry, Changed], Awaitable[None]]
"""what is to be written with the end of a change; where it cannot be, the change has not ended"""


async def rotate(
    kit: Kit, *, lost: bool = False, allowed: Callable[[], Awaitable[None]] | None = None, note: Note | None = None
) -> Changed:
    """Seal everything with a new key and let go of the old ones; an interrupted change is finished instead.

    `lost`: begin anew though the key in force is not here; what was sealed with it stays sealed. Safe to repeat: a death at
    any point leaves everything readable, and the next call goes on from there. `allowed` is asked when it is this call's turn,
    and raises why it is not to be after all. `note` runs once everything is sealed anew,
    in the last transaction, before an old key is let go of. Raises `Unavailable` (`vault_closed`), and
    `Conflict` (`not_lost`, `not_replayed`).
    """
    async with kit.keyring.turn:
        if allowed is not None:
            await allowed()
        return await _rotate(kit, lost, note)


async def _rotate(kit: Kit, lost: bool, note: Note | None) -> Changed:
    standing = kit.store.standing
    if standing.pending or standing.owed:
        raise Conflict(
            "Something done while the database was away is not in it yet, and may be sealed with the key of now. Nothing was "
            "changed.", code="not_replayed", hint="Try again once it is added: see health_check.",
        )  # fmt: skip
    await _settle(kit)
    ring = kit.keyring
    in_force, named, _ = await kit.store.consult(_needed)
    missing = in_force not in ring.ids if in_force is not None else bool(set(named) - set(ring.ids))
    if lost and not missing:
        raise Conflict(
            "The master key in force is here, so it is not lost. Nothing was changed.", code="not_lost", hint="Leave out `lost`."
        )
    if ring.fault is not None and not (lost and missing):
        raise ring.fault
    if not lost and len(ring.ids) > 1:
        ended = await _seal_anew(kit, note, earlier=True, before=in_force)
        if ended.finished:
            return ended
    await asyncio.to_thread(ring.begin)
    return await _seal_anew(kit, note)


async def _seal_anew(kit: Kit, note: Note | None, *, earlier: bool = False, before: str | None = None) -> Changed:
    """Everything that opens is sealed with the newest key, which is in force from now on. `earlier`: to finish an earlier
    change, when `before` was in force; where nothing was left of it, that is no change and not noted."""
    ring = kit.keyring
    newest, former = ring.ids[0], set(ring.ids[1:])
    ring.shut(None)
    await kit.store.transact(lambda registry: registry.seals.use(newest, changing=True))
    after: Sealed | None = None
    resealed = unreadable = 0
    while True:

        async def some(registry: Registry, last: Sealed | None = after) -> tuple[Sealed | None, int, int]:
            return await _batch(kit, registry, newest, last)

        after, done, left = await kit.store.transact(some)
        resealed, unreadable = resealed + done, unreadable + left
        if after is None:
            break

    async def end(registry: Registry) -> tuple[set[str], Changed]:
        named = set(await registry.seals.named())
        retired = tuple(sorted(former - named))
        finished = earlier and bool(resealed or retired or before != newest)
        change = Changed(newest, retired, resealed, unreadable, finished)
        if note is not None and (finished or not earlier):
            await note(registry, change)
        await registry.seals.use(newest)
        return named, change

    named, ended = await kit.store.transact(end)
    await asyncio.to_thread(ring.keep, named)
    return ended


async def _batch(kit: Kit, registry: Registry, newest: str, after: Sealed | None) -> tuple[Sealed | None, int, int]:
    """The last row looked at (None: there was none), how many were sealed anew, and how many do not open."""
    rows = await registry.seals.others(newest, after=after, limit=BATCH)
    left = 0
    for row in rows:
        try:
            secret = kit.vault.open(row.text, row.about)
        except PublicError as fault:
            left += 1
            log.warning("%s %s", row.about, fault.message)
        else:
            await registry.seals.replace(row, kit.vault.seal(secret, row.about))
    return (rows[-1] if rows else None), len(rows) - left, left
