"""Servers: which machines there are, what each is for, and whether it does it."""

import asyncio
from collections.abc import Awaitable
from typing import Any

from pydantic import Field

from codeb.contracts.store import Registry
from codeb.errors import Conflict, InvalidParams, NotFound
from codeb.model import servers
from codeb.model.access import Role
from codeb.model.firewall import is_storage
from codeb.model.names import did_you_mean
from codeb.model.servers import By, Look, Server, ServerRole
from codeb.model.specs import Address
from codeb.tools import fields
from codeb.tools.call import Call
from codeb.tools.drafts import Draft, draft
from codeb.tools.operators import only_operators
from codeb.tools.tool import NextCall, Outcome, Risk, Tool

CHECK_SECONDS = 3.0
"""for each service"""


class ServerView(fields.Result):
    server: str
    roles: list[str]
    addresses: list[str]
    docker_host: str | None
    own: bool
    """whether CodeB runs on it"""
    created_at: str | None


class ListParams(fields.Params):
    pass


class ListResult(fields.Result):
    servers: list[ServerView]


class AddParams(fields.Changing):
    server: fields.ServerName
    roles: list[fields.ServerRoleName] = Field(
        min_length=1, max_length=5, description="what it is for: app, storage, dns, streaming, backup", examples=[["storage"]]
    )
    addresses: list[fields.ServerAddress] = Field(
        min_length=1,
        max_length=8,
        description="where it is reached; the first one is the one CodeB uses",
        examples=[["192.0.2.7"]],
    )
    docker_host: fields.DockerHost | None = Field(None, description="its Docker Engine, where CodeB is to speak to it")


class AddResult(fields.Result):
    server: ServerView
    created: bool
    changed: bool


class RemoveParams(fields.Changing):
    server: fields.ServerName


class RemoveResult(fields.Result):
    server: str
    removed: bool


class CheckParams(fields.Params):
    server: fields.ServerName | None = Field(None, description="default: every server")


class CheckView(fields.Result):
    server: str
    role: str
    what: str
    ok: bool
    text: str
    fix: str


class CheckResult(fields.Result):
    checks: list[CheckView]
    bad: int


def view(server: Server, own: str) -> ServerView:
    return ServerView(
        server=server.name, roles=[each.value for each in server.roles], addresses=list(server.addresses),
        docker_host=server.docker_host, own=server.name == own,
        created_at=server.created_at.isoformat() if server.created_at else None,
    )  # fmt: skip


async def every(registry: Registry, call: Call) -> dict[str, Server]:
    return servers.known(await registry.servers.all(), call.kit.policy.server)


def one(found: dict[str, Server], name: str) -> Server:
    """Raises `NotFound` (`server_not_found`)."""
    if name not in found:
        near = did_you_mean(name, found)
        raise NotFound(f"There is no server {name}.", code="server_not_found", hint=near or "See server_list.")
    return found[name]


# list


async def _list(call: Call, params: ListParams) -> Outcome:
    only_operators(call, "the list of servers")
    found = await call.kit.store.consult(lambda registry: every(registry, call))
    views = [view(each, call.kit.policy.server) for each in found.values()]
    return Outcome(ListResult(servers=views), f"{len(views)} server{'' if len(views) == 1 else 's'}.")


# add


def _adding(call: Call, params: AddParams, there: dict[str, Server]) -> tuple[Server, Draft]:
    """What is to be on record. Raises `InvalidParams`; `Conflict` (`address_taken`) for another server's address."""
    for name, said in (("roles", params.roles), ("addresses", params.addresses)):
        if len(set(said)) < len(said):
            raise InvalidParams(
                f"One of the {name} is said twice; nothing was done.",
                details={"fields": [{"field": name, "problem": "says one twice"}]},
            )
    former = there.get(params.server)
    taken = {address: each.name for each in there.values() if each.name != params.server for address in each.addresses}
    for address in params.addresses:
        if address in taken:
            raise Conflict(
                f"{address} is an address of {taken[address]}; nothing was done.", code="address_taken", hint="See server_list."
            )
    roles = tuple(role for role in ServerRole if role.value in params.roles)
    server = Server(
        params.server, roles, tuple(params.addresses), params.docker_host, former.created_at if former else None,
        former.created_by if former else "",
    )  # fmt: skip
    plan = {
        "server": params.server, "roles": [each.value for each in roles], "addresses": params.addresses,
        **({"dockerHost": params.docker_host} if params.docker_host else {}),
    }  # fmt: skip
    changes = [] if server.same_as(former) else [f"{'change' if former else 'add'} server {params.server}"]
    return server, draft("server_add", plan, changes, {"was": vars(view(former, "")) if former else None})


async def _add(call: Call, params: AddParams) -> Outcome:
    only_operators(call, "adding a server")

    async def act(registry: Registry) -> AddResult:
        there = await every(registry, call)
        server, drafted = _adding(call, params, there)
        drafted.still_fits(params)
        if server.created_at is None:
            server = Server(**{**vars(server), "created_at": call.kit.world.now(), "created_by": call.actor.name})
        if drafted.changes:
            await registry.servers.put(server)
        return AddResult(
            server=view(server if drafted.changes else there[server.name], call.kit.policy.server),
            created=server.name not in there, changed=bool(drafted.changes),
        )  # fmt: skip

    if params.dry_run:
        _, drafted = _adding(call, params, await call.kit.store.consult(lambda registry: every(registry, call)))
        apply = NextCall("server_add", {**drafted.plan, "planId": drafted.id}, "do exactly this")
        return drafted.shown(f"Would have {params.server} on record." if drafted.changes else "It is on record just so.", apply)
    done = await call.change(act, lambda result: result.model_dump(by_alias=True, mode="json"))
    said = "is added" if done.created else "is changed" if done.changed else "was on record just so already"
    look = NextCall("server_check", {"server": params.server}, "see whether it is reached")
    return Outcome(done, f"Server {params.server} {said}.", (look,), await _not_let_in(call, params.server))


async def _not_let_in(call: Call, name: str) -> tuple[str, ...]:
    """Storage ports are open to the app servers there were: a new one, or a new address, is told, not let in unasked."""

    async def look(registry: Registry) -> list[str]:
        own = set(servers.app_networks([one(await every(registry, call), name)]))
        open_to = dict[tuple[str, int], set[str]]()
        for rule in await registry.rules.all():
            if is_storage(rule.port):
                open_to.setdefault((rule.server, rule.port), set()).add(rule.cidr)
        return [f"{port} of {server}" for (server, port), cidrs in sorted(open_to.items()) if own - cidrs]

    left = await call.kit.store.consult(look)
    return (f"Not open to {name} yet: {', '.join(left)}. Call firewall_allow for each, without cidr.",) if left else ()


# remove


async def _removing(call: Call, params: RemoveParams, registry: Registry) -> Draft:
    """Raises `NotFound`; `Conflict` (`server_in_use`) naming what is leased, running or open on it."""
    server = one(await every(registry, call), params.server)
    held = []
    if server.name == call.kit.policy.server:
        held.append("CodeB runs on it")
    if leases := await registry.leases.all(server.name):
        held.append(f"{len(leases)} ports are leased there, by {', '.join(sorted({each.project for each in leases})[:5])}")
    if rules := [each for each in await registry.rules.all() if each.server == server.name]:
        held.append(f"it has {len(rules)} firewall rule{'' if len(rules) == 1 else 's'}")
    if held:
        raise Conflict(
            f"Server {server.name} is in use: {'; '.join(held)}. Nothing was done.", code="server_in_use",
            hint="Take those away first: project_delete, port_release, firewall_deny.", details={"uses": held},
        )  # fmt: skip
    return draft("server_remove", {"server": server.name}, [f"forget server {server.name}"], {"was": vars(view(server, ""))})


async def _remove(call: Call, params: RemoveParams) -> Outcome:
    only_operators(call, "removing a server")
    if params.dry_run:
        drafted = await call.kit.store.consult(lambda registry: _removing(call, params, registry))
        apply = NextCall("server_remove", {"server": params.server, "planId": drafted.id}, "do it")
        return drafted.shown(f"Would forget {params.server}; nothing on it is touched.", apply)

    async def act(registry: Registry) -> RemoveResult:
        (await _removing(call, params, registry)).still_fits(params)
        await registry.servers.remove(params.server)
        return RemoveResult(server=params.server, removed=True)

    done = await call.change(act, lambda result: result.model_dump(by_alias=True, mode="json"))
    return Outcome(done, f"Server {params.server} is forgotten; nothing on it was touched.")


# check


async def _check(call: Call, params: CheckParams) -> Outcome:
    only_operators(call, "checking servers")
    found = await call.kit.store.consult(lambda registry: every(registry, call))
    chosen = [one(found, params.server)] if params.server else list(found.values())
    checks = [each for part in await asyncio.gather(*(checked(call, each) for each in chosen)) for each in part]
    bad = [each for each in checks if not each.ok]
    said = f"{len(checks)} checks, all well." if not bad else f"{len(bad)} of {len(checks)} checks failed."
    return Outcome(CheckResult(checks=checks, bad=len(bad)), said, (), tuple(f"{each.text} {each.fix}".strip() for each in bad))


async def checked(call: Call, server: Server) -> list[CheckView]:
    """Every service of its roles, all at once; of the machine CodeB runs on, Docker and the proxy by what CodeB itself uses."""
    own = server.name == call.kit.policy.server
    looks: list[Awaitable[CheckView]] = [
        _look(call, server, each)
        for each in servers.LOOKS
        if each.role in server.roles and not (own and each.role is ServerRole.APP)
    ]
    if own and ServerRole.APP in server.roles:
        looks += [_own(call, server, name) for name in ("docker", "proxy") if name in call.kit.checks]
    elif server.docker_host is not None:
        looks.append(_docker(call, server, server.docker_host))
    return list(await asyncio.gather(*looks))


async def _own(call: Call, server: Server, name: str) -> CheckView:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            found = await call.kit.checks[name].check()
    except TimeoutError:
        text, fix = f"no answer within {CHECK_SECONDS:g} s", "See health_check."
        return _said(server, ServerRole.APP, name, text, fix)
    return _said(server, ServerRole.APP, name, "" if found.status != "fail" else found.text, found.fix or "See health_check.")


async def _docker(call: Call, server: Server, address: str) -> CheckView:
    why = await call.kit.reach.docker(address, CHECK_SECONDS)
    fix = f"Start Docker on {server.name}, have it listen at {address}, and let that in from here only."
    return _said(server, ServerRole.APP, "Docker", why, fix)


async def _look(call: Call, server: Server, look: Look) -> CheckView:
    host = server.addresses[0]
    if look.by is By.TCP:
        why = await call.kit.reach.tcp(host, look.port, CHECK_SECONDS)
    else:
        answer = await call.kit.health.probe(Address(host, look.port, look.path), CHECK_SECONDS)
        why = answer.reason or (f"it answers with status {answer.status}" if (answer.status or 500) >= 500 else "")
    return _said(server, look.role, f"{look.what} at {host} port {look.port}", why, look.fix)


def _said(server: Server, role: ServerRole, what: str, why: str, fix: str) -> CheckView:
    text = f"{server.name}: {what}: {why}." if why else f"{server.name}: {what} answers."
    return CheckView(server=server.name, role=role.value, what=what, ok=not why, text=text, fix=fix if why else "")


TOOLS: tuple[Tool[Any], ...] = (
    Tool(
        "server_list", "List servers", "Every machine, what it is for and where it is reached. The one CodeB runs on is there.",
        ListParams, ListResult, Role.ADMIN, Risk.READS, _list,
    ),
    Tool(
        "server_add", "Add a server",
        "Put a machine on record, or say anew what it is for and where it is reached. It is not touched.",
        AddParams, AddResult, Role.ADMIN, Risk.CHANGES, _add,
    ),
    Tool(
        "server_remove", "Remove a server", "Forget a machine. Refused while a port is leased or a firewall rule is kept for it.",
        RemoveParams, RemoveResult, Role.ADMIN, Risk.CHANGES, _remove,
    ),
    Tool(
        "server_check", "Check servers", "Reach the services of each role: one line per check, with what mends it.",
        CheckParams, CheckResult, Role.ADMIN, Risk.READS, _check,
    ),
)  # fmt: skip
