"""An assistant at a CodeB in memory: the official client and the real server, without a socket, in either revision."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mcp.client import Client
from mcp_types import CallToolResult, ElicitResult

from codeb.entry.mcp.caller import Caller
from codeb.entry.mcp.server import build
from codeb.model.secret import Secret
from codeb.wiring import House
from tests.kit import OWNER, Process, Rig, begin

MODES = ("auto", "legacy")
"""revision 2026-07-28, and 2025-11-25"""
OF_THE_MOMENT = ("duration", "timestamp", "correlationId")


def house(process: Process) -> House:
    return House(process.kit, process.engine, process.gate, process.audit, Path("owner.key"))


@dataclass
class Assistant:
    client: Client
    process: Process
    rig: Rig
    asked: list[str]
    """what the person at the client was asked"""

    async def call(self, name: str, /, **params: Any) -> CallToolResult:
        return await self.client.call_tool(name, params)

    async def ok(self, name: str, /, **params: Any) -> dict[str, Any]:
        said = await self.call(name, **params)
        assert not said.is_error, text(said)
        body: dict[str, Any] = said.structured_content
        return body

    async def refused(self, name: str, code: str, /, **params: Any) -> str:
        said = await self.call(name, **params)
        assert said.is_error and said.structured_content["code"] == code, said.structured_content
        return text(said)

    async def names(self) -> list[str]:
        return [tool.name for tool in (await self.client.list_tools()).tools]


def text(said: CallToolResult) -> str:
    assert [each.type for each in said.content] == ["text"]
    return str(said.content[0].text)  # type: ignore[union-attr]


def facts(body: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name not in OF_THE_MOMENT}


@asynccontextmanager
async def at(
    rig: Rig, process: Process, key: Secret = OWNER, mode: str = "auto", says: Any = None, **more: Any
) -> AsyncIterator[Assistant]:
    """`says`: what the person answers when asked, None for a client that cannot ask."""
    asked: list[str] = []

    async def person(context: Any, params: Any) -> ElicitResult:
        asked.append(params.message)
        answer = says(params) if callable(says) else says
        return answer if isinstance(answer, ElicitResult) else ElicitResult(action="accept", content={"confirm": answer})

    calls = iter(range(1_000_000))
    server = build(house(process), caller=lambda ctx: Caller(key, "127.0.0.1", f"corr-{next(calls)}"), **more)
    async with Client(server, mode=mode, elicitation_callback=person if says is not None else None) as client:
        yield Assistant(client, process, rig, asked)
    await process.settle()


@asynccontextmanager
async def assistant(state: str = "grace", **more: Any) -> AsyncIterator[Assistant]:
    async with begin(state) as rig, at(rig, rig.boot(), **more) as found:
        yield found
