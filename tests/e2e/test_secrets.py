"""The secret sweep (S11, P14): one canary per secret, searched in everything a server leaves, shows or says: no hit."""

import base64
import http.client
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from demo.images import Builder

from codeb.tools.catalog import BY_NAME
from tests.e2e.failing import CASES
from tests.e2e.sweep import Canary, caddy_config, hits, left, running
from tests.postgres import Server, postgres
from tests.stage import Stage

pytestmark = [pytest.mark.docker, pytest.mark.proxy]

__all__ = ["postgres"]

Answers = dict[str, dict[str, Any]]
SCENES: dict[str, Callable[[Answers], dict[str, Any]]] = {
    "team_create": lambda _: {"team": "canaries"},
    "member_invite": lambda _: {"name": "canary", "role": "member"},
    "token_create": lambda _: {"label": "canary", "role": "member"},
    "token_rotate": lambda said: {"keyId": said["token_create"]["token"]["keyId"]},
}
"""how a tool whose answer holds a secret is called, by what those before it answered; used once the catalogue has it"""
SHOWN = re.compile(r"codeb_[a-z0-9-]+_(?:viewer|member|admin|owner)_[A-Za-z0-9_-]{20,}")
EXITS = next(case for case in CASES if case.name == "exits")
VALUE, OTHER_VALUE, SCANNED = ("canary-env-v4lue-4711", "canary-env-synced-4712", "canary-env-scanned-4713")
ENV_FILES = ("env/*/.env.*", "env-backup/*/*/*.env")
"""they hold plain values, for their owner alone"""
UNKNOWN = "codeb_main_owner_Ca9aryThatNobodyWasEverGiven-4711"
WRONG = "canary-wrong-key-4711-of-no-form"
PASSWORD = "canary-p%40ss%2Fword-4711"


def test_every_tool_that_shows_a_secret_has_a_scene() -> None:
    assert {name for name, tool in BY_NAME.items() if tool.holds_secret} <= set(SCENES)


class Visit:
    """One run of a server in which every secret is used, and put where it does not belong."""

    def __init__(self, stage: Stage, images: dict[str, str]) -> None:
        self.stage, self.images = stage, images
        self.where = {"projectName": stage.project}
        self.said: list[tuple[str, bytes]] = []
        """every answer that is not meant to show a secret"""

    def life(self) -> None:
        """Deploy, promote, a deploy that fails, and back."""
        self.stage.call("project_create", **self.where, healthPath="/health")
        self.stage.call("deploy", **self.where, image=self.images["v1"])
        self.stage.call("promote", **self.where)
        self._refused("deploy", image=EXITS.tag)
        self.stage.call("deploy", **self.where, image=self.images["v2"], autoPromote=True)
        self.stage.call("rollback", **self.where, reason="a canary sang")
        assert {"deploy", "promote", "rollback"} <= {row["tool"] for row in self.stage.call("operation_list")["operations"]}

    def variables(self) -> None:
        """Variables written, deployed, compared, restored and refused; what shows them is not among `said`."""
        where = {**self.where, "environment": "production"}
        self.stage.call("env_set", **where, values={"TOKEN": VALUE, "API_KEY": "1"})
        self.stage.call("env_sync", **where, envContent=f"TOKEN='{OTHER_VALUE}'\nAPI_KEY=2", idempotencyKey="canary-env")
        self.stage.call("deploy", **where, image=self.images["v1"], autoPromote=True)
        self.stage.call("env_restore", **where, version="master")
        self.stage.call("deploy", **where, image=self.images["v2"], autoPromote=True)
        for tool in ("env_get", "env_history", "env_diff"):
            self.said.append((tool, json.dumps(self.stage.call(tool, **where)).encode()))
        shown = self.stage.call("env_get", **where, reveal=True)["variables"]
        assert shown["TOKEN"] == VALUE
        self.said.append(("env_scan", json.dumps(self.stage.call("env_scan", **where, content=f"TOKEN={SCANNED}")).encode()))
        bad = f"codeb {VALUE}"
        for params in ({"values": {bad: "x"}}, {"values": {"A": VALUE + "\0"}}, {"values": {"CODEB_A": VALUE}}, {"unset": [bad]}):
            self._refused("env_set", **params)
        for content in (f"{VALUE}", f"A='{VALUE}", f"A={VALUE} #x", f"TOKEN={VALUE}\nTOKEN={VALUE}", f"A=your_x\nB={VALUE}"):
            self._refused("env_sync", envContent=content)
            self.stage.ask("env_scan", {**where, "content": content})

    def _refused(self, tool: str, **params: Any) -> None:
        status, body = self.stage.ask(tool, {**self.where, **params})
        assert status >= 400, (tool, body)
        self.said.append((f"{tool} with {sorted(params)}", json.dumps(body).encode()))

    def shown(self) -> Iterator[Canary]:
        """What tools show once: asked for, told again under the same idempotency key, and used."""
        said: Answers = {}
        for tool, params in SCENES.items():
            if tool not in BY_NAME:
                continue
            for _ in range(2):
                status, body = self.stage.ask(tool, params(said), {"Idempotency-Key": f"canary-{tool}"})
                assert status == 200, (tool, body)
                assert said.setdefault(tool, body)["timestamp"]
            found = set(SHOWN.findall(json.dumps(body)))
            assert found, f"{tool} says that it shows a secret"
            assert found == set(SHOWN.findall(json.dumps(said[tool])))
            for key in found:
                self.stage.ask("project_list", {}, {"X-API-Key": key})
                yield Canary(f"what {tool} showed", key.encode())

    def as_a_key(self, key: str) -> None:
        """Where a key belongs; right or wrong."""
        for header, value in (("X-API-Key", key), ("Authorization", f"Bearer {key}"), ("Authorization", f"Basic {key}")):
            body = json.dumps({"tool": "slot_status", "params": self.where}).encode()
            self._send("POST", "/api/tool", body, {header: value})
        self._send("GET", "/metrics", None, {"X-API-Key": key})

    def elsewhere(self, key: str) -> None:
        """Where it does not belong, said by the owner."""
        changing: dict[str, list[dict[str, Any]]] = {
            "rollback": [{"reason": f"see {key}"}, {"planId": key}, {"idempotencyKey": key}],
            "promote": [{"environment": key}, {"idempotencyKey": f"x{key}"}],
            "deploy": [{"image": f"codebtest-app:{key}"}, {"image": key}, {key: key}],
            "project_delete": [{"confirm": key}],
            "slot_status": [{"projectName": key}, {"apiKey": key}, {key: 1}, {"environment": {key: [key]}}],
            key: [{}],
        }
        for tool, some in changing.items():
            for params in some:
                self._refused(tool, **params)
        self.stage.call("logs", **self.where, grep=key)
        self.stage.call("slot_list", **self.where, after=key)
        own = {"X-API-Key": self.stage.key, "Content-Type": "application/json"}
        body = json.dumps({"projectName": self.stage.project, "dryRun": True}).encode()
        plain = ("X-Correlation-ID", "X-Request-ID", "User-Agent", "Cookie", "X-Client-Version", "Traceparent", "Referer")
        for header in (*plain, "Idempotency-Key"):
            self._send("POST", "/api/promote", body, {**own, header: key})
        for path in (f"/api/{key}", f"/api/{key}/{key}", f"/{key}", f"/api/tool?key={key}"):
            self._send("POST", path, body, own)
        for path in (f"/health?v={key}", f"/api?key={key}", f"/metrics?api_key={key}", f"/openapi.json?{key}"):
            self._send("GET", path, None, own)
        for broken in (f'{{"tool": {key}', f'"{key}"', f'{{"tool": "{key}", "{key}": 1}}', f'{{"{key}": 1, "{key}": 2}}'):
            self._send("POST", "/api/tool", broken.encode(), own)
        self._send("POST", "/api/tool", body, {**own, "Content-Type": key})

    def _send(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.stage.api_port, timeout=60)
        try:
            connection.request(method, path, body, {"Content-Type": "application/json", **headers})
            answer = connection.getresponse()
            assert answer.status < 500
            self.said.append((f"{method} {path[:12]} with {sorted(headers)}", str(answer.headers).encode() + answer.read()))
        finally:
            connection.close()

    def trial(self, probe: bytes) -> None:
        """A trial request of CodeB's own that fails."""
        (grace,) = [each for each in self.stage.containers() if each["Names"][0].endswith("green")]
        host = self.stage.call("slot_status", **self.where)["green"]["previewUrl"].split("/")[2].partition(":")[0]
        self.stage.engine.call("POST", f"/containers/{grace['Id']}/kill")
        connection = http.client.HTTPConnection("127.0.0.1", self.stage.http_port, timeout=10)
        connection.request("GET", "/version", headers={"Host": host, "X-CodeB-Probe": probe.decode()})
        assert connection.getresponse().status >= 500
        connection.close()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def address(request: pytest.FixtureRequest) -> str:
    """Of the database; empty: SQLite in the home."""
    if request.param == "sqlite":
        return ""
    server: Server = request.getfixturevalue("postgres")
    return server.url()


def master_keys(stage: Stage) -> list[Canary]:
    lines = (stage.home / "master.key").read_text().split()
    raw = [base64.urlsafe_b64decode(line + "=") for line in lines]
    return [Canary("a master key", each, ("master.key",)) for each in raw]


def test_a_canary_per_secret_is_nowhere_but_where_it_belongs(address: str, builder: Builder, images: dict[str, str]) -> None:
    EXITS.build(builder)
    settings = {"DATABASE_URL": address.replace("postgres@", f"postgres:{PASSWORD}@")} if address else {}
    with Stage(**settings) as stage:
        visit = Visit(stage, images)
        probe = (stage.home / "caddy" / "probe.key").read_bytes().strip()
        canaries = [
            Canary("the owner key", stage.key.encode(), ("owner.key",)), Canary("a key nobody has", UNKNOWN.encode()),
            Canary("a wrong key", WRONG.encode()), Canary("the database's password", PASSWORD.encode()),
            Canary("the database's password", b"canary-p@ss/word-4711"), *master_keys(stage),
        ]  # fmt: skip
        asked = Canary("the probe key", probe, ("caddy/probe.key", "caddy/sites/*.caddy", "caddy/sites/.*.caddy.*"))
        visit.life()
        visit.variables()
        canaries += [Canary("a variable", each.encode(), ENV_FILES, ("Docker, json of *",)) for each in (VALUE, OTHER_VALUE)]
        canaries.append(Canary("a scanned value", SCANNED.encode()))
        shown = list(visit.shown())
        for key in (stage.key, UNKNOWN, WRONG, *(each.secret.decode() for each in shown)):
            visit.as_a_key(key)
        for key in (stage.key, UNKNOWN, *(each.secret.decode() for each in shown)):
            visit.elsewhere(key)
        stage.call("keys_rotate")
        canaries += [*master_keys(stage), *shown]
        visit.trial(probe)
        found = hits([*canaries, asked], iter([*running(stage), *visit.said]))
        config = caddy_config(stage)
        found += hits(canaries, iter([("Caddy's configuration", config)] * 51))
        assert probe in config, "the proxy compares with it, so it is there and in the sites, for their owner alone"
        assert (stage.home / "caddy" / "admin.sock").stat().st_mode & 0o022 == 0
        # with what is still in the write-ahead log, and with the last audit rows
        last = (stage.home / "local.db-wal").read_bytes() if address else (stage.home / "codeb.db-wal").read_bytes()
        assert stage.stop() == 0
        found += hits([*canaries, asked], iter([("a write-ahead log", last), *left(stage, address)]))
        assert found == []
        for canary in (canaries[0], asked):
            for pattern in canary.at_home:
                for path in stage.home.glob(pattern):
                    assert path.stat().st_mode & 0o077 == 0, path
        assert "Traceback" not in stage.log
