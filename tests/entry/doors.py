"""The ways in to one CodeB in memory: HTTP by each of its paths, `we`, and MCP. Each answers as its caller would read it."""

import contextlib
import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio.from_thread
import anyio.to_thread
import httpx2
import pytest

from codeb.entry.cli.client import Answer, Client
from codeb.entry.cli.main import main
from codeb.entry.http import Http, Rules
from codeb.entry.surface import path_of
from codeb.model.secret import Secret
from codeb.tools.tool import Tool
from codeb.wiring import House
from tests.kit import Process, Rig, Still
from tests.rights import EXAMPLES

DOORS = ("tool", "short", "cli", "mcp")
REVISION = "2026-07-28"
EXIT = {200: {0}, 400: {1}, 401: {3}, 403: {3}, 404: {4}, 409: {1, 6}, 503: {7}}
"""exit codes of `we` by the HTTP number"""
STATUS = {"forbidden": 403, "degraded": 503, "internal": 500, "invalid_params": 400}
"""of what MCP tells by its code alone; what is not there is 404, everything else 409"""


def params(tool: Tool[Any]) -> dict[str, Any]:
    """A call on production, wherever a tool knows environments."""
    said = dict(EXAMPLES.get(tool.name, {}))
    if "environment" in tool.params.model_fields:
        said["environment"] = "production"
    return said | ({"blue": 4300, "green": 4301} if tool.name == "port_register" else {})


def status_of(code: str) -> int:
    return STATUS.get(code, 404 if code.endswith("not_found") else 409)


@dataclass
class Doors:
    """One CodeB, and the three ways in."""

    rig: Rig
    process: Process
    client: httpx2.AsyncClient

    async def ask(self, door: str, tool: Tool[Any], key: Secret | None) -> tuple[int, dict[str, Any]]:
        headers = {"X-API-Key": key.reveal()} if key else {}
        if door == "cli":
            return await self._by_command(tool, key)
        if door == "mcp":
            return await self._by_assistant(tool, key)
        path, body = (
            ("/api/tool", {"tool": tool.name, "params": params(tool)}) if door == "tool" else (path_of(tool), params(tool))
        )
        said = await self.client.post(path, json=body, headers=headers)
        return said.status_code, said.json()

    async def _by_command(self, tool: Tool[Any], key: Secret | None) -> tuple[int, dict[str, Any]]:
        heard, code, _ = await self.command(["tool", tool.name, json.dumps(params(tool))], key)
        assert len(heard) == 1
        assert code in EXIT[heard[0].status], (code, heard[0])
        return heard[0].status, heard[0].body

    async def _by_assistant(self, tool: Tool[Any], key: Secret | None) -> tuple[int, dict[str, Any]]:
        said = await self.message("tools/call", {"name": tool.name, "arguments": params(tool)}, key)
        if said.status_code != 200:
            return said.status_code, said.json()
        answer = said.json()["result"]
        body = answer["structuredContent"]
        assert answer["isError"] is not body["success"]
        return (200 if body["success"] else status_of(body["code"])), body

    async def message(self, method: str, said: dict[str, Any], key: Secret | None) -> httpx2.Response:
        """One request of the newer revision, as it goes over the wire."""
        about = "io.modelcontextprotocol/"
        who = {"name": "codebtest", "version": "1"}
        meta = {f"{about}protocolVersion": REVISION, f"{about}clientInfo": who, f"{about}clientCapabilities": {}}
        headers = {
            "Accept": "application/json, text/event-stream", "MCP-Protocol-Version": REVISION, "Mcp-Method": method,
            **({"Mcp-Name": said["name"]} if "name" in said else {}), **({"X-API-Key": key.reveal()} if key else {}),
        }  # fmt: skip
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**said, "_meta": meta}}
        return await self.client.post("/mcp", json=body, headers=headers)

    async def command(self, words: list[str], key: Secret | None) -> tuple[list[Answer], int, str]:
        """`we WORDS` in a thread, its line to the server led back into this loop: what it heard, its exit code, its output."""
        heard: list[Answer] = []

        async def post(method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
            said = await self.client.request(method, path, content=body, headers=headers)
            return Answer(said.status_code, said.json(), said.text)

        def exchange(_: Client, method: str, path: str, headers: dict[str, str], body: bytes, seconds: float) -> Answer:
            heard.append(anyio.from_thread.run(post, method, path, headers, body))
            return heard[-1]

        out = io.StringIO()

        def run() -> int:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
                return main(words)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Client, "_exchange", exchange)
            patch.setenv("CODEB_API_URL", "http://codeb")
            patch.setenv("CODEB_API_KEY", key.reveal()) if key else patch.delenv("CODEB_API_KEY", raising=False)
            code = await anyio.to_thread.run_sync(run)
        return heard, code, out.getvalue()


@asynccontextmanager
async def opened(state: Still) -> AsyncIterator[Doors]:
    async with state.again() as rig:
        process, http = rig.boot(), Http(Rules(frozenset({"codeb"})))
        http.bind(House(process.kit, process.engine, process.gate, process.audit, Path("owner.key")))
        transport = httpx2.ASGITransport(app=http.app(), raise_app_exceptions=False)
        async with httpx2.AsyncClient(transport=transport, base_url="http://codeb") as client:
            yield Doors(rig, process, client)
        await http.assistants.leave()
        await process.settle()
