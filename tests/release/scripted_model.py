"""A model that does what it was told beforehand: the Messages API on loopback, for the real Claude Code to speak to.

Each turn is what it says next: a text, or calls of tools. What Claude Code sent is kept, so that a check can read what
the model was told of each call.
"""

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Use:
    """One call of a tool."""

    name: str
    arguments: dict[str, Any]


Turn = str | Use | Sequence[Use]


@dataclass
class Model:
    turns: list[Turn]
    url: str = ""
    heard: list[dict[str, Any]] = field(default_factory=list)
    """bodies of the requests that were of the conversation itself"""
    lock: threading.Lock = field(default_factory=threading.Lock)
    said: int = 0

    def next(self, body: dict[str, Any]) -> list[dict[str, Any]]:
        """The blocks of the next answer. Requests without tools are Claude Code's own (titles, summaries)."""
        if not body.get("tools"):
            return [{"type": "text", "text": "A title"}]
        with self.lock:
            self.heard.append(body)
            turn = self.turns[self.said] if self.said < len(self.turns) else "There is nothing more to do."
            self.said += 1
            number = self.said
        if isinstance(turn, str):
            return [{"type": "text", "text": turn}]
        uses = [turn] if isinstance(turn, Use) else turn
        return [
            {"type": "tool_use", "id": f"toolu_{number:04}{at:02}", "name": use.name, "input": use.arguments}
            for at, use in enumerate(uses)
        ]

    def results(self) -> dict[str, str]:
        """What the model was told of each call, by the call's id."""
        found: dict[str, str] = {}
        for body in self.heard:
            for message in body["messages"]:
                for block in message["content"] if isinstance(message["content"], list) else []:
                    if block.get("type") == "tool_result":
                        found[block["tool_use_id"]] = _text(block.get("content"))
        return found

    def told(self) -> list[str]:
        """The results in the order of the calls."""
        return [text for _, text in sorted(self.results().items())]

    def everything(self) -> str:
        """All it was ever sent, as text."""
        return json.dumps(self.heard[-1]["messages"], ensure_ascii=False) if self.heard else ""


def _text(content: Any) -> str:
    if isinstance(content, list):
        return "\n".join(str(each.get("text", "")) for each in content if isinstance(each, dict))
    return str(content)


@contextmanager
def speaking(turns: Sequence[Turn]) -> Iterator[Model]:
    """The model on a port of its own."""
    model = Model(list(turns))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
            if "count_tokens" in self.path:
                self._whole({"input_tokens": 100})
            elif not self.path.startswith("/v1/messages"):
                self._whole({})
            elif body.get("stream"):
                self._stream(model.next(body), str(body.get("model")))
            else:
                self._whole(_message(model.next(body), str(body.get("model"))))

        def do_GET(self) -> None:
            self._whole({})

        def _whole(self, body: dict[str, Any]) -> None:
            raw = json.dumps(body).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def _stream(self, blocks: list[dict[str, Any]], name: str) -> None:
            raw = b"".join(f"event: {kind}\ndata: {json.dumps(data)}\n\n".encode() for kind, data in _events(blocks, name))
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *_: Any) -> None:
            return None

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        model.url = f"http://127.0.0.1:{server.server_port}"
        try:
            yield model
        finally:
            server.shutdown()
            thread.join()


def _stop(blocks: list[dict[str, Any]]) -> str:
    return "tool_use" if any(each["type"] == "tool_use" for each in blocks) else "end_turn"


def _message(blocks: list[dict[str, Any]], name: str) -> dict[str, Any]:
    usage = {"input_tokens": 10, "output_tokens": 10}
    return {
        "id": "msg_1", "type": "message", "role": "assistant", "model": name, "content": blocks, "stop_reason": _stop(blocks),
        "stop_sequence": None, "usage": usage,
    }  # fmt: skip


def _events(blocks: list[dict[str, Any]], name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    yield "message_start", {"type": "message_start", "message": {**_message([], name), "stop_reason": None}}
    for index, block in enumerate(blocks):
        is_text = block["type"] == "text"
        empty = {"type": "text", "text": ""} if is_text else {**block, "input": {}}
        delta = (
            {"type": "text_delta", "text": block["text"]}
            if is_text
            else {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
        )
        yield "content_block_start", {"type": "content_block_start", "index": index, "content_block": empty}
        yield "content_block_delta", {"type": "content_block_delta", "index": index, "delta": delta}
        yield "content_block_stop", {"type": "content_block_stop", "index": index}
    end = {"stop_reason": _stop(blocks), "stop_sequence": None}
    yield "message_delta", {"type": "message_delta", "delta": end, "usage": {"output_tokens": 10}}
    yield "message_stop", {"type": "message_stop"}
