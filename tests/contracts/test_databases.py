"""`contracts.databases.Databases` on every driver: who gets in, who does not, and what is left afterwards."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import psycopg
import pytest

from codeb.contracts.databases import Databases
from codeb.drivers.databases.absent import NoDatabases
from codeb.drivers.databases.memory import MemoryDatabases, Part
from codeb.drivers.databases.postgres import PostgresDatabases
from codeb.errors import Conflict, NotFound
from codeb.model.secret import Secret
from codeb.model.storage import Holding, login_of
from tests.postgres import Server, postgres

__all__ = ["postgres"]

pytestmark = pytest.mark.anyio

SHOP, BLOG = Holding("codebtest_shop", "sto_1a"), Holding("codebtest_blog", "sto_2b")
ONE, TWO = Secret("one-" + "x" * 28), Secret("two-'\"\\%s-" + "y" * 22)


class Bench(Protocol):
    databases: Databases

    async def enter(self, what: Holding, generation: int, word: Secret) -> bool: ...
    async def note(self, what: Holding, generation: int, word: Secret, key: str) -> None: ...
    async def notes(self, what: Holding, generation: int, word: Secret) -> set[str]: ...
    async def foreign(self, name: str) -> None: ...
    async def there(self, name: str) -> bool: ...


@dataclass
class Memory:
    databases: MemoryDatabases

    async def enter(self, what: Holding, generation: int, word: Secret) -> bool:
        try:
            self.databases.enter(what.name, word.reveal())
        except KeyError:
            return False
        return True

    async def note(self, what: Holding, generation: int, word: Secret, key: str) -> None:
        self.databases.enter(what.name, word.reveal())[key] = True

    async def notes(self, what: Holding, generation: int, word: Secret) -> set[str]:
        return set(self.databases.enter(what.name, word.reveal()))

    async def foreign(self, name: str) -> None:
        self.databases.parts[name] = Part("")

    async def there(self, name: str) -> bool:
        return name in self.databases.parts


@dataclass
class Real:
    databases: PostgresDatabases
    server: Server

    async def tenant(self, what: Holding, generation: int, word: Secret, database: str = "") -> Any:
        return await psycopg.AsyncConnection.connect(
            host="127.0.0.1", port=self.server.port, user=login_of(what.name, generation), password=word.reveal(),
            dbname=database or what.name, autocommit=True, connect_timeout=5,
        )  # fmt: skip

    async def enter(self, what: Holding, generation: int, word: Secret) -> bool:
        try:
            async with await self.tenant(what, generation, word) as connection:
                await connection.execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    async def note(self, what: Holding, generation: int, word: Secret, key: str) -> None:
        async with await self.tenant(what, generation, word) as connection:
            await connection.execute("CREATE TABLE IF NOT EXISTS notes (key text)")
            await connection.execute("INSERT INTO notes VALUES (%s)", (key,))

    async def notes(self, what: Holding, generation: int, word: Secret) -> set[str]:
        async with await self.tenant(what, generation, word) as connection:
            return {row[0] for row in await (await connection.execute("SELECT key FROM notes")).fetchall()}

    def admin(self, database: str = "postgres") -> Any:
        return psycopg.connect(self.server.address(database), autocommit=True)

    async def foreign(self, name: str) -> None:
        with self.admin() as connection:
            connection.execute(f'CREATE ROLE "{name}"'.encode())

    async def there(self, name: str) -> bool:
        with self.admin() as connection:
            found = connection.execute(
                "SELECT datname FROM pg_database WHERE datname = %(n)s UNION SELECT rolname FROM pg_roles WHERE rolname = %(n)s "
                "OR starts_with(rolname, %(n)s || '_')", {"n": name},
            ).fetchall()  # fmt: skip
        return bool(found)

    def clean(self) -> None:
        with self.admin() as connection:
            for (name,) in connection.execute("SELECT datname FROM pg_database WHERE datname LIKE 'codebtest%'").fetchall():
                connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())
            for (name,) in connection.execute("SELECT rolname FROM pg_roles WHERE rolname LIKE 'codebtest%'").fetchall():
                connection.execute(f'DROP OWNED BY "{name}"'.encode())
                connection.execute(f'DROP ROLE "{name}"'.encode())


REAL = [pytest.param(kind, marks=pytest.mark.postgres) for kind in ("superuser", "plain")]


@pytest.fixture(params=["memory", *REAL])
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    if request.param == "memory":
        yield Memory(MemoryDatabases())
        return
    server: Server = request.getfixturevalue("postgres")
    made = Real(PostgresDatabases(Secret(server.address("postgres")), tmp_path), server)
    if request.param == "plain":
        with made.admin() as connection:
            connection.execute("CREATE ROLE codebtest_admin LOGIN CREATEROLE CREATEDB PASSWORD 'admin word'")
            connection.execute("GRANT CONNECT ON DATABASE postgres TO codebtest_admin")
        address = f"postgresql://codebtest_admin:admin%20word@127.0.0.1:{server.port}/postgres"
        made.databases = PostgresDatabases(Secret(address), tmp_path)
    try:
        yield made
    finally:
        made.clean()


async def given(bench: Bench, what: Holding = SHOP, word: Secret = ONE) -> None:
    await bench.databases.admit(what, 1, word)
    await bench.databases.make(what)


async def found(bench: Bench) -> Mapping[str, Any]:
    return await bench.databases.all()


async def test_its_password_lets_in_and_no_other(bench: Bench) -> None:
    await given(bench)
    await given(bench, BLOG, TWO)
    assert [await bench.enter(SHOP, 1, ONE), await bench.enter(SHOP, 1, TWO)] == [True, False]
    await bench.note(SHOP, 1, ONE, "a")
    assert await bench.notes(SHOP, 1, ONE) == {"a"}
    assert {name: (each.mark, each.logins, each.open) for name, each in (await found(bench)).items()} == {
        SHOP.name: (SHOP.mark, (1,), True), BLOG.name: (BLOG.mark, (1,), True),
    }  # fmt: skip


async def test_all_of_it_may_be_repeated(bench: Bench) -> None:
    for _ in range(2):
        await given(bench)
    await bench.note(SHOP, 1, ONE, "a")
    await given(bench)
    assert await bench.notes(SHOP, 1, ONE) == {"a"}
    for _ in range(2):
        await bench.databases.drop(SHOP)
    assert not await bench.there(SHOP.name)
    await bench.databases.allow(SHOP, entry=True)
    await bench.databases.keep(SHOP, ())


async def test_two_passwords_let_in_until_one_is_ended(bench: Bench) -> None:
    await given(bench)
    await bench.note(SHOP, 1, ONE, "old")
    await bench.databases.admit(SHOP, 2, TWO)
    await bench.note(SHOP, 2, TWO, "new")
    assert await bench.notes(SHOP, 1, ONE) == await bench.notes(SHOP, 2, TWO) == {"old", "new"}
    for _ in range(2):
        await bench.databases.keep(SHOP, [2])
    assert [await bench.enter(SHOP, 1, ONE), await bench.enter(SHOP, 2, TWO)] == [False, True]
    assert await bench.notes(SHOP, 2, TWO) == {"old", "new"}
    assert (await found(bench))[SHOP.name].logins == (2,)


async def test_closed_it_lets_nobody_in_and_open_again_it_does(bench: Bench) -> None:
    await given(bench)
    await bench.databases.allow(SHOP, entry=False)
    assert not await bench.enter(SHOP, 1, ONE)
    assert not (await found(bench))[SHOP.name].open
    await bench.databases.allow(SHOP, entry=True)
    assert await bench.enter(SHOP, 1, ONE)


async def test_a_namesake_is_never_touched(bench: Bench) -> None:
    await given(bench)
    await bench.note(SHOP, 1, ONE, "kept")
    other = Holding(SHOP.name, "sto_3c")
    with pytest.raises(Conflict) as refused:
        await bench.databases.admit(other, 2, TWO)
    assert refused.value.code == "name_taken"
    await bench.databases.allow(other, entry=False)
    await bench.databases.keep(other, ())
    await bench.databases.drop(other)
    with pytest.raises(NotFound):
        await bench.databases.dump(other, "other")
    assert await bench.notes(SHOP, 1, ONE) == {"kept"}
    await bench.foreign("codebtest_foreign")
    with pytest.raises(Conflict):
        await bench.databases.admit(Holding("codebtest_foreign", "sto_4d"), 1, ONE)
    await bench.databases.drop(Holding("codebtest_foreign", "sto_4d"))
    assert await bench.there("codebtest_foreign")


async def test_what_is_half_made_goes_without_a_trace(bench: Bench) -> None:
    await bench.databases.admit(SHOP, 1, ONE)
    await bench.databases.drop(SHOP)
    assert not await bench.there(SHOP.name)
    with pytest.raises(NotFound):
        await bench.databases.dump(SHOP, "nothing")


async def test_without_a_server_every_verb_says_so() -> None:
    none = NoDatabases()
    assert none.where is None
    for asked in (none.admit(SHOP, 1, ONE), none.make(SHOP), none.keep(SHOP, ()), none.allow(SHOP, True), none.all()):
        with pytest.raises(Conflict) as refused:
            await asked
        assert refused.value.code == "storage_not_set"
