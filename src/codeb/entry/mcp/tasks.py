"""The tasks extension as the protocol has it: a call is answered by a handle, and its answer is fetched by the task's id.

What the tasks are is said by a `Works`; `durable.Operations` has ours. Only for clients that declare the extension in the
request, and only in the revision that has it.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError
from mcp_types import (
    HEADER_MISMATCH,
    INVALID_PARAMS,
    METHOD_NOT_FOUND,
    MISSING_REQUIRED_CLIENT_CAPABILITY,
    RequestParams,
)
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import Field

from codeb.entry.mcp.surroundings import Context

EXTENSION = "io.modelcontextprotocol/tasks"

POLL_MS = 1_000
KEPT_MS = 24 * 3_600_000
"""for how long a task can be asked for, from its beginning; its operation is on record for longer"""

Task = Mapping[str, Any]
"""a task's fields by their wire names"""


def task(task_id: str, status: str, began: str, updated: str) -> dict[str, Any]:
    """What every word about a task says. Moments are RFC 3339."""
    return {
        "taskId": task_id, "status": status, "createdAt": began, "lastUpdatedAt": updated, "ttlMs": KEPT_MS,
        "pollIntervalMs": POLL_MS,
    }  # fmt: skip


class TaskParams(RequestParams):
    task_id: str = Field(alias="taskId")


class UpdateParams(TaskParams):
    input_responses: dict[str, Any] = Field(alias="inputResponses")


class Works(Protocol):
    """The tasks of whoever asks. Somebody else's is as unknown as one that never was."""

    async def look(self, ctx: Context, task_id: str) -> Task | None:
        """How it stands; None for an unknown one. Raises `MCPError` when that cannot be told now."""

    async def hear(self, ctx: Context, task_id: str, responses: Mapping[str, Any]) -> bool:
        """Take answers to what it asks; one that it does not ask for is passed over. False for an unknown one."""

    async def cancel(self, ctx: Context, task_id: str) -> bool:
        """Ask it to end. False for an unknown one; true says that it was asked, not that it ends."""


def declared(ctx: Context) -> bool:
    """Whether this request's client takes a handle for an answer."""
    capabilities = ctx.session.client_capabilities
    known = (capabilities.extensions or {}) if capabilities else {}
    return EXTENSION in known and ctx.protocol_version in MODERN_PROTOCOL_VERSIONS


def serve(server: Server[Any], works: Works) -> None:
    """Announce the extension, and serve its methods."""

    async def get(ctx: Context, params: TaskParams) -> dict[str, Any]:
        _admit(ctx, params)
        found = await works.look(ctx, params.task_id)
        if found is None:
            raise unknown()
        return {"resultType": "complete", **found}

    async def update(ctx: Context, params: UpdateParams) -> dict[str, Any]:
        _admit(ctx, params)
        return _heard(await works.hear(ctx, params.task_id, params.input_responses))

    async def cancel(ctx: Context, params: TaskParams) -> dict[str, Any]:
        _admit(ctx, params)
        return _heard(await works.cancel(ctx, params.task_id))

    server.extensions[EXTENSION] = {}
    methods: tuple[tuple[str, type[TaskParams], Callable[[Context, Any], Awaitable[dict[str, Any]]]], ...] = (
        ("tasks/get", TaskParams, get), ("tasks/update", UpdateParams, update), ("tasks/cancel", TaskParams, cancel),
    )  # fmt: skip
    for name, kind, handler in methods:
        server.add_request_handler(name, kind, handler)


def unknown() -> MCPError:
    return MCPError(INVALID_PARAMS, "There is no such task.")


def _heard(known: bool) -> dict[str, Any]:
    if not known:
        raise unknown()
    return {"resultType": "complete"}


def _admit(ctx: Context, params: TaskParams) -> None:
    """Raises `MCPError` for a client that did not declare the extension, and for a header that names another task."""
    if ctx.protocol_version not in MODERN_PROTOCOL_VERSIONS:
        raise MCPError(METHOD_NOT_FOUND, "Method not found", ctx.method)
    if not declared(ctx):
        needed: dict[str, Any] = {"requiredCapabilities": {"extensions": {EXTENSION: {}}}}
        raise MCPError(MISSING_REQUIRED_CLIENT_CAPABILITY, f"The client has to declare {EXTENSION}.", needed)
    if ctx.request is not None and ctx.request.headers.get("mcp-name") != params.task_id:
        raise MCPError(HEADER_MISMATCH, "The header Mcp-Name has to be the task's id, as in params.taskId.")
