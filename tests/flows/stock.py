"""Images in the image registry of a rig."""

from datetime import timedelta
from typing import Any

from tests.kit import START, Process, Rig

WHERE = {"projectName": "shop", "environment": "production"}


def stock(rig: Rig, count: int = 5, repository: str = "shop") -> list[str]:
    """Tags v1, v2, … in the image registry, each a day newer; gives the digests."""
    rig.machine.pushed.pop(repository, None)
    return [
        rig.image_registry.push(f"{repository}:v{number}", START - timedelta(days=100 - number)) for number in range(1, count + 1)
    ]


def there(rig: Rig, repository: str = "shop") -> set[str]:
    return set(rig.machine.pushed[repository][0])


async def plan(process: Process, **params: Any) -> dict[str, Any]:
    return await process.ok("registry_gc", projectName="shop", **params)
