"""Callers who write down every call and its answer, for a run in which the database comes and goes."""

import contextlib
import json
import random
import socket
import threading
import time
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from tests.e2e.audited import ROWS, unaudited
from tests.e2e.seaside import Seaside, said
from tests.e2e.zeroloss import IMAGE
from tests.stage import Stage

NUMBERS = count(1)
MADE_BY = {"deploy", "promote", "rollback"}
ONLY_WITH_IT = {"project_create", "project_delete", "port_allocate"}
"""what may be refused while the database is away"""
WITHIN = {"deploy": 30.0, "promote": 20.0, "rollback": 20.0}
"""seconds after which a call took too long; for others 10. A switch may last, for the proxy's own reasons, some seconds."""

AUDITED_SECONDS = 15.0
"""so long after the last call all are in the audit log: counted ones wait up to ten seconds for others like them"""


@dataclass(frozen=True)
class Said:
    """One call, as its caller knows it."""

    tool: str
    status: int
    """0: the answer was lost, on purpose"""
    body: dict[str, Any]
    seconds: float
    correlation_id: str
    began: float
    project: str

    @property
    def outcome(self) -> str:
        if self.status == 0:
            return "answer thrown away"
        return str(self.status) if self.status == 200 else f"{self.status} {self.body.get('code')}"


@dataclass
class Ledger:
    calls: list[Said] = field(default_factory=list)

    def unexcused(self) -> list[str]:
        """Answers that should not have been given, and calls that took too long."""
        found = []
        for call in self.calls:
            wanted = {"401 unauthenticated"} if call.tool == "wrong key" else {"200", "answer thrown away"}
            if call.tool in ONLY_WITH_IT:
                wanted |= {"503 degraded"}
            if call.outcome not in wanted:
                found.append(f"{call.tool} answered {call.outcome}: {said(call.body)}")
            if call.seconds > WITHIN.get(call.tool, 10.0):
                found.append(f"{call.tool} took {call.seconds:.1f} s")
        return found

    def missing(self, shore: Seaside) -> list[str]:
        """What the database lacks of what was answered with success, and what it has that nobody asked for."""
        ours = [call for call in self.calls if call.status]
        states = {row["id"]: row["state"] for row in shore.rows("select id, state from operations")}
        deployments = {row["id"] for row in shore.rows("select id from deployments")}
        asked = {call.body["operationId"] for call in ours if call.status == 200 and call.body.get("operationId")}
        found = [f"operation {each} is {states.get(each)}" for each in sorted(asked) if states.get(each) != "succeeded"]
        found += [
            f"deployment {call.body['deploymentId']} is missing"
            for call in ours
            if call.status == 200 and call.tool == "deploy" and call.body["deploymentId"] not in deployments
        ]
        asked |= {call.body.get("details", {}).get("operationId") for call in ours}
        begun = shore.rows("select id, tool, project, state from operations where tool in ('deploy', 'promote', 'rollback')")
        old = {each["id"] for each in begun if each["id"] < min(asked - {None}, default="")}
        found += [f"nobody knows of {each}" for each in begun if each["id"] not in asked | old]
        return found + self._projects(shore) + self._audit(shore)

    def _projects(self, shore: Seaside) -> list[str]:
        there = {
            row["name"] for row in shore.rows("select name, state from projects") if row["state"] not in ("deleted", "purging")
        }
        leased = {row["project"] for row in shore.rows("select project from port_leases")}
        state: dict[str, str] = {}
        for call in self.calls:
            if call.status == 200 and call.tool in ONLY_WITH_IT:
                state[call.project] = call.tool
        found = [
            f"{name} was created and is missing" for name, last in state.items() if last != "project_delete" and name not in there
        ]
        found += [
            f"{name} was deleted and is there" for name, last in state.items() if last == "project_delete" and name in there
        ]
        return found + [
            f"{name} has lost its ports" for name, last in state.items() if last == "port_allocate" and name not in leased
        ]

    def _audit(self, shore: Seaside) -> list[str]:
        """P14: every answered call has its row, or is counted in one. A row that counts is written some seconds later."""
        end = time.monotonic() + AUDITED_SECONDS
        while (said := unaudited(self.calls, shore.rows(ROWS))) and time.monotonic() < end:
            time.sleep(0.5)
        return said


class Caller(threading.Thread):
    """Goes its round until told to stop; a round that was begun is ended."""

    def __init__(self, stage: Stage, ledger: Ledger, over: threading.Event, chance: random.Random, project: str) -> None:
        super().__init__(daemon=True, name=f"{type(self).__name__} of {project}")
        self._stage, self._ledger, self._over, self._chance, self._project = stage, ledger, over, chance, project

    def run(self) -> None:
        while not self._over.is_set():
            self.round()

    def round(self) -> None:
        raise NotImplementedError

    def _pause(self, most: float) -> None:
        self._over.wait(self._chance.uniform(0, most))

    def _ask(self, tool: str, params: dict[str, Any], name: str = "", **headers: str) -> Said:
        correlation_id, began = f"call-{next(NUMBERS)}", time.monotonic()
        try:
            status, body = self._stage.ask(tool, params, {"X-Correlation-ID": correlation_id, **headers})
        except OSError as fault:
            status, body = 599, {"code": f"no answer: {fault}"}
        call = Said(name or tool, status, body, time.monotonic() - began, correlation_id, began, params.get("projectName", ""))
        self._ledger.calls.append(call)
        return call

    def _throw_away(self, tool: str, params: dict[str, Any], key: str) -> None:
        """Ask, and go away without hearing the answer."""
        correlation_id, began = f"call-{next(NUMBERS)}", time.monotonic()
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._stage.api_port), 5) as line:
            line.sendall(request(self._stage, tool, params, {"X-Correlation-ID": correlation_id, "Idempotency-Key": key}))
            time.sleep(self._chance.uniform(0, 0.3))
        self._ledger.calls.append(
            Said(tool, 0, {}, time.monotonic() - began, correlation_id, began, params.get("projectName", ""))
        )


def request(stage: Stage, tool: str, params: dict[str, Any], headers: dict[str, str]) -> bytes:
    """The bytes of a call."""
    body = json.dumps({"tool": tool, "params": params}).encode()
    lines = {"Host": "127.0.0.1", "Content-Type": "application/json", "Content-Length": str(len(body)), "X-API-Key": stage.key}
    head = "".join(f"{name}: {value}\r\n" for name, value in (lines | headers).items())
    return f"POST /api/tool HTTP/1.1\r\n{head}\r\n".encode() + body


class Operator(Caller):
    """Deploys the other version, switches to it and back, each exactly once; sometimes the answer is lost and asked for again."""

    _version = 0

    def _do(self, tool: str, **more: Any) -> Said:
        params, key = {"projectName": self._project, "environment": "production", **more}, f"key-{next(NUMBERS)}"
        if self._chance.random() < 0.2:
            self._throw_away(tool, params, key)
        first = self._ask(tool, params, **{"Idempotency-Key": key})
        if first.status == 200 and self._chance.random() < 0.2:
            again = self._ask(tool, params, **{"Idempotency-Key": key})
            if again.body.get("operationId") != first.body.get("operationId"):
                self._ledger.calls.append(
                    Said(tool, 598, {"code": "not the first answer"}, 0, again.correlation_id, again.began, "")
                )
        return first

    def round(self) -> None:
        self._version += 1
        self._do("deploy", image=f"{IMAGE}:v{1 + self._version % 2}")
        self._pause(0.5)
        if self._do("promote").status == 200:
            self._pause(0.5)
            self._do("rollback")
        self._pause(1.0)


class Reader(Caller):
    """Looks, with the right key and with a wrong one."""

    def round(self) -> None:
        where = {"projectName": self._project, "environment": "production"}
        self._ask("slot_status", where)
        self._ask("logs", {**where, "tail": 20})
        self._ask("project_list", {})
        self._ask("operation_list", {"limit": 5})
        self._ask("health_check", {})
        self._ask("slot_status", where, "wrong key", **{"X-API-Key": "codeb_main_owner_" + "x" * 32})
        self._pause(1.0)


class Maker(Caller):
    """Creates projects, gives them ports, and deletes them when the database is there to be asked."""

    def run(self) -> None:
        self._there: list[str] = []
        super().run()

    def round(self) -> None:
        name = f"{self._project}{next(NUMBERS)}"
        if self._ask("project_create", {"projectName": name}).status == 200:
            self._there.append(name)
            self._ask("port_allocate", {"projectName": name, "environment": "preview"})
        self._pause(0.7)
        for each in self._there[2:]:
            if self._ask("project_delete", {"projectName": each, "confirm": each}).status == 200:
                self._there.remove(each)
                # its ports are wanted again
                self._ask("project_delete", {"projectName": each, "confirm": each, "purge": True})
        self._pause(1.5)
