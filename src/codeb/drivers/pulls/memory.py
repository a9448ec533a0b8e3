"""A host of source in memory: the same promises, for tests of flows."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from codeb.errors import Conflict, NotFound, PublicError, Unavailable
from codeb.model.pulls import Method, Proposal, Pull, PullState, Review, Source, Verdict


@dataclass
class Repository:
    """What a host has of one repository; `branches` say which commit each is at."""

    branches: dict[str, str]
    branch: str = "main"
    pulls: dict[int, Pull] = field(default_factory=dict)
    reviews: list[Review] = field(default_factory=list)


class MemoryPulls:
    """`Pulls` on repositories as plain values.

    What the host does of itself: `down`; `me`, who our token is; `when` it merges. `see` is told of every instant at which
    the process could die in the middle.
    """

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.down = False
        self.me = "codeb"
        self.when = datetime(2027, 1, 1, tzinfo=UTC)
        self.see: Callable[[str], None] = lambda point: None

    # what somebody does to it

    def make(self, name: str, *branches: str) -> Repository:
        """A repository with a main branch, and others one commit beyond it."""
        made = Repository({each: commit(f"{name} {each}") for each in ("main", *branches)})
        self.repositories[name] = made
        return made

    def push(self, name: str, branch: str, what: str) -> str:
        """The branch is at another commit from now on."""
        found, at = self.repositories[name], commit(what)
        found.branches[branch] = at
        for number, pull in found.pulls.items():
            if pull.branch == branch and pull.state is PullState.OPEN and not pull.fork:
                found.pulls[number] = replace(pull, head=at)
        return at

    def open(self, name: str, branch: str, author: str = "ana", **more: object) -> Pull:
        """Somebody makes a pull request."""
        found = self.repositories[name]
        number = max(found.pulls, default=0) + 1
        pull = Pull(
            number, f"Change {branch}", "", author, branch, found.branches[branch], found.branch, PullState.OPEN,
            f"https://git.example.com/{name}/pull/{number}", mergeable=True, why_not="clean",
        )  # fmt: skip
        found.pulls[number] = replace(pull, **more)  # type: ignore[arg-type]  # fields of a pull request, as a test gives them
        return found.pulls[number]

    def close(self, name: str, number: int) -> None:
        pulls = self.repositories[name].pulls
        pulls[number] = replace(pulls[number], state=PullState.CLOSED)

    # the contract

    def _repository(self, name: str) -> Repository:
        if self.down:
            raise Unavailable("GitHub does not answer: it is switched off.", code="github_unavailable")
        if name not in self.repositories:
            raise NotFound(f"There is no repository {name} for our token.", code="repository_not_found")
        return self.repositories[name]

    async def state(self, repository: str, number: int) -> PullState:
        try:
            return (await self.get(repository, number)).state
        except PublicError:
            return PullState.UNKNOWN

    async def about(self, repository: str) -> Source:
        found = self._repository(repository)
        return Source(repository, found.branch, found.branches[found.branch])

    async def find(self, repository: str, *, state: str, branch: str | None = None, limit: int) -> Sequence[Pull]:
        found = [
            each for each in self._repository(repository).pulls.values()
            if (state == "all" or (each.state is PullState.OPEN) == (state == "open"))
            and (branch is None or (each.branch == branch and not each.fork))
        ]  # fmt: skip
        return sorted(found, key=lambda each: each.number, reverse=True)[:limit]

    async def get(self, repository: str, number: int) -> Pull:
        found = self._repository(repository).pulls
        if number not in found:
            raise NotFound(f"{repository} has no pull request {number}.", code="pull_not_found")
        return found[number]

    async def propose(self, repository: str, proposal: Proposal) -> Pull:
        found = self._repository(repository)
        for each in await self.find(repository, state="open", branch=proposal.branch, limit=1000):
            if each.base == proposal.base:
                return each
        if proposal.branch not in found.branches or proposal.base not in found.branches:
            raise Conflict("GitHub refused this: there is no such branch.", code="github_refused")
        if found.branches[proposal.branch] == found.branches[proposal.base]:
            raise Conflict("GitHub refused this: there is nothing between the two.", code="github_refused")
        self.see("before a pull request is made")
        made = self.open(
            repository, proposal.branch, self.me, title=proposal.title, text=proposal.text, draft=proposal.draft,
            base=proposal.base,
        )  # fmt: skip
        self.see("after a pull request is made")
        return made

    async def review(self, repository: str, review: Review) -> str:
        found, pull = self._repository(repository), await self.get(repository, review.number)
        where = f"{pull.url}#review"
        if review in found.reviews:
            return where
        _stands(pull, review.head)
        if review.verdict is not Verdict.COMMENT and pull.author == self.me:
            raise Conflict("GitHub refused this: it is our own pull request.", code="github_refused")
        self.see("before a review")
        found.reviews.append(review)
        self.see("after a review")
        return where

    async def merge(self, repository: str, number: int, head: str, method: Method) -> str:
        found, pull = self._repository(repository), await self.get(repository, number)
        if pull.state is PullState.MERGED and pull.head == head:
            return pull.merged_as
        _stands(pull, head)
        if pull.draft or not pull.mergeable:
            raise Conflict("GitHub does not merge this pull request as it is; nothing was merged.", code="not_mergeable")
        became = commit(f"{method} {number} {head}")
        self.see("before a merge")
        found.branches[pull.base] = became
        found.pulls[number] = replace(pull, state=PullState.MERGED, merged_as=became, merged_at=self.when)
        self.see("after a merge")
        return became


def _stands(pull: Pull, head: str) -> None:
    if pull.state is not PullState.OPEN:
        raise Conflict(f"Pull request {pull.number} is {pull.state}; nothing was done.", code="pull_closed")
    if pull.head != head:
        raise Conflict(f"Pull request {pull.number} is at another commit by now; nothing was done.", code="pull_moved")


def commit(text: str) -> str:
    """The name of a commit, made from a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:40]
