"""Parts of a Redis, by redis-py, as a user that may do everything.

A project is a user of the ACL that reaches keys and channels of its own prefix. What would show names of others, or touch
what all share, is taken away: a key pattern alone hides nothing from SCAN, RANDOMKEY, DBSIZE, MONITOR, tracking.
Passwords go over the wire as the SHA-256 that the server keeps. The holding's mark stands among them, as a hash of nothing.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, BinaryIO

from redis.asyncio import Redis
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as NotThere
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as TooSlow

from codeb.contracts.databases import gone, taken
from codeb.drivers.databases.dumps import dump_file
from codeb.errors import Conflict, StepFailed, Unavailable
from codeb.model.secret import Secret
from codeb.model.specs import Finding
from codeb.model.storage import Endpoint, Found, Holding, prefix_of

MARK = "c0deb000"
TENANT = (
    "+@all", "-@admin", "-@dangerous",
    "-scan", "-randomkey", "-dbsize", "-keys", "-pubsub", "-client|tracking",  # names and numbers of others
    "-select", "-move", "-function", "-script", "-memory", "-lolwut",  # what all share
    "+script|load", "+script|exists", "+memory|usage", "+acl|whoami",
    "+info",  # asked for by many clients as they connect
)  # fmt: skip
ALL = ("~*", "&*", "+@all")
BATCH = 500


def _hash(password: Secret) -> str:
    return hashlib.sha256(password.reveal().encode()).hexdigest()


def _mark(what: Holding) -> str:
    """64 digits that begin as ours do and hold the mark; nobody knows a password whose hash they are."""
    digits = "".join(each for each in what.mark.rpartition("_")[2].lower() if each in "0123456789abcdef")
    return MARK + digits.rjust(64 - len(MARK), "0")


class _Line:
    """One user as `ACL LIST` writes it."""

    def __init__(self, text: str) -> None:
        _, self.name, *self.rules = text.split(" ")
        self.on = "on" in self.rules
        self.hashes = [rule[1:] for rule in self.rules if rule.startswith("#")]

    @property
    def mark(self) -> str | None:
        return next((each for each in self.hashes if each.startswith(MARK)), None)


@asynccontextmanager
async def _told() -> AsyncIterator[None]:
    try:
        yield
    except (NotThere, TooSlow, OSError) as fault:
        raise Unavailable(
            f"The Redis of the storage server does not answer: {type(fault).__name__}.", code="storage_unavailable",
            hint="See whether it runs and lets CodeB in, then try again.",
        ) from fault  # fmt: skip
    except RedisError as fault:
        raise StepFailed(
            f"Redis refused: {str(fault)[:200]}", code="storage_refused",
            hint="See what the user of CODEB_STORAGE_REDIS_URL may do.",
        ) from fault  # fmt: skip


def _unfit(why: str, fix: str) -> Conflict:
    return Conflict(f"{why} Nothing was given out.", code="redis_unfit", hint=fix)


class RedisCaches:
    """`url` names the user CodeB works as: one with all rights, and better not the default one."""

    def __init__(self, url: Secret, home: Path) -> None:
        self._url = url
        self._home = home

    @property
    def where(self) -> Endpoint:
        parts = parse_url(self._url.reveal())
        return Endpoint(str(parts.get("host", "localhost")), int(parts.get("port", 6379)))

    @asynccontextmanager
    async def _server(self, database: int = 0) -> AsyncIterator[Any]:
        # the commands used here return what the protocol says, whatever the version of the library makes of it
        client: Any = Redis.from_url(
            self._url.reveal(),
            db=database,
            protocol=2,
            socket_connect_timeout=5,
            socket_timeout=30,
            single_connection_client=True,
            # who asks knows when to ask again; the library would pause for seconds first, also after a refused password
            retry=Retry(NoBackoff(), 0),
        )
        async with _told():
            try:
                yield client
            finally:
                await client.aclose()

    async def _users(self, server: Any) -> dict[str, _Line]:
        said = await server.execute_command("ACL LIST")
        lines = [_Line(each.decode() if isinstance(each, bytes) else each) for each in said]
        return {line.name: line for line in lines}

    async def _mine(self, server: Any, what: Holding) -> bool:
        line = (await self._users(server)).get(what.name)
        return line is not None and line.mark == _mark(what)

    async def _save(self, server: Any) -> None:
        """Users outlive a restart. Raises `Conflict` where the server has no way to keep them."""
        for command in ("ACL SAVE", "CONFIG REWRITE"):
            try:
                await server.execute_command(command)
            except ResponseError:
                continue
            return
        raise _unfit("This Redis forgets its users when it restarts.", "Give it an aclfile, then call this again.")

    async def _close_default(self, server: Any, users: Mapping[str, _Line]) -> None:
        """Nobody gets in without a password. The default user keeps its permissions: without them Redis drops transactions and
        scripts when it loads its append-only file."""
        default = users.get("default")
        if default is None:
            return
        if default.on and "nopass" in default.rules:
            me = await server.execute_command("ACL WHOAMI")
            if me in (b"default", "default"):
                why = "This Redis lets everybody in, so a user of its own would protect nobody."
                raise _unfit(why, "Make a user with all rights and a password, and name it in CODEB_STORAGE_REDIS_URL.")
            await server.execute_command("ACL SETUSER", "default", "off", "resetpass", *ALL)
        elif not default.on and not {"~*", "&*", "+@all"} <= set(default.rules):
            await server.execute_command("ACL SETUSER", "default", *ALL)

    async def admit(self, what: Holding, passwords: Mapping[int, Secret]) -> None:
        prefix = prefix_of(what.name)
        async with self._server() as server:
            users = await self._users(server)
            line = users.get(what.name)
            if line is not None and line.mark != _mark(what):
                raise taken(what.name)
            if line is None and await self._has_keys(server, prefix):
                raise taken(prefix)
            await self._close_default(server, users)
            hashes = [f"#{_mark(what)}", *(f"#{_hash(each)}" for each in passwords.values())]
            own = ("resetchannels", f"~{prefix}*", f"&{prefix}*")
            await server.execute_command("ACL SETUSER", what.name, "reset", "on", *hashes, *own, *TENANT)
            await self._save(server)

    async def _has_keys(self, server: Any, prefix: str) -> bool:
        for number in await self._numbers(server):
            async with self._server(number) as there:
                async for _ in there.scan_iter(match=f"{prefix}*", count=BATCH):
                    return True
        return False

    async def _numbers(self, server: Any) -> list[int]:
        """The databases that hold something: COPY reaches others than the first."""
        said = await server.execute_command("INFO", "keyspace")
        if isinstance(said, dict):
            return sorted(int(str(name)[2:]) for name in said)
        text = said.decode() if isinstance(said, bytes) else str(said)
        return sorted(int(line[2:].partition(":")[0]) for line in text.split() if line.startswith("db"))

    async def allow(self, what: Holding, entry: bool) -> None:
        async with self._server() as server:
            if not await self._mine(server, what):
                return
            await server.execute_command("ACL SETUSER", what.name, "on" if entry else "off")
            await self._save(server)
            if not entry:
                await server.execute_command("CLIENT KILL", "USER", what.name)

    async def drop(self, what: Holding) -> None:
        await self.allow(what, entry=False)
        async with self._server() as server:
            if not await self._mine(server, what):
                return
            for number in await self._numbers(server):
                async with self._server(number) as there:
                    async for keys in _batches(there, prefix_of(what.name)):
                        await there.execute_command("UNLINK", *keys)
            await server.execute_command("ACL DELUSER", what.name)
            await self._save(server)

    async def all(self) -> Mapping[str, Found]:
        async with self._server() as server:
            users = await self._users(server)
            said = await server.execute_command("CLIENT LIST")
        who = [str(each.get("user")) for each in said] if isinstance(said, list) else _users_in(said)
        return {
            line.name: Found(_stripped(line.mark), open=line.on, sessions=who.count(line.name))
            for line in users.values() if line.mark is not None
        }  # fmt: skip

    async def dump(self, what: Holding, stem: str) -> str:
        async with self._server() as server:
            if not await self._mine(server, what):
                raise gone(what.name)
            async with dump_file(self._home, f"{stem}.resp") as (partly, final):
                written = 0
                with partly.open("wb") as file:
                    for number in await self._numbers(server):
                        written += await self._write(number, prefix_of(what.name), file)
                if (read := await asyncio.to_thread(_count, partly)) != written:
                    raise StepFailed(f"The dump of {what.name} has {read} keys of {written}.", code="dump_failed")
            return str(final)

    async def _write(self, number: int, prefix: str, file: BinaryIO) -> int:
        """Every key of the prefix as the command that brings it back, at the end that it has now."""
        written = 0
        async with self._server(number) as there:
            async for keys in _batches(there, prefix):
                seconds, micros = await there.time()
                asked = there.pipeline(transaction=False)
                for key in keys:
                    asked.execute_command("DUMP", key)
                    asked.execute_command("PTTL", key)
                said = await asked.execute()
                for key, value, left in zip(keys, said[::2], said[1::2], strict=True):
                    if value is None:  # it expired meanwhile
                        continue
                    if not written:
                        file.write(_command(b"SELECT", str(number).encode()))
                    ends = seconds * 1000 + micros // 1000 + left if left > 0 else 0
                    file.write(_command(b"RESTORE", key, str(ends).encode(), value, b"REPLACE", b"ABSTTL"))
                    written += 1
        return written

    async def check(self) -> Finding:
        """Whether it answers, and whether it lets anybody in without a password."""
        try:
            async with self._server() as server:
                default = (await self._users(server)).get("default")
        except (Unavailable, StepFailed) as fault:
            return Finding("redis", "fail", fault.message, fault.hint)
        if default is not None and default.on and "nopass" in default.rules:
            return Finding("redis", "warn", "Redis lets everybody in without a password", "Close its default user.")
        return Finding("redis", "pass", "Redis answers")


def _users_in(said: Any) -> list[str]:
    text = said.decode() if isinstance(said, bytes) else str(said)
    return [word.removeprefix("user=") for word in text.split() if word.startswith("user=")]


def _stripped(mark: str | None) -> str:
    return (mark or "").removeprefix(MARK).lstrip("0")


async def _batches(there: Any, prefix: str) -> AsyncIterator[list[bytes]]:
    cursor: Any = 0
    while True:
        cursor, keys = await there.scan(cursor, match=f"{prefix}*", count=BATCH)
        if keys:
            yield keys
        if int(cursor) == 0:
            return


def _command(*words: bytes) -> bytes:
    """As the protocol has it: what `redis-cli --pipe` reads."""
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


def _count(path: Path) -> int:
    """How many whole RESTORE commands the file has. Raises `StepFailed` for one that is cut or altered in its frame."""
    found = 0
    with path.open("rb") as file:
        while head := file.readline():
            try:
                if head[:1] != b"*":
                    raise ValueError("no command begins here")
                words = [_word(file) for _ in range(int(head[1:]))]
            except ValueError as fault:
                raise StepFailed(f"The dump cannot be read: {fault}.", code="dump_failed") from fault
            found += words[0] == b"RESTORE"
    return found


def _word(file: BinaryIO) -> bytes:
    head = file.readline()
    if head[:1] != b"$":
        raise ValueError("no word begins here")
    size = int(head[1:])
    word, end = file.read(size), file.read(2)
    if len(word) != size or end != b"\r\n":
        raise ValueError("a word is cut")
    return word
