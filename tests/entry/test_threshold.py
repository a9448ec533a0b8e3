"""What stands before the routes: Host, Origin, budgets, who calls, time for a body, headers on every answer (S24, S30, S33)."""

import asyncio
import ipaddress
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.responses import Response

from codeb.entry.http import Http, Rules, threshold, wire
from codeb.entry.http.wire import HEADERS
from codeb.model.limits import Rate
from codeb.wiring import House
from tests.entry.door import Door
from tests.kit import OWNER, Process, begin

pytestmark = pytest.mark.anyio
KEY = {"X-API-Key": OWNER.reveal()}
PAGE = "https://board.example.com"


@asynccontextmanager
async def served(rules: Rules | None = None, **policy: Any) -> AsyncIterator[tuple[httpx2.AsyncClient, Process]]:
    """An entry of your own, called by its address."""
    async with begin("active") as rig:
        rig.policy = replace(rig.policy, **policy)
        process = rig.boot()
        http = Http(rules)
        http.bind(House(process.kit, process.engine, process.gate, process.audit, Path("owner.key")))
        transport = httpx2.ASGITransport(app=http.app(), raise_app_exceptions=False)
        async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:9101") as client:
            yield client, process


async def row(process: Process) -> Any:
    await process.audit.flush()
    async with process.kit.store.read() as registry:
        return next(iter(await registry.audit.latest(1)))


async def test_a_websocket_comes_no_further() -> None:
    """Nobody speaks it here, and what stands before the routes looks at requests only."""
    sent, inside = list[Any](), list[Any]()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        inside.append(scope)

    async def send(message: Any) -> None:
        sent.append(message)

    stands: Any = threshold.Threshold(app, Rules(), None)  # type: ignore[arg-type]
    await stands({"type": "websocket", "headers": []}, None, send)
    assert (sent, inside) == ([{"type": "websocket.close", "code": 1008}], [])


async def test_who_is_no_page_asks_nothing_beforehand(door: Door) -> None:
    said = await door.client.options("/api/tool", headers={**KEY, "Access-Control-Request-Method": "POST"})
    assert said.status_code != 204 and "access-control-allow-methods" not in said.headers


# --- Host --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", [
    "127.0.0.1", "127.0.0.1:9101", "127.0.0.1:8000", "localhost", "LOCALHOST:9101", "[::1]:9101", "127.9.9.9",
    "codeb.example.com", "codeb.example.com:443", "Codeb.Example.com", "named.example.com:9101",
])  # fmt: skip
async def test_names_of_this_server(host: str) -> None:
    async with served(Rules(frozenset({"codeb.example.com", "named.example.com:9101"}))) as (client, _):
        assert (await client.get("/api", headers={**KEY, "Host": host})).status_code == 200


@pytest.mark.parametrize("host", [
    "evil.test", "evil.test:9101", "localhost.evil.test", "127.0.0.1.evil.test", "192.0.2.1", "named.example.com", "",
    "named.example.com:9102", "a.codeb.example.com", "127.0.0.1@evil.test", "127.0.0.1:9101:1", "127.0.0.1, evil.test", "[::2]",
    "[localhost]", "2130706433", "0x7f000001", "0.0.0.0", "127.0.0.1\tx", "\xe9",
])  # fmt: skip
async def test_a_foreign_name_is_refused_even_for_health(host: str) -> None:
    """S24: a page whose name was rebound to this machine says its own name."""
    async with served(Rules(frozenset({"codeb.example.com", "named.example.com:9101"}))) as (client, _):
        for method, path in (("GET", "/health"), ("GET", "/api"), ("POST", "/api/tool"), ("GET", "/no/such")):
            said = await client.request(method, path, headers={**KEY, "Host": host.encode("latin-1")})  # type: ignore[dict-item]
            assert (said.status_code, said.json()["code"]) == (400, "host_not_allowed"), (method, path)


def test_the_address_a_connection_came_to_is_a_name() -> None:
    assert Rules().names("192.0.2.1:9101", ("192.0.2.1", 9101))
    assert Rules().names("[2001:db8::1]:9101", ("2001:db8::1", 9101))
    assert not Rules().names("192.0.2.2:9101", ("192.0.2.1", 9101))
    assert not Rules().names("evil.test", ("evil.test", 9101)), "a name is never an address"


async def test_two_hosts_are_none() -> None:
    async with served() as (client, _):
        request = client.build_request("GET", "/api", headers=[("Host", "127.0.0.1"), ("Host", "evil.test"), *KEY.items()])
        assert (await client.send(request)).json()["code"] == "host_not_allowed"


async def entered(stands: threshold.Threshold, server: str, *hosts: str) -> bool:
    """Whether a request that says these hosts and came to this address goes on to the application."""
    inside = len(PASSED)
    headers = [(b"host", host.encode()) for host in hosts]
    asked = {"type": "http", "method": "GET", "path": "/api", "query_string": b"", "headers": headers, "server": (server, 9101)}

    async def send(message: Any) -> None:
        """Nobody listens."""

    await stands(asked, None, send)  # type: ignore[arg-type]
    return len(PASSED) > inside


PASSED: list[Any] = []


@pytest.fixture
def stands() -> threshold.Threshold:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        PASSED.append(scope)

    return threshold.Threshold(app, Rules(), lambda request, fault: Response(status_code=fault.status))


async def test_no_host_is_none(stands: threshold.Threshold) -> None:
    """S24: HTTP/1.0 has no need to say one."""
    assert await entered(stands, "192.0.2.1", "127.0.0.1")
    assert not await entered(stands, "192.0.2.1")


async def test_a_name_is_remembered_for_the_address_it_was_said_to_and_not_without_end(stands: threshold.Threshold) -> None:
    assert await entered(stands, "192.0.2.1", "192.0.2.1")
    assert not await entered(stands, "192.0.2.2", "192.0.2.1")
    for number in range(3 * threshold.MOST_REMEMBERED):
        assert await entered(stands, "192.0.2.1", f"localhost:{number}")
    assert len(stands._known) <= threshold.MOST_REMEMBERED


@pytest.mark.parametrize("query", [
    "token=x", "a=1&token=x", "a=1;token=x", "TOKEN=x", "Api-Key=x", "api_key=", "access%5Ftoken=x", "to%256ben=x&%254bey=",
])  # fmt: skip
def test_a_parameter_that_is_there_for_a_key_is_refused_whatever_it_holds(query: str) -> None:
    """S12"""
    assert threshold.holds_key("/api", query.encode())


def test_a_key_in_a_path_is_seen_however_often_it_was_encoded() -> None:
    """S12: what comes here was decoded once."""
    key = OWNER.reveal()
    coded = "".join(f"%{ord(each):02X}" for each in key)
    assert threshold.holds_key(f"/api/{key}", b"") and threshold.holds_key(f"/api/{coded}", b"")
    assert not threshold.holds_key("/api/slot%2Flist", b"")


# --- Origin ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("origin", [
    "https://evil.test", "null", "", "http://127.0.0.1:9101", "https://board.example.com.evil.test", "http://board.example.com",
    "https://BOARD.example.com", "https://board.example.com:8443", f"{PAGE}, {PAGE}", "*",
])  # fmt: skip
async def test_a_page_that_was_not_named_may_not_call(origin: str) -> None:
    async with served(Rules(origins=frozenset({PAGE}))) as (client, _):
        for method, path in (
            ("POST", "/api/slot/list"),
            ("GET", "/api"),
            ("OPTIONS", "/api/tool"),
            ("GET", "/openapi.json"),
            ("POST", "/health"),
        ):
            said = await client.request(method, path, headers={**KEY, "Origin": origin, "Access-Control-Request-Method": "POST"})
            assert (said.status_code, said.json()["code"]) == (403, "origin_not_allowed")
            assert "access-control-allow-origin" not in said.headers
        assert (await client.get("/health", headers={"Origin": origin})).status_code == 200


async def test_no_page_may_call_unless_one_is_named(door: Door) -> None:
    said = await door.post("/api/slot/list", {}, Origin=PAGE)
    assert (said.status_code, said.json()["code"]) == (403, "origin_not_allowed")


async def test_a_named_page_may_and_is_asked_beforehand() -> None:
    async with served(Rules(origins=frozenset({PAGE}))) as (client, _):
        asked = await client.options("/api/tool", headers={"Origin": PAGE, "Access-Control-Request-Method": "POST"})
        assert (asked.status_code, asked.content) == (204, b"")
        assert asked.headers["access-control-allow-methods"] == "GET, POST"
        assert "X-API-Key" in asked.headers["access-control-allow-headers"]
        said = await client.post("/api/slot/list", json={}, headers={**KEY, "Origin": PAGE})
        wrong = await client.post("/api/slot/list", json={}, headers={"Origin": PAGE})
        assert (said.status_code, wrong.status_code) == (200, 401)
        for each in (asked, said, wrong):
            assert (each.headers["access-control-allow-origin"], each.headers["vary"]) == (PAGE, "Origin")
            assert "access-control-allow-credentials" not in each.headers
        assert (await client.options("/api/tool", headers={"Origin": PAGE})).status_code == 405


# --- budgets -----------------------------------------------------------------------------------------------------


async def test_budgets_are_told_on_every_authenticated_answer_and_429_says_when() -> None:
    async with served(calls=Rate(5, 60)) as (client, process):
        answers = [await client.post("/api/slot/list", json=each, headers=KEY) for each in ({}, {"x": 1})]
        answers += [await client.get(path, headers=KEY) for path in ("/api", "/api/tools", "/metrics")]
        assert [each.status_code for each in answers] == [200, 400, 200, 200, 200]
        assert [each.headers["x-ratelimit-remaining"] for each in answers] == ["4", "3", "2", "1", "0"]
        for said in (await client.post("/api/slot/list", json={}, headers=KEY), await client.get("/metrics", headers=KEY)):
            assert (said.status_code, said.json()["code"], said.json()["retryable"]) == (429, "rate_limited", True)
            assert said.headers["retry-after"] == said.headers["x-ratelimit-reset"] == "60"
            assert (said.headers["x-ratelimit-limit"], said.headers["x-ratelimit-remaining"]) == ("5", "0")
            assert said.json()["correlationId"] == said.headers["x-correlation-id"]
        assert (await row(process)).code == "rate_limited"
        for free in ("/health", "/openapi.json"):
            assert (await client.get(free, headers=KEY)).status_code == 200
        for stranger in (await client.get("/health"), await client.post("/api/slot/list", json={})):
            assert not [name for name in stranger.headers if name.startswith("x-ratelimit")]


async def test_the_101st_call_in_a_minute_is_429_over_http() -> None:
    async with served(calls=Rate(100, 60)) as (client, _):
        said = [(await client.post("/api/whoami", json={}, headers=KEY)).status_code for _ in range(101)]
        assert said == [200] * 100 + [429]


async def test_strangers_are_counted_by_who_calls_and_in_the_metrics() -> None:
    proxies = (ipaddress.ip_network("127.0.0.1/32"),)
    async with served(Rules(proxies=proxies), failures=Rate(2, 60)) as (client, process):

        async def wrong(caller: str) -> httpx2.Response:
            return await client.post("/api/slot/list", json={}, headers={"X-API-Key": "x", "X-Forwarded-For": caller})

        assert [(await wrong("198.51.100.1")).status_code for _ in range(3)] == [401, 401, 429]
        assert (await wrong("198.51.100.2")).status_code == 401
        assert (await row(process)).ip == "198.51.100.2"
        assert int((await wrong("198.51.100.1")).headers["retry-after"]) == 60
        assert (await client.get("/api", headers={"X-API-Key": "x", "X-Forwarded-For": "198.51.100.1"})).status_code == 429
        good = await client.get("/metrics", headers={**KEY, "X-Forwarded-For": "198.51.100.1"})
        assert (good.status_code, "codeb_auth_failures_total 6.0" in good.text) == (200, True)


async def test_forwarded_headers_of_anybody_are_not_believed() -> None:
    async with served(failures=Rate(2, 60)) as (client, process):
        said = [
            await client.post("/api/slot/list", json={}, headers={"X-API-Key": "x", "X-Forwarded-For": f"198.51.100.{each}"})
            for each in range(3)
        ]
        assert [each.status_code for each in said] == [401, 401, 429]
        assert (await row(process)).ip == "127.0.0.1"


# --- what every answer has ---------------------------------------------------------------------------------------


async def test_every_answer_has_its_headers(monkeypatch: pytest.MonkeyPatch) -> None:
    async with served(Rules(origins=frozenset({PAGE})), calls=Rate(30, 60)) as (client, process):

        async def broken(asked: Any) -> None:
            raise RuntimeError("boom")

        answers = [
            await client.get(path, headers=KEY) for path in ("/health", "/api", "/api/tools", "/metrics", "/openapi.json", "/x")
        ]
        answers += [
            await client.post("/api/slot/list", json={}, headers=each)
            for each in ({}, KEY, {"Host": "evil.test"}, {"Origin": "x"})
        ]
        answers += [await client.put("/api/tool"), await client.get("/api?token=x")]
        answers += [await client.options("/api", headers={"Origin": PAGE, "Access-Control-Request-Method": "GET"})]
        answers += [await client.post("/api/tool", content=b"x" * (2**20 + 1)), await client.post("/api/tool", content=b"{")]
        monkeypatch.setattr(process.gate, "call", broken)
        answers += [await client.post("/api/slot/list", json={}, headers=KEY)]
        assert sorted({each.status_code for each in answers}) == [200, 204, 400, 401, 403, 404, 405, 413, 500]
        for each in answers:
            assert {name: each.headers.get(name) for name in HEADERS} == HEADERS, each.request.url
            assert "strict-transport-security" not in each.headers


async def test_hsts_only_behind_a_trusted_proxy_that_was_asked_over_tls() -> None:
    https = {"X-Forwarded-For": "198.51.100.1", "X-Forwarded-Proto": "https"}
    async with served(Rules(proxies=(ipaddress.ip_network("127.0.0.1/32"),))) as (client, _):
        assert "strict-transport-security" in (await client.get("/x", headers=https)).headers
        assert "strict-transport-security" not in (await client.get("/x", headers={**https, "X-Forwarded-Proto": "http"})).headers
    async with served() as (client, _):
        assert "strict-transport-security" not in (await client.get("/x", headers=https)).headers


# --- time and crowds ---------------------------------------------------------------------------------------------


async def test_a_body_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "BODY_SECONDS", 0.05)

    async def slowly() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(30)

    async with served() as (client, _):
        said = await client.post("/api/slot/list", content=slowly(), headers={**KEY, "Content-Type": "application/json"})
        assert (said.status_code, said.json()["code"], said.headers["connection"]) == (400, "too_slow", "close")


async def test_a_crowd_is_told_to_come_later_and_health_still_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threshold, "MOST_INSIDE", 2)
    door, real = asyncio.Event(), None
    async with served() as (client, process):
        real = process.gate.call

        async def waiting(asked: Any) -> Any:
            await door.wait()
            return await real(asked)

        monkeypatch.setattr(process.gate, "call", waiting)
        held = [asyncio.create_task(client.post("/api/slot/list", json={}, headers=KEY)) for _ in range(2)]
        await asyncio.sleep(0.05)
        said = await client.post("/api/slot/list", json={}, headers=KEY)
        assert (said.status_code, said.json()["code"], said.json()["retryable"]) == (503, "busy", True)
        assert (await client.get("/health")).status_code == 200
        door.set()
        assert [(await each).status_code for each in held] == [200, 200]
        assert (await client.post("/api/slot/list", json={}, headers=KEY)).status_code == 200


async def test_development_is_said_in_health() -> None:
    async with served(development=True) as (client, _):
        assert (await client.get("/health")).json()["development"] is True
