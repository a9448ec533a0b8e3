"""What a tenant of a real PostgreSQL may not, by trying it; its objects across a rotation; the final dump and its return."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from codeb.drivers import shell
from codeb.drivers.databases.postgres import PostgresDatabases, _program
from codeb.errors import Conflict, StepFailed, Unavailable
from codeb.model.secret import Secret
from codeb.model.storage import CONNECTIONS, Holding
from tests.contracts.test_databases import BLOG, ONE, SHOP, TWO, Real
from tests.postgres import Server, postgres

__all__ = ["postgres"]

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]


@pytest.fixture
def real(postgres: Server, tmp_path: Path) -> Iterator[Real]:
    made = Real(PostgresDatabases(Secret(postgres.address("postgres")), tmp_path), postgres)
    try:
        yield made
    finally:
        made.clean()


async def given(real: Real) -> None:
    for what, word in ((SHOP, ONE), (BLOG, TWO)):
        await real.databases.admit(what, 1, word)
        await real.databases.make(what)


REFUSED = {
    "a role": "CREATE ROLE codebtest_x", "a database": "CREATE DATABASE codebtest_x", "a file": "COPY t TO '/tmp/codebtest'",
    "a program": "COPY t TO PROGRAM 'id'", "a program's words": "COPY t FROM PROGRAM 'id'",
    "reading files": "SELECT pg_read_file('/etc/passwd')", "being the admin": "SET ROLE postgres",
    "being another": f"SET ROLE {BLOG.name}", "a superuser": f"ALTER ROLE {SHOP.name} SUPERUSER",
    "more connections": f"ALTER ROLE {SHOP.name}_1 CONNECTION LIMIT 1000",
    "settings": "ALTER SYSTEM SET log_statement = 'all'", "passwords": "SELECT * FROM pg_authid",
    "a language": "CREATE FUNCTION f() RETURNS int LANGUAGE c AS 'x'",
    "the end of others": "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'postgres'",
    "replication": "SELECT pg_create_physical_replication_slot('codebtest')",
}  # fmt: skip


async def test_what_a_tenant_may_not_is_refused(real: Real) -> None:
    await given(real)
    other = real.admin()
    got = {}
    async with await real.tenant(SHOP, 1, ONE) as connection:
        await connection.execute("CREATE TABLE t (i int)")
        for name, text in REFUSED.items():
            try:
                got[name] = await (await connection.execute(text)).fetchall()
            except psycopg.errors.InsufficientPrivilege:
                continue
            except psycopg.Error as fault:
                got[name] = fault
    other.close()
    assert got == {}


@pytest.mark.parametrize("database", [BLOG.name, "postgres", "template1"])
async def test_no_other_database_is_entered(real: Real, database: str) -> None:
    await given(real)
    with pytest.raises(psycopg.OperationalError, match=r"permission denied|not currently accepting"):
        await real.tenant(SHOP, 1, ONE, database)


async def test_its_connections_are_limited(real: Real) -> None:
    await given(real)
    held = [await real.tenant(SHOP, 1, ONE) for _ in range(CONNECTIONS)]
    try:
        with pytest.raises(psycopg.OperationalError, match="too many connections"):
            await real.tenant(SHOP, 1, ONE)
        # the next password has its own: a deployment comes up beside the one that runs
        await real.databases.admit(SHOP, 2, TWO)
        await (await real.tenant(SHOP, 2, TWO)).close()
    finally:
        for each in held:
            await each.close()


async def test_the_owner_itself_never_logs_in(real: Real) -> None:
    await given(real)
    for word in (ONE.reveal(), ""):
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(host="127.0.0.1", port=real.server.port, user=SHOP.name, password=word, dbname=SHOP.name)


async def test_what_one_password_made_the_next_one_owns(real: Real) -> None:
    """Also what was made after `DISCARD ALL` or `SET ROLE NONE`, as poolers do: then a session is its login, not the owner."""
    await given(real)
    async with await real.tenant(SHOP, 1, ONE) as connection:
        await connection.execute("CREATE TABLE mine (i int)")
        await connection.execute("SET ROLE NONE")
        await connection.execute("GRANT ALL ON SCHEMA public TO CURRENT_USER")
        await connection.execute("CREATE TABLE stray (i int)")
        await real.databases.admit(SHOP, 2, TWO)
        async with await real.tenant(SHOP, 2, TWO) as new:
            await new.execute("ALTER TABLE mine ADD COLUMN j int")
            await new.execute("ALTER TABLE stray ADD COLUMN j int")
        async with await real.tenant(SHOP, 1, ONE) as beside:
            await beside.execute("CREATE TABLE between (i int)")
        async with await real.tenant(SHOP, 2, TWO) as new:
            await new.execute("ALTER TABLE between ADD COLUMN j int")
        # a session that was open goes on
        await connection.execute("INSERT INTO stray VALUES (1, 2)")
        await connection.execute("CREATE TABLE later (i int)")
        await real.databases.keep(SHOP, [2])
        with pytest.raises(psycopg.OperationalError):
            await connection.execute("SELECT 1")
    async with await real.tenant(SHOP, 2, TWO) as new:
        await new.execute("DROP TABLE mine, stray, later, between")


async def test_the_password_is_not_in_the_servers_log(real: Real) -> None:
    with real.admin() as admin:
        admin.execute("ALTER SYSTEM SET log_statement = 'all'")
        admin.execute("SELECT pg_reload_conf()")
    try:
        await given(real)
    finally:
        with real.admin() as admin:
            admin.execute("ALTER SYSTEM RESET log_statement")
            admin.execute("SELECT pg_reload_conf()")
    log = (real.server.folder / "log").read_text()
    assert "CREATE ROLE" in log
    assert ONE.reveal() not in log
    assert "SCRAM-SHA-256" in log


async def test_a_server_that_no_dump_here_could_read_gets_no_database(real: Real, tmp_path: Path, monkeypatch: Any) -> None:
    """Else it could never be deleted: nothing is, without a final dump."""
    old = tmp_path / "9/bin/pg_dump"
    old.parent.mkdir(parents=True)
    old.touch()
    monkeypatch.setattr("codeb.drivers.databases.postgres.PROGRAMS", tmp_path)
    await real.databases.admit(SHOP, 1, ONE)
    with pytest.raises(StepFailed, match="no final dump") as refused:
        await real.databases.make(SHOP)
    assert refused.value.code == "server_too_new"
    assert (await real.databases.all())[SHOP.name].size is None


async def test_the_final_dump_brings_everything_back(real: Real, tmp_path: Path, monkeypatch: Any) -> None:
    await given(real)
    ran: list[list[str]] = []
    run = shell.run

    async def watched(arguments: list[str], **more: Any) -> Any:
        ran.append(list(arguments))
        return await run(arguments, **more)

    monkeypatch.setattr(shell, "run", watched)
    with real.admin() as admin:
        admin.execute("ALTER ROLE postgres PASSWORD 'canary-4711'")
    real.databases._parts["password"] = "canary-4711"
    await real.note(SHOP, 1, ONE, "가나다 '\"\\\n")
    await real.databases.allow(SHOP, entry=False)
    path = Path(await real.databases.dump(SHOP, "final"))
    assert (path.parent, path.stat().st_mode & 0o777) == (tmp_path / "backups" / "storage", 0o600)
    assert "canary-4711" not in str(ran)
    await real.databases.drop(SHOP)
    assert not await real.there(SHOP.name)
    assert await real.enter(BLOG, 1, TWO)

    back = Holding(SHOP.name, "sto_9f")
    await real.databases.admit(back, 1, TWO)
    await real.databases.make(back)
    address = f"host=127.0.0.1 port={real.server.port} user=postgres dbname={SHOP.name}"
    words = [_program("pg_restore"), "--no-owner", f"--role={SHOP.name}", f"--dbname={address}", str(path)]
    subprocess.run(words, check=True, timeout=60)
    assert await real.notes(back, 1, TWO) == {"가나다 '\"\\\n"}


@pytest.mark.parametrize("program", ["pg_dump", "pg_restore"])
async def test_a_dump_that_fails_or_cannot_be_read_leaves_nothing(
    real: Real, tmp_path: Path, monkeypatch: Any, program: str
) -> None:
    await given(real)
    monkeypatch.setattr(
        "codeb.drivers.databases.postgres._program", lambda name: "/bin/false" if name == program else _program(name)
    )
    with pytest.raises(StepFailed) as refused:
        await real.databases.dump(SHOP, "final")
    assert refused.value.code == "dump_failed"
    assert list((tmp_path / "backups" / "storage").iterdir()) == []


async def test_a_database_of_that_name_that_is_somebody_elses_is_refused(real: Real) -> None:
    with real.admin() as admin:
        admin.execute(b'CREATE DATABASE "%s"' % SHOP.name.encode())
    with pytest.raises(Conflict):
        await real.databases.admit(SHOP, 1, ONE)
    await real.databases.drop(SHOP)
    assert await real.there(SHOP.name)


async def test_what_everybody_may_enter_is_told(real: Real) -> None:
    await given(real)
    with real.admin() as admin:
        for (name,) in admin.execute("SELECT datname FROM pg_database WHERE datname LIKE 'codeb\\_%'").fetchall():
            admin.execute(f'REVOKE CONNECT ON DATABASE "{name}" FROM PUBLIC'.encode())
    assert (await real.databases.check()).status == "pass"
    with real.admin() as admin:
        admin.execute("CREATE DATABASE codebtest_open")
    said = await real.databases.check()
    assert (said.status, "codebtest_open" in said.text) == ("warn", True)


async def test_a_server_that_is_gone_says_so(tmp_path: Path) -> None:
    gone = PostgresDatabases(Secret("postgresql://postgres:canary-4711@127.0.0.1:1/postgres"), tmp_path)
    with pytest.raises(Unavailable) as refused:
        await gone.all()
    assert (refused.value.code, "canary" in refused.value.message) == ("storage_unavailable", False)
    assert (await gone.check()).status == "fail"
