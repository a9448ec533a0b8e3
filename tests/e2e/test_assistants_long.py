"""Long calls of an assistant on real parts: it hangs up, the server dies, somebody else wants the same place (P2, P6, P8)."""

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from demo.images import Builder
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from tests import oracle
from tests.e2e.failing import REPOSITORY
from tests.e2e.nursery import QuickStage
from tests.stage import Stage
from tests.unit.entry.mcp.assistant import MODERN, Assistant, Tasks

pytestmark = [pytest.mark.docker, pytest.mark.proxy, pytest.mark.anyio]

SLOW = f"{REPOSITORY}:slow"
END_SECONDS = 60.0


@pytest.fixture(scope="module")
def house(builder: Builder) -> Iterator[Stage]:
    builder.app(SLOW, "slow", {"START_DELAY": "3"})
    with QuickStage() as stage:
        stage.call("project_create", projectName=stage.project, environments=["production", "staging"], healthPath="/health")
        yield stage


def headers(stage: Stage) -> dict[str, str]:
    return {"Authorization": f"Bearer {stage.key}"}


@asynccontextmanager
async def assistant(stage: Stage) -> AsyncIterator[Assistant]:
    async with httpx2.AsyncClient(headers=headers(stage), timeout=30) as web:
        transport = streamable_http_client(f"http://127.0.0.1:{stage.api_port}/mcp", http_client=web)
        async with Client(transport, mode=MODERN, extensions=(Tasks(),), cache=None) as client:
            yield Assistant(client)


async def ended(client: Assistant, task_id: str) -> dict[str, Any]:
    end = time.monotonic() + END_SECONDS
    while (found := await client.on("tasks/get", task_id))["status"] == "working":
        assert time.monotonic() < end, found
        await asyncio.sleep(0.3)
    return found


async def test_a_task_outlives_the_server_and_its_place_is_nobody_elses_meanwhile(house: Stage) -> None:
    where = {"projectName": house.project, "environment": "production"}
    async with assistant(house) as client:
        handle = await client.call("deploy", **where, image=SLOW)
        assert handle["resultType"] == "task"
        task_id = handle["taskId"]
        look = await client.on("tasks/get", task_id)
        assert look["status"] == "working" and "deploy of" in look["statusMessage"]
        refused = await client.call("deploy", **where, image=SLOW)
        body = refused["structuredContent"]
        assert (refused["isError"], body["code"], body["details"]["operationId"]) == (True, "operation_in_progress", task_id)
    assert house.call("operation_get", operationId=task_id)["operation"]["state"] == "running"
    house.kill()
    house.start()
    async with assistant(house) as client:
        found = await ended(client, task_id)
        # gone on or undone, as the journal had it; told as to one who had waited
        view = house.call("operation_get", operationId=task_id)["operation"]
        told = found["result"]["structuredContent"]
        assert (found["status"], told["success"]) == ("completed", view["state"] == "succeeded")
        assert found["result"]["isError"] != told["success"]
        again = await client.call("deploy", **where, image=SLOW)
        assert (await ended(client, again["taskId"]))["result"]["structuredContent"]["version"] == "slow"
    assert oracle.judge(house, house.project) == []


async def test_whoever_hangs_up_cancels_nothing(house: Stage) -> None:
    """Also a client without tasks: the call it made goes on."""
    where = {"projectName": house.project, "environment": "staging"}
    meta = {f"io.modelcontextprotocol/{name}": value for name, value in (("protocolVersion", MODERN), ("clientCapabilities", {}))}
    params = {"name": "deploy", "arguments": {**where, "image": SLOW}, "_meta": meta}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).encode()
    sent = {
        **headers(house), "Host": f"127.0.0.1:{house.api_port}", "Content-Type": "application/json", "Mcp-Name": "deploy",
        "Accept": "application/json, text/event-stream", "MCP-Protocol-Version": MODERN, "Mcp-Method": "tools/call",
        "Content-Length": str(len(body)),
    }  # fmt: skip
    head = "POST /mcp HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in sent.items()) + "\r\n"
    with socket.create_connection(("127.0.0.1", house.api_port)) as line:
        line.sendall(head.encode() + body)
        (running,) = await until(lambda: house.call("operation_list", projectName=house.project, running=True)["operations"])
    assert (running["tool"], running["environment"]) == ("deploy", "staging")

    def over() -> dict[str, Any] | None:
        view: dict[str, Any] = house.call("operation_get", operationId=running["operationId"], waitSeconds=2)["operation"]
        return view if view["endedAt"] else None

    assert (await until(over))["state"] == "succeeded"
    assert house.call("slot_status", **where)["blue"]["state"] == "deployed"
    assert oracle.judge(house, house.project) == []


async def test_over_http_the_header_has_to_name_the_task(house: Stage) -> None:
    """So that what stands in between can route by it: another one, or none, is refused."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientCapabilities": {"extensions": {"io.modelcontextprotocol/tasks": {}}},
    }
    task_id = "op_00000000000000000000000099"
    said = {"jsonrpc": "2.0", "id": 1, "method": "tasks/get", "params": {"taskId": task_id, "_meta": meta}}
    sent = {
        **headers(house), "Accept": "application/json, text/event-stream", "MCP-Protocol-Version": MODERN,
        "Mcp-Method": "tasks/get",
    }  # fmt: skip
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{house.api_port}") as web:
        for name, status, code in (({}, 400, -32020), ({"Mcp-Name": "op_1"}, 400, -32020), ({"Mcp-Name": task_id}, None, -32602)):
            answer = await web.post("/mcp", json=said, headers={**sent, **name})
            assert answer.json()["error"]["code"] == code
            assert status in (None, answer.status_code)


async def until(look: Any) -> Any:
    end = time.monotonic() + END_SECONDS
    while not (found := await asyncio.to_thread(look)):
        assert time.monotonic() < end
        await asyncio.sleep(0.1)
    return found
