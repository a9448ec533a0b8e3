"""Pull requests of a project's repository: listed, made, reviewed, merged.

A merge may begin a deploy of any environment, so a key that is narrowed to some of them does not merge.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Literal

from pydantic import Field

from codeb.contracts.store import Registry
from codeb.errors import Forbidden, InvalidParams, OperationFailed, StalePlan
from codeb.flows import pull_change
from codeb.flows.pull_change import PullInput
from codeb.flows.pulls import repository_of
from codeb.model.access import Role
from codeb.model.pulls import Method, Proposal, PullState, Review, Verdict
from codeb.model.specs import Project
from codeb.tools import fields
from codeb.tools.call import Call
from codeb.tools.drafts import Draft, draft
from codeb.tools.pull_views import PullView, view
from codeb.tools.switches import accepted
from codeb.tools.tool import NextCall, Outcome, Risk, Tool


class ListParams(fields.Params):
    project_name: fields.ProjectName
    state: Literal["open", "closed", "all"] = Field("open", description="closed: merged ones too")
    branch: fields.Branch | None = Field(None, description="only those from this branch of the repository")
    pull_request: fields.PullRequest | None = Field(None, description="this one alone, whatever its state, with its text")
    limit: int = Field(30, ge=1, le=100, description="at most this many, the last changed first")


class ListResult(fields.Result):
    repository: str
    pulls: list[PullView]
    more: bool


class Changes(fields.Long):
    project_name: fields.ProjectName


class CreateParams(Changes):
    branch: fields.Branch = Field(description="where the change is; it has been pushed")
    title: fields.TaskTitle = Field(description="what it changes, in one line", examples=["Pay by invoice"])
    text: fields.PullText = ""
    base: fields.Branch | None = Field(None, description="where it is to go; default: the default branch")
    draft: bool = False


class ReviewParams(fields.Confirmed, Changes):
    pull_request: fields.PullRequest
    sha: fields.Commit
    verdict: Literal["approve", "request-changes", "comment"] = Field(examples=["approve"])
    text: fields.PullText = Field("", description="why; needed for all but approve")


class MergeParams(fields.Confirmed, Changes):
    pull_request: fields.PullRequest
    sha: fields.Commit
    method: Literal["merge", "squash", "rebase"] = "merge"


class PullResult(fields.Result):
    repository: str
    pull_request: int | None
    url: str | None
    state: str
    sha: str | None
    """the commit its branch is at"""
    merged_as: str | None
    was_there: bool
    """it was so before this call, as far as is known"""
    operation_id: str | None = None


# looking


async def _list(call: Call, params: ListParams) -> Outcome:
    repository = repository_of(call.kit, call.project(params.project_name))
    if params.pull_request is not None:
        pull = await call.kit.pulls.get(repository, params.pull_request)
        shown = ListResult(repository=repository, pulls=[view(pull, whole=True)], more=False)
        return Outcome(shown, f"Pull request {pull.number} of {repository} is {pull.state}.")
    found = await call.kit.pulls.find(repository, state=params.state, branch=params.branch, limit=params.limit + 1)
    result = ListResult(
        repository=repository, pulls=[view(each) for each in found[: params.limit]], more=len(found) > params.limit
    )
    one = tuple(
        NextCall("pr_list", {"projectName": params.project_name, "pullRequest": each.number}, "see all of it")
        for each in found[:1]
    )  # fmt: skip
    count, word = len(result.pulls), "" if params.state == "all" else f"{params.state} "
    return Outcome(result, f"{count} {word}pull request{'' if count == 1 else 's'} of {repository}.", one)


# changing


def _sure(call: Call, project: Project, value: PullInput) -> Callable[[Registry], Awaitable[PullInput]]:
    """That the repository is still the project's, as the transaction that begins it sees it."""

    async def decide(registry: Registry) -> PullInput:
        if repository_of(call.kit, await call.ready(registry, project.name)) != value.repository:
            raise StalePlan("The project has another repository by now; nothing was done.", hint="Look again with pr_list.")
        return value

    return decide


async def _begin(call: Call, params: Changes, project: Project, value: PullInput, drafted: Draft) -> Outcome:
    drafted.still_fits(params)
    lock = pull_change.lock_of(project.name, value.number)
    operation = await call.open(pull_change.SAGA, (lock,), _sure(call, project, value))
    return await _ended(call, params, operation.id)


async def _begun(call: Call, params: Changes) -> Outcome | None:
    """What this idempotency key began before: by now it may be merged, as was asked."""
    if params.dry_run or not (begun := (await call.began()).get("")):
        return None
    return await _ended(call, params, begun)


async def _ended(call: Call, params: Changes, operation_id: str) -> Outcome:
    if not params.wait:
        found = await call.kit.store.consult(lambda registry: registry.journal.get(operation_id))
        assert found is not None
        return accepted(found)
    try:
        operation, _ = await call.ended(operation_id)
    except OperationFailed as fault:
        raise _in_doubt(fault) from fault
    result = PullResult(**(operation.result or {}), operation_id=operation.id)
    number = {} if result.pull_request is None else {"pullRequest": result.pull_request}
    look = NextCall("pr_list", {"projectName": params.project_name, **number}, "see how it stands")
    said = "It was so already" if result.was_there else "Done"
    return Outcome(result, f"{said}: {operation.summary}.", (look,), operation.warnings)


def _in_doubt(fault: OperationFailed) -> OperationFailed:
    """What was said to GitHub nobody takes back, so unless it said no it may have been done."""
    acted = any(each["name"] == "act" for each in fault.details.get("steps", ()))
    if not acted or fault.code in pull_change.SAYS_NO:
        return fault
    said = fault.message.replace("Everything it had done is undone.", "Whether it was done all the same is not known.")
    hint = "Look with pr_list, or call again: nothing is done twice."
    return OperationFailed(said, status=fault.status, code=fault.code, hint=hint, details=fault.details)


def _shown(call: Call, said: dict[str, Any], drafted: Draft) -> Outcome:
    apply = NextCall(call.tool, {**said, "planId": drafted.id}, "do exactly this")
    return drafted.shown(f"Would {drafted.changes[0]}." if drafted.changes else "It is so already.", apply)


async def _create(call: Call, params: CreateParams) -> Outcome:
    if (before := await _begun(call, params)) is not None:
        return before
    project = call.project(params.project_name)
    repository = repository_of(call.kit, project)
    base = params.base or (await call.kit.pulls.about(repository)).branch
    proposal = Proposal(params.branch, base, params.title, params.text, params.draft)
    there = await call.kit.pulls.find(repository, state="open", branch=params.branch, limit=100)
    known = [each.number for each in there if each.base == base]
    said = {"projectName": project.name, "branch": params.branch, "title": params.title, "draft": params.draft}
    said |= {name: value for name, value in (("text", params.text), ("base", params.base)) if value}
    change = [] if known else [f"open a pull request in {repository}"]
    # how the default branch is called is not the caller's word, nor ours
    drafted = draft("pr_create", said, change, {"repository": repository, "base": base, "there": known})
    if params.dry_run:
        return _shown(call, said, drafted)
    return await _begin(call, params, project, PullInput(project.name, repository, proposal=proposal), drafted)


def approves(params: ReviewParams) -> bool:
    """A yes may be all that a protected branch waits for."""
    return params.verdict == "approve"


async def _review(call: Call, params: ReviewParams) -> Outcome:
    if (before := await _begun(call, params)) is not None:
        return before
    if params.verdict != "approve" and not params.text.strip():
        raise InvalidParams(
            "A review that is no approval says why; nothing was done.",
            details={"fields": [{"field": "text", "problem": "is missing"}]},
        )
    project = call.project(params.project_name)
    repository = repository_of(call.kit, project)
    pull = await call.kit.pulls.get(repository, params.pull_request)
    pull_change.may_be(pull, params.sha)
    said = {
        "projectName": project.name, "pullRequest": pull.number, "sha": params.sha, "verdict": params.verdict,
    } | ({"text": params.text} if params.text else {})  # fmt: skip
    change = f"say {params.verdict} of pull request {pull.number} of {repository} at {params.sha[:12]}"
    drafted = draft("pr_review", said, [change], {"repository": repository}, {"pulls": [pull.url]})
    if params.dry_run:
        return _shown(call, said, drafted)
    review = Review(pull.number, params.sha, Verdict(params.verdict), params.text)
    return await _begin(
        call, params, project, PullInput(project.name, repository, pull.number, params.sha, review=review), drafted
    )  # fmt: skip


def _whole(call: Call, project: Project) -> None:
    """Raises `Forbidden` for a key that is narrowed to some environments."""
    if call.actor.environments:
        raise Forbidden(
            f"What is merged may be deployed to any environment of {project.name}, and this key reaches "
            f"{', '.join(sorted(call.actor.environments))} alone; nothing was done.",
            hint="Use a key for all environments.",
        )  # fmt: skip


async def _merge(call: Call, params: MergeParams) -> Outcome:
    if (before := await _begun(call, params)) is not None:
        return before
    project = call.project(params.project_name)
    _whole(call, project)
    repository = repository_of(call.kit, project)
    pull = await call.kit.pulls.get(repository, params.pull_request)
    merged = pull.state is PullState.MERGED and pull.head == params.sha
    if not merged:
        pull_change.may_be(pull, params.sha)
        pull_change.mergeable(pull)
    said = {"projectName": project.name, "pullRequest": pull.number, "sha": params.sha, "method": params.method}
    change = [] if merged else [f"merge pull request {pull.number} of {repository} at {params.sha[:12]} ({params.method})"]
    drafted = draft("pr_merge", said, change, {"repository": repository}, {"pulls": [pull.url]})
    if params.dry_run:
        return _shown(call, said, drafted)
    value = PullInput(project.name, repository, pull.number, params.sha, Method(params.method))
    return await _begin(call, params, project, value, drafted)


TOOLS: tuple[Tool[Any], ...] = (
    Tool(
        "pr_list", "List pull requests",
        "Pull requests of the project's repository at GitHub; one by its number with its text and whether it can be merged.",
        ListParams, ListResult, Role.VIEWER, Risk.READS, _list,
    ),
    Tool(
        "pr_create", "Make a pull request",
        "Open a pull request from a branch that was pushed; one that is open from it to the same base already is kept as it is.",
        CreateParams, PullResult, Role.MEMBER, Risk.CHANGES, _create, long=True,
    ),
    Tool(
        "pr_review", "Review a pull request",
        "Approve, request changes or comment, at the commit you saw; GitHub lets nobody approve their own.",
        ReviewParams, PullResult, Role.MEMBER, Risk.CHANGES, _review, long=True, risky=approves,
    ),
    Tool(
        "pr_merge", "Merge a pull request",
        "Merge it at the commit you saw and at no other. It cannot be taken back, and may begin a deploy.",
        MergeParams, PullResult, Role.MEMBER, Risk.DESTROYS, _merge, long=True,
    ),
)  # fmt: skip
