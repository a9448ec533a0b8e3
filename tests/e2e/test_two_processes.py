"""P6, P7, P2, P9: two CodeB processes on one PostgreSQL. One leads, the other follows; whatever happens to the leader, the
other takes over within 15 s and the former one changes nothing any more.

Everything is real: processes, signals, PostgreSQL (behind wires of a network namespace), Docker, Caddy.
CODEB_TEST_SIZE=full pauses for 60 s, at every moment, and repeats more often.
"""

import os
import random
import statistics
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import pytest
from demo.images import Builder

from tests import oracle
from tests.e2e.pair_of_servers import Member, pair_of, until
from tests.e2e.shop_of_two import FIGURES, Shop
from tests.postgres import Server, postgres

__all__ = ["postgres"]

pytestmark = [pytest.mark.docker, pytest.mark.proxy, pytest.mark.postgres, pytest.mark.timeout(1800)]

FULL = os.environ.get("CODEB_TEST_SIZE") == "full"
PAUSE_SECONDS = float(os.environ.get("CODEB_TEST_PAUSE", "60" if FULL else "14"))
AFTER_SECONDS = 10.0 if FULL else 4.0


@pytest.fixture(scope="module")
def shop(postgres: Server, images: dict[str, str], builder: Builder) -> Iterator[Shop]:
    broken = "codebtest-app:broken"
    builder.static_exit(broken, 3)
    with pair_of(postgres) as pair:
        made = Shop(pair, images | {"broken": broken})
        yield made
        made.visitor.close()
        for kind, seconds in FIGURES.items():
            print(f"\n{kind}: n={len(seconds)} p50={statistics.median(seconds):.1f} s max={max(seconds):.1f} s", end="")


def test_the_one_leads_and_the_other_reads_and_refuses(shop: Shop) -> None:
    """P6: the same answers from both within a second; a call that would change something is refused and says who leads."""
    leader, follower = shop.up()
    pair, where = shop.pair, shop.where
    before = pair.world()
    for tool, params in (
        ("deploy", {**where, "image": shop.images["v2"]}), ("promote", where), ("rollback", where),
        ("project_create", {"projectName": "another", "healthPath": "/"}), ("port_allocate", where),
    ):  # fmt: skip
        status, body = follower.ask(tool, params, {"X-Correlation-ID": f"refused-{tool}"})
        assert (status, body["code"]) == (503, "not_leader"), body
        assert body["details"]["leader"] == f"http://127.0.0.1:{leader.api_port}" and body["retryable"]
    assert pair.world() == before
    done = leader.call("deploy", **where, image=shop.images["v2"])

    def same() -> bool:
        def told(member: Member) -> list[Any]:
            answers = [
                member.call("slot_status", **where), member.call("operation_get", operationId=done["operationId"]),
                member.call("project_list"), member.call("operation_list", projectName=shop.name),
            ]  # fmt: skip
            noise = ("duration", "timestamp", "correlationId", "observedAt")
            return [{key: value for key, value in answer.items() if key not in noise} for answer in answers]

        return told(leader) == told(follower)

    until(same, 5)
    assert follower.call("logs", **where)["success"]
    until(lambda: {f"refused-{tool}" for tool in ("deploy", "promote")} <= {
        row["correlation_id"] for row in pair.query("SELECT correlation_id FROM audit_logs WHERE code = 'not_leader'")
    }, 5)  # fmt: skip
    shop.sound()


KILLS = (
    "promote.record.do.effect", "deploy.start.do.effect", "promote.switch.do.before", "promote.switch.do.effect",
    "deploy.commit.do.effect", "deploy.commit.do.record", "docker create", "commit", "promote.record.do.record", "caddy load",
)  # fmt: skip


@pytest.mark.parametrize("hook", ["", *KILLS] if FULL else KILLS[:1])
def test_a_leader_that_is_killed_is_followed_and_its_operation_ends(shop: Shop, hook: str) -> None:
    """P2, P6: `kill -9`, idle and in the middle; no visitor notices."""
    leader, follower = shop.up()
    call = _begin(shop, leader, hook, "kill") if hook else None
    if not hook:
        leader.kill()
    leader.until_dead(30)
    seconds = shop.took_over("killed in the middle" if hook else "killed idle", follower, time.monotonic())
    shop.sound(reloads=hook == "caddy load")
    if call is not None:
        assert call.exception(5) is not None, "a dead server does not answer"
    assert seconds > 1
    _works(shop, follower)


def _begin(shop: Shop, leader: Member, hook: str, how: str) -> "Future[tuple[int, dict[str, Any]]]":
    """A call that comes by this hook, under way."""
    tool = "promote" if hook.startswith("promote") else "deploy"
    if tool == "promote":
        shop.deployed(leader)
    params = {**shop.where} if tool == "promote" else {**shop.where, "image": shop.images["v1"]}
    if hook == "caddy load":
        # an environment that has no site yet
        params["environment"] = f"pr-{random.randrange(1, 10_000)}"
    if "undo" in hook or hook == "docker delete":
        params["image"] = shop.images["broken"]
    leader.at(hook, how)
    return shop.pair.later(leader, tool, **params)


def _works(shop: Shop, leader: Member) -> None:
    """It changes what it likes, and all of it is so."""
    leader.call("deploy", **shop.where, image=shop.images["v2"])
    leader.call("promote", **shop.where)
    shop.sound()


def test_a_leader_that_is_told_to_stop_hands_over_at_once(shop: Shop) -> None:
    """P13: without waiting for its lease to run out."""
    for _ in range(10 if FULL else 1):
        leader, follower = shop.up()
        began = time.monotonic()
        assert leader.process is not None
        leader.process.terminate()
        assert shop.took_over("SIGTERM", follower, began) < 10
        assert leader.until_dead(30) == 0
        shop.sound()


PAUSES = (
    "holds", "promote.record.do.effect", "caddy load", "deploy.start.undo.before", "docker create", "promote.switch.do.before",
    "promote.switch.do.effect", "deploy.pull.do.before", "deploy.health.do.before", "docker start", "commit", "docker delete",
    "deploy.commit.do.effect", "deploy.tidy.do.before",
)  # fmt: skip


@pytest.mark.parametrize("hook", PAUSES if FULL else PAUSES[:1])
def test_a_leader_that_was_paused_changes_nothing_any_more(shop: Shop, hook: str) -> None:
    """P6: stopped in the middle of an operation, at the instruction named; the other takes over and works on."""
    leader, follower = shop.up()
    call = _begin(shop, leader, hook, "stop")
    leader.until_stopped()
    began = time.monotonic()
    shop.took_over("paused", follower, began)
    shop.sound(reloads=hook == "caddy load")
    _works(shop, follower)
    late = shop.pair.later(leader, "rollback", **shop.where)
    time.sleep(max(0.0, began + PAUSE_SECONDS - time.monotonic()))
    before = shop.pair.world()
    leader.go_on()
    end = time.monotonic() + AFTER_SECONDS
    while time.monotonic() < end:
        assert shop.pair.world() == before, shop.logs()
        time.sleep(1)
    status, body = late.result(20)
    assert (status, body["code"]) == (503, "not_leader"), body
    status, body = call.result(60)
    assert status in (200, 409, 503), body
    print(f"\n{hook}: {status} {body.get('code')} {body['summary'][:150]}")
    assert not leader.leads and follower.leads
    until(lambda: leader.call("slot_status", **shop.where)["activeSlot"] == _active(shop), 5)
    shop.sound()


def _active(shop: Shop) -> str:
    return next(slot for slot, state in shop.slots().items() if state == "active")


@pytest.mark.long
def test_pauses_at_any_instant_under_writes(shop: Shop) -> None:
    """P6: also with the writers' lock in hand, or between a commit and its answer; take-over stays below 15 s."""
    chance = random.Random(4)
    for _ in range(30):
        leader, follower = shop.up()
        over = threading.Event()

        def write(number: int, leader: Member = leader, over: threading.Event = over) -> None:
            while not over.is_set():
                try:
                    leader.ask("port_allocate", {"projectName": shop.name, "environment": f"pr-{number}"})
                    leader.ask("port_release", {"projectName": shop.name, "environment": f"pr-{number}", "confirm": shop.name})
                except OSError:
                    return

        calls = shop.pair.everywhere(write, 6)
        time.sleep(chance.uniform(0.3, 2.0))
        leader.pause()
        over.set()
        shop.took_over("paused under writes", follower, time.monotonic())
        oracle.settle(shop.pair, 30)  # type: ignore[arg-type]
        time.sleep(2)
        before = shop.pair.world()
        leader.go_on()
        time.sleep(4)
        assert shop.pair.world() == before, shop.logs()
        for call in calls:
            call.result(60)
    shop.sound()


def test_a_leader_cut_off_goes_on_until_another_takes_over(shop: Shop) -> None:
    """P9, P6: only its database is gone, not Docker and Caddy. What it did until then is in the database afterwards."""
    for _ in range(3 if FULL else 1):
        leader, follower = shop.up()
        pair = shop.pair
        shop.deployed(leader)
        target = next(slot for slot, state in shop.slots().items() if state == "deployed")
        began = time.monotonic()
        pair.line_of(leader).set("silent")
        done = leader.call("promote", **shop.where)
        assert done["activeSlot"] == target
        assert shop.slots()[target] == "deployed", "the database does not know yet"
        shop.took_over("cut off", follower, began)
        status, body = leader.ask("rollback", shop.where)
        assert (status, body["code"]) == (503, "not_leader"), body
        pair.line_of(leader).set("open")
        until(lambda target=target: shop.slots()[target] == "active", 15, shop.logs)
        shop.sound()
        assert pair.query("SELECT reason FROM conflicts WHERE settled_at IS NULL") == []
        _works(shop, follower)


@pytest.mark.long
def test_a_follower_cut_off_changes_nothing(shop: Shop) -> None:
    leader, follower = shop.up()
    shop.pair.line_of(follower).set("silent")
    time.sleep(PAUSE_SECONDS if FULL else 4)
    assert leader.leads
    _works(shop, leader)
    status, body = follower.ask("rollback", shop.where)
    assert (status, body["code"]) == (503, "not_leader"), body
    shop.pair.line_of(follower).set("open")
    until(lambda: follower.call("slot_status", **shop.where)["activeSlot"] == _active(shop), 10)
    assert shop.pair.roles() == (leader, follower)


@pytest.mark.long
def test_with_the_database_away_for_both_the_leader_goes_on(shop: Shop) -> None:
    """P9: whoever led leads afterwards, and what it did meanwhile is in the database, with nobody's act in between."""
    for _ in range(5 if FULL else 1):
        leader, follower = shop.up()
        shop.deployed(leader)
        for member in (leader, follower):
            shop.pair.line_of(member).set("silent")
        done = leader.call("promote", **shop.where)
        began = time.monotonic()
        while time.monotonic() - began < PAUSE_SECONDS:
            status, body = follower.ask("rollback", shop.where)
            assert (status, body["code"]) == (503, "not_leader"), body
            time.sleep(1)
        for member in (follower, leader):  # the follower is a moment earlier
            shop.pair.line_of(member).set("open")
            time.sleep(1.5)
        until(lambda done=done: _active(shop) == done["activeSlot"], 15, shop.logs)
        assert shop.pair.roles() == (leader, follower)
        shop.sound()
        assert shop.pair.query("SELECT reason FROM conflicts WHERE settled_at IS NULL") == []


@pytest.mark.long
@pytest.mark.parametrize("which", ["leader", "both"])
def test_a_line_that_comes_and_goes(shop: Shop, which: str) -> None:
    """P6, P9: what was answered with success is so at the end, or is on record as a conflict; one leads."""
    leader, follower = shop.up()
    shop.deployed(leader)
    former = shop.pair.query("SELECT term FROM leadership")[0]["term"]
    pair, chance, over, done = shop.pair, random.Random(7), threading.Event(), list[str]()
    cut = [leader] if which == "leader" else [leader, follower]

    def flap() -> None:
        while not over.is_set():
            for state in ("silent", "open"):
                for member in cut:
                    pair.line_of(member).set(state)
                over.wait(chance.uniform(0.3, 6.0))

    flapping = threading.Thread(target=flap)
    flapping.start()
    end = time.monotonic() + 60
    while time.monotonic() < end:
        for member in pair.members:
            for tool in ("promote", "rollback"):
                status, body = member.ask(tool, shop.where)
                if status == 200:
                    done.append(body["activeSlot"])
        time.sleep(0.2)
    over.set()
    flapping.join()
    for member in pair.members:
        pair.line_of(member).set("open")
    pair.roles(30)
    time.sleep(3)
    shop.sound()
    conflicts = pair.query("SELECT reason FROM conflicts WHERE settled_at IS NULL")
    terms = pair.query("SELECT term FROM leadership")[0]["term"] - former
    print(f"\n{which}: {len(done)} switches, {len(conflicts)} conflicts, {terms} changes of leader")
    print(sorted({each["reason"] for each in conflicts})[:5])
    assert terms or not conflicts, "with one leader throughout there is nothing to disagree about"
    assert done and (_active(shop) == done[-1] or conflicts)
    pair.query("UPDATE conflicts SET settled_at = now() RETURNING id")


@pytest.mark.long
def test_ports_and_answers_across_a_take_over(shop: Shop) -> None:
    """P7: 64 callers on both, the leader is killed among them: no port twice, and whatever was answered with success is so."""
    leader, follower = shop.up()
    pair, won = shop.pair, dict[str, list[int]]()

    def allocate(number: int) -> None:
        name = f"{shop.name}-{number}"
        until_at = time.monotonic() + 30
        for attempt in range(1000):
            member = pair.members[(number + attempt) % 2]
            try:
                status, body = member.ask("project_create", {"projectName": name, "healthPath": "/"})
                if status == 200 or body["code"] == "project_exists":
                    status, body = member.ask("port_allocate", {"projectName": name, "environment": "production"})
                    if status == 200:
                        won[name] = [body["blue"], body["green"]]
                        return
            except OSError:
                pass
            if time.monotonic() > until_at:
                return
            time.sleep(0.3)

    calls = pair.everywhere(allocate, 64)
    time.sleep(0.6)
    leader.kill()
    shop.took_over("killed under 64 callers", follower, time.monotonic())
    for call in calls:
        call.result(90)
    leases = pair.query("SELECT port, project, slot FROM port_leases")
    assert len({row["port"] for row in leases}) == len(leases)
    mine = {name: sorted(row["port"] for row in leases if row["project"] == name) for name in won}
    assert {name: sorted(ports) for name, ports in won.items()} == mine and won
    print(f"\n{len(won)} of 64 got ports")
    shop.sound()


def test_both_started_at_the_same_instant(postgres: Server) -> None:
    """P6: on an empty database exactly one leads, every time; and both find the same registry and the one key."""
    for _ in range(10 if FULL else 1):
        with pair_of(postgres) as pair:
            for member in pair.members:
                member.start(wait=False)
            for member in pair.members:
                assert member.until_up(), member.log[-3000:]
            leader, follower = pair.roles()
            time.sleep(2)
            assert leader.leads and not follower.leads
            leader.call("project_create", projectName=pair.project, healthPath="/health")
            end = time.monotonic() + 5
            while follower.call("project_list")["projects"] != leader.call("project_list")["projects"]:
                assert time.monotonic() < end
                time.sleep(0.1)
