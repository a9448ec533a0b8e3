"""Looking at containers: by exact name, and many at once."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from codeb.drivers.runtime.docker_client import DockerClient, Refused
from codeb.drivers.runtime.docker_spec import container_name

AT_ONCE = 16


async def find(client: DockerClient, name: str) -> Mapping[str, Any] | None:
    """What the engine says of the container with exactly this name; None when there is none."""
    seen = await seen_as(client, name)
    # The engine also answers to the beginning of an id.
    return seen if seen is not None and container_name(seen) == name else None


async def inspect_all(client: DockerClient, ids: Sequence[str]) -> list[Mapping[str, Any]]:
    """What the engine says of each container, less those that went away meanwhile."""
    turns = asyncio.Semaphore(AT_ONCE)

    async def one(container: str) -> Mapping[str, Any] | None:
        async with turns:
            return await seen_as(client, container)

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(each)) for each in ids]
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return [seen for task in tasks if (seen := task.result()) is not None]


async def seen_as(client: DockerClient, container: str) -> Mapping[str, Any] | None:
    """What the engine says of what answers to this: a name, an id, or the beginning of one."""
    try:
        seen: Mapping[str, Any] = await client.call("GET", f"containers/{container}/json")
        return seen
    except Refused as refused:
        if refused.status == 404:
            return None
        raise
