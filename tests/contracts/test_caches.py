"""`contracts.databases.Caches` on every driver, and what a tenant of a real Redis may not (finding 1 and 2 of the components)."""

import subprocess
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pytest
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError

from codeb.contracts.databases import Caches
from codeb.drivers.databases.absent import NoCaches
from codeb.drivers.databases.memory import MemoryCaches, Part
from codeb.drivers.databases.redis import RedisCaches
from codeb.errors import Conflict, NotFound, StepFailed, Unavailable
from codeb.model.secret import Secret
from codeb.model.storage import Holding
from tests.redis import ADMIN, CLOSED, OPEN, RedisServer, redis, redis_server

__all__ = ["redis"]

pytestmark = pytest.mark.anyio

SHOP, BLOG = Holding("codebtest-shop-production", "sto_1a"), Holding("codebtest-blog-production", "sto_2b")
ONE, TWO = Secret("one-" + "x" * 28), Secret("two-'\" ~>#-" + "y" * 22)


class Bench(Protocol):
    caches: Caches

    def enter(self, what: Holding, word: Secret) -> bool: ...
    def note(self, what: Holding, word: Secret, key: str) -> None: ...
    def notes(self, what: Holding, word: Secret, *keys: str) -> set[str]: ...
    def foreign(self, name: str) -> None: ...
    def there(self, name: str) -> bool: ...


@dataclass
class Memory:
    caches: MemoryCaches

    def enter(self, what: Holding, word: Secret) -> bool:
        try:
            self.caches.enter(what.name, word.reveal())
        except KeyError:
            return False
        return True

    def note(self, what: Holding, word: Secret, key: str) -> None:
        self.caches.enter(what.name, word.reveal())[key] = True

    def notes(self, what: Holding, word: Secret, *keys: str) -> set[str]:
        return set(keys) & set(self.caches.enter(what.name, word.reveal()))

    def foreign(self, name: str) -> None:
        self.caches.parts[name] = Part("")

    def there(self, name: str) -> bool:
        return name in self.caches.parts


@dataclass
class Real:
    caches: RedisCaches
    server: RedisServer

    def tenant(self, what: Holding = SHOP, word: Secret = ONE, db: int = 0) -> Any:
        return self.server.client(what.name, word.reveal(), db)

    def enter(self, what: Holding, word: Secret) -> bool:
        try:
            return bool(self.tenant(what, word).ping())
        except AuthenticationError:
            return False

    def note(self, what: Holding, word: Secret, key: str) -> None:
        self.tenant(what, word).set(f"{what.name}:{key}", key)

    def notes(self, what: Holding, word: Secret, *keys: str) -> set[str]:
        there = self.tenant(what, word)
        return {key for key in keys if there.get(f"{what.name}:{key}") == key}

    def foreign(self, name: str) -> None:
        self.server.client().acl_setuser(name, enabled=True, passwords=["+foreign"])

    def there(self, name: str) -> bool:
        admin = self.server.client()
        return name in admin.acl_users() or bool(admin.keys(f"{name}:*"))


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.redis)])
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    if request.param == "memory":
        yield Memory(MemoryCaches())
        return
    server: RedisServer = request.getfixturevalue("redis")
    yield Real(RedisCaches(server.url, tmp_path), server)


@pytest.fixture
def real(redis: RedisServer, tmp_path: Path) -> Real:
    return Real(RedisCaches(redis.url, tmp_path), redis)


async def test_its_password_lets_in_and_no_other(bench: Bench) -> None:
    await bench.caches.admit(SHOP, {1: ONE})
    await bench.caches.admit(BLOG, {1: TWO})
    assert [bench.enter(SHOP, ONE), bench.enter(SHOP, TWO)] == [True, False]
    bench.note(SHOP, ONE, "a")
    assert bench.notes(SHOP, ONE, "a", "b") == {"a"}
    found = await bench.caches.all()
    assert {name: (each.mark, each.open) for name, each in found.items()} == {
        each.name: (each.mark if isinstance(bench, Memory) else each.mark[4:], True) for each in (SHOP, BLOG)
    }


async def test_all_of_it_may_be_repeated(bench: Bench) -> None:
    for _ in range(2):
        await bench.caches.admit(SHOP, {1: ONE})
        bench.note(SHOP, ONE, "a")
    assert bench.notes(SHOP, ONE, "a") == {"a"}
    for _ in range(2):
        await bench.caches.drop(SHOP)
    assert not bench.there(SHOP.name)
    await bench.caches.allow(SHOP, entry=True)


async def test_two_passwords_let_in_until_one_is_ended(bench: Bench) -> None:
    await bench.caches.admit(SHOP, {1: ONE})
    await bench.caches.admit(SHOP, {1: ONE, 2: TWO})
    bench.note(SHOP, ONE, "old")
    bench.note(SHOP, TWO, "new")
    assert bench.notes(SHOP, ONE, "old", "new") == bench.notes(SHOP, TWO, "old", "new") == {"old", "new"}
    await bench.caches.admit(SHOP, {2: TWO})
    assert [bench.enter(SHOP, ONE), bench.enter(SHOP, TWO)] == [False, True]


async def test_closed_it_lets_nobody_in_and_open_again_it_does(bench: Bench) -> None:
    await bench.caches.admit(SHOP, {1: ONE})
    await bench.caches.allow(SHOP, entry=False)
    assert not bench.enter(SHOP, ONE)
    assert not (await bench.caches.all())[SHOP.name].open
    await bench.caches.allow(SHOP, entry=True)
    assert bench.enter(SHOP, ONE)


async def test_a_namesake_is_never_touched(bench: Bench) -> None:
    await bench.caches.admit(SHOP, {1: ONE})
    bench.note(SHOP, ONE, "kept")
    other = Holding(SHOP.name, "sto_3c")
    with pytest.raises(Conflict) as refused:
        await bench.caches.admit(other, {1: TWO})
    assert refused.value.code == "name_taken"
    await bench.caches.allow(other, entry=False)
    await bench.caches.drop(other)
    with pytest.raises(NotFound):
        await bench.caches.dump(other, "other")
    assert bench.notes(SHOP, ONE, "kept") == {"kept"}
    bench.foreign("codebtest-foreign")
    with pytest.raises(Conflict):
        await bench.caches.admit(Holding("codebtest-foreign", "sto_4d"), {1: ONE})
    await bench.caches.drop(Holding("codebtest-foreign", "sto_4d"))
    assert bench.there("codebtest-foreign")


async def test_without_a_server_every_verb_says_so() -> None:
    none = NoCaches()
    for asked in (none.admit(SHOP, {1: ONE}), none.allow(SHOP, True), none.dump(SHOP, "x"), none.drop(SHOP), none.all()):
        with pytest.raises(Conflict) as refused:
            await asked
        assert refused.value.code == "storage_not_set"


# what a tenant may not, by trying it

REFUSED = {
    "the key of another": ("GET", f"{BLOG.name}:secret"), "writing there": ("SET", f"{BLOG.name}:x", "1"),
    "a key without prefix": ("SET", "plain", "1"), "renaming into it": ("RENAME", f"{SHOP.name}:a", f"{BLOG.name}:a"),
    "a script that does": ("EVAL", f"return redis.call('GET', '{BLOG.name}:secret')", "0"),
    "a channel of another": ("PUBLISH", f"{BLOG.name}:c", "x"), "all channels": ("PUBSUB", "CHANNELS"),
    "names by SCAN": ("SCAN", "0"), "names by KEYS": ("KEYS", "*"), "a name by chance": ("RANDOMKEY",),
    "how many there are": ("DBSIZE",), "names by tracking": ("CLIENT", "TRACKING", "ON", "BCAST"),
    "FLUSHALL": ("FLUSHALL",), "FLUSHDB": ("FLUSHDB",), "SWAPDB": ("SWAPDB", "0", "1"), "MOVE": ("MOVE", f"{SHOP.name}:a", "1"),
    "CONFIG GET": ("CONFIG", "GET", "dir"), "CONFIG SET": ("CONFIG", "SET", "dir", "/tmp"), "MONITOR": ("MONITOR",),
    "ACL LIST": ("ACL", "LIST"), "ACL SETUSER": ("ACL", "SETUSER", SHOP.name, "~*"), "DEBUG": ("DEBUG", "SLEEP", "0"),
    "CLIENT LIST": ("CLIENT", "LIST"), "CLIENT KILL": ("CLIENT", "KILL", "TYPE", "normal"), "SAVE": ("SAVE",),
    "SHUTDOWN": ("SHUTDOWN",), "REPLICAOF": ("REPLICAOF", "192.0.2.1", "6379"), "MODULE": ("MODULE", "LIST"),
    "scripts of others": ("SCRIPT", "FLUSH"), "functions of all": ("FUNCTION", "LOAD", "REPLACE", "#!lua name=x\n"),
    "another database": ("SELECT", "1"), "SLOWLOG": ("SLOWLOG", "GET"), "MIGRATE": ("MIGRATE", "192.0.2.1", "1", "k", "0", "9"),
}  # fmt: skip


@pytest.mark.redis
async def test_what_a_tenant_may_not_is_refused(real: Real) -> None:
    await real.caches.admit(SHOP, {1: ONE})
    await real.caches.admit(BLOG, {1: TWO})
    real.tenant(BLOG, TWO).set(f"{BLOG.name}:secret", "canary")
    got = {}
    for name, words in REFUSED.items():
        try:
            got[name] = real.tenant().execute_command(*words)
        except NoPermissionError:
            continue
        except RedisError as fault:
            if not any(said in str(fault) for said in ("can't access", "DEBUG command not allowed")):
                got[name] = fault
    assert got == {}
    assert real.server.client().get(f"{BLOG.name}:secret") == "canary"


@pytest.mark.redis
async def test_what_an_app_needs_works(real: Real) -> None:
    await real.caches.admit(SHOP, {1: ONE})
    app, key = real.tenant(), f"{SHOP.name}:k"
    assert app.info("server")["redis_version"]
    with app.pipeline(transaction=True) as both:
        assert both.set(key, 1).incr(key).execute() == [True, 2]
    assert app.eval("return redis.call('INCR', KEYS[1])", 1, key) == 3
    assert app.register_script("return redis.call('GET', KEYS[1])")(keys=[key]) == "3"
    app.xadd(f"{SHOP.name}:stream", {"a": "1"})
    heard = app.pubsub()
    heard.subscribe(f"{SHOP.name}:c")
    assert app.publish(f"{SHOP.name}:c", "x") == 1
    heard.close()


@pytest.mark.redis
async def test_nobody_gets_in_without_a_password_and_nothing_is_lost_at_a_restart(real: Real) -> None:
    """The default user keeps its permissions: without them transactions and scripts are dropped when the log is loaded."""
    assert real.server.client(None, None).ping()
    await real.caches.admit(SHOP, {1: ONE})
    with pytest.raises(RedisError):
        real.server.client(None, None).ping()
    app = real.tenant()
    app.eval("for i = 1, 500 do redis.call('SET', KEYS[1] .. i, i) end", 1, f"{SHOP.name}:")
    with app.pipeline(transaction=True) as both:
        both.set(f"{SHOP.name}:x", 1).set(f"{SHOP.name}:y", 2).execute()
    app.execute_command("WAIT", 0, 0)
    admin = real.server.client()
    admin.config_set("appendfsync", "always")
    admin.set("last", 1)
    real.server.kill()
    real.server.start()
    assert real.enter(SHOP, ONE)
    assert real.server.client().dbsize() == 503


@pytest.mark.redis
@pytest.mark.parametrize("line", ["user default off\n", "user default on nopass ~mine:* +get\n"])
async def test_a_default_user_that_lost_its_permissions_gets_them_back(line: str, tmp_path: Path) -> None:
    with redis_server(line + ADMIN) as server:
        await RedisCaches(server.url, tmp_path).admit(SHOP, {1: ONE})
        (now,) = [each for each in server.client().acl_list() if each.startswith("user default ")]
        assert {"off", "~*", "&*", "+@all"} <= set(now.split())


@pytest.mark.redis
@pytest.mark.parametrize(("acl", "url"), [(OPEN, "redis://127.0.0.1:{port}"), (None, "redis://127.0.0.1:{port}")])
async def test_a_server_that_lets_everybody_in_or_forgets_is_not_used(acl: str | None, url: str, tmp_path: Path) -> None:
    with redis_server(acl) as server:
        caches = RedisCaches(Secret(url.format(port=server.port)), tmp_path)
        with pytest.raises(Conflict) as refused:
            await caches.admit(SHOP, {1: ONE})
        assert refused.value.code == "redis_unfit"
        assert SHOP.name not in server.client(None, None).acl_users()
        assert (await caches.check()).status == "warn"


@pytest.mark.redis
async def test_keys_that_are_there_already_are_somebody_elses(real: Real) -> None:
    real.server.client(db=3).set(f"{SHOP.name}:old", "of whom?")
    with pytest.raises(Conflict):
        await real.caches.admit(SHOP, {1: ONE})
    await real.caches.drop(SHOP)
    assert real.server.client(db=3).get(f"{SHOP.name}:old") == "of whom?"


# the end


@pytest.mark.redis
async def test_the_final_dump_brings_everything_back(real: Real, tmp_path: Path) -> None:
    await real.caches.admit(SHOP, {1: ONE})
    await real.caches.admit(BLOG, {1: TWO})
    app, raw = real.tenant(), b"\r\n\x00\xff$1"
    app.set(f"{SHOP.name}:bytes", raw)
    app.set(f"{SHOP.name}:soon", "x", px=3_600_000)
    app.rpush(f"{SHOP.name}:list", *range(1000))
    for number in range(1200):
        app.set(f"{SHOP.name}:{number}", number)
    app.execute_command("COPY", f"{SHOP.name}:1", f"{SHOP.name}:aside", "DB", "5")
    real.note(BLOG, TWO, "kept")
    await real.caches.allow(SHOP, entry=False)
    path = Path(await real.caches.dump(SHOP, "final"))
    assert (path.parent, path.stat().st_mode & 0o777) == (tmp_path / "backups" / "storage", 0o600)
    await real.caches.drop(SHOP)
    admin = real.server.client()
    assert (admin.keys("*"), admin.acl_users()) == ([f"{BLOG.name}:kept"], ["admin", BLOG.name, "default"])
    assert real.server.client(db=5).dbsize() == 0

    words = ["redis-cli", "-p", str(real.server.port), "--user", "admin", "--pass", "admin-word", "--no-auth-warning", "--pipe"]
    ended = subprocess.run(words, input=path.read_bytes(), capture_output=True, check=True, timeout=30)
    assert b"errors: 0" in ended.stdout
    assert real.server.client(db=5).keys("*") == [f"{SHOP.name}:aside"]
    assert len(admin.keys(f"{SHOP.name}:*")) == 1203
    assert admin.lrange(f"{SHOP.name}:list", 0, -1) == [str(number) for number in range(1000)]
    assert 3_500_000 < admin.pttl(f"{SHOP.name}:soon") <= 3_600_000
    plain = real.server.client()
    plain.connection_pool.connection_kwargs["decode_responses"] = False
    assert plain.get(f"{SHOP.name}:bytes") == raw


@pytest.mark.redis
async def test_connections_of_one_that_is_closed_end(real: Real) -> None:
    await real.caches.admit(SHOP, {1: ONE})
    app = real.tenant()
    app.ping()
    assert (await real.caches.all())[SHOP.name].sessions == 1
    await real.caches.allow(SHOP, entry=False)
    with pytest.raises(RedisError):
        app.ping()


@pytest.mark.redis
async def test_a_dump_that_cannot_be_written_leaves_nothing(real: Real, tmp_path: Path, monkeypatch: Any) -> None:
    await real.caches.admit(SHOP, {1: ONE})
    real.note(SHOP, ONE, "a")
    monkeypatch.setattr("codeb.drivers.databases.redis._count", lambda path: 0)
    with pytest.raises(StepFailed) as refused:
        await real.caches.dump(SHOP, "final")
    assert refused.value.code == "dump_failed"
    assert list((tmp_path / "backups" / "storage").iterdir()) == []


@pytest.mark.redis
async def test_a_server_that_is_gone_says_so(real: Real) -> None:
    real.server.kill()
    with pytest.raises(Unavailable) as refused:
        await real.caches.admit(SHOP, {1: ONE})
    assert "admin-word" not in str(refused.value)
    assert (await real.caches.check()).status == "fail"


@pytest.fixture
def closed(tmp_path: Path) -> Iterator[Real]:
    with redis_server(CLOSED + ADMIN) as server:
        yield Real(RedisCaches(server.url, tmp_path), server)


@pytest.mark.redis
async def test_a_closed_server_is_well(closed: Real) -> None:
    await closed.caches.admit(SHOP, {1: ONE})
    assert closed.enter(SHOP, ONE)
    assert (await closed.caches.check()).status == "pass"
