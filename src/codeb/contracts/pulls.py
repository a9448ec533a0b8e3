"""What we need of whoever has the source: its pull requests, and where its default branch is at."""

from collections.abc import Sequence
from typing import Protocol

from codeb.model.pulls import Method, Proposal, Pull, PullState, Review, Source


class Pulls(Protocol):
    """Pull requests of a repository `owner/name`. Every verb may be repeated with the same end.

    All but `state` raise `Conflict` (`github_not_set`) where nobody said how to reach the host; `Unavailable`:
    `github_unavailable` when it does not answer, `github_denied` when it does not take our token or lets it do less,
    `github_limited` when we asked too often, until `details.retryAfterSeconds`; `NotFound` (`repository_not_found`,
    `pull_not_found`) for what is not there or not for our token to see; `Conflict` for what it refuses.
    """

    async def state(self, repository: str, number: int) -> PullState:
        """How a pull request stands, as it was within the last five minutes. Never raises: whatever keeps it from being
        known, a missing token, a host that is away, one that was never there, is `UNKNOWN`."""

    async def about(self, repository: str) -> Source:
        """Its default branch, and where that is at."""

    async def find(self, repository: str, *, state: str, branch: str | None = None, limit: int) -> Sequence[Pull]:
        """Those in a state (open, closed, all), at most so many, the last changed first; `branch`: of that branch of ours."""

    async def get(self, repository: str, number: int) -> Pull: ...

    async def propose(self, repository: str, proposal: Proposal) -> Pull:
        """Have one open from this branch to that base: the one there is, or a new one. Raises `Conflict` (`github_refused`)."""

    async def review(self, repository: str, review: Review) -> str:
        """Say this of the pull request at that commit, once; gives where it is to be read.

        Raises `Conflict`: `pull_moved` when the branch is at another commit, `pull_closed`, `github_refused` (approving what
        the token's owner proposed).
        """

    async def merge(self, repository: str, number: int, head: str, method: Method) -> str:
        """Have it merged, at that commit and no other; gives the commit it became. One merged at it already is as good.

        Raises `Conflict`: `pull_moved`, `pull_closed`, `not_mergeable`. Nothing was merged then.
        """
