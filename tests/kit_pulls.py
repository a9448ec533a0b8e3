"""The host of source of `tests.kit`: project shop's repository there, printed, and what the tests say of it."""

from typing import Any

from codeb.drivers.pulls.memory import MemoryPulls, commit

SHOP = "acme/shop"
SEEN = commit(f"{SHOP} feature")
"""the commit that the branch of pull request 1 is at"""
PULL = {"projectName": "shop", "pullRequest": 1, "sha": SEEN}


async def source(process: Any) -> None:
    """Project shop says its repository, which has a pull request of feature, and a branch other without one."""
    host = process.kit.pulls
    assert isinstance(host, MemoryPulls)
    host.make(SHOP, "feature", "other")
    host.open(SHOP, "feature")
    await process.ok("project_update", projectName="shop", repository=SHOP)


def pulls_print(host: MemoryPulls) -> dict[str, Any]:
    return {
        name: (
            sorted((each.number, each.branch, each.state, each.head, each.title) for each in repository.pulls.values()),
            repository.branches[repository.branch], list(repository.reviews),
        )
        for name, repository in host.repositories.items()
    }  # fmt: skip
