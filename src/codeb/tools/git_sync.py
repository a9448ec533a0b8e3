"""git_sync: CodeB is told what became of a project's branches.

A work item is done once its branch came into the default branch by a pull request, after the work item was made and with nothing
of it open any more: a branch of that name may be used again. Previews of pull requests that are over are named; the
reconciler removes them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from codeb.contracts.store import Registry
from codeb.errors import StalePlan
from codeb.flows.pulls import repository_of
from codeb.model.access import Role
from codeb.model.grammar import PULL_REQUEST
from codeb.model.pulls import Pull, PullState, Source, legible
from codeb.model.specs import Project
from codeb.model.work import OPEN, Task
from codeb.tools import fields
from codeb.tools.call import Call
from codeb.tools.drafts import Draft, draft
from codeb.tools.pull_views import MOST_NAME
from codeb.tools.task_moves import MOST_OF_A_BRANCH, complete
from codeb.tools.tool import NextCall, Outcome, Risk, Tool

LOOKED_AT = 300
"""pull requests, the last changed first: what was over before them an earlier call has seen"""


class SyncParams(fields.Changing):
    project_name: fields.ProjectName


class DoneView(fields.Result):
    task_id: str
    title: fields.Untrusted
    pull_request: int


class EndedView(fields.Result):
    pull_request: int
    environment: str
    state: str


class SyncResult(fields.Result):
    repository: str
    default_branch: fields.Untrusted
    sha: str
    """the commit that is at"""
    looked_at: int
    open: int
    tasks_done: list[DoneView]
    previews_ended: list[EndedView]
    """environments of pull requests that are over: the reconciler removes them"""


@dataclass(frozen=True)
class Seen:
    """What the host says, at one moment."""

    source: Source
    pulls: Sequence[Pull]
    over: tuple[tuple[int, PullState], ...]
    """pull requests that are over and have an environment here"""


async def _look(call: Call, project: Project, repository: str) -> Seen:
    host = call.kit.pulls
    source, pulls = await host.about(repository), await host.find(repository, state="all", limit=LOOKED_AT)
    states = {each.number: each.state for each in pulls}
    previews = [int(each.removeprefix("pr-")) for each in project.environments if PULL_REQUEST.fullmatch(each)]
    for number in previews:
        if number not in states:
            states[number] = await host.state(repository, number)
    return Seen(source, pulls, tuple((number, states[number]) for number in previews if states[number].gone))


async def _due(registry: Registry, project: Project, seen: Seen) -> list[tuple[Task, int]]:
    """Work items whose branch was merged, each with the pull request that did it."""
    going = {each.branch for each in seen.pulls if each.state is PullState.OPEN and not each.fork}
    came: dict[str, list[Pull]] = {}
    for each in seen.pulls:
        ours = not each.fork and each.base == seen.source.branch and each.branch not in going
        if each.state is PullState.MERGED and each.merged_at and ours:
            came.setdefault(each.branch, []).append(each)
    found = list[tuple[Task, int]]()
    for branch, pulls in sorted(came.items()):
        last = max(pulls, key=lambda each: (each.merged_at, each.number))
        still = await registry.tasks.find([project.name], statuses=OPEN, branch=branch, limit=MOST_OF_A_BRANCH)
        found += [(task, last.number) for task in still if last.merged_at and task.created_at < last.merged_at]
    return found


def _drafted(project: Project, repository: str, due: Sequence[tuple[Task, int]]) -> Draft:
    changes = [f"{task.id} is done: pull request {number} was merged" for task, number in due]
    bound = {"repository": repository, "due": [[task.id, task.status.value, number] for task, number in due]}
    return draft("git_sync", {"projectName": project.name}, changes, bound)


async def _sync(call: Call, params: SyncParams) -> Outcome:
    project = call.project(params.project_name)
    repository = repository_of(call.kit, project)
    seen = await _look(call, project, repository)
    if params.dry_run:
        drafted = _drafted(project, repository, await call.kit.store.consult(lambda registry: _due(registry, project, seen)))
        apply = NextCall("git_sync", {"projectName": project.name, "planId": drafted.id}, "do exactly this")
        return drafted.shown(f"Would end {len(drafted.changes)} tasks of {project.name}.", apply)

    async def act(registry: Registry) -> SyncResult:
        fresh = await call.ready(registry, project.name)
        if repository_of(call.kit, fresh) != repository:
            raise StalePlan("The project has another repository by now; nothing was done.", hint="Call it again.")
        due = await _due(registry, fresh, seen)
        _drafted(fresh, repository, due).still_fits(params)
        now = call.kit.world.now()
        for task, _ in due:
            await complete(registry, now, task)
        return _told(repository, seen, due)

    done = await call.change(act, lambda result: result.model_dump(by_alias=True, mode="json"))
    return Outcome(done, _summed(project, done), _likely(project, done))


def _told(repository: str, seen: Seen, due: Sequence[tuple[Task, int]]) -> SyncResult:
    return SyncResult(
        repository=repository, default_branch=legible(seen.source.branch, MOST_NAME), sha=seen.source.head,
        looked_at=len(seen.pulls), open=sum(each.state is PullState.OPEN for each in seen.pulls),
        tasks_done=[DoneView(task_id=task.id, title=task.title, pull_request=number) for task, number in due],
        previews_ended=[
            EndedView(pull_request=number, environment=f"pr-{number}", state=state.value) for number, state in seen.over
        ],
    )  # fmt: skip


def _summed(project: Project, done: SyncResult) -> str:
    tasks = f"{len(done.tasks_done)} task{'' if len(done.tasks_done) == 1 else 's'} done"
    return f"{project.name}: {done.open} pull requests open, {tasks}, {len(done.previews_ended)} previews of what is over."


def _likely(project: Project, done: SyncResult) -> tuple[NextCall, ...]:
    """What somebody would look at next."""
    who = {"projectName": project.name}
    ended = (NextCall("preview_list", who, "see what is left of those that are over"),) if done.previews_ended else ()
    return (*ended, *((NextCall("pr_list", who, "see what is open"),) if done.open else ()))


TOOLS: tuple[Tool[Any], ...] = (
    Tool(
        "git_sync", "Follow the repository",
        "Bring CodeB in line with the project's repository: tasks whose branch was merged are done and give their files back.",
        SyncParams, SyncResult, Role.MEMBER, Risk.CHANGES, _sync,
    ),
)  # fmt: skip
