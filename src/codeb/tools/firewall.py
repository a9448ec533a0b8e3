"""The firewall: which ports are open to whom, and opening and closing them."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from codeb.contracts.store import Registry
from codeb.errors import Conflict, Forbidden, InvalidParams, PublicError
from codeb.flows import firewall
from codeb.flows.firewall import FirewallInput
from codeb.model import servers
from codeb.model.access import Role
from codeb.model.firewall import NOBODY, Rule, Standing, Transport, is_storage
from codeb.model.journal import Operation
from codeb.model.names import Place
from codeb.model.storage import Endpoint
from codeb.tools import fields
from codeb.tools.call import Call
from codeb.tools.drafts import Draft, draft
from codeb.tools.operators import is_operator, only_operators
from codeb.tools.servers import every, one
from codeb.tools.tool import Accepted, NextCall, Outcome, Risk, Tool


class RuleView(fields.Result):
    server: str
    protocol: str
    port: int
    cidr: str
    project_name: str | None
    purpose: str
    in_force: bool | None
    """None: the firewall does not say, or does not guard that server"""
    created_at: str | None
    created_by: str


class ListParams(fields.Params):
    project_name: fields.ProjectName | None = Field(None, description="only the rules of this project")
    server: fields.ServerName | None = Field(None, description="only the rules of this server")


class ListResult(fields.Result):
    provider: str
    on: bool | None
    rules: list[RuleView]


class OnPort(fields.Long):
    port: fields.Port
    protocol: fields.TransportName = "tcp"
    server: fields.ServerName | None = Field(None, description="default: the machine CodeB runs on")
    project_name: fields.ProjectName | None = Field(
        None, description="whom it is for: it goes with the project; without one it is the installation's, and for operators only"
    )


class AllowParams(OnPort):
    cidr: fields.Cidr | None = Field(
        None, description="who may come; default for a storage port: the app servers, and nobody else"
    )
    purpose: fields.Purpose = "access"


class DenyParams(OnPort):
    cidr: fields.Cidr | None = Field(
        None, description="only this network; default: all that the project, or the installation, has on the port"
    )


class ChangeResult(fields.Result):
    opened: list[str]
    closed: list[str]
    changed: bool
    operation_id: str | None


# list


async def _list(call: Call, params: ListParams) -> Outcome:
    if params.project_name is not None:
        call.project(params.project_name, deleted=True)
    rules, _ = await call.kit.store.consult(firewall.rows)
    seen = {*call.projects(deleted=True), *((NOBODY,) if is_operator(call) else ())}
    chosen = [
        each for each in rules
        if (each.project in seen or is_operator(call)) and params.project_name in (None, each.project)
        and params.server in (None, each.server)
    ]  # fmt: skip
    provider, standing, warnings = call.kit.firewall.provider, None, []
    if provider == "none":
        warnings.append("CODEB_FIREWALL is none: nothing here is enforced.")
    else:
        try:
            standing = await call.kit.firewall.look()
        except PublicError as fault:
            warnings.append(f"Whether they are in force cannot be told: {fault.message}")
    views = [_view(call, each, standing) for each in chosen]
    missing = sum(each.in_force is False for each in views)
    nexts = (NextCall("firewall_sync", {"fix": True}, "mend what differs"),) if missing and is_operator(call) else ()
    said = f"{len(views)} rule{'' if len(views) == 1 else 's'}" + (f", {missing} of them not in force" if missing else "")
    return Outcome(
        ListResult(provider=provider, on=standing.on if standing else None, rules=views), f"{said}.", nexts, tuple(warnings)
    )


def _view(call: Call, rule: Rule, standing: Standing | None) -> RuleView:
    guarded = firewall.guarded(call.kit)
    known = standing is not None and (guarded is None or rule.server in guarded)
    return RuleView(
        server=rule.server, protocol=rule.transport.value, port=rule.port, cidr=rule.cidr,
        project_name=None if rule.project == NOBODY else rule.project, purpose=rule.purpose,
        in_force=standing.on and rule.opening in standing.open if known and standing else None,
        created_at=rule.created_at.isoformat() if rule.created_at else None, created_by=rule.created_by,
    )  # fmt: skip


# who may change what


async def _may(call: Call, params: OnPort, registry: Registry) -> None:
    """Operators may all. Others: ports leased to a project of theirs, and a storage port for the app servers alone.

    Raises `NotFound`, `Conflict`, `Forbidden` (`forbidden`).
    """
    if params.project_name is not None:
        await call.ready(registry, params.project_name)
    if is_operator(call):
        return
    if params.project_name is None:
        only_operators(call, "a rule of the whole installation")
    server = params.server or call.kit.policy.server
    leased = [
        each for each in await registry.leases.all(server) if (each.project, each.port) == (params.project_name, params.port)
    ]
    may = any(call.actor.may_touch(each.environment) for each in leased)
    shared = is_storage(params.port) and getattr(params, "cidr", None) is None and not call.actor.environments
    if not (may or shared):
        raise Forbidden(
            f"Port {params.port} of {server} is not leased to {params.project_name}; nothing was done.", code="forbidden",
            hint="A storage port without cidr is opened to the app servers. For more, ask the team that runs this installation.",
        )  # fmt: skip


async def _guarded(call: Call, params: OnPort, registry: Registry) -> str:
    """The server. Raises `NotFound`; `Conflict`: `no_firewall`, `not_guarded`."""
    name = one(await every(registry, call), params.server or call.kit.policy.server).name
    guarded = firewall.guarded(call.kit)
    if call.kit.firewall.provider == "none":
        raise Conflict(
            "CodeB guards no firewall (CODEB_FIREWALL is none); nothing was done.", code="no_firewall",
            hint="Set CODEB_FIREWALL to nftables or vultr, and restart.",
        )  # fmt: skip
    if guarded is not None and name not in guarded:
        raise Conflict(
            f"{call.kit.firewall.provider} guards {', '.join(sorted(guarded))} alone, not {name}; nothing was done.",
            code="not_guarded",
            hint=f"Change the firewall of {name} there, or set CODEB_FIREWALL to one that guards every server.",
        )  # fmt: skip
    return name


# what a call comes to


@dataclass(frozen=True)
class Change:
    """What is to be on record, and what not any more."""

    add: tuple[Rule, ...]
    remove: tuple[Rule, ...]
    about: str
    draft: Draft

    @property
    def input(self) -> FirewallInput:
        touched = sorted({rule.opening for rule in (*self.add, *self.remove)})
        return FirewallInput(tuple(touched), self.add, self.remove, self.about)


async def _allowing(call: Call, params: OnPort, registry: Registry) -> Change:
    assert isinstance(params, AllowParams)
    await _may(call, params, registry)
    server = await _guarded(call, params, registry)
    now, project = call.kit.world.now(), params.project_name or NOBODY
    networks = [params.cidr] if params.cidr else await _app_servers(call, params, registry)
    rules = tuple(
        Rule(server, Transport(params.protocol), params.port, each, project, params.purpose, now, call.actor.name)
        for each in networks
    )  # fmt: skip
    changes = [f"open {each.opening} on {server} for {project} ({params.purpose})" for each in rules]
    plan = _plan(params, server, rules) | {"purpose": params.purpose}
    return Change(
        rules, (), f"open {params.port}/{params.protocol} on {server}", draft("firewall_allow", plan, changes, {"server": server})
    )


async def _app_servers(call: Call, params: AllowParams, registry: Registry) -> list[str]:
    """Whom a storage port is for. Raises `InvalidParams` for another port; `Conflict` (`no_app_address`)."""
    if not is_storage(params.port):
        raise InvalidParams(
            f"Say who may reach port {params.port}; nothing was done.", hint="Give cidr. Only a storage port has a default.",
            details={"fields": [{"field": "cidr", "problem": "is missing"}]},
        )  # fmt: skip
    found = servers.app_networks((await every(registry, call)).values())
    if not found:
        raise Conflict(
            "No app server has an address that it could come from; nothing was done.", code="no_app_address",
            hint="Say it with server_add, also for this machine, or give cidr. What is on the same machine needs no rule.",
        )  # fmt: skip
    return found


async def to_app_servers(
    call: Call, registry: Registry, project: str, where: Endpoint, purpose: str
) -> tuple[tuple[Rule, ...], str]:
    """What lets the app servers, and nobody else, reach this storage: the rules that are not on record yet; or why CodeB has
    none to make, where somebody should know."""
    reached = f"{where.host}:{where.port}"
    if call.kit.firewall.provider == "none":
        return (), f"CODEB_FIREWALL is none: who else reaches {reached} is not CodeB's to say."
    there = await every(registry, call)
    server = servers.at(there.values(), where.host)
    if server is None:
        return (), f"No server of server_list has the address {where.host}: who else reaches {reached} is not CodeB's to say."
    guarded = firewall.guarded(call.kit)
    if guarded is not None and server.name not in guarded:
        return (), f"{call.kit.firewall.provider} guards {', '.join(sorted(guarded))} alone: see to it on {server.name} yourself."
    networks = servers.app_networks(there.values())
    if not networks and server.name != call.kit.policy.server:
        return (), "No app server has an address that it could come from: say it with server_add, then firewall_allow."
    now, by = call.kit.world.now(), call.actor.name
    wanted = [Rule(server.name, Transport.TCP, where.port, each, project, purpose, now, by) for each in networks]
    known = {each.key for each in await registry.rules.all()}
    return tuple(each for each in wanted if each.key not in known), ""


async def _denying(call: Call, params: OnPort, registry: Registry) -> Change:
    assert isinstance(params, DenyParams)
    await _may(call, params, registry)
    server = await _guarded(call, params, registry)
    project = params.project_name or NOBODY
    rules = tuple(
        each for each in await registry.rules.all()
        if (each.server, each.transport.value, each.port, each.project) == (server, params.protocol, params.port, project)
        and params.cidr in (None, each.cidr)
    )  # fmt: skip
    changes = [f"close {each.opening} on {server}, which was open for {project} ({each.purpose})" for each in rules]
    plan = _plan(params, server, rules)
    return Change(
        (), rules, f"close {params.port}/{params.protocol} on {server}", draft("firewall_deny", plan, changes, {"server": server})
    )


def _plan(params: OnPort, server: str, rules: Iterable[Rule]) -> dict[str, Any]:
    said = {"server": server, "port": params.port, "protocol": params.protocol, "projectName": params.project_name}
    return {name: value for name, value in said.items() if value is not None} | {"networks": [each.cidr for each in rules]}


async def _change(call: Call, params: OnPort, verb: str) -> Outcome:
    deciding = _allowing if verb == "allow" else _denying
    if params.dry_run:
        drafted = (await call.kit.store.consult(lambda registry: deciding(call, params, registry))).draft
        said = {**params.model_dump(by_alias=True, exclude_defaults=True, exclude={"dry_run"}), "planId": drafted.id}
        summary = f"Would {'; '.join(drafted.changes)}." if drafted.changes else "Nothing is to be done."
        return drafted.shown(summary, NextCall(f"firewall_{verb}", said, "do exactly this"))

    async def decide(registry: Registry) -> FirewallInput:
        change = await deciding(call, params, registry)
        change.draft.still_fits(params)
        return change.input

    mine = (Place(params.project_name, "firewall"),) if params.project_name else ()
    return await _changed(call, params, verb, await call.open(firewall.SAGA, (*mine, firewall.LOCK), decide))


async def _changed(call: Call, params: OnPort, verb: str, operation: Operation) -> Outcome:
    where = f"{params.port}/{params.protocol} on {params.server or call.kit.policy.server}"
    if not params.wait:
        accepted = Accepted(operation_id=operation.id, state=operation.state.value)
        return Outcome(accepted, f"{'Opening' if verb == 'allow' else 'Closing'} {where}.")
    operation, _ = await call.ended(operation.id)
    result = ChangeResult(**(operation.result or {}), operation_id=operation.id)
    warnings = list(operation.warnings)
    if verb == "allow":
        return Outcome(result, f"Open: {', '.join(result.opened)}.", (), tuple(warnings))
    if not result.closed:
        return Outcome(result, f"There was no rule for {where} to take away.", (), tuple(warnings))
    if not result.changed:
        warnings.append("Nothing changed in the firewall: another rule asks for the same opening, or it was closed already.")
    return Outcome(result, f"Closed: {', '.join(result.closed)}.", (), tuple(warnings))


async def _allow(call: Call, params: AllowParams) -> Outcome:
    return await _change(call, params, "allow")


async def _deny(call: Call, params: DenyParams) -> Outcome:
    return await _change(call, params, "deny")


TOOLS: tuple[Tool[Any], ...] = (
    Tool(
        "firewall_list", "List firewall rules", "Which ports are open to whom, for which project, and whether it is in force.",
        ListParams, ListResult, Role.ADMIN, Risk.READS, _list,
    ),
    Tool(
        "firewall_allow", "Open a port", "Let a network reach a port. Taken back by itself if CodeB then reaches less.",
        AllowParams, ChangeResult, Role.ADMIN, Risk.CHANGES, _allow, long=True,
    ),
    Tool(
        "firewall_deny", "Close a port", "Take away what was opened. Connections that exist go on.",
        DenyParams, ChangeResult, Role.ADMIN, Risk.CHANGES, _deny, long=True,
    ),
)  # fmt: skip
