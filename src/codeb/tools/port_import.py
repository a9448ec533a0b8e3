"""Old registries of ports, kept in files: taken over where they are clean, told where they collide."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from codeb.contracts.store import Registry
from codeb.errors import InvalidParams
from codeb.model import port_import
from codeb.model.access import Role
from codeb.model.deletion import READY
from codeb.model.names import Place, parse_container
from codeb.model.old_ports import NotARegistry, OldRegistry, read
from codeb.model.port_import import Facts, Judged, Verdict
from codeb.model.specs import Project
from codeb.tools import fields
from codeb.tools.call import Call
from codeb.tools.drafts import Draft, draft
from codeb.tools.pairs import give_pair
from codeb.tools.tool import NextCall, Outcome, Risk, Tool

MOST = 500
"""claims of one file; a registry of ports of one server has 200 pairs in production"""

Content = Annotated[
    str,
    Field(
        description="the text of the old file: ssot.json, ports.json, .codeb/ports.json", max_length=900_000,
        json_schema_extra={"contentMediaType": "application/json"},
    ),
]  # fmt: skip


class ImportParams(fields.Changing):
    content: Content
    project_name: fields.ProjectName | None = Field(None, description="whose file it is, when it names no project itself")
    fix: bool = Field(False, description="lease the proposed pair where the file collides")


class ClaimView(fields.Result):
    project_name: str
    environment: str
    blue: int | None
    green: int | None
    where: str
    """the place in the file"""
    verdict: str
    why: list[str]
    proposed_blue: int | None
    proposed_green: int | None
    registered: bool


class UnreadView(fields.Result):
    where: str
    why: str


class ImportResult(fields.Result):
    claims: list[ClaimView]
    registered: int
    conflicts: int
    unread: list[UnreadView]
    created: list[str]
    """projects that were set up for it"""


async def _import(call: Call, params: ImportParams) -> Outcome:
    old = _read(call, params)
    published, listening = await call.kit.ports.published(), await call.kit.ports.listening()
    seen = await call.kit.store.consult(lambda registry: _facts(registry, call, old, published, listening))
    judged = port_import.judge(old, seen)
    drafted = _draft(judged, params)
    if params.dry_run:
        return drafted.shown(_said(judged, None))
    drafted.still_fits(params)

    async def act(registry: Registry) -> ImportResult:
        fresh = port_import.judge(old, await _facts(registry, call, old, published, listening))
        _draft(fresh, params).still_fits(params)
        created = [await _register(registry, call, each.claim.place, pair) for each in fresh if (pair := _pair(each, params))]
        return _result(old, fresh, params, [name for name in created if name])

    done = await call.change(act, lambda result: result.model_dump(by_alias=True, mode="json"))
    return Outcome(done, _said(judged, done), _next(done))


def _read(call: Call, params: ImportParams) -> OldRegistry:
    try:
        old = read(params.content, call.kit.policy.ranges, params.project_name)
    except NotARegistry as fault:
        raise InvalidParams(
            f"This is no registry of ports: {fault}. Nothing was done.",
            hint="See port_import in docs/tools.md for the shapes; a file of one project needs projectName.",
            details={"fields": [{"field": "content", "problem": str(fault)}]},
        ) from None
    if len(old.claims) > MOST:
        raise InvalidParams(
            f"The file names {len(old.claims)} pairs, and {MOST} is the most for one call; nothing was done.",
            details={"fields": [{"field": "content", "problem": f"more than {MOST} pairs"}]},
        )  # fmt: skip
    return old


def _open(call: Call, project: Project | None, place: Place) -> bool:
    """Whether the caller may set this environment up."""
    team = project.team if project else call.actor.team
    ready = project is None or project.state == READY
    return ready and call.actor.sees_project(place.project, team) and call.actor.may_touch(place.environment)


async def _facts(
    registry: Registry, call: Call, old: OldRegistry, published: Mapping[int, str], listening: frozenset[int]
) -> Facts:
    """What is true now, as the registry is seen here."""
    places, projects, pairs = {each.place for each in old.claims}, dict[str, Project](), dict[Place, tuple[int, int]]()
    for place in places:
        if (project := await registry.projects.get(place.project)) is not None:
            projects[place.project] = project
        if (pair := await registry.slots.pair(place)) is not None:
            pairs[place] = (pair.blue.port, pair.green.port)
    leases = await registry.leases.all(call.kit.policy.server)
    owners = {port: parse_container(container) for port, container in published.items()}
    return Facts(
        call.kit.policy.ranges, pairs, {lease.port: Place(lease.project, lease.environment) for lease in leases},
        {port: owner[0] if owner else None for port, owner in owners.items()}, listening,
        frozenset(place for place in places if not _open(call, projects.get(place.project), place)),
    )  # fmt: skip


def _pair(judged: Judged, params: ImportParams) -> tuple[int, int] | None:
    """What is to be leased."""
    claim = judged.claim
    if judged.verdict is Verdict.CLEAN and claim.blue is not None and claim.green is not None:
        return claim.blue, claim.green
    return judged.proposed if params.fix else None


async def _register(registry: Registry, call: Call, place: Place, pair: tuple[int, int]) -> str:
    """Lease it, and set the project up when it is not there; its name then."""
    made = ""
    if await registry.projects.get(place.project) is None:
        now = call.kit.world.now()
        await registry.projects.add(Project(place.project, call.actor.team, created_at=now, created_by=call.actor.name))
        made = place.project
    await give_pair(registry, call, place, pair[0])
    return made


def _draft(judged: list[Judged], params: ImportParams) -> Draft:
    changes = [f"lease {pair[0]} and {pair[1]} to {each.claim.place.key}" for each in judged if (pair := _pair(each, params))]
    rows = [
        {
            "projectName": each.claim.place.project, "environment": each.claim.place.environment, "blue": each.claim.blue,
            "green": each.claim.green, "verdict": each.verdict.value, "why": list(each.why), "proposed": each.proposed,
        }
        for each in judged
    ]  # fmt: skip
    return draft("port_import", {"claims": rows, "fix": params.fix}, changes, {})


def _result(old: OldRegistry, judged: list[Judged], params: ImportParams, created: list[str]) -> ImportResult:
    views = [
        ClaimView(
            project_name=each.claim.place.project, environment=each.claim.place.environment, blue=each.claim.blue,
            green=each.claim.green, where=each.claim.where, verdict=each.verdict.value, why=list(each.why),
            proposed_blue=each.proposed[0] if each.proposed else None,
            proposed_green=each.proposed[1] if each.proposed else None, registered=_pair(each, params) is not None,
        )
        for each in judged
    ]  # fmt: skip
    return ImportResult(
        claims=views, registered=sum(1 for each in views if each.registered),
        conflicts=sum(1 for each in views if each.verdict == Verdict.CONFLICT),
        unread=[UnreadView(where=each.where, why=each.why) for each in old.unread], created=created,
    )  # fmt: skip


def _said(judged: list[Judged], done: ImportResult | None) -> str:
    clean = sum(1 for each in judged if each.verdict is Verdict.CLEAN)
    collide = sum(1 for each in judged if each.verdict is Verdict.CONFLICT)
    rest = f"{collide} of {len(judged)} collide" if collide else "nothing collides"
    return f"Would take over {clean} pairs as they are; {rest}." if done is None else f"{done.registered} pairs leased; {rest}."


def _next(done: ImportResult) -> tuple[NextCall, ...]:
    left = next((each for each in done.claims if each.proposed_blue is not None and not each.registered), None)
    if left is None:
        return ()
    said = {
        "projectName": left.project_name, "environment": left.environment,
        "blue": left.proposed_blue, "green": left.proposed_green,
    }  # fmt: skip
    return (NextCall("port_register", said, f"give {left.project_name} the free pair that was proposed"),)


TOOLS: tuple[Tool[Any], ...] = (
    Tool(
        "port_import", "Take over old port files",
        "Read a registry of ports that another tool kept in a file: lease what is clean, tell collisions, each with a free pair.",
        ImportParams, ImportResult, Role.ADMIN, Risk.CHANGES, _import,
    ),
)  # fmt: skip
