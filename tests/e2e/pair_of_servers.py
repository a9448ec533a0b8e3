"""Two CodeB servers on one machine: homes and API ports of their own, one PostgreSQL, one Caddy, one Docker.

Each reaches the database over a line of its own, which a test can cut. `Pair` is what the oracle judges: its home holds both
homes and the folder of the proxy they share.
"""

import json
import os
import random
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, cast

import psycopg
from demo.server import LocalServer
from psycopg.rows import dict_row
from sqlalchemy.engine import make_url

from tests.e2e.nursery import SERVER, Nursery
from tests.e2e.wire import Way, possible, wires
from tests.line import line
from tests.ports import free_block
from tests.postgres import Server

PAUSABLE = "from tests.e2e import pausing\n" + SERVER
PORTS = 160
"""in each range: more than 64 environments need"""
REGISTRY = (
    "projects", "project_slots", "port_leases", "deployments", "operations", "operation_steps", "operation_locks", "answers",
    "teams", "api_keys", "conflicts", "events",
)  # fmt: skip


class Member(LocalServer):
    """One of the two."""

    def __init__(self, pair: "Pair", home: Path, settings: Mapping[str, str]) -> None:
        home.mkdir()
        super().__init__(home, {"RATE_LIMIT": "off", "AUTH_FAILURES": "off", **settings})
        self.pair = pair
        self._nursery = Nursery(PAUSABLE)
        self._paused = False

    @property
    def key(self) -> str:
        return self.pair.key

    @property
    def home_id(self) -> str:
        path = self.home / "instance"
        return path.read_text().strip() if path.exists() else ""

    def start(self, crash_at: str | None = None, wait: bool = True) -> None:
        (self.home / "pause-at").unlink(missing_ok=True)
        forked = self._nursery.fork(self.environment, self.home / "server.log")
        self.process = cast("Any", forked)
        if wait:
            assert self.until_up(), self.log[-3000:]

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def runs(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def at(self, hook: str, how: str = "stop") -> None:
        """Stop (or kill) itself the next time it comes by this hook."""
        fresh = self.home / "pause-at.new"
        fresh.write_text(f"{how} {hook}")
        fresh.rename(self.home / "pause-at")

    def until_stopped(self, seconds: float = 30.0) -> None:
        until(lambda: self.state == "T", seconds, f"it never came by: {self.log[-2000:]}")

    @property
    def state(self) -> str:
        try:
            return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return ""

    def pause(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)
        self.until_stopped()

    def go_on(self) -> None:
        if self.runs:
            os.kill(self.pid, signal.SIGCONT)

    @property
    def leads(self) -> bool:
        """By its own word: it takes a call that changes something, or refuses it because another one leads."""
        try:
            status, body = self.ask("project_delete", {"projectName": "no-such-project", "confirm": "no-such-project"})
        except OSError:
            return False
        return body.get("code") != "not_leader" and status == 404

    def close(self) -> None:
        self.go_on()
        self.kill()
        self._nursery.close()


def until(
    true: Callable[[], Any], seconds: float, why: str | Callable[[], str] = "it did not come to that in time", every: float = 0.05
) -> float:
    """Wait for it; the seconds it took. `why` may be asked at the end: what the logs say then, not what they said before."""
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < seconds, why() if callable(why) else why
        time.sleep(every)
    return time.monotonic() - began


class Pair:
    """`one` and `two`, and everything they share. Has what the oracle asks of a stage."""

    def __init__(self, address: str, lines: tuple[Way, Way]) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="codebtest-"))
        self.address = self.database = address
        self.lines = lines
        self.project = f"codebtest-{random.randrange(16**6):06x}"
        block = free_block(4 + 3 * PORTS)
        shared = {
            "HTTP_PORT": str(block + 2), "HTTPS_PORT": str(block + 3), "CADDY_BIND": "127.0.0.1",
            "CADDY_DIR": str(self.home / "caddy"), "HEALTH_TIMEOUT": "8",
            **{
                f"PORTS_{name}": f"{block + 4 + PORTS * index}-{block + 3 + PORTS * (index + 1)}"
                for index, name in enumerate(("PRODUCTION", "STAGING", "PREVIEW"))
            },
        }  # fmt: skip
        self.one, self.two = (
            Member(self, self.home / name, {
                **shared, "PORT": str(block + index),
                "DATABASE_URL": make_url(address).set(host=line.host, port=line.port).render_as_string(hide_password=False),
            })
            for index, (name, line) in enumerate(zip(("one", "two"), lines, strict=True))
        )  # fmt: skip
        self.http_port = block + 2
        self._callers = ThreadPoolExecutor(80)

    @property
    def members(self) -> tuple[Member, Member]:
        return self.one, self.two

    def other(self, member: Member) -> Member:
        return self.two if member is self.one else self.one

    def line_of(self, member: Member) -> Way:
        return self.lines[self.members.index(member)]

    @property
    def key(self) -> str:
        found = [path for path in (member.home / "owner.key" for member in self.members) if path.exists()]
        assert found, "nobody has written an owner key"
        return found[0].read_text().strip()

    @property
    def leader(self) -> Member | None:
        """As the file beside the proxy says."""
        try:
            owner = json.loads((self.home / "caddy" / "leader").read_text())["owner"].partition(":")[0]
        except (OSError, ValueError):
            return None
        return next((member for member in self.members if member.home_id == owner), None)

    def roles(self, seconds: float = 20.0) -> tuple[Member, Member]:
        """Who leads and who does not, once exactly one does."""
        found: list[Member] = []

        def one_leads() -> bool:
            found[:] = [member for member in self.members if member.leads]
            return len(found) == 1

        until(one_leads, seconds, "not exactly one leads")
        return found[0], self.other(found[0])

    # as a stage

    def query(self, statement: str) -> list[dict[str, Any]]:
        with psycopg.connect(self.address, row_factory=dict_row) as connection:
            return connection.execute(statement.encode()).fetchall()

    @property
    def instance(self) -> str:
        found = self.query("SELECT instance FROM meta")
        return str(found[0]["instance"]) if found else ""

    def containers(self) -> list[dict[str, Any]]:
        status, body = self.one.engine.call("GET", f"/containers/json?all=1&{self.filters}")
        assert status == 200, body
        return list(json.loads(body))

    @property
    def filters(self) -> str:
        return "filters=" + json.dumps({"label": [f"codeb.instance={self.instance}"]}).replace('"', "%22").replace(" ", "")

    def public(self, host: str, path: str = "/version") -> tuple[int, dict[str, str], bytes]:
        return self.one.public(host, path)

    def world(self) -> dict[str, Any]:
        """Everything that a process that does not lead may not change: containers, networks, the proxy's files, the registry."""
        caddy = self.home / "caddy"
        files = [*(caddy / "slots").rglob("*"), *(caddy / "sites").glob("*.caddy"), caddy / "Caddyfile"]
        found: dict[str, Any] = {
            str(path.relative_to(caddy)): path.read_bytes() if path.is_file() else None for path in files
        }  # fmt: skip
        for each in self.containers():
            found[each["Names"][0]] = (each["Id"], each["State"])
        networks = json.loads(self.one.engine.call("GET", f"/networks?{self.filters}")[1])
        found["networks"] = sorted(each["Id"] for each in networks)
        for table in REGISTRY:
            found[table] = sorted(map(str, self.query(f"SELECT * FROM {table}")))
        return found

    # calls

    def later(self, member: Member, tool: str, **params: Any) -> "Future[tuple[int, dict[str, Any]]]":
        """A call whose answer is waited for elsewhere."""
        return self._callers.submit(member.ask, tool, params)

    def everywhere(self, act: Callable[[int], Any], times: int) -> "list[Future[Any]]":
        return [self._callers.submit(act, number) for number in range(times)]

    def close(self) -> None:
        for member in self.members:
            with suppress(Exception):
                member.close()
        self._callers.shutdown(wait=False, cancel_futures=True)
        with suppress(Exception):
            for one in self.containers():
                self.one.engine.call("DELETE", f"/containers/{one['Id']}?force=1&v=1")
            for network in json.loads(self.one.engine.call("GET", f"/networks?{self.filters}")[1]):
                self.one.engine.call("DELETE", f"/networks/{network['Id']}")
        pid = self.home / "caddy" / "caddy.pid"
        if pid.exists():
            with suppress(ProcessLookupError):
                os.kill(int(pid.read_text()), signal.SIGKILL)
        shutil.rmtree(self.home, ignore_errors=True)


@contextmanager
def pair_of(postgres: Server) -> Iterator[Pair]:
    """Two servers that are not started yet, each behind a line of its own to a fresh database.

    Where this machine lets us, the lines are wires of a network namespace, and a partition is one that is down.
    """
    with ExitStack() as stack:
        if possible():
            lines: tuple[Way, Way] = stack.enter_context(wires(postgres.folder / f".s.PGSQL.{postgres.port}"))
        else:
            lines = stack.enter_context(line(postgres.port)), stack.enter_context(line(postgres.port))
        made = Pair(postgres.url(), lines)
        stack.callback(made.close)
        yield made
