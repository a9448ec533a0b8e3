"""In place of a host of source that is not set: every verb says so, and of every pull request it is unknown how it stands."""

from collections.abc import Sequence
from typing import NoReturn

from codeb.errors import Conflict
from codeb.model.pulls import Method, Proposal, Pull, PullState, Review, Source


class NoPulls:
    def _refuse(self) -> NoReturn:
        raise Conflict(
            "This CodeB has no token for GitHub; nothing was done.", code="github_not_set",
            hint="Set CODEB_GITHUB_TOKEN (a token for contents and pull requests of the repositories) and start CodeB again.",
        )  # fmt: skip

    async def state(self, repository: str, number: int) -> PullState:
        return PullState.UNKNOWN

    async def about(self, repository: str) -> Source:
        self._refuse()

    async def find(self, repository: str, *, state: str, branch: str | None = None, limit: int) -> Sequence[Pull]:
        self._refuse()

    async def get(self, repository: str, number: int) -> Pull:
        self._refuse()

    async def propose(self, repository: str, proposal: Proposal) -> Pull:
        self._refuse()

    async def review(self, repository: str, review: Review) -> str:
        self._refuse()

    async def merge(self, repository: str, number: int, head: str, method: Method) -> str:
        self._refuse()
