"""An assistant for tests: the protocol library's client over the server of a process in memory, in either revision."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar, Literal

from mcp import Client
from mcp.client import ClaimContext, ClientExtension, ResultClaim, advertise
from mcp_types import CallToolResult, Request, RequestParams, Result
from pydantic import ConfigDict, Field

from codeb.entry.mcp.caller import Caller
from codeb.entry.mcp.server import build
from codeb.entry.mcp.serving import PARTS
from codeb.entry.mcp.tasks import EXTENSION
from codeb.model.secret import Secret
from codeb.wiring import House
from tests.kit import OWNER, Process

MODERN, LEGACY = "2026-07-28", "legacy"
ERAS = (MODERN, LEGACY)


class Handle(Result):
    """What a long call is answered with. `seen` keeps its other fields as they came."""

    model_config = ConfigDict(extra="allow")
    result_type: Literal["task"] = Field("task", alias="resultType")
    task_id: str = Field(alias="taskId")


class Whole(Result):
    """Any result, with every field as it came."""

    model_config = ConfigDict(extra="allow")


class Params(RequestParams):
    model_config = ConfigDict(extra="allow")
    task_id: str = Field(alias="taskId")


class OnTask(Request[Params, str]):
    name_param: ClassVar[str | None] = "taskId"


async def _unfinished(handle: Handle, context: ClaimContext) -> CallToolResult:
    raise AssertionError("a test looks at the handle itself")


class Tasks(ClientExtension):
    identifier = EXTENSION

    def claims(self) -> Sequence[ResultClaim[Any]]:
        return (ResultClaim(result_type="task", model=Handle, resolve=_unfinished),)


def wire(value: Any) -> dict[str, Any]:
    said: dict[str, Any] = value.model_dump(by_alias=True, mode="json", exclude_none=True)
    return said


class Assistant:
    """One client, with words for what tests do."""

    def __init__(self, client: Client) -> None:
        self.client = client

    async def call(self, tool: str, **params: Any) -> dict[str, Any]:
        """The answer as it went over the wire: a result, or a handle."""
        return wire(await self.client.session.call_tool(tool, params, allow_claimed=True))

    async def on(self, method: str, task_id: str, **more: Any) -> dict[str, Any]:
        params = Params.model_validate({"taskId": task_id, **more})
        return wire(await self.client.session.send_request(OnTask(method=method, params=params), Whole))

    async def ended(self, task_id: str, looks: int = 20) -> dict[str, Any]:
        for _ in range(looks):
            found = await self.on("tasks/get", task_id)
            if found["status"] != "working":
                return found
        raise AssertionError(f"it does not end: {found}")


@asynccontextmanager
async def assistant(
    process: Process, *, key: Secret = OWNER, mode: Any = MODERN, tasks: bool = True, **client: Any
) -> AsyncIterator[Assistant]:
    """Somebody with this key. `tasks`: whether their client declares the extension."""
    house = House(process.kit, process.engine, process.gate, process.audit, Path("owner.key"))
    server = build(house, caller=lambda ctx: Caller(key, "127.0.0.1", "corr-mcp"), parts=PARTS)
    extensions = (Tasks() if mode == MODERN else advertise(EXTENSION),) if tasks else ()
    async with Client(server, mode=mode, extensions=extensions, cache=None, **client) as made:
        yield Assistant(made)


async def settled(process: Process) -> None:
    """Until no operation runs, and no call is under way that nobody waits for."""
    await process.settle()
    calls = [each for each in asyncio.all_tasks() if each.get_name().startswith("mcp ")]
    await asyncio.gather(*calls)


def texts(result: Mapping[str, Any]) -> str:
    return "\n".join(each["text"] for each in result["content"] if each["type"] == "text")
