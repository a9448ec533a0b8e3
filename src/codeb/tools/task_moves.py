"""How a work item comes to its end, inside a transaction of whoever says so: a person, a commit message, a merged branch."""

from dataclasses import replace
from datetime import datetime

from codeb.contracts.store import Registry
from codeb.model.work import OPEN, Status, Task

MOST_OF_A_BRANCH = 200


async def complete(registry: Registry, now: datetime, task: Task, operation_id: str | None = None) -> Task:
    """It is done and holds no file any more; with the operation that brought it live, deployed. What it was already, it stays.
    Safe to repeat."""
    after = task
    if task.status.open:
        after = replace(after, status=Status.DONE, done_at=now)
    if operation_id is not None and after.status is Status.DONE:
        after = replace(after, status=Status.DEPLOYED, deployed_at=now, operation_id=operation_id)
    if after != task:
        after = replace(after, updated_at=now)
        await registry.tasks.put(after)
    await registry.tasks.release(task.id)
    return after


async def merged(registry: Registry, now: datetime, project: str, branch: str) -> tuple[Task, ...]:
    """The branch was merged: what was open on it is done. Gives those that were. Safe to repeat."""
    still = await registry.tasks.find([project], statuses=OPEN, branch=branch, limit=MOST_OF_A_BRANCH)
    return tuple([await complete(registry, now, each) for each in still])
