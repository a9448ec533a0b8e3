"""How the outside fails: one call by its number, in one way, at the place where CodeB meets a driver or a database.

A way says what the caller sees and whether the effect happened. Databases fail at their sessions, so that what the store
makes of it is part of what is tested.
"""

import asyncio
import errno
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy.exc import OperationalError, ProgrammingError

from codeb.contracts.kit import Kit
from codeb.drivers.runtime.docker_client import Refused
from codeb.errors import Unavailable
from codeb.model.specs import Answer
from tests.kit import Rig

PARTS = (
    "runtime", "networks", "images", "ports", "proxy", "logs", "health", "records", "env_files", "dns", "curtain",
    "databases", "caches", "instances", "firewall", "image_registry", "pulls",
)  # fmt: skip
WRITES = (
    "records.", "env_files.keep", "env_files.remove", "store.write", "store.commit",
    "proxy.put_site", "proxy.remove_site", "proxy.set_live", "proxy.set_fallback",
)  # fmt: skip
LEAK = "/var/lib/codeb/owner.key: input/output error"
"""what an unforeseen error says; no caller may ever read it"""
AWAY = 3
"""calls that fail after one whose reply was lost"""
DRIVER_SECONDS = 30.0


def _outside(call: str) -> bool:
    return not call.startswith("store.")


WAYS: dict[str, Callable[[str], bool]] = {
    "refused": lambda call: True,
    "time-out": lambda call: True,
    "500": lambda call: True,
    "full": lambda call: call.startswith(WRITES),
    "lost": lambda call: (_outside(call) and not call.startswith("health.")) or call == "store.commit",
    "lost, then away": lambda call: (_outside(call) and not call.startswith("health.")) or call == "store.commit",
    "hang": _outside,
    "done, then hang": lambda call: _outside(call) and not call.startswith("health."),
}
"""way -> which calls can fail like that"""


@dataclass
class Fault:
    """Counts the calls to the outside; the one with this number fails in this way."""

    number: int = -1
    way: str = ""
    only: str = ""
    """count only calls that begin like this"""
    fitting: bool = False
    """count only calls that can fail in this way"""
    on: bool = False
    hit: str = ""
    calls: list[str] = field(default_factory=list)
    limited: Callable[[], bool] = lambda: False
    """whether a call that hangs now is given up by its driver: outside of operations, nothing else ends it"""

    def now(self, call: str) -> str:
        """How this one fails: "" not at all."""
        if not self.on or not call.startswith(self.only) or (self.fitting and not WAYS[self.way](call)):
            return ""
        at = len(self.calls)
        self.calls.append(call)
        if at == self.number and WAYS[self.way](call):
            self.hit = call
            return "lost" if self.way.startswith("lost") else self.way
        return "refused" if self.hit and self.way == "lost, then away" and self.number < at <= self.number + AWAY else ""


async def _hang(call: str, fault: Fault) -> None:
    if fault.limited():
        await asyncio.sleep(DRIVER_SECONDS)
        _raise(call, "refused")
    await asyncio.Event().wait()


def _raise(call: str, how: str) -> None:
    if how in ("refused", "lost"):
        raise Unavailable(f"{call.partition('.')[0]} does not answer.")
    if how == "time-out":
        raise TimeoutError
    if how == "full":
        raise OSError(errno.ENOSPC, "No space left on device", LEAK)
    if how == "500":
        raise Refused(500, LEAK)


class _Flaky:
    """A driver whose verbs fail as the fault says."""

    def __init__(self, driver: Any, part: str, fault: Fault) -> None:
        self._driver, self._part, self._fault = driver, part, fault

    def __getattr__(self, name: str) -> Any:
        verb = getattr(self._driver, name)
        if name in ("route", "through", "where") or not callable(verb):
            return verb

        async def call(*args: Any, **kwargs: Any) -> Any:
            what = f"{self._part}.{name}"
            how = self._fault.now(what)
            if how == "hang":
                await _hang(what, self._fault)
            if how and self._part == "health":
                return Answer(500) if how == "500" else Answer(None, reason=how)
            if how in ("refused", "time-out", "full", "500"):
                _raise(what, how)
            done = await verb(*args, **kwargs)
            if how == "done, then hang":
                await _hang(what, self._fault)
            if how:
                _raise(what, how)
            return done

        return call


class _FlakyInside:
    """Who is spoken to inside a container is made at each call, and fails like the shared servers."""

    def __init__(self, inside: Any, fault: Fault) -> None:
        self._inside, self._fault = inside, fault

    def databases(self, *at: Any) -> Any:
        return _Flaky(self._inside.databases(*at), "inside", self._fault)

    def caches(self, *at: Any) -> Any:
        return _Flaky(self._inside.caches(*at), "inside", self._fault)


class _Session:
    """One transaction of a database that fails at a statement or at the commit."""

    def __init__(self, session: Any, fault: Fault, kind: str) -> None:
        self._session, self._fault, self._kind = session, fault, kind

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    async def run(self, statement: Any, parameters: Any = None) -> Any:
        _say_no(self._fault.now(f"store.{self._kind}"))
        return await self._session.run(statement, parameters)

    async def commit(self) -> None:
        how = self._fault.now("store.commit")
        if how == "lost":
            await self._session.commit()
        _say_no(how)
        if how != "lost":
            await self._session.commit()


def _say_no(how: str) -> None:
    if how == "time-out":
        raise TimeoutError
    if how == "500":
        raise ProgrammingError("statement", {}, sqlite3.ProgrammingError(LEAK))
    if how:
        text = "database or disk is full" if how == "full" else "disk I/O error"
        raise OperationalError("statement", {}, sqlite3.OperationalError(text))


class _Database:
    def __init__(self, database: Any, fault: Fault) -> None:
        self._database, self._fault = database, fault

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[Any]:
        async with self._database.writing() as session:
            yield _Session(session, self._fault, "write")

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Any]:
        async with self._database.reading() as session:
            yield _Session(session, self._fault, "read")


def flaky(fault: Fault) -> Callable[[Kit], Kit]:
    """For `Rig.boot`: the same kit with drivers that fail as the fault says."""

    def change(kit: Kit) -> Kit:
        parts: dict[str, Any] = {part: _Flaky(getattr(kit, part), part, fault) for part in PARTS}
        return replace(kit, **parts, inside=_FlakyInside(kit.inside, fault))

    return change


@contextmanager
def flaky_store(rig: Rig, fault: Fault) -> Iterator[None]:
    """Meanwhile the database of the rig fails as the fault says."""
    database = rig.store._database
    rig.store._database = _Database(database, fault)
    try:
        yield
    finally:
        rig.store._database = database
