"""A server that runs something, a connection to it for hostile calls, and whether anything has moved since."""

import hashlib
import http.client
import json
import sqlite3
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from demo.images import Builder

from codeb.tools.catalog import BY_NAME
from tests.entry import hostile
from tests.entry.hostile import CANARY, Field
from tests.rights import OLD_FILE
from tests.stage import Stage

SECONDS = 1.0
"""how long a hostile call may take"""
JSON_TYPE = {"Content-Type": "application/json"}
ENVELOPE = {"success", "summary", "next", "warnings", "duration", "timestamp", "correlationId"}
FAILURE = ENVELOPE | {"error", "code", "hint", "details", "retryable"}


class Attack:
    """One connection to a server that runs something, and what the world was like before."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.line = http.client.HTTPConnection("127.0.0.1", stage.api_port, timeout=30)
        self.at_the_gate = 0
        self.tried = 0
        self.operation = self._something_runs()
        time.sleep(0.6)  # the audit's last batch
        self.began = time.time()
        self.before = self.world()
        self.audited = self.rows("audit_logs")

    def _something_runs(self) -> str:
        """Version 2 live, version 1 in grace, so that no field is refused for want of something to ask about."""
        builder, name = Builder(), self.stage.project
        self.stage.call("project_create", projectName=name, healthPath="/health")
        self.stage.call("env_set", projectName=name, values={"LOG_LEVEL": "info"})
        said: dict[str, Any] = {}
        for version in ("v1", "v2"):
            builder.app(f"codebtest-app:{version}", version)
            said = self.stage.call("deploy", projectName=name, image=f"codebtest-app:{version}", autoPromote=True)
        return str(said["operationId"])

    # what there is

    def rows(self, table: str) -> int:
        with sqlite3.connect(f"file:{self.stage.home}/codeb.db?mode=ro", uri=True) as database:
            found = database.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
        database.close()
        return int(found)

    def _store(self) -> dict[str, str]:
        """A digest of every table but the audit's."""
        with sqlite3.connect(f"file:{self.stage.home}/codeb.db?mode=ro", uri=True) as database:
            names = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            said = {
                name: hashlib.sha256(repr(database.execute(f'SELECT * FROM "{name}"').fetchall()).encode()).hexdigest()
                for name in names
                if name not in ("audit_logs", "sqlite_sequence", "operation_locks")
            }
        database.close()
        return said

    def _files(self) -> dict[str, str]:
        """Every file of the home; of those the proxy and people read also what is in them."""
        found = {}
        for path in sorted(self.stage.home.rglob("*")):
            name = str(path.relative_to(self.stage.home))
            if name.startswith(("codeb.db-", ".audit.head", "caddy/data/")):
                continue
            fixed = name.startswith(("caddy/sites/", "caddy/slots/", "caddy/Caddyfile", "owner.key", "instance"))
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest() if fixed and path.is_file() else ""
        return found

    def docker(self, path: str) -> Any:
        status, body = self.stage.engine.call("GET", path)
        assert status == 200, body
        return json.loads(body)

    def world(self) -> dict[str, Any]:
        return {
            "containers": [(each["Id"], each["Names"], each["State"]) for each in self.stage.containers()],
            "networks": [each["Id"] for each in self.docker(f"/networks?{self.stage._ours()}")],
            "files": self._files(), "store": self._store(), "key": self.stage.key,
        }  # fmt: skip

    def nothing_moved(self) -> None:
        assert self.world() == self.before
        ours = quote(json.dumps({"label": [f"codeb.instance={self.stage.instance}"]}))
        status, events = self.stage.engine.call("GET", f"/events?since={self.began:.6f}&until={time.time():.6f}&filters={ours}")
        assert (status, events) == (200, b""), "Docker was asked to do something"
        for path in ("/containers/json?all=1", "/networks", "/volumes", "/images/json?all=1"):
            assert CANARY not in json.dumps(self.docker(path)), path
        assert not list(Path("/tmp").glob(f"*{CANARY}*"))
        assert self.stage.public(f"{self.stage.project}.localhost")[0] == 200
        log = self.stage.log
        assert "Traceback" not in log, log[-3000:]
        assert " ERROR " not in log, log[-3000:]

    def all_was_audited(self) -> None:
        """Every call under /api has its row, refused before the gate or by it; what a raw connection broke off may add some."""
        end = time.monotonic() + 5
        while self.rows("audit_logs") < self.audited + self.at_the_gate and time.monotonic() < end:
            time.sleep(0.05)
        assert self.rows("audit_logs") >= self.audited + self.at_the_gate

    # asking

    def send(
        self, method: str, path: str, body: Any, headers: Mapping[str, str], **how: Any
    ) -> tuple[int, dict[str, str], bytes]:
        try:
            self.line.request(method, path, body, dict(headers), **how)
            answer = self.line.getresponse()
            text = answer.read()
        except OSError:
            self.line.close()
            raise
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, text

    def post(self, path: str, body: bytes, headers: Mapping[str, str] = JSON_TYPE, **how: Any) -> tuple[int, dict[str, Any]]:
        """Status and envelope of a call with the owner's key. Slow twice is too slow; one pause may be the machine's."""
        spent: list[float] = []
        while True:
            began = time.monotonic()
            status, said, text = self.send("POST", path, body, {"X-API-Key": self.before["key"], **headers}, **how)
            spent.append(time.monotonic() - began)
            self.tried += 1
            envelope = json.loads(text)
            self.at_the_gate += path.startswith("/api")
            if spent[-1] < SECONDS or len(spent) == 2:
                break
        about = f"{path} {body[:300]!r}: {status} {text[:600]!r}"
        assert min(spent) < SECONDS, f"{spent} s: {about}"
        assert status == 200 or 400 <= status < 500, about
        assert set(envelope) >= (ENVELOPE if status == 200 else FAILURE), about
        assert envelope["success"] is (status == 200), about
        assert envelope["correlationId"] == said["x-correlation-id"], about
        assert (said["content-type"], said["cache-control"]) == ("application/json", "no-store"), about
        if status != 200:
            assert envelope["code"], about
            assert envelope["error"].endswith((".", "?", ")")), about
            assert self.before["key"] not in text.decode()
        return status, envelope

    def base(self, tool: str) -> dict[str, Any]:
        """A call of this tool that would be taken."""
        known = {
            "projectName": self.stage.project, "operationId": self.operation, "conflictId": "cf_" + "0" * 28,
            "port": 4100, "blue": 20000, "green": 20001, "pullRequest": 7,
            "version": "v1", "image": "codebtest-app:v1", "environment": "production", "confirm": self.stage.project,
            "team": "main", "name": "nobody", "role": "viewer", "keyId": "key_" + "0" * 28,
            "approvalId": "ap_" + "0" * 26, "server": "local", "cidr": "192.0.2.0/24",
            "taskId": "task_" + "0" * 28, "title": "Pay", "branch": "main", "paths": ["src"],
            "repository": self.stage.project, "tag": "v1", "domain": "www.example.com", "container": "codebtest-nobodys",
        }  # fmt: skip
        if tool.startswith("env_"):
            known |= {"version": "1", "values": {"LOG_LEVEL": "info"}}
        if tool == "workflow_scan":
            known |= {"files": {"Dockerfile": "FROM scratch\n"}}
        if tool == "port_import":
            known |= {"content": OLD_FILE}
        if tool == "project_update":
            known["repository"] = "acme/shop"
        if tool.startswith("pr_"):
            known |= {"pullRequest": 1, "sha": "0" * 40, "verdict": "approve", "title": "Pay", "branch": "feature"}
        if tool == "server_add":
            known |= {"server": "storage-1", "roles": ["storage"], "addresses": ["192.0.2.7"]}
        if tool == "task_complete":
            # it takes that or a message
            del known["taskId"]
        names = BY_NAME[tool].params.model_json_schema(by_alias=True)["properties"]
        return {name: value for name, value in known.items() if name in names}

    def put(self, field: Field, value: Any, dry: bool) -> tuple[int, dict[str, Any]]:
        """`value` in one field of a call that is otherwise in order."""
        params = self.base(field.tool) | ({"dryRun": True} if dry and field.changes else {}) | {field.name: value}
        family, _, verb = field.tool.partition("_")
        return self.post(f"/api/{family}/{verb}" if verb else f"/api/{family}", hostile.encoded(params))
