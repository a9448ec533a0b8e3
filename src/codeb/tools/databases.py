"""Databases of PostgreSQL: create one, list what there is on the storage servers, a new password, delete."""

import asyncio
from collections.abc import Mapping
from typing import Any

from pydantic import Field

from codeb.contracts.store import Registry
from codeb.errors import PublicError
from codeb.flows.storage import input_of, serving
from codeb.model.access import Role
from codeb.model.storage import CONNECTIONS, Found, Kind, Storage, still_need
from codeb.tools import fields, storage
from codeb.tools.call import Call
from codeb.tools.tool import Outcome, Risk, Tool

LOOK_SECONDS = 10.0
"""for each server"""


class ListParams(fields.Params):
    project_name: fields.ProjectName | None = Field(None, description="only this project's")


class StorageView(fields.Result):
    project_name: str
    environment: str
    kind: str
    name: str
    host: str
    port: int
    server: str | None
    """where its container is, if it has one of its own"""
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


async def _seen(call: Call, held: list[Storage]) -> tuple[dict[str, Found], set[str], tuple[str, ...]]:
    """What the servers have, by id; of which of these they said so, and why another did not. Each server is asked once, all at
    the same time: the shared ones, and every container."""
    asked: dict[Kind | str, list[Storage]] = {}
    for each in held:
        asked.setdefault(each.id if each.server else each.kind, []).append(each)

    async def ask(those: list[Storage]) -> Mapping[str, Found] | str:
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                return await (await serving(call.kit, input_of(those[0]))).all()
        except TimeoutError:
            return f"{_who(those[0])}: no answer within {LOOK_SECONDS:g} s"
        except PublicError as fault:
            return f"{_who(those[0])}: {fault.message}"

    found, said, why = dict[str, Found](), set[str](), list[str]()
    for those, told in zip(asked.values(), await asyncio.gather(*map(ask, asked.values())), strict=True):
        if isinstance(told, str):
            why.append(told)
            continue
        said |= {each.id for each in those}
        found |= {each.id: told[each.name] for each in those if each.name in told}
    return found, said, tuple(sorted(why))


def _who(storage: Storage) -> str:
    return storage.kind.value if storage.server is None else f"{storage.name} on {storage.server}"


async def _list(call: Call, params: ListParams) -> Outcome:
    mine = call.projects() if params.project_name is None else {params.project_name: call.project(params.project_name)}

    async def look(registry: Registry) -> tuple[list[Storage], set[str]]:
        held = [each for each in await registry.storages.all(params.project_name) if each.place.project in mine]
        held = [each for each in held if call.actor.may_touch(each.place.environment)]
        return held, {each.id for each in await registry.storages.rotating()}

    held, former = await call.kit.store.consult(look)
    seen, said, why = await _seen(call, held)
    views = []
    for each in held:
        there = seen.get(each.id)
        views.append(
            StorageView(
                project_name=each.place.project, environment=each.place.environment, kind=each.kind.value, name=each.name,
                host=each.host, port=each.port, server=each.server, state=each.state.value,
                created_at=each.created_at.isoformat(), created_by=each.created_by,
                rotated_at=each.rotated_at.isoformat() if each.rotated_at else None,
                former_password=each.id in former,
                still_needed_by=list(still_need(each, call.kit.store.snapshot.pair_of(each.place))) if each.id in former else [],
                connection_limit=CONNECTIONS if each.kind is Kind.POSTGRES else None,
                on_server=there is not None if each.id in said else None,
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
