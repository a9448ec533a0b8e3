"""The HTTP entry over a CodeB in memory: paths, numbers, keys, headers, envelopes."""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx2
import pytest

from codeb.drivers.store.rows import audit_of
from codeb.drivers.store.schema import audit_logs
from codeb.entry.http.wire import HEADERS
from codeb.entry.version import VERSION
from codeb.model.access import Role
from codeb.model.secret import Secret
from codeb.tools.catalog import TOOLS
from tests.entry.door import SHOP, Door, facts
from tests.kit import OWNER

pytestmark = pytest.mark.anyio


# --- the same call by every path ---------------------------------------------------------------------------------


async def test_a_tool_has_two_paths_and_one_answer(door: Door) -> None:
    long = await door.post("/api/tool", {"tool": "slot_status", "params": SHOP})
    short = await door.post("/api/slot/status", SHOP)
    flat = await door.post("/api/slot_status", SHOP)
    assert (long.status_code, short.status_code, flat.status_code) == (200, 200, 200)
    assert facts(long) == facts(short) == facts(flat)
    assert long.json()["activeSlot"] == "green"


@pytest.mark.parametrize("tool", [tool.name for tool in TOOLS])
async def test_every_tool_answers_by_its_short_path(door: Door, tool: str) -> None:
    """What it answers is the same as by the long one: the same refusal of the same fault."""
    family, _, verb = tool.partition("_")
    body = {"nobodyKnowsThis": 1}
    short = await door.post(f"/api/{family}/{verb}" if verb else f"/api/{family}", body)
    long = await door.post("/api/tool", {"tool": tool, "params": body})
    assert (short.status_code, facts(short)) == (400, facts(long))


async def test_tools_of_one_word(door: Door) -> None:
    assert (await door.post("/api/logs", SHOP)).json()["slot"] == "green"
    planned = await door.post("/api/rollback", {**SHOP, "dryRun": True})
    assert (planned.status_code, planned.json()["plan"]["to"]) == (200, "blue")


async def test_ports_are_readable_as_blue_and_green(door: Door) -> None:
    """A script does `curl … | jq .blue`; the pair stands at the top of the answer."""
    for path in ("/api/port/get", "/api/port/allocate"):
        pair = (await door.post(path, SHOP)).json()
        assert pair["blue"] % 2 == 0
        assert pair["green"] == pair["blue"] + 1


async def test_params_may_be_left_out(door: Door) -> None:
    bare = await door.client.post("/api/slot/list", headers={"X-API-Key": OWNER.reveal()})
    assert (bare.status_code, bare.json()["total"]) == (200, 1)
    assert (await door.post("/api/tool", {"tool": "slot_list"})).status_code == 200


# --- what is read without a tool ---------------------------------------------------------------------------------


async def test_health_needs_no_key_and_compares_versions(door: Door) -> None:
    said = await door.get("/health", None)
    assert (said.status_code, said.json()) == (
        200,
        {"status": "ok", "version": VERSION, "degraded": False, "leads": True, "development": False},
    )
    assert "versionWarning" in (await door.get("/health?v=0.0.1", None)).json()
    for same in (VERSION, "99.0.0", "", "x", "0.0.1\n", "0" * 5000, "-1.0.0", "0.0", "٠.٠.١"):
        assert "versionWarning" not in (await door.client.get("/health", params={"v": same})).json(), same
    door.process.engine.stop()
    assert (await door.get("/health", None)).json()["status"] == "stopping"


async def test_the_names_of_tools_are_those_a_key_may_use(door: Door) -> None:
    assert (await door.get("/api", None)).status_code == 401
    assert (await door.get("/api/tools", None)).status_code == 401
    assert (await door.get("/api")).json() == {"tools": [tool.name for tool in TOOLS]}
    viewer = await door.key(Role.VIEWER)
    readers = [tool.name for tool in TOOLS if tool.role is Role.VIEWER]
    assert (await door.get("/api", viewer)).json()["tools"] == readers
    assert [tool["name"] for tool in (await door.get("/api/tools", viewer)).json()["tools"]] == readers
    narrow = await door.key(Role.MEMBER, tools=frozenset({"deploy", "project_delete"}))
    assert (await door.get("/api", narrow)).json()["tools"] == ["deploy"], "a key's list of tools widens no role"


async def test_the_document_is_open_and_whole(door: Door) -> None:
    assert (await door.get("/metrics")).headers["content-type"].startswith("text/plain")
    said = await door.get("/openapi.json", None)
    (kind,) = said.json()["paths"]["/metrics"]["get"]["responses"]["200"]["content"]
    assert kind == "text/plain"
    assert (said.status_code, said.json()["openapi"]) == (200, "3.1.0")


# --- numbers -----------------------------------------------------------------------------------------------------


async def test_403_says_which_role(door: Door) -> None:
    viewer = await door.key(Role.VIEWER)
    said = await door.post("/api/rollback", SHOP, viewer)
    assert (said.status_code, said.json()["code"]) == (403, "forbidden")
    assert "member" in said.json()["error"]
    assert (await door.post("/api/slot/status", SHOP, viewer)).status_code == 200


async def test_404_for_tools_projects_and_paths(door: Door) -> None:
    for path, body, code in (
        ("/api/tool", {"tool": "deploi"}, "unknown_tool"), ("/api/slot/statuss", {}, "unknown_tool"),
        ("/api/slot/status", {"projectName": "shap"}, "project_not_found"), ("/", {}, "not_found"), ("/api/", {}, "not_found"),
        ("/api/tool/", {"tool": "slot_list"}, "not_found"), ("/api/slot/list/", {}, "not_found"), ("/api/slot/list/x", {},
        "not_found"),
        ("/api/slot%2Flist%2Fx", {}, "not_found"), ("//evil.test/api/tool", {}, "not_found"), ("/API/tool", {}, "not_found"),
    ):  # fmt: skip
        said = await door.client.post(
            f"http://codeb{path}", json=body, headers={"X-API-Key": OWNER.reveal()}, follow_redirects=False
        )
        assert (said.status_code, said.json().get("code")) == (404, code), path
        assert "location" not in said.headers
    assert "deploy" in (await door.post("/api/tool", {"tool": "deploi"})).json()["hint"]
    assert "shop" in (await door.post("/api/slot/status", {"projectName": "shap"})).json()["hint"]


@pytest.mark.parametrize(("method", "path", "allow"), [
    ("GET", "/api/tool", "POST"), ("PUT", "/api/tool", "POST"), ("DELETE", "/api/slot/list", "POST"), ("PATCH", "/api/deploy",
    "POST"),
    ("POST", "/health", "GET"), ("POST", "/openapi.json", "GET"), ("OPTIONS", "/api/tool", "POST"), ("TRACE", "/api/tool",
    "POST"),
])  # fmt: skip
async def test_405_names_the_method_that_is_allowed(door: Door, method: str, path: str, allow: str) -> None:
    said = await door.client.request(method, path, headers={"X-API-Key": OWNER.reveal()})
    assert (said.status_code, said.json()["code"]) == (405, "method_not_allowed")
    assert allow in said.headers["allow"]


async def test_413_by_what_is_announced_and_by_what_comes(door: Door) -> None:
    big = b" " * (2**20 + 1)

    async def parts() -> AsyncIterator[bytes]:
        for _ in range(30):
            yield b" " * 65536

    key = {"X-API-Key": OWNER.reveal(), "Content-Type": "application/json"}
    for content in (big, parts()):
        said = await door.client.post("/api/tool", content=content, headers=key)
        assert (said.status_code, said.json()["code"]) == (413, "too_large")
    odd = await asgi(door.app, "/api/slot/list", [b"{}"], [(b"content-length", b"\xb2"), *key_headers()])
    assert odd[0] == 200, "a length that is no number is the transport's affair; the bytes are counted"


async def test_env_sync_takes_ten_mebibytes_by_its_own_path_from_who_has_a_key(door: Door) -> None:
    """S33."""
    line, where = "# " + "x" * 1021 + "\n", {"projectName": "shop"}
    large, larger = line * 9 * 1024 + "A=1", line * 10 * 1024 + "A=1"
    said = await door.post("/api/env/sync", {**where, "envContent": large})
    assert (said.status_code, said.json()["version"]) == (200, 1)
    for path, body, key in (
        ("/api/env/sync", {**where, "envContent": larger}, OWNER),
        ("/api/env/sync", {**where, "envContent": large}, Secret("codeb_main_owner_" + "n" * 32)),
        ("/api/env/sync", {**where, "envContent": large}, None),
        ("/api/env/scan", {**where, "envContent": large}, OWNER),
        ("/api/tool", {"tool": "env_sync", "params": {**where, "envContent": large}}, OWNER),
    ):
        said = await door.post(path, body, key)
        assert (said.status_code, said.json()["code"]) == (413, "too_large"), path


async def test_an_unforeseen_fault_tells_nothing_but_its_id(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(asked: Any) -> None:
        raise RuntimeError("secret-4711")

    monkeypatch.setattr(door.process.gate, "call", broken)
    said = await door.post("/api/slot/list", {}, X_Correlation_ID="mine-1")
    assert (said.status_code, said.json()["code"], said.json()["correlationId"]) == (500, "internal", "mine-1")
    assert "4711" not in said.text
    assert said.headers["x-correlation-id"] == "mine-1"
    enveloped(said)


# --- the envelope and the headers --------------------------------------------------------------------------------


def enveloped(said: httpx2.Response) -> None:
    body = said.json()
    shared = {"success", "summary", "next", "warnings", "duration", "timestamp", "correlationId"}
    assert set(body) >= (shared if said.status_code == 200 else shared | {"error", "code", "hint", "details", "retryable"}), body
    assert body["success"] is (said.status_code == 200)
    assert said.headers["x-correlation-id"] == body["correlationId"]


async def test_every_answer_has_the_headers_and_every_call_the_envelope(door: Door) -> None:
    calls = [
        await door.post("/api/slot/list"), await door.post("/api/slot/list", {"limit": 0}), await door.post("/api/slot/list",
        [], None),
        await door.post("/api/no/such"), await door.post("/nowhere"), await door.get("/api/tool"), await door.post("/api/tool",
        "x"),
        await door.client.post("/api/tool", content=b"{", headers={"Content-Type": "application/json"}),
    ]  # fmt: skip
    for said in calls:
        enveloped(said)
    others = [
        await door.get("/health"),
        await door.get("/api"),
        await door.get("/api/tools"),
        await door.get("/openapi.json"),
        await door.get("/"),
    ]
    for said in calls + others:
        for name, value in HEADERS.items():
            assert said.headers[name] == value, said.url
        assert said.headers["content-type"] == "application/json"
        assert not {"access-control-allow-origin", "set-cookie", "server"} & set(said.headers)


async def test_correlation_ids(door: Door) -> None:
    for sane in ("a", "A-1.b_2", "x" * 64):
        said = await door.post("/api/slot/list", {}, X_Correlation_ID=sane)
        assert said.headers["x-correlation-id"] == sane
        enveloped(said)
    seen = set()
    for insane in ("", "x" * 65, "a b", "a/b", "a;b", "<script>", "é", "a\tb", "{env.PATH}"):
        said = await door.client.post(
            "/api/slot/list", json={}, headers={b"X-API-Key": OWNER.reveal().encode(), b"X-Correlation-ID": insane.encode()}
        )
        enveloped(said)
        assert said.headers["x-correlation-id"].startswith("req_")
        seen.add(said.headers["x-correlation-id"])
    assert len(seen) == 9


async def test_an_older_client_is_told(door: Door) -> None:
    assert "0.0.9" in (await door.post("/api/slot/list", {}, X_Client_Version="0.0.9")).json()["versionWarning"]
    assert "versionWarning" in (await door.post("/api/slot/list", {"x": 1}, X_Client_Version="0.0.9")).json(), "in a failure too"
    for other in (VERSION, "1.0.0", "", "0.0", "0.0.1; x", "${x}", "0." * 3000):
        assert "versionWarning" not in (await door.post("/api/slot/list", {}, X_Client_Version=other)).json(), other


# --- params ------------------------------------------------------------------------------------------------------


async def test_all_faults_are_told_at_once_and_the_nearest_names(door: Door) -> None:
    body = {"projektName": "shop", "environment": "prod", "timeout": "60", "autoPromote": 1, "image": "-v", "ersion": "1"}
    said = (await door.post("/api/deploy", body)).json()
    faults = {each["field"]: each for each in said["details"]["fields"]}
    assert set(faults) == {*body, "projectName"}
    assert (faults["projektName"]["near"], faults["ersion"]["near"]) == ("projectName", "version")
    assert "did you mean projectName?" in faults["projektName"]["problem"]
    assert said["error"].startswith("7 fields cannot be taken")
    assert "projectName" in said["hint"]


async def test_python_names_are_no_wire_names(door: Door) -> None:
    said = (await door.post("/api/slot/status", {"project_name": "shop"})).json()
    assert {each["field"] for each in said["details"]["fields"]} == {"project_name", "projectName"}


# --- the audit of what HTTP brings -------------------------------------------------------------------------------


async def test_calls_are_audited_with_address_and_id_and_without_secrets(door: Door) -> None:
    await door.post("/api/slot/status", SHOP, X_Correlation_ID="seen-1")
    await door.post("/api/slot/status", {"apiKey": OWNER.reveal()}, X_Correlation_ID="seen-2")
    await door.post("/api/slot/status", SHOP, None, X_Correlation_ID="seen-3")
    await door.process.audit.flush()
    async with door.process.kit.store._reading() as tx:  # type: ignore[attr-defined]
        rows = {row["correlation_id"]: audit_of(row) for row in (await tx.read(audit_logs.select())).all}
    one, two, three = (rows[f"seen-{number}"] for number in (1, 2, 3))
    assert (one.entry, one.tool, one.ok, one.key_id, one.params) == ("http", "slot_status", True, "key_owner", SHOP)
    assert (two.ok, two.code, two.params) == (False, "invalid_params", {})
    assert (three.ok, three.code, three.key_id) == (False, "unauthenticated", None)
    assert OWNER.reveal() not in repr(rows)


# --- the transport -----------------------------------------------------------------------------------------------


def key_headers() -> list[tuple[bytes, bytes]]:
    return [(b"host", b"codeb"), (b"x-api-key", OWNER.reveal().encode()), (b"content-type", b"application/json")]


async def asgi(app: Any, path: str, parts: list[bytes | None], headers: list[tuple[bytes, bytes]]) -> tuple[int, bytes]:
    """One POST as the server would make it; None is the client hanging up."""
    coming: Iterator[bytes | None] = iter(parts)
    left = len(parts)
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        nonlocal left
        part = next(coming, None)
        left -= 1
        if part is None:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": part, "more_body": left > 0}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http", "path": path,
        "raw_path": path.encode(), "query_string": b"", "root_path": "", "headers": headers, "client": ("127.0.0.1", 1),
        "server": ("x", 80),
    }  # fmt: skip
    await app(scope, receive, send)
    return sent[0]["status"], b"".join(each.get("body", b"") for each in sent)


async def test_a_client_that_hangs_up_within_its_body_does_nothing(door: Door) -> None:
    before = len(door.process.kit.store.snapshot.projects)
    status, _ = await asgi(door.app, "/api/project/create", [b'{"projectName":', None], key_headers())
    assert status == 400
    assert len(door.process.kit.store.snapshot.projects) == before
    status, body = await asgi(door.app, "/api/project/create", [b'{"projectName":', b'"second"}'], key_headers())
    assert (status, json.loads(body)["created"]) == (200, True), "in parts it is a call like any other"


async def audited(door: Door) -> dict[str, Any]:
    await door.process.audit.flush()
    async with door.process.kit.store.read() as registry:
        return {each.correlation_id: each for each in await registry.audit.latest(1000)}


async def test_what_never_comes_to_a_tool_is_audited_too(door: Door) -> None:
    """P14: refusals before the gate, and what is read without a tool; health and the document are not."""
    for number, (method, path, body, key) in enumerate(
        [
            ("POST", "/api/tool", b"{", OWNER), ("POST", "/api/slot/list", b"x" * (2**20 + 1), OWNER),
            ("PUT", "/api/tool", b"", None), ("GET", "/api/no/such/path", b"", None), ("GET", "/metrics", b"", OWNER),
            ("GET", "/api", b"", OWNER), ("GET", "/api/tools", b"", OWNER), ("GET", "/api/tools", b"", None),
            ("GET", "/health", b"", None), ("GET", "/openapi.json", b"", None), ("GET", "/favicon.ico", b"", None),
        ]
    ):  # fmt: skip
        said = {"Content-Type": "application/json", "X-Correlation-ID": f"n-{number}"}
        await door.client.request(method, path, content=body, headers=said | ({"X-API-Key": key.reveal()} if key else {}))
    rows = await audited(door)
    assert {name: (row.tool, row.ok, row.code, row.key_id) for name, row in rows.items() if name.startswith("n-")} == {
        "n-0": ("unknown", False, "malformed", "key_owner"), "n-1": ("slot_list", False, "too_large", "key_owner"),
        "n-2": ("unknown", False, "method_not_allowed", None), "n-3": ("unknown", False, "not_found", None),
        "n-4": ("get_metrics", True, "", "key_owner"), "n-5": ("get_api", True, "", "key_owner"),
        "n-6": ("get_tools", True, "", "key_owner"), "n-7": ("get_tools", False, "unauthenticated", None),
    }  # fmt: skip


async def test_the_audit_log_by_get_and_as_lines(door: Door) -> None:
    for number in range(5):
        await door.post("/api/slot/status", SHOP, X_Correlation_ID=f"s-{number}")
    await door.process.audit.flush()
    said = (await door.get("/api/audit?tool=slot_status&limit=2&ok=true")).json()
    assert [row["correlationId"] for row in said["rows"]] == ["s-4", "s-3"]
    lines = await door.get("/api/audit?format=jsonl&tool=slot_status", **{"X-Correlation-ID": "export"})
    assert lines.headers["content-type"].startswith("application/jsonl")
    assert lines.headers["cache-control"] == "no-store"
    found = [json.loads(line) for line in lines.text.splitlines()]
    assert [row["correlationId"] for row in found] == [f"s-{number}" for number in reversed(range(5))]
    assert all(len(row["hash"]) == 64 and row["seq"] for row in found)
    assert (await audited(door))["export"].tool == "audit_list"
    for query, status, code in (
        ("limit=x", 400, "invalid_params"), ("nope=1", 400, "invalid_params"), ("format=xml", 400, "invalid_params"),
        ("ok=1&ok=0", 400, "malformed"), ("format=jsonl&limit=0", 400, "invalid_params"),
    ):  # fmt: skip
        answer = await door.get(f"/api/audit?{query}")
        assert (answer.status_code, answer.json()["code"]) == (status, code), query
    viewer = await door.key(Role.VIEWER)
    assert (await door.get("/api/audit?format=jsonl", viewer)).status_code == 403
    assert (await door.get("/api/audit?format=jsonl", None)).status_code == 401
