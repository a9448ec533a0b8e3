"""`we mcp` carries messages: each to the server with the headers it needs, and what comes back as one line."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from codeb.entry.cli.assistant import OLDER, REVISION, Relay
from codeb.entry.cli.client import Unreachable

NEWER = "2026-07-28"
META = {"_meta": {REVISION: NEWER, "io.modelcontextprotocol/clientCapabilities": {}}}


@dataclass
class Reply:
    body: bytes
    status: int = 200
    kind: str = "application/json"

    def getheader(self, name: str) -> str | None:
        return self.kind

    def read(self) -> bytes:
        return self.body

    def readline(self) -> bytes:
        line, end, self.body = self.body.partition(b"\n")
        return line + end


@dataclass
class Server:
    """Answers in order; an exception instead of an answer is raised."""

    replies: list[Any]
    heard: list[tuple[dict[str, str], dict[str, Any]]] = field(default_factory=list)
    told: list[dict[str, Any]] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    @contextmanager
    def post(self, headers: dict[str, str], body: bytes) -> Iterator[Any]:
        self.heard.append((headers, json.loads(body)))
        reply = self.replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        yield reply

    def run(self, *lines: Any) -> list[dict[str, Any]]:
        raw = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
        relay = Relay(self.post, lambda line: self.told.append(json.loads(line)), self.complaints.append)
        relay.run(iter(raw))
        return self.told


def ask(method: str, which: Any = 1, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": which, "method": method, "params": params}


def done(which: Any = 1, **result: Any) -> Reply:
    return Reply(json.dumps({"jsonrpc": "2.0", "id": which, "result": result}).encode())


def test_a_message_of_the_newer_revision_is_named_in_headers() -> None:
    for method, params, name in (
        ("tools/call", {"name": "deploy"}, "deploy"), ("resources/read", {"uri": "codeb://guide"}, "codeb://guide"),
        ("prompts/get", {"name": "ship"}, "ship"), ("tasks/get", {"taskId": "op_1"}, "op_1"), ("tools/list", {}, None),
    ):  # fmt: skip
        server = Server([done(ok=1)])
        assert server.run(ask(method, **params, **META)) == [{"jsonrpc": "2.0", "id": 1, "result": {"ok": 1}}]
        headers = server.heard[0][0]
        assert (headers["MCP-Protocol-Version"], headers["Mcp-Method"], headers.get("Mcp-Name")) == (NEWER, method, name)
        assert "text/event-stream" in headers["Accept"]


def test_a_client_that_greets_is_served_under_what_was_agreed() -> None:
    server = Server([done(protocolVersion=OLDER), done(2)])
    server.run(
        ask("initialize", protocolVersion="2099-01-01"), {"jsonrpc": "2.0", "method": "notifications/initialized"}, ask("ping", 2)
    )
    first, second = (headers for headers, _ in server.heard)
    assert "MCP-Protocol-Version" not in first and second["MCP-Protocol-Version"] == OLDER and "Mcp-Method" not in second


def test_a_stream_is_carried_line_by_line_to_its_end() -> None:
    notice = {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progress": 1}}
    final = {"jsonrpc": "2.0", "id": "a", "result": {"text": "één\nregel"}}
    body = "".join(f": ping\r\n\r\nevent: message\r\ndata: {json.dumps(each)}\r\n\r\n" for each in (notice, final))
    server = Server([Reply(body.encode(), kind="text/event-stream")])
    assert server.run(ask("tools/call", "a", name="deploy", **META)) == [notice, final]


def test_a_stream_that_breaks_off_is_answered_all_the_same() -> None:
    server = Server([Reply(b": ping\n", kind="text/event-stream")])
    told = server.run(ask("tools/call", name="deploy", **META))
    assert len(told) == 1 and "operation_list" in told[0]["error"]["message"]


@pytest.mark.parametrize("sent", [False, True])
def test_without_a_server_a_greeting_is_answered_and_a_list_says_why(sent: bool) -> None:
    gone = Unreachable("http://127.0.0.1:9", "Connection refused", sent=sent)
    server = Server([gone, gone, gone])
    said = {
        each["id"]: each for each in server.run(ask("initialize", 1), ask("server/discover", 2, **META), ask("tools/list", 3))
    }
    assert said[1]["result"]["protocolVersion"] == OLDER and said[2]["result"]["supportedVersions"] == [NEWER]
    assert "does not answer at http://127.0.0.1:9" in said[3]["error"]["message"]
    assert ("operation_list" if sent else "we up") in said[3]["error"]["message"]
    assert len(server.complaints) == 1, "once, not for every message"


def test_what_is_turned_away_before_the_protocol_is_told_in_its_words() -> None:
    refusal = {"success": False, "error": "This key is not valid.", "hint": "Get another.", "code": "unauthenticated"}
    server = Server([Reply(json.dumps(refusal).encode(), 401), Reply(b"<html>", 502)])
    first = server.run(ask("tools/list", 1))[0]
    second = server.run(ask("tools/list", 2))[1]
    assert first["error"]["message"] == "This key is not valid. Get another." and first["error"]["data"] == refusal
    assert "no CodeB" in second["error"]["message"] and server.complaints[0].startswith("This key is not valid.")


@pytest.mark.parametrize("line", [b"{", b"[]", b'{"id":1}', b'"x"'])
def test_what_is_no_message_goes_nowhere(line: bytes) -> None:
    server = Server([])
    assert server.run(line)[0]["error"]["code"] in (-32700, -32600) and server.heard == []


def test_notices_of_a_client_are_not_sent_on_and_what_it_gave_up_is_not_answered() -> None:
    let = threading.Event()

    class Late(Reply):
        def read(self) -> bytes:
            let.wait(10)
            return self.body

    server = Server([Late(done().body)])

    def lines() -> Iterator[bytes]:
        yield json.dumps(ask("tools/list")).encode()
        yield json.dumps({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}).encode()
        let.set()

    Relay(server.post, lambda line: server.told.append(json.loads(line)), server.complaints.append).run(lines())
    assert server.told == [] and len(server.heard) == 1
