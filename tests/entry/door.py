"""The HTTP entry over a CodeB in memory, and a client that speaks to it without a socket."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from codeb.entry.http import Http, Rules
from codeb.gate.authenticate import digest
from codeb.model.access import Key, Role, key_text
from codeb.model.secret import Secret
from codeb.wiring import House
from tests.kit import OWNER, TEAM, Process, Rig, begin

SHOP = {"projectName": "shop"}


@dataclass
class Door:
    client: httpx2.AsyncClient
    process: Process
    rig: Rig
    app: Any

    async def post(self, path: str, body: Any = None, key: Secret | None = OWNER, **headers: str) -> httpx2.Response:
        said = {"X-API-Key": key.reveal()} if key else {}
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.client.post(path, json={} if body is None else body, headers={**said, **named})

    async def get(self, path: str, key: Secret | None = OWNER, **headers: str) -> httpx2.Response:
        return await self.client.get(path, headers={**({"X-API-Key": key.reveal()} if key else {}), **headers})

    async def key(self, role: Role, **reach: Any) -> Secret:
        text = key_text(TEAM, role, role.value * 8)
        async with self.process.kit.store.write() as registry:
            await registry.keys.add(Key(f"key_{role}", digest(text), TEAM, role, **reach))
        return text


@pytest.fixture
def http() -> Http:
    return Http(Rules(frozenset({"codeb"})))


@pytest.fixture
async def door(http: Http) -> AsyncIterator[Door]:
    async with begin("grace") as rig:
        process = rig.boot()
        http.bind(House(process.kit, process.engine, process.gate, process.audit, Path("owner.key")))
        app = http.app()
        transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx2.AsyncClient(transport=transport, base_url="http://codeb") as client:
            yield Door(client, process, rig, app)
        await process.settle()


def facts(answer: httpx2.Response) -> dict[str, Any]:
    return {name: value for name, value in answer.json().items() if name not in ("duration", "timestamp", "correlationId")}
