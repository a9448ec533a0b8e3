"""GET /metrics: counters, gauges, and who may see which of them."""

from datetime import timedelta
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from codeb.contracts.store import Standing
from codeb.gate.authenticate import digest
from codeb.model.access import Key, Role, key_text
from codeb.model.drift import Mismatch, Remedy
from codeb.model.names import Place
from codeb.model.secret import Secret
from tests.entry.door import SHOP, Door
from tests.kit import OWNER

pytestmark = pytest.mark.anyio


async def samples(door: Door, key: Secret | None = OWNER) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    answer = await door.get("/metrics", key)
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = text_string_to_metric_families(answer.text)
    return {(each.name, tuple(sorted(each.labels.items()))): each.value for family in families for each in family.samples}


def slot(name: str, project: str = "shop") -> tuple[str, tuple[tuple[str, str], ...]]:
    return "codeb_slot_status", (("environment", "production"), ("project", project), ("slot", name))


def bare(name: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    return name, ()


async def test_slots_and_standing(door: Door) -> None:
    found = await samples(door)
    assert (found[slot("green")], found[slot("blue")]) == (2, 3)
    assert [found[bare(f"codeb_{name}")] for name in ("degraded", "degraded_seconds", "replay_pending", "leader")] == [0, 0, 0, 1]


async def test_an_absence_of_the_database_is_told(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """P9: the state and the length of the gap."""
    away = Standing(away_since=door.process.kit.world.now() - timedelta(seconds=40), pending=3, conflicts=2, last_gap_seconds=1.5)
    monkeypatch.setattr(type(door.process.kit.store), "standing", away)
    found = await samples(door)
    assert found[bare("codeb_degraded")] == 1 and 40 <= found[bare("codeb_degraded_seconds")] < 60
    names = ("degraded_last_seconds", "replay_pending", "replay_conflicts")
    assert [found[bare(f"codeb_{name}")] for name in names] == [1.5, 3, 2]


async def test_calls_and_requests_are_counted(door: Door) -> None:
    await door.post("/api/slot/status", SHOP)
    await door.post("/api/slot/status", SHOP, key=None)
    await door.post("/api/no/such-tool", {})
    await door.client.request("BREW", "/health")
    found = await samples(door)

    def calls(tool: str, status: int, role: str) -> float:
        return found["codeb_tool_calls_total", (("role", role), ("status", str(status)), ("tool", tool))]

    assert (calls("slot_status", 200, "owner"), calls("unknown", 401, "none"), calls("unknown", 404, "owner")) == (1, 1, 1)
    assert found["codeb_http_requests_total", (("method", "POST"), ("status", "200"))] == 1
    assert found["codeb_http_requests_total", (("method", "other"), ("status", "405"))] == 1


async def test_it_needs_a_key_and_shows_what_that_key_sees(door: Door) -> None:
    """S5: a foreign project is not named, by its slots or by its drift."""
    assert (await door.get("/metrics", None)).status_code == 401
    assert (await door.get("/metrics", Secret("codeb_main_viewer_" + "x" * 32))).status_code == 401
    drift = Mismatch("site_missing", "shop", "gone", "put back", Remedy.REPORTED, Place("shop", "production"))
    door.process.kit.drift.left = (drift,)
    stranger = key_text("others", Role.VIEWER, "viewerkey")

    async def act(registry: Any) -> None:
        await registry.teams.ensure("others")
        await registry.keys.add(Key("key_other", digest(stranger), "others", Role.VIEWER))

    await door.process.kit.store.transact(act)
    viewer = await samples(door, await door.key(Role.VIEWER))
    assert slot("green") in viewer and viewer["codeb_drift", (("kind", "site_missing"),)] == 1
    foreign = await samples(door, stranger)
    assert not [each for each in foreign if each[0] in ("codeb_slot_status", "codeb_drift")]
    assert bare("codeb_degraded") in foreign
