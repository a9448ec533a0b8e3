"""`we mcp`: the server's door for assistants, for clients that start a program and speak to it over its standard streams.

It understands nothing of what it carries but where to send it: every message is a POST to the server's `/mcp`, and what comes
back is a line. So both revisions, lists, answers and progress are the server's own. It needs nothing that is not in the base.
"""

import json
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, BinaryIO, Protocol

import click

from codeb.entry.cli import exits, show
from codeb.entry.cli.client import Unreachable
from codeb.entry.cli.session import Session
from codeb.entry.version import VERSION

SILENCE_SECONDS = 90.0
"""without a byte of an answer: the server sends a sign of life every fifteen seconds"""
LAST_SECONDS = 60.0
"""how long answers are waited for after the last message"""
REVISION = "io.modelcontextprotocol/protocolVersion"
OLDER, NEWER = "2025-11-25", "2026-07-28"
NAMES = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
"""method -> the param that a header has to repeat; of methods about tasks it is the task"""
LISTENS = "subscriptions/listen"
PARSE_ERROR, INVALID, AWAY = -32700, -32600, -32000
BROKEN_OFF = "The connection ended before the answer. What was begun goes on; see operation_list."

Message = dict[str, Any]


class Response(Protocol):
    status: int

    def getheader(self, name: str) -> str | None: ...
    def read(self) -> bytes: ...
    def readline(self) -> bytes: ...


Post = Callable[[dict[str, str], bytes], AbstractContextManager[Response]]
"""raises `Unreachable`"""


class Relay:
    """Carries messages between the streams and the server, each request in a thread of its own."""

    def __init__(self, post: Post, write: Callable[[bytes], None], complain: Callable[[str], None]) -> None:
        self._post = post
        self._write = write
        self._complain = complain
        self._turn = threading.Lock()
        self._agreed = ""
        """revision of a client that greets once"""
        self._given_up: set[Any] = set()
        self._away = False
        self._open: list[threading.Thread] = []

    def run(self, lines: Iterator[bytes]) -> None:
        """Until there are no more lines, and those that were asked are answered."""
        for line in lines:
            if line.strip():
                self._take(line)
        for each in self._open:
            each.join(LAST_SECONDS)

    def _take(self, line: bytes) -> None:
        try:
            said = json.loads(line)
        except ValueError:
            self._tell(_fault(None, PARSE_ERROR, "That is no JSON."))
            return
        if not isinstance(said, dict) or ("id" in said and not isinstance(said.get("method"), str) and "result" not in said):
            self._tell(_fault(None, INVALID, "One message a line, each a JSON object with a method."))
        elif said.get("method") == "notifications/cancelled":
            self._given_up.add(_params(said).get("requestId"))
        elif "id" in said and "method" in said:
            thread = threading.Thread(target=self._ask, args=(said, line), daemon=True)
            self._open = [each for each in self._open if each.is_alive()]
            if said["method"] != LISTENS:
                self._open.append(thread)
            thread.start()
            if said["method"] == "initialize":
                # what comes next is sent under the revision that this agrees on
                thread.join()

    def _ask(self, said: Message, line: bytes) -> None:
        try:
            with self._post(self._headers(said), line.strip()) as response:
                self._away = False
                if not self._answered(said, response):
                    self._tell(_fault(said["id"], AWAY, BROKEN_OFF), said)
        except Unreachable as fault:
            if not self._away:
                self._complain(f"CodeB does not answer at {fault.url}: {fault.reason}. Each message is tried anew.")
            self._away = True
            how = "Start it with `we up`, or say where it is with CODEB_API_URL; then try again."
            text = f"CodeB does not answer at {fault.url}: {fault.reason}. {BROKEN_OFF if fault.sent else how}"
            self._tell(_without_server(said, text), said)

    def _headers(self, said: Message) -> dict[str, str]:
        params, method = _params(said), str(said["method"])
        meta = params.get("_meta")
        revision = (meta if isinstance(meta, dict) else {}).get(REVISION) or self._agreed
        headers = {
            "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream",
            "X-Client-Version": VERSION,
        }
        if revision and method != "initialize":
            headers["MCP-Protocol-Version"] = str(revision)
        if revision and revision != self._agreed:
            name = params.get(NAMES.get(method, "taskId" if method.startswith("tasks/") else ""))
            headers |= {"Mcp-Method": method} | ({"Mcp-Name": name} if isinstance(name, str) else {})
        return headers

    def _answered(self, said: Message, response: Response) -> bool:
        """Carry back what comes; whether the answer was among it."""
        if (response.getheader("Content-Type") or "").startswith("text/event-stream"):
            while line := response.readline():
                if said["id"] in self._given_up:
                    return True
                if line.startswith(b"data:") and (message := _object(line[len(b"data:") :])) is not None:
                    self._tell(message, said)
                    if "method" not in message:
                        return True
            return False
        body = _object(response.read()) or {"error": f"What answers there ({response.status}) is no CodeB."}
        if "jsonrpc" in body:
            self._tell({**body, "id": said["id"]}, said)
        else:
            # turned away before the protocol: no valid key, too many calls, too large
            text = f"{body.get('error', '')} {body.get('hint', '')}".strip()
            self._complain(text)
            self._tell(_without_server(said, text, body), said)
        return True

    def _tell(self, message: Message, said: Message | None = None) -> None:
        with self._turn:
            if said is not None and said["id"] in self._given_up:
                return
            if said is not None and said["method"] == "initialize":
                self._agreed = str(message.get("result", {}).get("protocolVersion", OLDER))
            self._write(json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace") + b"\n")


def _object(text: bytes) -> Message | None:
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _params(said: Message) -> Message:
    params = said.get("params")
    return params if isinstance(params, dict) else {}


def _fault(which: Any, code: int, text: str, data: Any = None) -> Message:
    error = {"code": code, "message": text} | ({"data": data} if data is not None else {})
    return {"jsonrpc": "2.0", "id": which, "error": error}


def _without_server(said: Message, text: str, data: Any = None) -> Message:
    """A greeting is answered all the same: what follows it then says why nothing works, where an assistant reads it."""
    here = {"capabilities": {"tools": {}}, "instructions": text, "serverInfo": {"name": "codeb", "version": VERSION}}
    if said["method"] == "initialize":
        return {"jsonrpc": "2.0", "id": said["id"], "result": {**here, "protocolVersion": OLDER}}
    if said["method"] == "server/discover":
        del here["serverInfo"]
        more = {"resultType": "complete", "supportedVersions": [NEWER], "ttlMs": 0, "cacheScope": "private"}
        return {"jsonrpc": "2.0", "id": said["id"], "result": {**here, **more}}
    return _fault(said["id"], AWAY, text, data)


@click.command(short_help="Serve an assistant over standard input and output")
@click.pass_obj
def mcp(session: Session) -> int:
    """Carry the messages of an MCP client to the server and back, one JSON object a line.

    For clients that start a program; those that speak HTTP take the server's /mcp itself. The key is the one of every other
    command: CODEB_API_KEY, ~/.codeb/config.toml or the owner key of this machine.
    """
    where = session.client.where
    if where.key is None:
        show.err(f"There is no key: {where.key_from}. Every call will be refused.")
    out: BinaryIO = sys.stdout.buffer

    def write(line: bytes) -> None:
        out.write(line)
        out.flush()

    def post(headers: dict[str, str], body: bytes) -> Any:
        return session.client.posted("/mcp", headers, body, SILENCE_SECONDS)

    try:
        Relay(post, write, show.err).run(iter(sys.stdin.buffer.readline, b""))
    except BrokenPipeError:
        # whoever started us is gone
        return exits.OK
    return exits.OK
