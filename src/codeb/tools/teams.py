"""Teams. A caller knows its own and no other: another team's is as unknown as one that is not there."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field

from codeb.contracts.store import Registry
from codeb.errors import Conflict, Forbidden, InvalidParams, NotFound
from codeb.model.access import Actor, Approval, Key, People, Role, Team
from codeb.model.approvals import stuck
from codeb.model.deletion import is_deleted
from codeb.model.specs import Project
from codeb.tools import fields
from codeb.tools.call import Call
from codeb.tools.drafts import Draft, draft
from codeb.tools.people import ONCE, caller, everybody, known, minted, whole
from codeb.tools.tokens import KeyView, view
from codeb.tools.tool import NextCall, Outcome, Risk, Tool


class CreateParams(fields.Changing):
    team: fields.TeamId
    display_name: fields.Title = ""
    approval: fields.ApprovalName = Field("none", description="what a risky call of anybody in the team needs, at least")


class TeamView(fields.Result):
    team: str
    display_name: str
    approval: str
    created_at: str | None
    members: int
    keys: int
    projects: int


class CreateResult(fields.Result):
    team: TeamView
    key: str
    """the team's first owner key, shown once"""
    token: KeyView


class ListParams(fields.Params):
    pass


class ListResult(fields.Result):
    teams: list[TeamView]


class GetParams(fields.Params):
    team: fields.TeamId | None = Field(None, description="default: yours; no other can be seen")


class GetResult(fields.Result):
    team: TeamView


class SettingsParams(fields.Changing):
    display_name: fields.Title | None = Field(None, description="a name for people; default: as it is")
    approval: fields.ApprovalName | None = Field(
        None, description="what a risky call of anybody in the team needs, at least; it only grows stricter; default: as it is"
    )


class SettingsResult(fields.Result):
    team: TeamView
    changed: list[str]


class DeleteParams(fields.Confirmed):
    team: fields.TeamId
    confirm: str = Field("", max_length=64, description="the team's id, typed once more")


class DeleteResult(fields.Result):
    team: str
    deleted: bool
    revoked: list[str]


def _view(team: Team, people: People, projects: Mapping[str, Project]) -> TeamView:
    return TeamView(
        team=team.id, display_name=team.display_name, approval=team.approval.value,
        created_at=team.created_at.isoformat() if team.created_at else None, members=len(people.present(team.id)),
        keys=sum(people.actor(key.id) is not None for key in people.of(team.id)),
        projects=sum(each.team == team.id for each in projects.values()),
    )  # fmt: skip


def _theirs(call: Call, people: People, team: str | None = None) -> Team:
    """The caller's own team. Raises `NotFound` (`team_not_found`), the same for another's and for none."""
    found = people.teams.get(call.actor.team)
    if found is None or team not in (None, found.id):
        raise NotFound(f"There is no team {team or call.actor.team}.", code="team_not_found", hint="See team_list.")
    return found


# create


def _creating(call: Call, params: CreateParams, people: People) -> tuple[Team, Key, Draft]:
    """The team, and its first owner key without a text. Raises `Forbidden` for a key that could not have made that one."""
    actor = caller(call, people, Role.OWNER)
    whole(actor, "a new team")
    if actor.expires_at is not None:
        raise Forbidden("This key expires, and a team's first one must not; nothing was done.", hint="Use one that does not.")
    if params.team in people.teams:
        raise Conflict(f"The id {params.team} is not available.", code="team_exists", hint="Choose another id.")
    team = Team(params.team, params.display_name, Approval(params.approval), people.now, actor.name)
    key = Key(
        call.kit.world.new_id("key"), "", team.id, Role.OWNER, "first key", created_at=people.now, approval=actor.approval,
        created_by=actor.key_id,
    )  # fmt: skip
    plan = {"team": params.team, "displayName": params.display_name, "approval": params.approval}
    return team, key, draft("team_create", plan, [f"create team {params.team}", "make its first owner key"], {})


async def _create(call: Call, params: CreateParams) -> Outcome:
    if params.dry_run:
        _, _, drafted = _creating(call, params, known(call))
        return drafted.shown(
            f"Would create team {params.team}.", NextCall("team_create", {**drafted.plan, "planId": drafted.id}, "do it")
        )

    async def act(registry: Registry) -> CreateResult:
        team, key, drafted = _creating(call, params, await everybody(registry, call))
        drafted.still_fits(params)
        made = minted(key)
        await registry.teams.add(team)
        await registry.keys.add(made.key)
        after = await everybody(registry, call)
        return CreateResult(team=_view(team, after, {}), key=made.text.reveal(), token=view(made.key, after))

    done = await call.change(act, lambda result: result.model_dump(by_alias=True, mode="json"))
    more = "Only this key reaches the new team; yours does not see it."
    people = known(call)
    told = (ONCE, more, *_stuck(people, people.teams[params.team]))
    return Outcome(done, f"Team {params.team} is created.", (), told)


# list, get


async def _list(call: Call, params: ListParams) -> Outcome:
    people = known(call)
    found = [people.teams[call.actor.team]] if call.actor.team in people.teams else []
    views = [_view(each, people, call.projects()) for each in found]
    return Outcome(ListResult(teams=views), f"You are of team {call.actor.team}.")


async def _get(call: Call, params: GetParams) -> Outcome:
    people = known(call)
    team = _theirs(call, people, params.team)
    return Outcome(GetResult(team=_view(team, people, call.projects())), f"Team {team.id}.")


# settings


def _setting(call: Call, params: SettingsParams, people: People) -> tuple[Team, Draft]:
    """The team as it is to be. Raises `Forbidden` for a policy that would grow looser: it binds everybody here."""
    actor = caller(call, people, Role.ADMIN)
    whole(actor, "the team's settings")
    team = _theirs(call, people)
    name = team.display_name if params.display_name is None else params.display_name
    approval = team.approval if params.approval is None else Approval(params.approval)
    if team.approval.stricter(approval) is not approval:
        raise Forbidden(
            f"Team {team.id} asks for {team.approval}, and nobody whom that binds can loosen it; nothing was done.",
            code="approval_only_stricter", hint="It can be made stricter: none, name, human.",
        )  # fmt: skip
    was = {"displayName": team.display_name, "approval": team.approval.value}
    plan = {"displayName": name, "approval": approval.value}
    changes = [f"set {key} from {was[key] or 'nothing'} to {plan[key] or 'nothing'}" for key in plan if plan[key] != was[key]]
    return Team(team.id, name, approval, team.created_at, team.created_by), draft("team_settings", plan, changes, was)


def _stuck(people: People, team: Team) -> tuple[str, ...]:
    """Whom a policy of another identity's yes keeps from every risky call, since nobody could give it. A warning and no refusal:
    such a key may still make the others that work, which is what it is for."""
    found = stuck(team.id, people) if team.approval is Approval.HUMAN else []
    if not found:
        return ()
    named = ", ".join(f"{key.id} ({key.label})" if key.label else key.id for key in found[:10])
    return (
        f"Nobody could approve a risky call of {named}: every other key is of the same person, was made with it, is a machine's "
        "or needs approvals itself. Work with keys of several members (member_invite), and keep that one for making keys.",
    )


async def _settings(call: Call, params: SettingsParams) -> Outcome:
    if params.display_name is None and params.approval is None:
        raise InvalidParams(
            "Say what is to change; nothing was done.", hint="Give displayName, approval or both.",
            details={"fields": [{"field": each, "problem": "missing"} for each in ("displayName", "approval")]},
        )  # fmt: skip
    team, drafted = _setting(call, params, known(call))
    if params.dry_run:
        apply = NextCall("team_settings", {**drafted.plan, "planId": drafted.id}, "do exactly this")
        would = f"Would change team {team.id}." if drafted.changes else f"{team.id} is as asked already."
        return drafted.shown(would, apply, *_stuck(known(call), team))

    async def act(registry: Registry) -> SettingsResult:
        wanted, fresh = _setting(call, params, await everybody(registry, call))
        fresh.still_fits(params)
        await registry.teams.set(wanted.id, display_name=wanted.display_name, approval=wanted.approval)
        after = await everybody(registry, call)
        return SettingsResult(team=_view(after.teams[wanted.id], after, call.projects()), changed=list(fresh.changes))

    done = await call.change(act, lambda result: result.model_dump(by_alias=True, mode="json"))
    said = f"{team.id}: {', '.join(done.changed)}." if done.changed else f"{team.id} was as asked already."
    people = known(call)
    return Outcome(done, said, (), _stuck(people, people.teams[team.id]))


# delete


def _deleting(call: Call, params: DeleteParams, people: People, projects: Sequence[Project]) -> tuple[Actor, list[str]]:
    """The caller, and the keys that end. Raises why it cannot be."""
    actor = caller(call, people, Role.OWNER)
    whole(actor, "deleting a team")
    team = _theirs(call, people, params.team)
    if projects:
        raise Conflict(
            f"Team {team.id} has {len(projects)} project{'' if len(projects) == 1 else 's'}; nothing was done.",
            code="team_not_empty", hint=_emptying(projects),
        )  # fmt: skip
    if not [
        each for each in people.teams.values() if each.deleted_at is None and each.id != team.id and people.owned(each.id)[1]
    ]:
        raise Conflict(
            f"{team.id} is the last team with an owner: without it nobody could use this CodeB; nothing was done.",
            code="last_team", hint="Create another team first.",
        )  # fmt: skip
    return actor, [key.id for key in people.of(team.id) if key.revoked_at is None]


def _emptying(projects: Sequence[Project]) -> str:
    """What is to be done with them first; a deleted one is there for a week, unless it is purged."""
    there = [each.name for each in projects if not is_deleted(each)][:10]
    deleted = [each.name for each in projects if is_deleted(each)][:10]
    said = [f"Delete first: {', '.join(there)}."] if there else []
    if deleted:
        said.append(f"Deleted, not purged yet: {', '.join(deleted)}; project_delete with purge: true ends them now.")
    return " ".join(said)


async def _delete(call: Call, params: DeleteParams) -> Outcome:
    projects = [each for each in call.kit.store.snapshot.projects.values() if each.team == call.actor.team]
    _, ending = _deleting(call, params, known(call), projects)
    team, plan = params.team, {"team": params.team, "confirm": params.team}
    drafted = draft(
        "team_delete", {"team": team}, [f"delete team {team}", *(f"revoke {each}" for each in ending)], {"keys": ending}
    )
    if params.dry_run:
        apply = NextCall("team_delete", {**plan, "planId": drafted.id}, "delete it")
        return drafted.shown(f"Would delete team {team}; its keys, also the one you call with, are refused at once.", apply)
    if params.confirm != team:
        raise InvalidParams(
            f"To delete {team}, its id has to be typed as confirm; nothing was done.", hint=f'Add "confirm": "{team}".',
            details={"fields": [{"field": "confirm", "problem": "is not the team's id"}]},
        )  # fmt: skip
    drafted.still_fits(params)

    async def act(registry: Registry) -> DeleteResult:
        people = await everybody(registry, call)
        left = [each for each in await registry.projects.all() if each.team == team]
        _, keys = _deleting(call, params, people, left)
        await registry.teams.delete(people.now, team)
        await registry.members.remove(people.now, *(each.id for each in people.present(team)))
        await registry.keys.revoke(people.now, *keys)
        return DeleteResult(team=team, deleted=True, revoked=keys)

    done = await call.change(act, lambda result: result.model_dump(by_alias=True, mode="json"))
    return Outcome(done, f"Team {team} is deleted; keys revoked, with the one you call with: {len(done.revoked)}.")


TOOLS: tuple[Tool[Any], ...] = (
    Tool(
        "team_create", "Create a team", "A new team with its first owner key, which is shown once; only that key reaches it.",
        CreateParams, CreateResult, Role.OWNER, Risk.CHANGES, _create, holds_secret=True,
    ),
    Tool(
        "team_list", "List teams", "The teams your key reaches: your own.",
        ListParams, ListResult, Role.VIEWER, Risk.READS, _list,
    ),
    Tool(
        "team_get", "Show a team", "Your team: its policy, how many members, keys and projects.",
        GetParams, GetResult, Role.VIEWER, Risk.READS, _get,
    ),
    Tool(
        "team_settings", "Change a team's settings", "The team's name for people, and what a risky call of anybody in it needs.",
        SettingsParams, SettingsResult, Role.ADMIN, Risk.CHANGES, _settings,
    ),
    Tool(
        "team_delete", "Delete a team",
        "Delete your own team, once it has no projects: members and keys end with it. Its id is not used again.",
        DeleteParams, DeleteResult, Role.OWNER, Risk.DESTROYS, _delete, acts_on="team",
    ),
)  # fmt: skip
