"""A new version starts on what the one before left, also in the middle of an operation, and nobody who visits a site notices."""

import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from demo.load import Rates

from codeb.drivers.store import migrate
from codeb.drivers.store.migrate import HEAD
from tests import oracle, released
from tests.e2e.crash import MIGRATES
from tests.e2e.zeroloss import LoadClient
from tests.postgres import Server, postgres
from tests.released import ONCE, ReleasedStage

__all__ = ["postgres"]

pytestmark = [pytest.mark.docker, pytest.mark.proxy]

KINDS = ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)]
RATES = Rates(short=20, keepalive=20, post=5, upload=1, slow=2, stream=2, sse=2, websocket=2)
SETTLED_SECONDS = 30.0
RELOADED, FEW = ("stale", "reset", "closed"), 6
"""The main Caddyfile is another one than in 0001, so a new version reloads the proxy at its first start: what waits at that
moment to be taken up is reset by kernels without tcp_migrate_req, and nothing else is lost."""


@dataclass(frozen=True)
class Midst:
    """Where the old version dies, and how the new one has to bring that to its end."""

    point: str
    tool: str
    ends: str
    live: str
    """the slot that has the traffic in the end"""


CASES = (
    Midst("deploy.health.do.before", "deploy", "failed", "blue"),
    Midst("promote.switch.do.effect", "promote", "succeeded", "green"),
    Midst("promote.record.do.record", "promote", "succeeded", "green"),
)


FULL = os.environ.get("CODEB_TEST_SIZE") == "full"
TAKEN_OVER = CASES if FULL else CASES[:2]
HANDED_OVER = KINDS if FULL else KINDS[:1]
"""kinds of databases, which have no part in it"""


@pytest.fixture(params=KINDS)
def home(request: pytest.FixtureRequest, images: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[ReleasedStage]:
    """The former release on each kind of database, with a state of some age."""
    settings: dict[str, str] = {}
    if request.param == "postgres":
        server: Server = request.getfixturevalue("postgres")
        settings["DATABASE_URL"] = server.url()
        monkeypatch.setattr(oracle, "rows", released.rows)
    with ReleasedStage(pairs=8, **settings) as stage:
        yield stage


def known(stage: ReleasedStage) -> dict[str, Any]:
    """What an upgrade has to leave as it is: rows of the registry, containers, the switch."""
    tables = ("projects", "project_slots", "port_leases", "deployments", "answers", "api_keys", "teams")
    order = {"deployments": "id", "answers": "1", "project_slots": "project, environment, slot"}
    found: dict[str, Any] = {
        name: released.rows(stage, f"select * from {name} order by {order.get(name, '1, 2')}") for name in tables
    }
    found["containers"] = sorted((one["Names"][0], one["Id"], one["State"]) for one in stage.containers())
    found["switch"] = sorted(str(path.relative_to(stage.home)) for path in (stage.home / "caddy" / "slots").rglob("*"))
    return found


def differences(before: dict[str, Any], after: dict[str, Any], but: Callable[[dict[str, Any]], bool]) -> list[str]:
    """Old columns and old rows that are no longer as they were, less the rows that the operation itself was about."""
    found = []
    for name, former in before.items():
        if not former or not isinstance(former[0], dict):
            gone = set(former) - set(after[name])
            found += [f"{name}: {each}" for each in gone if not but({"name": str(each)})]
            continue
        columns = former[0].keys()
        now = [{column: row[column] for column in columns} for row in after[name]]
        found += [f"{name}: {row} is gone or changed" for row in former if not but(row) and row not in now]
    return found


def settled(stage: ReleasedStage) -> float:
    began = time.monotonic()
    while time.monotonic() - began < SETTLED_SECONDS:
        if not released.rows(stage, "select id from operations where state in ('running', 'unwinding')"):
            return time.monotonic() - began
        time.sleep(0.05)
    raise AssertionError(f"still open:\n{stage.log[-3000:]}")


def where(stage: ReleasedStage, letter: str) -> dict[str, str]:
    return {"projectName": f"{stage.project}-{letter}", "environment": "production"}


@pytest.mark.parametrize("midst", TAKEN_OVER, ids=lambda each: each.point)
def test_a_new_version_takes_over_in_the_middle_of_an_operation(home: ReleasedStage, midst: Midst) -> None:
    """P1, P2, P8: everything as it was, the operation ended, old keys and answers valid, not one request lost."""
    first = released.state(home)
    key, before = home.key, known(home)
    loads = {each: LoadClient(home.http_port, f"{home.project}-{each}.localhost", RATES) for each in "ab"}
    try:
        time.sleep(1.5)
        params = where(home, "b") | ({"image": "codebtest-app:v1"} if midst.tool == "deploy" else {})
        released.die(home, midst.point, midst.tool, params)
        home.new()
        began = time.monotonic()
        home.start()
        took = time.monotonic() - began
        ended = took + settled(home)
        after = known(home)
        time.sleep(1)
    finally:
        seen = {each: load.result() for each, load in loads.items()}
    for each, result in seen.items():
        assert result["total"]["ok"] > 100
        lost = [one for one in result["failures"] if MIGRATES or one["reason"] not in RELOADED]
        assert (lost, result["total"]["cut"]) == ([], 0), each
        assert result["total"]["failed"] <= FEW, (each, result["failures"])
    print(f"exchange: up after {took:.2f} s, operation ended after {ended:.2f} s")
    (operation,) = released.rows(home, "select * from operations where resumed > 0")
    assert (operation["state"], operation["resumed"]) == (midst.ends, 1), operation
    touched = f"{home.project}-b"
    assert differences(before, after, lambda row: touched in json.dumps(row, default=str) and "staging" not in str(row)) == []
    assert released.rows(home, "select version_num from alembic_version") == [{"version_num": migrate.HEAD}]
    _goes_on(home, midst, first, key)


def _goes_on(home: ReleasedStage, midst: Midst, first: dict[str, Any], key: str) -> None:
    """What the old version left is the new one's: its key, its answers, its slots."""
    assert home.key == key
    for each in "ab":
        assert oracle.judge(home, where(home, each)["projectName"]) == []
    assert home.public(f"{home.project}-b.localhost")[1]["x-codeb-slot"] == midst.live
    status, again = home.ask("deploy", released.once(home), ONCE)
    assert (status, again["operationId"], again["deploymentId"]) == (200, first["operationId"], first["deploymentId"])
    assert home.call("rollback", **where(home, "a"))["version"] == "v1"
    assert home.call("promote", **where(home, "a"))["version"] == "v2"
    home.call("deploy", **where(home, "b"), image="codebtest-app:v2", autoPromote=True)
    assert oracle.judge(home, where(home, "b")["projectName"]) == []


def test_the_old_version_refuses_what_the_new_one_migrated(home: ReleasedStage) -> None:
    """In words, and without touching anything; the sites are served all the while, and the new one starts again."""
    home.call("project_create", projectName=home.project, healthPath="/health", memoryMb=128)
    place = {"projectName": home.project, "environment": "production"}
    home.call("deploy", **place, image="codebtest-app:v1", autoPromote=True)
    assert home.stop() == 0
    home.new()
    home.start()
    assert home.stop() == 0
    before, size = known(home), len(home.log)
    home.old()
    home.start(wait=False)
    assert home.until_dead(30) == 1
    said = home.log[size:]
    assert f"schema {HEAD}, which this version of CodeB (schema 0001) does not know. Nothing was changed." in said
    assert "Traceback" not in said
    assert home.public(f"{home.project}.localhost")[1]["x-codeb-slot"] == "blue"
    assert known(home) == before
    home.new()
    home.start()
    assert home.call("slot_status", **place)["activeSlot"] == "blue"
    assert oracle.judge(home, home.project) == []


@pytest.mark.parametrize("home", HANDED_OVER, indirect=True)
@pytest.mark.parametrize("midst", CASES[:2], ids=lambda each: each.point)
def test_an_operation_of_a_procedure_that_changed_is_handed_to_a_person(home: ReleasedStage, midst: Midst) -> None:
    """Begun by a version of the saga that is gone: it is not guessed at. It ends, frees its place, and says what to do."""
    released.state(home)
    image = {"image": "codebtest-app:v1"} if midst.tool == "deploy" else {}
    released.die(home, midst.point, midst.tool, where(home, "b") | image)
    (operation,) = [row["id"] for row in released.rows(home, "select id from operations where state = 'running'")]
    _rewrite(home, f"update operations set saga_version = 77 where id = '{operation}'")
    home.new()
    home.start()
    settled(home)
    found = home.call("operation_get", operationId=operation)["operation"]
    assert (found["state"], found["error"]["code"]) == ("failed", "unknown_saga_version"), found
    assert f"version 77 of {midst.tool}" in found["error"]["message"] and "call again" in found["error"]["hint"]
    assert home.public(f"{home.project}-b.localhost")[1]["x-codeb-slot"] == midst.live
    home.call("deploy", **where(home, "b"), image="codebtest-app:v1", autoPromote=True)
    assert oracle.judge(home, where(home, "b")["projectName"]) == []


def _rewrite(home: ReleasedStage, statement: str) -> None:
    if url := home.settings.get("DATABASE_URL"):
        with psycopg.connect(url, autocommit=True) as database:
            database.execute(statement.encode())
        return
    import sqlite3

    with sqlite3.connect(home.home / "codeb.db") as lite:
        lite.execute(statement)
    lite.close()


def test_without_the_history_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shallow clone fails with a sentence, not with a riddle."""
    monkeypatch.setattr(released, "COMMIT", "0" * 40)
    released.source.cache_clear()
    with pytest.raises(RuntimeError, match="git fetch --unshallow"):
        released.source()
    released.source.cache_clear()
