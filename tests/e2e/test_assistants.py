"""Assistants at the real server: over HTTP and through `we mcp`, in both revisions of the protocol."""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import count

import httpx2
import pytest
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

from tests import oracle
from tests.assistant import MODES, facts
from tests.stage import Stage

pytestmark = [pytest.mark.docker, pytest.mark.proxy, pytest.mark.anyio]

NUMBERS = count(1)


@pytest.fixture(scope="module")
def house() -> Iterator[Stage]:
    with Stage(pairs=6) as stage:
        yield stage


@asynccontextmanager
async def over_http(house: Stage, mode: str) -> AsyncIterator[Client]:
    headers = {"Authorization": f"Bearer {house.key}"}
    url = f"http://127.0.0.1:{house.api_port}/mcp"
    async with (
        httpx2.AsyncClient(headers=headers, timeout=httpx2.Timeout(30, read=120)) as plain,
        Client(streamable_http_client(url, http_client=plain), mode=mode) as found,
    ):
        yield found


@asynccontextmanager
async def over_stdio(house: Stage, mode: str) -> AsyncIterator[Client]:
    environment = {**house.environment, "CODEB_API_URL": f"http://127.0.0.1:{house.api_port}", "CODEB_API_KEY": house.key}
    program = StdioServerParameters(command=sys.executable, args=["-m", "codeb.entry.cli.main", "mcp"], env=environment)
    async with Client(program, mode=mode) as found:
        yield found


WAYS = {"http": over_http, "stdio": over_stdio}


@pytest.mark.parametrize("mode", MODES)
async def test_both_ways_say_the_same_and_what_the_api_says(house: Stage, mode: str) -> None:
    answers, lists = [], []
    for way in WAYS.values():
        async with way(house, mode) as one:
            lists.append([tool.name for tool in (await one.list_tools()).tools])
            said = await one.call_tool("health_check", {})
            assert not said.is_error
            answers.append(facts((await one.call_tool("whoami", {})).structured_content))
    body = json.dumps({"tool": "whoami", "params": {}}).encode()
    headers = {"X-API-Key": house.key, "Content-Type": "application/json"}
    wanted = facts(json.loads(house.request("POST", "/api/tool", body, headers)[1]))
    assert answers == [wanted, wanted] and lists[0] == lists[1] and "deploy" in lists[0]


async def test_a_version_goes_live_through_an_assistant_whose_client_hangs_up_meanwhile(
    house: Stage, images: dict[str, str]
) -> None:
    """P1: closing the stream cancels nothing."""
    name = f"{house.project}-a{next(NUMBERS)}"
    where = {"projectName": name, "environment": "production"}
    told: list[tuple[float, str | None]] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        told.append((progress, message))

    async with over_http(house, "auto") as one:
        made = await one.call_tool(
            "workflow_init", {"projectName": name, "environments": ["production"], "healthPath": "/health"}
        )
        assert not made.is_error, made
        first = await one.call_tool("deploy", {**where, "image": images["v1"]}, progress_callback=hear)
        assert not first.is_error and first.structured_content["slot"] == "blue"
        numbers = [number for number, _ in told]
        assert numbers == sorted(set(numbers))
        promoted = await one.call_tool("promote", where)
        assert not promoted.is_error and promoted.structured_content["activeSlot"] == "blue"
        call = asyncio.create_task(one.call_tool("deploy", {**where, "image": images["v2"]}))
        running = {"projectName": name, "running": True}
        while not call.done() and not (await one.call_tool("operation_list", running)).structured_content["operations"]:
            await asyncio.sleep(0.02)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
    async with over_stdio(house, "legacy") as two:
        end = time.monotonic() + 60
        while (await two.call_tool("operation_list", {"projectName": name, "running": True})).structured_content["operations"]:
            assert time.monotonic() < end
            await asyncio.sleep(0.1)
        seen = (await two.call_tool("slot_status", where)).structured_content
        assert (seen["green"]["state"], seen["activeSlot"]) == ("deployed", "blue")
    assert oracle.judge(house, name) == []
    house.call("project_delete", projectName=name, confirm=name)
    house.call("project_delete", projectName=name, confirm=name, purge=True)


async def test_without_a_server_an_assistant_reads_why(house: Stage) -> None:
    program = StdioServerParameters(
        command=sys.executable, args=["-m", "codeb.entry.cli.main", "mcp"],
        env={**house.environment, "CODEB_API_URL": "http://127.0.0.1:9", "CODEB_API_KEY": house.key},
    )  # fmt: skip
    for mode in MODES:
        async with Client(program, mode=mode) as one:
            assert "does not answer" in (one.instructions or "")
            with pytest.raises(Exception, match="does not answer"):
                await one.list_tools()
