"""Approvals: what waits for another identity's yes, and that yes or no."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from pydantic import Field

from codeb.contracts.store import Registry
from codeb.errors import Conflict, Forbidden, NotFound
from codeb.model.access import People, Role
from codeb.model.approvals import Decision, PlanApproval, not_another, visible
from codeb.model.events import Event, Severity
from codeb.tools import fields
from codeb.tools.call import Call
from codeb.tools.drafts import Draft, draft
from codeb.tools.people import caller, everybody, known
from codeb.tools.refusals import spent
from codeb.tools.tool import NextCall, Outcome, Risk, Tool


class GetParams(fields.Params):
    approval_id: fields.ApprovalId


class ListParams(fields.Params):
    waiting: bool = Field(False, description="only those that can still be decided")
    project_name: fields.ProjectName | None = None
    limit: fields.Limit = 50
    before: fields.ApprovalId | None = Field(None, description="the last approvalId of the page before")


class DecideParams(fields.Changing):
    approval_id: fields.ApprovalId
    reason: fields.Reason = ""


class ApprovalView(fields.Result):
    approval_id: str
    state: str
    tool: str
    project_name: str | None
    environment: str | None
    params: dict[str, Any] = Field(json_schema_extra=fields.UNTRUSTED)
    plan_id: str
    plan: dict[str, Any] = Field(json_schema_extra=fields.UNTRUSTED)
    changes: list[str]
    touches: dict[str, Any]
    requested_by: str
    created_at: str
    expires_at: str
    decided_by: str | None
    decided_at: str | None
    reason: fields.Untrusted | None
    operation_id: str | None


class GetResult(fields.Result):
    approval: ApprovalView


class ListResult(fields.Result):
    approvals: list[ApprovalView]
    more: bool


def _view(call: Call, asked: PlanApproval) -> ApprovalView:
    return ApprovalView(
        approval_id=asked.id, state=asked.stands(call.kit.world.now()).value, tool=asked.tool, project_name=asked.project,
        environment=asked.environment, params=dict(asked.params), plan_id=asked.plan_id, plan=dict(asked.plan),
        changes=list(asked.changes), touches=dict(asked.touches), requested_by=asked.requested_by,
        created_at=asked.created_at.isoformat(), expires_at=asked.expires_at.isoformat(), decided_by=asked.decided_by,
        decided_at=asked.decided_at.isoformat() if asked.decided_at else None, reason=asked.reason,
        operation_id=asked.operation_id,
    )  # fmt: skip


# look


async def _found(registry: Registry, call: Call, approval_id: str) -> PlanApproval:
    """Raises `NotFound`, the same for one that is not there and one that the caller may not see."""
    asked = await registry.approvals.get(approval_id)
    if asked is None or not visible(call.actor, asked):
        raise NotFound(f"There is no approval {approval_id}.", code="approval_not_found", hint="See approval_list.")
    return asked


async def _get(call: Call, params: GetParams) -> Outcome:
    asked = await call.kit.store.consult(lambda registry: _found(registry, call, params.approval_id))
    view = _view(call, asked)
    next_: tuple[NextCall, ...] = ()
    if view.state == "approved" and asked.requested_key == call.actor.key_id:
        next_ = (NextCall(asked.tool, {**asked.params, "planId": asked.plan_id}, "do what was approved"),)
    elif view.state == "waiting" and asked.requested_key != call.actor.key_id and call.actor.may_use("approve", Role.MEMBER):
        next_ = (NextCall("approve", {"approvalId": asked.id}, "say yes to exactly this plan"),)
    return Outcome(GetResult(approval=view), f"{asked.what}: {view.state}.", next_)


async def _list(call: Call, params: ListParams) -> Outcome:
    reach = frozenset({params.project_name}) if params.project_name else call.actor.projects or None
    found = await call.kit.store.consult(
        lambda registry: registry.approvals.history(
            team=call.actor.team, projects=reach, waiting=params.waiting, limit=params.limit + 1, before=params.before
        )
    )
    shown = [_view(call, each) for each in found[: params.limit]]
    said = f"{len(shown)} approval{'' if len(shown) == 1 else 's'}, newest first."
    return Outcome(ListResult(approvals=shown, more=len(found) > params.limit), said, (), call.past(params.project_name))


# decide


def _refuse(call: Call, asked: PlanApproval, roles: Mapping[str, Role], people: People) -> None:
    """Who decides has the right to make the call, and is somebody else. Raises `Forbidden`, `Conflict`."""
    actor, role = call.actor, roles.get(asked.tool, Role.OWNER)
    if not actor.may_use(asked.tool, role) or not (asked.environment is None or actor.may_touch(asked.environment)):
        raise Forbidden(
            f"Only who may make this call may decide about it: {asked.what} needs the role {role} and a key that reaches it. "
            "Nothing was done.",
            hint="Ask an admin or owner of your team.",
        )
    if who := not_another(actor, asked.requested_key, people.keys):
        raise Forbidden(
            f"Another identity has to decide about {asked.id}; this is {who}. Nothing was done.", code="not_another_identity",
            hint="Somebody else of your team decides, with a key of their own.",
        )  # fmt: skip
    stands = asked.stands(call.kit.world.now())
    if stands in (Decision.STALE, Decision.EXPIRED):
        raise spent(asked.id, stands)
    if stands is not Decision.WAITING:
        raise Conflict(
            f"The approval {asked.id} is decided: {asked.decided_by} said {_word(asked)}. Nothing was done.",
            code="approval_decided", hint="A decision is final; whoever asked can ask again.",
            details={"approvalId": asked.id, "state": stands.value},
        )  # fmt: skip


def _word(asked: PlanApproval) -> str:
    return "no" if asked.state is Decision.REJECTED else "yes"


def _draft(tool: str, asked: PlanApproval) -> Draft:
    says = "let" if tool == "approve" else "do not let"
    changes = [f"{says} {asked.requested_by} {change}" for change in asked.changes]
    plan = {"approvalId": asked.id, "tool": asked.tool, "params": dict(asked.params), "planId": asked.plan_id}
    return draft(tool, plan, changes, {"state": asked.state.value}, dict(asked.touches))


async def _decide(call: Call, params: DecideParams, *, to: Decision, roles: Mapping[str, Role]) -> Outcome:
    asked = await call.kit.store.consult(lambda registry: _found(registry, call, params.approval_id))
    _refuse(call, asked, roles, known(call))
    drafted = _draft(call.tool, asked)
    if params.dry_run:
        apply = NextCall(call.tool, {"approvalId": asked.id, "planId": drafted.id}, "do exactly this")
        return drafted.shown(f"Would {call.tool} {asked.what} of {asked.requested_by}.", apply)

    async def act(registry: Registry) -> GetResult:
        people = await everybody(registry, call)
        actor, now = caller(call, people, Role.MEMBER), people.now
        mine = replace(call, actor=actor)
        fresh = await _found(registry, mine, params.approval_id)
        _refuse(mine, fresh, roles, people)
        _draft(call.tool, fresh).still_fits(params)
        await registry.approvals.move(
            fresh.id, Decision.WAITING, to, decided_key=actor.key_id, decided_by=actor.name, decided_at=now, reason=params.reason
        )  # fmt: skip
        await registry.events.add(
            Event(
                call.kit.world.new_id("ev"), now, f"approval_{to}", Severity.INFO,
                f"{actor.name} {to} {fresh.what}, as {fresh.requested_by} asked.", fresh.team, fresh.project, fresh.environment,
                data={"approvalId": fresh.id, "tool": fresh.tool, "reason": params.reason},
            )
        )  # fmt: skip
        return GetResult(approval=_view(call, await _found(registry, call, fresh.id)))

    done = await call.change(act, lambda result: result.model_dump(by_alias=True, mode="json"))
    then = f"{asked.requested_by} can do it now, once, until {done.approval.expires_at}, by the same call with planId."
    return Outcome(done, f"{asked.what} is {to}. " + (then if to is Decision.APPROVED else "It cannot be done by this plan."))


def tools(others: Sequence[Tool[Any]]) -> tuple[Tool[Any], ...]:
    """`others`: what can be asked for; who decides needs the role of the tool that is asked for."""
    roles = {each.name: each.role for each in others}
    return (
        Tool(
            "approve", "Approve a plan", "Let another key do, once, what it asked for. By somebody else than who asked.",
            DecideParams, GetResult, Role.MEMBER, Risk.CHANGES, partial(_decide, to=Decision.APPROVED, roles=roles),
        ),
        Tool(
            "reject", "Reject a plan", "Say no to what another key asked for; final for this plan.",
            DecideParams, GetResult, Role.MEMBER, Risk.CHANGES, partial(_decide, to=Decision.REJECTED, roles=roles),
        ),
        Tool(
            "approval_list", "List approvals", "Plans that wait for another identity's yes, and those decided; newest first.",
            ListParams, ListResult, Role.VIEWER, Risk.READS, _list,
        ),
        Tool(
            "approval_get", "Show an approval", "One plan with what it changes and touches, who asked, who decided.",
            GetParams, GetResult, Role.VIEWER, Risk.READS, _get,
        ),
    )  # fmt: skip
