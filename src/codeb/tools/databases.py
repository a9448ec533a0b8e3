"""Databases of PostgreSQL: create one, list what there is on the storage servers, a new password, delete."""

from typing import Any

from pydantic import Field

from codeb.contracts.store import Registry
from codeb.errors import PublicError
from codeb.flows.storage import server_of
from codeb.model.access import Role
from codeb.model.storage import CONNECTIONS, Found, Kind, Storage, still_need
from codeb.tools import fields, storage
from codeb.tools.call import Call
from codeb.tools.tool import Outcome, Risk, Tool


class ListParams(fields.Params):
    project_name: fields.ProjectName | None = Field(None, description="only this project's")


class StorageView(fields.Result):
    project_name: str
    environment: str
    kind: str
    name: str
    host: str
    port: int
    state: str
    created_at: str
    created_by: str
    rotated_at: str | None
    former_password: bool
    """whether an older password than the one in force lets in too"""
    still_needed_by: list[str]
    connection_limit: int | None
    on_server: bool | None
    """None: the server did not say"""
    size_bytes: int | None
    sessions: int | None


class ListResult(fields.Result):
    storage: list[StorageView]


async def _create(call: Call, params: storage.StorageParams) -> Outcome:
    return await storage.create(call, params, Kind.POSTGRES)


async def _rotate(call: Call, params: storage.RotateParams) -> Outcome:
    return await storage.rotate(call, params, Kind.POSTGRES)


async def _delete(call: Call, params: storage.DeleteParams) -> Outcome:
    return await storage.delete(call, params, Kind.POSTGRES)


async def _seen(call: Call, kinds: set[Kind]) -> tuple[dict[tuple[Kind, str], Found], set[Kind], tuple[str, ...]]:
    """What each server has, which of them said so, and why another did not."""
    found: dict[tuple[Kind, str], Found] = {}
    said, why = set(), []
    for kind in sorted(kinds):
        try:
            for name, each in (await server_of(call.kit, kind).all()).items():
                found[kind, name] = each
            said.add(kind)
        except PublicError as fault:
            why.append(f"{kind}: {fault.message}")
    return found, said, tuple(why)


async def _list(call: Call, params: ListParams) -> Outcome:
    mine = call.projects() if params.project_name is None else {params.project_name: call.project(params.project_name)}

    async def look(registry: Registry) -> tuple[list[Storage], set[str]]:
        held = [each for each in await registry.storages.all(params.project_name) if each.place.project in mine]
        held = [each for each in held if call.actor.may_touch(each.place.environment)]
        return held, {each.id for each in await registry.storages.rotating()}

    held, former = await call.kit.store.consult(look)
    seen, said, why = await _seen(call, {each.kind for each in held})
    views = []
    for each in held:
        there = seen.get((each.kind, each.name))
        views.append(
            StorageView(
                project_name=each.place.project, environment=each.place.environment, kind=each.kind.value, name=each.name,
                host=each.host, port=each.port, state=each.state.value, created_at=each.created_at.isoformat(),
                created_by=each.created_by, rotated_at=each.rotated_at.isoformat() if each.rotated_at else None,
                former_password=each.id in former,
                still_needed_by=list(still_need(each, call.kit.store.snapshot.pair_of(each.place))) if each.id in former else [],
                connection_limit=CONNECTIONS if each.kind is Kind.POSTGRES else None,
                on_server=there is not None if each.kind in said else None,
                size_bytes=there.size if there else None, sessions=there.sessions if there else None,
            )
        )  # fmt: skip
    lost = tuple(f"{each.name} is not on the {each.kind} server any more." for each in views if each.on_server is False)
    return Outcome(ListResult(storage=views), f"{len(views)} on the storage server.", (), why + lost)


TOOLS: tuple[Tool[Any], ...] = (
    Tool(
        "db_create", "Create a database",
        "Give an environment a PostgreSQL database of its own; deployments get DATABASE_URL and POSTGRES_*.",
        storage.StorageParams, storage.CreateResult, Role.MEMBER, Risk.CHANGES, _create, long=True,
        agents_must_say=("environment",),
    ),
    Tool(
        "db_list", "List databases", "What projects have on the storage servers: databases and Redis users, and how they are.",
        ListParams, ListResult, Role.VIEWER, Risk.READS, _list,
    ),
    Tool(
        "db_rotate", "Give a database a new password",
        "Deployments get a new password from now on; the one in use lets in until no slot needs it.",
        storage.RotateParams, storage.RotateResult, Role.MEMBER, Risk.CHANGES, _rotate, long=True, risky=storage.cuts_production,
        agents_must_say=("environment",),
    ),
    Tool(
        "db_delete", "Delete a database", "Dump a database to a file, then delete it with its logins.",
        storage.DeleteParams, storage.DeleteResult, Role.ADMIN, Risk.DESTROYS, _delete, long=True,
        agents_must_say=("environment",),
    ),
)  # fmt: skip
