"""Sixty-four callers at once: no port twice, no operation lost, no fault of our own."""

import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from threading import Barrier
from typing import Any

import psycopg
import pytest

from tests import oracle
from tests.e2e.nursery import QuickStage
from tests.postgres import Server, postgres
from tests.stage import Stage

__all__ = ["postgres"]

pytestmark = [pytest.mark.docker, pytest.mark.proxy]

CALLERS = 64
PROJECTS = 8
ENVIRONMENTS = ("staging", "preview", "pr-1", "pr-2")
Answer = tuple[int, dict[str, Any]]


def at_once(calls: list[Callable[[], Answer]]) -> list[Answer]:
    """Every call in a thread of its own, all let go at the same moment; the answers in the order of the calls."""
    gate = Barrier(len(calls))

    def go(call: Callable[[], Answer]) -> Answer:
        gate.wait()
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(go, calls))


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def leases(request: pytest.FixtureRequest) -> Iterator[tuple[Stage, Callable[[], list[int]]]]:
    """A server on each kind of store, and its leases as the database itself has them."""
    if request.param == "sqlite":
        with QuickStage(pairs=32) as stage:

            def read() -> list[int]:
                with closing(sqlite3.connect(f"file:{stage.home}/codeb.db?mode=ro", uri=True)) as database:
                    return [row[0] for row in database.execute("select port from port_leases")]

            yield stage, read
        return
    server: Server = request.getfixturevalue("postgres")
    url = server.url()
    with QuickStage(pairs=32, DATABASE_URL=url) as stage:

        def ask() -> list[int]:
            with psycopg.connect(url) as database:
                return [row[0] for row in database.execute("select port from port_leases")]

        yield stage, ask


def test_no_port_is_given_twice(leases: tuple[Stage, Callable[[], list[int]]]) -> None:
    stage, leased = leases
    names = [f"{stage.project}-{index}" for index in range(PROJECTS)]
    made = at_once([lambda name=name: stage.ask("project_create", {"projectName": name}) for name in names for _ in range(2)])
    assert {status for status, _ in made} == {200}, [body for status, body in made if status != 200][:2]
    places = [(name, environment) for name in names for environment in ENVIRONMENTS]

    def allocate(place: tuple[str, str]) -> Callable[[], Answer]:
        return lambda: stage.ask("port_allocate", {"projectName": place[0], "environment": place[1]})

    began = time.monotonic()
    # Half of the callers want the same pair, the others each a pair that one more asks for.
    same = at_once([allocate(places[0])] * (CALLERS // 2) + [allocate(place) for place in places])
    rest = at_once([allocate(place) for place in places] * (CALLERS // len(places)))
    spent = time.monotonic() - began
    asked = [places[0]] * (CALLERS // 2) + places + places * (CALLERS // len(places))
    answers = list(zip(asked, same + rest, strict=True))
    assert {status for _, (status, _) in answers} == {200}, [body for _, (status, body) in answers if status != 200][:2]
    given: dict[tuple[str, str], set[tuple[int, int]]] = {}
    for place, (_, body) in answers:
        given.setdefault(place, set()).add((body["blue"], body["green"]))
    assert all(len(pairs) == 1 for pairs in given.values()), "every caller hears the same pair of a place"
    ports = [port for pairs in given.values() for pair in pairs for port in pair]
    assert len(ports) == len(set(ports)) == 2 * len(places)
    assert all(blue % 2 == 0 and green == blue + 1 for pairs in given.values() for blue, green in pairs)
    created = Counter(place for place, (_, body) in answers if body["created"])
    assert created == Counter(places), "each pair was made exactly once"
    stored = leased()
    assert len(stored) == len(set(stored)) == 2 * len(places) + 2 * PROJECTS
    assert set(ports) <= set(stored)
    assert spent < 60, f"{len(asked)} calls took {spent:.1f} s"


def test_eight_projects_are_deployed_to_by_sixty_four_callers(images: dict[str, str]) -> None:
    with QuickStage(pairs=PROJECTS) as stage:
        names = [f"{stage.project}-{index}" for index in range(PROJECTS)]
        for name in names:
            stage.call("project_create", projectName=name, healthPath="/health", memoryMb=64)
        began = time.monotonic()
        begun = [hammer(stage, names, images[version], promote) for version, promote in (("v1", True), ("v2", False))]
        spent = time.monotonic() - began
        known = everything(stage)
        lost = [each for ids in begun for each in ids if each not in known]
        assert lost == []
        assert set(known.values()) <= {"succeeded"}, known
        deploys = sum(len(ids) for ids in begun)
        assert deploys == 2 * PROJECTS
        # A deploy with promotion is two operations; nothing else was begun.
        assert len(known) == 3 * PROJECTS
        for name in names:
            assert oracle.judge(stage, name) == []
            slots = stage.call("slot_status", projectName=name)
            assert (slots["blue"]["state"], slots["green"]["state"]) == ("active", "deployed")
        assert spent < 150, f"took {spent:.0f} s"


def hammer(stage: Stage, names: list[str], image: str, promote: bool) -> set[str]:
    """Eight callers for each project, three of them with one idempotency key; the ids of the operations begun."""
    share = CALLERS // PROJECTS

    def deploy(name: str, caller: int) -> Callable[[], Answer]:
        params = {"projectName": name, "environment": "production", "image": image, "autoPromote": promote}
        key = {"Idempotency-Key": f"{image}-{'shared' if caller < 3 else caller}"} if caller < 6 else {}
        return lambda: stage.ask("deploy", params, key and {"Idempotency-Key": f"{name}-{key['Idempotency-Key']}"})

    answers = at_once([deploy(name, caller) for name in names for caller in range(share)])
    begun: set[str] = set()
    for index, name in enumerate(names):
        mine = answers[index * share : (index + 1) * share]
        done = {body["operationId"] for status, body in mine if status == 200}
        refused = [(status, body) for status, body in mine if status != 200]
        assert len(done) == 1, f"{name}: {mine}"
        assert {(status, body["code"]) for status, body in refused} <= {(409, "operation_in_progress")}, refused
        winner = next(iter(done))
        blamed = {body["details"]["operationId"] for _, body in refused}
        assert winner in blamed | {winner}
        keyed = {status for status, _ in mine[:3]}
        assert len(keyed) == 1, "callers with one key and one body have one fate"
        begun |= done
    return begun


def everything(stage: Stage) -> dict[str, str]:
    """Every operation, page by page, with its state."""
    found: dict[str, str] = {}
    more: dict[str, Any] = {}
    while True:
        page = stage.call("operation_list", limit=10, **more)
        found |= {each["operationId"]: each["state"] for each in page["operations"]}
        if not page["more"]:
            return found
        more = {"before": page["operations"][-1]["operationId"]}
