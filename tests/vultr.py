"""The vendor's firewall API as far as its facts are known, on a port of this machine: paths, fields, numbers, paging, limits.

Faithful to the vendor's generated client: 201 for what is made, 204 for what is removed, integer ids within a group, cursors,
429 above a number of calls a second. Its texts are ours, so no test may depend on them. Read `calls` to see what was asked.
"""

import base64
import contextlib
import http.server
import ipaddress
import json
import re
import threading
import time
import urllib.parse
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

KEY = "vendor-key-of-the-test"  # made up
PROTOCOLS = ("icmp", "tcp", "udp", "gre", "esp", "ah")


class Refused(Exception):
    def __init__(self, status: int, text: str) -> None:
        self.status, self.text = status, text


@dataclass
class Group:
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    description: str = ""
    rules: dict[int, dict[str, Any]] = field(default_factory=dict)
    last: int = 0
    most: int = 50

    @property
    def shown(self) -> dict[str, Any]:
        stamp = "2026-03-01T12:00:00+00:00"
        return {
            "id": self.id, "description": self.description, "date_created": stamp, "date_modified": stamp, "instance_count": 0,
            "rule_count": len(self.rules), "max_rule_count": self.most,
        }  # fmt: skip


class Vendor:
    """`rate`: calls a second; `fail`: numbers of calls from now that answer 503, `cut`: whose answer is lost after the effect."""

    def __init__(self) -> None:
        self.groups: dict[str, Group] = {}
        self.calls: list[tuple[str, str]] = []
        self.rate = 30
        self.fail: set[int] = set()
        self.cut: set[int] = set()
        self.page = 100
        self.seen: list[float] = []
        self.url = ""

    def group(self, description: str = "") -> Group:
        made = Group(description=description)
        self.groups[made.id] = made
        return made

    def answer(self, method: str, path: str, headers: Any, body: bytes) -> tuple[int, Any]:
        now = time.monotonic()
        self.seen = [each for each in self.seen if each > now - 1] + [now]
        if len(self.seen) > self.rate:
            raise Refused(429, "rate limit exceeded")
        if headers.get("Authorization") != f"Bearer {KEY}":
            raise Refused(401, "Invalid API token.")
        self.calls.append((method, path))
        if len(self.calls) in self.fail:
            raise Refused(503, "Service unavailable")
        split = urllib.parse.urlsplit(path)
        query = {name: values[0] for name, values in urllib.parse.parse_qs(split.query).items()}
        try:
            said = json.loads(body) if body else {}
        except ValueError:
            raise Refused(400, "Malformed JSON.") from None
        if split.path == "/v2/firewalls":
            return self._groups(method, query, said)
        found = re.fullmatch(r"/v2/firewalls/([^/]+)(/rules(?:/(\d+))?)?", split.path)
        if not found:
            raise Refused(404, "Not found.")
        group = self.groups.get(found[1])
        if group is None:
            raise Refused(404, "Invalid firewall group.")
        if not found[2]:
            return self._group(method, group, said)
        return self._one(method, group, int(found[3])) if found[3] else self._rules(method, group, query, said)

    def _groups(self, method: str, query: dict[str, str], said: dict[str, Any]) -> tuple[int, Any]:
        if method == "GET":
            return 200, self._paged([each.shown for each in self.groups.values()], "firewall_groups", query)
        if method == "POST":
            return 201, {"firewall_group": self.group(str(said.get("description", ""))).shown}
        raise Refused(404, "Not found.")

    def _group(self, method: str, group: Group, said: dict[str, Any]) -> tuple[int, Any]:
        if method == "GET":
            return 200, {"firewall_group": group.shown}
        if method == "PUT":
            group.description = str(_need(said, "description", str))
        elif method == "DELETE":
            del self.groups[group.id]
        else:
            raise Refused(404, "Not found.")
        return 204, None

    def _one(self, method: str, group: Group, number: int) -> tuple[int, Any]:
        """There is no way to change one."""
        if number not in group.rules:
            raise Refused(404, "Invalid firewall rule.")
        if method == "GET":
            return 200, {"firewall_rule": group.rules[number]}
        if method == "DELETE":
            del group.rules[number]
            return 204, None
        raise Refused(404, "Not found.")

    def _rules(self, method: str, group: Group, query: dict[str, str], said: dict[str, Any]) -> tuple[int, Any]:
        if method == "GET":
            return 200, self._paged(list(group.rules.values()), "firewall_rules", query)
        if method != "POST":
            raise Refused(404, "Not found.")
        rule = _checked(said)
        if len(group.rules) >= group.most:
            raise Refused(400, "Maximum number of rules reached.")
        same = ("ip_type", "protocol", "subnet", "subnet_size", "port", "source")
        if any(all(each[name] == rule[name] for name in same) for each in group.rules.values()):
            raise Refused(400, "This rule is already defined.")
        group.last += 1
        group.rules[group.last] = {"id": group.last, **rule}
        return 201, {"firewall_rule": group.rules[group.last]}

    def _paged(self, items: list[Any], name: str, query: dict[str, str]) -> dict[str, Any]:
        size = min(int(query.get("per_page", self.page)), self.page)
        cursor = query.get("cursor", "")
        first = int(base64.urlsafe_b64decode(cursor)) if cursor else 0

        def mark(at: int) -> str:
            return base64.urlsafe_b64encode(str(at).encode()).decode()

        links = {
            "next": mark(first + size) if first + size < len(items) else "",
            "prev": mark(max(0, first - size)) if first else "",
        }
        return {name: items[first : first + size], "meta": {"total": len(items), "links": links}}


def _need(said: dict[str, Any], name: str, kind: type) -> Any:
    if not isinstance(said.get(name), kind) or isinstance(said.get(name), bool):
        raise Refused(400, f"Invalid {name}.")
    return said[name]


def _checked(said: dict[str, Any]) -> dict[str, Any]:
    version, protocol = _need(said, "ip_type", str), _need(said, "protocol", str).lower()
    subnet, size = _need(said, "subnet", str), _need(said, "subnet_size", int)
    port = str(said.get("port", "")) if protocol in ("tcp", "udp") else ""
    try:
        fits = ipaddress.ip_network(f"{subnet}/{size}", strict=False).version == int(version.removeprefix("v"))
    except ValueError:
        fits = False
    if version not in ("v4", "v6") or not fits:
        raise Refused(400, "Invalid subnet.")
    if protocol not in PROTOCOLS or (protocol in ("tcp", "udp") and not re.fullmatch(r"\d{1,5}(:\d{1,5})?", port)):
        raise Refused(400, "Invalid protocol or port.")
    if any(int(each) > 65535 for each in port.split(":") if each) or said.get("source", "") not in ("", "cloudflare"):
        raise Refused(400, "Invalid port or source.")
    if len(said.get("notes", "")) > 255:
        raise Refused(400, "Invalid notes.")
    return {
        "type": version, "ip_type": version, "action": "accept", "protocol": protocol, "port": port, "subnet": subnet,
        "subnet_size": size, "source": said.get("source", ""), "notes": said.get("notes", ""),
    }  # fmt: skip


@contextlib.contextmanager
def vendor() -> Iterator[Vendor]:
    """Answers at `url` until the block ends."""
    made = Vendor()

    class Door(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            try:
                status, said = made.answer(self.command, self.path, self.headers, body)
            except Refused as fault:
                status, said = fault.status, {"error": fault.text, "status": fault.status}
            if len(made.calls) in made.cut:
                self.close_connection = True
                return
            text = b"" if said is None else json.dumps(said).encode()
            self.send_response(status)
            if said is not None:
                self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer

        def log_message(self, *said: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Door)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    made.url = f"http://127.0.0.1:{server.server_port}/v2"
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
