"""Databases of a PostgreSQL server, by psycopg, as a role that may make roles and databases.

An owner role that cannot log in owns the database; each generation of the password is a login role in it whose sessions
begin as the owner, so that whatever one makes the next one owns. Roles bear the mark of their holding as their comment.
A password leaves CodeB only as the verifier that the server keeps.
"""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, LiteralString

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from codeb.contracts.databases import gone, taken
from codeb.drivers import shell
from codeb.drivers.databases.dumps import dump_file
from codeb.errors import StepFailed, Unavailable
from codeb.model.secret import Secret
from codeb.model.specs import Finding
from codeb.model.storage import CONNECTIONS, Endpoint, Found, Holding, login_of

OWNER, LOGIN = "codeb:", "codeb-login:"
"""what the comments of our roles begin with"""
CLOSED = ("postgres", "template1")
"""databases of every server that PUBLIC may enter until somebody says no"""
DUMP_SECONDS = 3600.0
PROGRAMS = Path("/usr/lib/postgresql")

Row = tuple[Any, ...]


@asynccontextmanager
async def _told() -> AsyncIterator[None]:
    """Errors of the server leave as `Unavailable` or `StepFailed`; the server's words never hold a password."""
    try:
        yield
    except psycopg.OperationalError as fault:
        said = str(fault).strip().partition("\n")[0]
        raise Unavailable(
            f"The PostgreSQL of the storage server does not answer: {said}", code="storage_unavailable",
            hint="See whether it runs and lets CodeB in, then try again.",
        ) from fault  # fmt: skip
    except psycopg.Error as fault:
        raise StepFailed(
            f"PostgreSQL refused: {fault.diag.message_primary or type(fault).__name__}.", code="storage_refused",
            hint="See what the role of CODEB_STORAGE_DATABASE_URL may do.",
        ) from fault  # fmt: skip


class _Server:
    """One connection, and statements whose names are composed, never pasted."""

    def __init__(self, connection: psycopg.AsyncConnection[Row]) -> None:
        self._connection = connection

    async def do(self, text: LiteralString, **names: str | sql.Literal) -> None:
        parts = {key: name if isinstance(name, sql.Literal) else sql.Identifier(name) for key, name in names.items()}
        statement = sql.SQL(text).format(**parts)
        await self._connection.execute(statement)

    async def rows(self, text: LiteralString, *values: Any) -> Sequence[Row]:
        return await (await self._connection.execute(text, values)).fetchall()

    def transaction(self) -> Any:
        return self._connection.transaction()

    def verifier(self, login: str, password: Secret) -> sql.Literal:
        made = self._connection.pgconn.encrypt_password(password.reveal().encode(), login.encode(), b"scram-sha-256")
        return sql.Literal(made.decode())

    async def mark(self, role: str) -> str | None:
        """Its comment, "" without one; None when there is no such role."""
        found = await self.rows("SELECT coalesce(shobj_description(oid, 'pg_authid'), '') FROM pg_roles WHERE rolname = %s", role)
        return str(found[0][0]) if found else None

    async def owner_of(self, database: str) -> str | None:
        found = await self.rows("SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = %s", database)
        return str(found[0][0]) if found else None

    async def logins(self, what: Holding) -> list[str]:
        found = await self.rows(
            "SELECT rolname FROM pg_roles WHERE shobj_description(oid, 'pg_authid') = %s ORDER BY rolname", LOGIN + what.mark
        )
        return [str(row[0]) for row in found]

    async def end_sessions(self, roles: Sequence[str]) -> None:
        await self.rows("SELECT pg_terminate_backend(pid, 2000) FROM pg_stat_activity WHERE usename = ANY(%s)", list(roles))


class PostgresDatabases:
    """`url` names the role CodeB works as: a superuser, or one with CREATEROLE and CREATEDB."""

    def __init__(self, url: Secret, home: Path) -> None:
        self._parts = {key: str(value) for key, value in conninfo_to_dict(url.reveal()).items() if value is not None}
        self._home = home

    @property
    def where(self) -> Endpoint:
        host = self._parts.get("host", "").partition(",")[0]
        host = "localhost" if host.startswith("/") or not host else host
        return Endpoint(host, int(self._parts.get("port", "5432").partition(",")[0] or 5432))

    @asynccontextmanager
    async def _server(self, database: str | None = None) -> AsyncIterator[_Server]:
        more = {"dbname": database} if database else {}
        limits = {"connect_timeout": "5", "application_name": "codeb", "options": "-c lock_timeout=10000"}
        address = make_conninfo(**{"dbname": "postgres", **self._parts, **limits, **more})
        async with _told(), await psycopg.AsyncConnection.connect(address, autocommit=True) as connection:
            yield _Server(connection)

    async def _ours(self, server: _Server, what: Holding) -> bool:
        """Whether its owner is there. Raises `Conflict` when another one bears its name."""
        mark = await server.mark(what.name)
        if mark not in (None, OWNER + what.mark):
            raise taken(what.name)
        return mark is not None

    async def admit(self, what: Holding, generation: int, password: Secret) -> None:
        login = login_of(what.name, generation)
        async with self._server() as server:
            async with server.transaction():
                if not await self._ours(server, what):
                    if await server.owner_of(what.name) is not None:
                        raise taken(what.name)
                    await server.do(
                        "CREATE ROLE {role} NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION", role=what.name
                    )
                    await server.do("COMMENT ON ROLE {role} IS {mark}", role=what.name, mark=sql.Literal(OWNER + what.mark))
                    await self._join(server, what.name)
                mark = await server.mark(login)
                if mark not in (None, LOGIN + what.mark):
                    raise taken(login)
                if mark is None:
                    await server.do(
                        "CREATE ROLE {role} LOGIN INHERIT NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION "
                        "CONNECTION LIMIT {most} IN ROLE {owner}", role=login, owner=what.name, most=sql.Literal(CONNECTIONS),
                    )  # fmt: skip
                    await server.do("COMMENT ON ROLE {role} IS {mark}", role=login, mark=sql.Literal(LOGIN + what.mark))
                    await server.do("ALTER ROLE {role} SET role = {owner}", role=login, owner=what.name)
                    await self._join(server, login)
                await server.do("ALTER ROLE {role} PASSWORD {word}", role=login, word=server.verifier(login, password))
            others = [each for each in await server.logins(what) if each != login]
            there = await server.owner_of(what.name) is not None
        if others and there:
            await self._gather(what, others)

    async def _join(self, server: _Server, role: str) -> None:
        """One that is no superuser acts on what a role owns only as its member."""
        if await server.rows("SELECT 1 FROM pg_roles WHERE rolname = current_user AND NOT rolsuper"):
            await server.do("GRANT {role} TO CURRENT_USER", role=role)

    async def _gather(self, what: Holding, logins: Sequence[str]) -> None:
        """What sessions made that did not act as the owner becomes the owner's."""
        async with self._server(what.name) as inside:
            for login in logins:
                await inside.do("REASSIGN OWNED BY {login} TO {owner}", login=login, owner=what.name)

    async def make(self, what: Holding) -> None:
        async with self._server() as server:
            owner = await server.owner_of(what.name)
            if not await self._ours(server, what) or owner not in (None, what.name):
                raise taken(what.name)
            if owner is None:
                await self._could_be_dumped(server)
                await server.do("CREATE DATABASE {name} OWNER {name} TEMPLATE template0 ENCODING 'UTF8'", name=what.name)
            await server.do("REVOKE ALL ON DATABASE {name} FROM PUBLIC", name=what.name)
            mine = await server.rows(
                "SELECT datname FROM pg_database WHERE datname = ANY(%s) AND pg_has_role(current_user, datdba, 'MEMBER')",
                list(CLOSED),
            )
            for (name,) in mine:
                await server.do("REVOKE CONNECT ON DATABASE {name} FROM PUBLIC", name=str(name))
        async with self._server(what.name) as inside, inside.transaction():
            # before PostgreSQL 15 everybody may make things in it
            await inside.do("REVOKE ALL ON SCHEMA public FROM PUBLIC")
            await inside.do("ALTER SCHEMA public OWNER TO {owner}", owner=what.name)

    async def _could_be_dumped(self, server: _Server) -> None:
        """A database that no `pg_dump` here reads could never be deleted. Raises `StepFailed` (`server_too_new`)."""
        ((number,),) = await server.rows("SELECT current_setting('server_version_num')::int")
        newest, version = max(_versions("pg_dump"), default=None), int(number) // 10_000
        if newest is not None and version > newest:
            raise StepFailed(
                f"The server is PostgreSQL {version} and this machine's pg_dump is of {newest}: there could be no final dump.",
                code="server_too_new", hint=f"Install postgresql-client-{version} on the machine CodeB runs on, then call again.",
            )  # fmt: skip

    async def keep(self, what: Holding, generations: Collection[int]) -> None:
        kept = {login_of(what.name, each) for each in generations}
        async with self._server() as server:
            over = [each for each in await server.logins(what) if each not in kept]
            for login in over:
                await server.do("ALTER ROLE {role} NOLOGIN", role=login)
            await server.end_sessions(over)
            there = await server.owner_of(what.name) == what.name
        if not over:
            return
        if there:
            await self._gather(what, over)
        async with self._server(what.name if there else None) as server:
            for login in over:
                await server.do("DROP OWNED BY {role}", role=login)
                await server.do("DROP ROLE {role}", role=login)

    async def allow(self, what: Holding, entry: bool) -> None:
        async with self._server() as server:
            logins = await server.logins(what)
            for login in logins:
                if entry:
                    await server.do("ALTER ROLE {role} LOGIN", role=login)
                else:
                    await server.do("ALTER ROLE {role} NOLOGIN", role=login)
            if not entry:
                await server.end_sessions(logins)

    async def drop(self, what: Holding) -> None:
        await self.keep(what, ())
        async with self._server() as server:
            if await server.mark(what.name) != OWNER + what.mark:
                return
            if await server.owner_of(what.name) == what.name:
                await server.do("DROP DATABASE IF EXISTS {name} WITH (FORCE)", name=what.name)
            await server.do("DROP OWNED BY {role}", role=what.name)
            await server.do("DROP ROLE IF EXISTS {role}", role=what.name)

    async def all(self) -> Mapping[str, Found]:
        async with self._server() as server:
            found = await server.rows(
                "SELECT o.rolname, shobj_description(o.oid, 'pg_authid'), pg_database_size(d.oid), "
                "(SELECT count(*) FROM pg_stat_activity a WHERE a.datname = d.datname AND a.usename <> current_user) "
                "FROM pg_roles o LEFT JOIN pg_database d ON d.datdba = o.oid AND d.datname = o.rolname "
                "WHERE starts_with(shobj_description(o.oid, 'pg_authid'), 'codeb:') ORDER BY 1"
            )
            members = await server.rows(
                "SELECT shobj_description(oid, 'pg_authid'), rolname, rolcanlogin FROM pg_roles "
                "WHERE starts_with(shobj_description(oid, 'pg_authid'), 'codeb-login:')"
            )
        made = {}
        for name, comment, size, sessions in found:
            mark = str(comment).removeprefix(OWNER)
            its = [(str(login).rpartition("_")[2], can) for whose, login, can in members if whose == LOGIN + mark]
            logins = tuple(sorted(int(number) for number, can in its if can))
            made[str(name)] = Found(mark, logins, bool(logins), size, int(sessions))
        return made

    async def dump(self, what: Holding, stem: str) -> str:
        async with self._server() as server:
            if await server.mark(what.name) != OWNER + what.mark or await server.owner_of(what.name) != what.name:
                raise gone(what.name)
        parts = dict(self._parts)
        password = parts.pop("password", "")
        address = make_conninfo(**{**parts, "dbname": what.name})
        # in the child's environment: not among its arguments, and no file that a death would leave
        extra = {"PGPASSWORD": password} if password else {}
        async with dump_file(self._home, f"{stem}.dump") as (partly, final):
            await self._run(["pg_dump", "--format=custom", "--no-password", f"--file={partly}", f"--dbname={address}"], extra)
            await self._run(["pg_restore", "--list", str(partly)], {})
        return str(final)

    async def _run(self, arguments: list[str], extra: Mapping[str, str]) -> None:
        ended = await shell.run([_program(arguments[0]), *arguments[1:]], home=self._home, seconds=DUMP_SECONDS, extra=extra)
        if ended.code != 0:
            said = ended.err.decode(errors="replace").strip().rpartition("\n")[2][:300]
            raise StepFailed(
                f"{arguments[0]} failed: {said}", code="dump_failed",
                hint="Nothing is deleted without a final dump. Mend what it says, then call this again.",
            )  # fmt: skip

    async def check(self) -> Finding:
        """Whether it answers, and which databases on it anybody may enter."""
        try:
            async with self._server() as server:
                entered = await server.rows(
                    "SELECT datname FROM pg_database, aclexplode(coalesce(datacl, acldefault('d', datdba))) a "
                    "WHERE datallowconn AND a.grantee = 0 AND a.privilege_type = 'CONNECT' AND NOT datistemplate ORDER BY 1"
                )
        except (Unavailable, StepFailed) as fault:
            return Finding("storage", "fail", fault.message, fault.hint)
        names = ", ".join(str(row[0]) for row in entered if row[0] not in CLOSED)
        if not names:
            return Finding("storage", "pass", "PostgreSQL answers")
        fix = "REVOKE CONNECT ON DATABASE … FROM PUBLIC, unless that is meant."
        return Finding("storage", "warn", f"every project's login may enter {names}", fix)


def _program(name: str) -> str:
    """The newest of this machine: it reads servers of its own version and older ones."""
    found = _versions(name)
    return str(found[max(found)]) if found else name


def _versions(name: str) -> Mapping[int, Path]:
    """Where this machine has it, by the version of PostgreSQL it is of."""
    return {
        int(path.parent.parent.name): path for path in PROGRAMS.glob(f"*/bin/{name}") if path.parent.parent.name.isdigit()
    }  # fmt: skip
