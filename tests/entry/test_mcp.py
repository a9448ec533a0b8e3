"""`/mcp` over HTTP: who is let in, what is read, what is refused before the protocol, and both revisions of it."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client

from codeb.entry.http import Http
from codeb.entry.http.assistants import MOST_BYTES
from codeb.gate.limits import Sliding
from codeb.model.access import Role
from codeb.model.limits import Rate
from codeb.model.secret import Secret
from tests.assistant import MODES, facts
from tests.entry.door import Door
from tests.entry.listening import BEGAN
from tests.kit import OWNER

pytestmark = pytest.mark.anyio

ASK = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
BOTH = {"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": "2025-11-25"}


@asynccontextmanager
async def client(door: Door, key: Secret = OWNER, mode: str = "auto", **headers: str) -> AsyncIterator[Client]:
    said = headers or {"Authorization": f"Bearer {key.reveal()}"}
    transport = httpx2.ASGITransport(app=door.app)
    async with (
        httpx2.AsyncClient(transport=transport, base_url="http://codeb", headers=said) as http,
        Client(streamable_http_client("http://codeb/mcp", http_client=http), mode=mode) as found,
    ):
        yield found


@pytest.fixture
async def mcp(door: Door, http: Http) -> AsyncIterator[Door]:
    yield door
    await http.assistants.leave()


@pytest.mark.parametrize("mode", MODES)
async def test_both_revisions_list_and_call_the_same(mcp: Door, mode: str) -> None:
    async with client(mcp, mode=mode) as one:
        assert one.protocol_version == ("2026-07-28" if mode == "auto" else "2025-11-25")
        assert one.server_info.name == "codeb" and len(one.instructions or "") <= 1_500
        listed = await one.list_tools()
        assert listed.tools[0].name == "whoami"
        said = await one.call_tool("slot_status", {"projectName": "shop"})
        wanted = await mcp.post("/api/tool", {"tool": "slot_status", "params": {"projectName": "shop"}})
        assert facts(said.structured_content) == facts(wanted.json())


async def test_a_key_is_taken_from_either_header(mcp: Door) -> None:
    async with client(mcp, **{"X-API-Key": OWNER.reveal()}) as one:
        assert (await one.call_tool("whoami", {})).structured_content["role"] == "owner"


async def test_a_list_is_private_and_of_the_keys_role(mcp: Door) -> None:
    async with client(mcp, await mcp.key(Role.VIEWER)) as one:
        listed = await one.list_tools()
        assert listed.cache_scope == "private" and listed.ttl_ms > 0
        assert "deploy" not in {tool.name for tool in listed.tools}


@pytest.mark.parametrize("key", [None, Secret("codeb_main_owner_" + "x" * 32)])
async def test_without_a_valid_key_nothing_is_said_but_what_to_bring(mcp: Door, key: Secret | None) -> None:
    said = await mcp.post("/mcp", ASK, key, **BOTH)
    assert said.status_code == 401 and said.json()["code"] == "unauthenticated"
    demand = said.headers["WWW-Authenticate"]
    assert demand.startswith("Bearer ") and 'error_description="' in demand and "\\" not in demand


async def test_only_posts_are_served(mcp: Door) -> None:
    for method in ("GET", "DELETE", "PUT"):
        said = await mcp.client.request(method, "/mcp", headers={"X-API-Key": OWNER.reveal(), **BOTH})
        assert (said.status_code, said.headers["Allow"]) == (405, "POST")
    assert (await mcp.post("/mcp/", ASK, **BOTH)).status_code == 404


async def test_foreign_hosts_and_pages_are_turned_away(mcp: Door) -> None:
    """S24"""
    said = await mcp.post("/mcp", ASK, Host="evil.example.com", **BOTH)
    assert (said.status_code, said.json()["code"]) == (421, "host_not_allowed")
    said = await mcp.post("/mcp", ASK, Origin="http://evil.example.com", **BOTH)
    assert said.status_code == 403
    # elsewhere it stays what it was
    assert (await mcp.post("/api/tool", {}, Host="evil.example.com")).status_code == 400


async def test_a_body_has_an_end(mcp: Door) -> None:
    """S33"""
    big = {**ASK, "params": {"x": "y" * MOST_BYTES}}
    said = await mcp.post("/mcp", big, **BOTH)
    assert (said.status_code, said.json()["code"]) == (413, "too_large")
    # whoever has no key is turned away before anything is read
    assert (await mcp.post("/mcp", big, None, **BOTH)).status_code == 401


@pytest.mark.parametrize("body", [b"{", b'{"a":1,"a":2}', b'{"x":NaN}', b"[" * 40 + b"]" * 40, b"\xff"])
async def test_what_is_no_strict_json_is_a_parse_error(mcp: Door, body: bytes) -> None:
    """S4"""
    headers = {"X-API-Key": OWNER.reveal(), "Content-Type": "application/json", **BOTH}
    said = await mcp.client.post("/mcp", content=body, headers=headers)
    assert said.status_code == 400 and said.json()["error"]["code"] == -32700 and said.json()["jsonrpc"] == "2.0"


@pytest.mark.parametrize("mode", MODES)
async def test_who_greets_uses_up_the_keys_calls_too(mcp: Door, mode: str) -> None:
    """S30"""
    mcp.process.gate.entrance._calls = Sliding(Rate(50, 60), 10)

    async def left() -> int:
        return int((await mcp.post("/api/tool", {"tool": "whoami"})).headers["X-RateLimit-Remaining"])

    before = await left()
    async with client(mcp, mode=mode) as one:
        await one.list_tools(cache_mode="refresh")
    after = await left()
    # the greeting, the list, and this look
    assert before - after >= 3


@pytest.mark.parametrize("method", ["tools/call", "tasks/get", "resources/read"])
async def test_what_the_protocol_refuses_uses_up_calls_as_well(mcp: Door, method: str) -> None:
    """S30: it never comes to the gate."""
    mcp.process.gate.entrance._calls = Sliding(Rate(50, 60), 10)
    before = int((await mcp.post("/api/tool", {"tool": "whoami"})).headers["X-RateLimit-Remaining"])
    for _ in range(3):
        said = await mcp.post("/mcp", {"jsonrpc": "2.0", "id": 1, "method": method, "params": {}}, **BOTH)
        assert "error" in said.text
    after = int((await mcp.post("/api/tool", {"tool": "whoami"})).headers["X-RateLimit-Remaining"])
    assert before - after == 4


async def test_refusals_are_on_record(mcp: Door) -> None:
    """P14"""
    await mcp.post("/mcp", ASK, None, **BOTH)
    await mcp.process.audit.flush()
    rows = (await mcp.process.ok("audit_list", limit=1000))["rows"]
    assert [row["code"] for row in rows if row["entry"] == "mcp"] == ["unauthenticated"]


async def test_a_listening_client_does_not_hold_up_the_end(mcp: Door, http: Http, monkeypatch: pytest.MonkeyPatch) -> None:
    """P13: what would never end by itself is ended."""
    monkeypatch.setattr("codeb.entry.http.assistants.SERVING", "tests.entry.listening")
    receives: asyncio.Queue[Any] = asyncio.Queue()
    sent: list[Any] = []
    body = {
        "jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen",
        "params": {"_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {},
        }, "notifications": {}},
    }  # fmt: skip
    headers = [
        (b"host", b"codeb"), (b"authorization", b"Bearer " + OWNER.reveal().encode()), (b"content-type", b"application/json"),
        (b"accept", b"application/json, text/event-stream"), (b"mcp-protocol-version", b"2026-07-28"),
        (b"mcp-method", b"subscriptions/listen"),
    ]  # fmt: skip
    scope = {
        "type": "http", "method": "POST", "path": "/mcp", "query_string": b"", "headers": headers, "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80), "scheme": "http", "http_version": "1.1",
    }  # fmt: skip
    await receives.put({"type": "http.request", "body": json.dumps(body).encode(), "more_body": False})

    async def send(message: Any) -> None:
        sent.append(message)

    request = asyncio.create_task(mcp.app(scope, receives.get, send))
    await asyncio.wait_for(BEGAN.wait(), 30)
    assert not request.done()
    await asyncio.wait_for(http.assistants.leave(), 10)
    await asyncio.wait_for(request, 10)
    assert sent and sent[-1]["type"] == "http.response.body" and not sent[-1].get("more_body", False)


@pytest.mark.parametrize("method", [{}, [], ["tools/call"], 5, None])
async def test_a_method_that_is_no_text_is_refused(mcp: Door, method: Any) -> None:
    key = {"X-API-Key": OWNER.reveal()}
    said = await mcp.client.post("/mcp", json={**ASK, "method": method}, headers={**key, **BOTH})
    assert said.status_code == 400, said.text
