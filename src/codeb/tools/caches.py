"""Parts of a Redis: a user with a prefix of its own, a new password, the end."""

from typing import Any

from codeb.model.access import Role
from codeb.model.storage import Kind
from codeb.tools import storage
from codeb.tools.call import Call
from codeb.tools.tool import Outcome, Risk, Tool


async def _create(call: Call, params: storage.StorageParams) -> Outcome:
    return await storage.create(call, params, Kind.REDIS)


async def _rotate(call: Call, params: storage.RotateParams) -> Outcome:
    return await storage.rotate(call, params, Kind.REDIS)


async def _delete(call: Call, params: storage.DeleteParams) -> Outcome:
    return await storage.delete(call, params, Kind.REDIS)


TOOLS: tuple[Tool[Any], ...] = (
    Tool(
        "redis_create", "Create a Redis user",
        "Give an environment keys and channels of its own in Redis; deployments get REDIS_URL and REDIS_PREFIX.",
        storage.StorageParams, storage.CreateResult, Role.MEMBER, Risk.CHANGES, _create, long=True,
        agents_must_say=("environment",),
    ),
    Tool(
        "redis_rotate", "Give a Redis user a new password",
        "Deployments get a new password from now on; the one in use lets in until no slot needs it.",
        storage.RotateParams, storage.RotateResult, Role.MEMBER, Risk.CHANGES, _rotate, long=True, risky=storage.cuts_production,
        agents_must_say=("environment",),
    ),
    Tool(
        "redis_delete", "Delete a Redis user", "Dump its keys to a file, then delete them with the user.",
        storage.DeleteParams, storage.DeleteResult, Role.ADMIN, Risk.DESTROYS, _delete, long=True,
        agents_must_say=("environment",),
    ),
)  # fmt: skip
