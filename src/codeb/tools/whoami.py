"""Who calls, and what they may do."""

from typing import Any

from codeb.model.access import Role
from codeb.tools import fields
from codeb.tools.call import Call
from codeb.tools.people import known
from codeb.tools.tool import Outcome, Risk, Tool


class WhoParams(fields.Params):
    pass


class WhoResult(fields.Result):
    team: str
    role: str
    member: str | None
    key_id: str
    label: str
    preset: str | None
    may_use: list[str]
    projects: list[str]
    environments: list[str]
    approval: str
    expires_at: str | None


async def _who(call: Call, params: WhoParams) -> Outcome:
    # the catalogue imports this file
    from codeb.tools.catalog import TOOLS as EVERY

    people, actor = known(call), call.actor
    key = people.keys.get(actor.key_id)
    holder = people.members.get(actor.member or "")
    result = WhoResult(
        team=actor.team, role=actor.role.value, member=holder.name if holder else None, key_id=actor.key_id,
        label=key.label if key else "", preset=key.preset if key else None,
        may_use=[tool.name for tool in EVERY if actor.may_use(tool.name, tool.role)],
        projects=sorted(actor.projects), environments=sorted(actor.environments), approval=actor.approval.value,
        expires_at=actor.expires_at.isoformat() if actor.expires_at else None,
    )  # fmt: skip
    who = f"{holder.name}, " if holder else ""
    return Outcome(result, f"{who}{actor.role} of team {actor.team}, with {actor.key_id}.")


TOOLS: tuple[Tool[Any], ...] = (
    Tool(
        "whoami", "Show who you are", "Team, role and reach of the key you call with; empty projects and environments mean all.",
        WhoParams, WhoResult, Role.VIEWER, Risk.READS, _who,
    ),
)  # fmt: skip
