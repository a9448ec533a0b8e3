"""What of the host of source a project may use: its own repository, where whoever runs the installation lets its team use it.

The token is the installation's, and reaches more than one team's repositories. So a repository is a project's by two words: an
admin of its team says which, and the settings say that the team may (`CODEB_GITHUB_REPOSITORIES`). The team that runs the
installation has the token in its hands anyway, and needs no second word.
"""

from codeb.contracts.kit import Kit
from codeb.errors import Conflict, Forbidden
from codeb.model.access import People
from codeb.model.pulls import PullState, granted
from codeb.model.specs import Project


def may_use(kit: Kit, team: str, repository: str) -> bool:
    operators = People({}, kit.store.snapshot.teams, {}, kit.world.now()).operators
    return team == operators or granted(kit.policy.repositories, team, repository)


def repository_of(kit: Kit, project: Project) -> str:
    """Raises `Conflict` (`repository_not_set`), `Forbidden` (`repository_not_granted`)."""
    if not project.repository:
        raise Conflict(
            f"Nobody said where the source of {project.name} is; nothing was done.", code="repository_not_set",
            hint=f"An admin says it: project_update {project.name} with repository owner/name.",
        )  # fmt: skip
    if not may_use(kit, project.team, project.repository):
        raise not_granted(project.team)
    return project.repository


def not_granted(team: str) -> Forbidden:
    """The same for a repository that is there and one that is not."""
    return Forbidden(
        f"The team {team} may not use this repository; nothing was done.", code="repository_not_granted",
        hint=f"Whoever runs this CodeB adds it to CODEB_GITHUB_REPOSITORIES: {team}=owner/name.",
    )  # fmt: skip


async def state_of(kit: Kit, project: Project, number: int) -> PullState:
    """How a pull request of the project's repository stands. Never raises: `UNKNOWN` whatever keeps it from being known."""
    if not project.repository or not may_use(kit, project.team, project.repository):
        return PullState.UNKNOWN
    return await kit.pulls.state(project.repository, number)
