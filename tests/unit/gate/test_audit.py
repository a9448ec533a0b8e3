"""P14: one record per call, chained, whatever fails; no secret in it; a flood is counted; nothing writable stops changes."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import Field
from sqlalchemy import delete, update

from codeb.contracts.store import Standing
from codeb.drivers.records import ledger
from codeb.drivers.records.ledger import FileLedger
from codeb.drivers.store.schema import audit_logs
from codeb.entry.timer import prune_audit
from codeb.errors import Unavailable
from codeb.gate import Asked
from codeb.gate.audit import AuditLog
from codeb.gate.flood import BURST
from codeb.gate.hiding import hidden
from codeb.model.access import Role
from codeb.model.chain import AuditRow, Head
from codeb.model.secret import Secret
from codeb.tools import fields
from codeb.tools.catalog import BY_NAME
from tests.kit import OWNER, START, Process, Rig, add_key, begin

pytestmark = pytest.mark.anyio
STAGING = {"projectName": "shop", "environment": "staging"}
NO_KEY = Secret("codeb_main_owner_wrong")


class Away:
    """A store that takes nothing."""

    def __init__(self, store: Any) -> None:
        self.standing = store.standing

    async def append(self, act: Any) -> Any:
        raise Unavailable("the store is away")


def row(number: int, **more: Any) -> AuditRow:
    return replace(AuditRow(START, f"c{number}", "test", "deploy", True, "", "key_1", "main", "owner", None, 1.0), **more)


async def verified(process: Process, whole: bool = True) -> dict[str, Any]:
    await process.audit.flush()
    body = await process.ok("audit_verify")
    assert body["whole"] is whole, body
    return body


async def chains(rig: Rig) -> dict[str, list[AuditRow]]:
    async with rig.store.read() as registry:
        return {span.chain: list(await registry.audit.run(span.chain, 0, 1000)) for span in await registry.audit.chains()}


async def test_every_call_is_one_row_of_one_whole_chain_over_restarts() -> None:
    async with begin("active") as rig:
        for _ in range(3):
            process = rig.boot()
            await process.ok("port_allocate", **STAGING)
            await process.ask("deploy", key=NO_KEY)
            body = await verified(process)
        found = await chains(rig)
        assert list(found) == ["house"]
        assert [each.seq for each in found["house"]] == list(range(1, len(found["house"]) + 1))
        assert body["chains"][0]["last"] == len(found["house"])


async def test_what_the_store_does_not_take_waits_aside_and_comes_back_with_its_numbers() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        await process.ok("port_allocate", **STAGING)
        process.audit._store = Away(rig.store)  # type: ignore[assignment]
        await process.ok("project_update", projectName="shop", watchSeconds=70)
        await process.ok("project_update", projectName="shop", watchSeconds=71)
        assert [each.tool for each in rig.ledger.rows] == ["project_update"] * 2
        assert (await process.ok("audit_verify"))["whole"], "what waits counts"
        # it dies, and the next one brings them back
        after = rig.boot()
        await after.ok("project_update", projectName="shop", watchSeconds=72)
        await verified(after)
        updates = [each for each in (await chains(rig))["house"] if each.tool == "project_update"]
        assert [each.params["watchSeconds"] for each in updates] == [70, 71, 72], "each once"
        assert rig.ledger.rows == []


async def test_nothing_changes_when_nothing_can_be_written_and_reads_go_on() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        await process.ok("project_update", projectName="shop", watchSeconds=70)
        process.audit._store, rig.ledger.full = Away(rig.store), "no space left on device"  # type: ignore[assignment]
        await process.ok("project_update", projectName="shop", watchSeconds=71)
        said = await process.refused("project_update", 503, "audit_unavailable", projectName="shop", watchSeconds=72)
        assert "everything that reads" in said["hint"]
        assert said["retryable"]
        assert rig.store.snapshot.projects["shop"].watch_seconds == 71
        await process.ok("project_list")
        await process.ok("project_update", projectName="shop", watchSeconds=72, dryRun=True)
        rig.ledger.full = ""
        await process.ok("project_update", projectName="shop", watchSeconds=73)
        process.audit._store = rig.store
        await verified(process)
        tools = [each.tool for each in (await chains(rig))["house"]]
        assert tools.count("project_update") >= 5, "the refused one and those of the time without"


async def test_rows_that_memory_cannot_hold_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("codeb.gate.audit.MOST_HELD", 5)
    async with begin() as rig:
        process = rig.boot()
        for number in range(8):
            process.audit.add(row(number))
        await verified(process)
        lost = [each for each in (await chains(rig))["house"] if each.tool == "audit_lost"]
        assert [each.params for each in lost] == [{"count": 3}]


@pytest.mark.parametrize("harm", ["alter", "cut", "remove"])
async def test_harm_is_found_and_the_next_process_says_so(harm: str) -> None:
    async with begin("active") as rig:
        process = rig.boot()
        for number in range(6):
            process.audit.add(row(number))
        await process.audit.close()
        last = rig.ledger.kept
        assert last is not None
        statement = {
            "alter": update(audit_logs).where(audit_logs.c.seq == last.seq - 3).values(summary="nothing"),
            "remove": delete(audit_logs).where(audit_logs.c.seq == last.seq - 3),
            "cut": delete(audit_logs).where(audit_logs.c.seq > last.seq - 3),
        }[harm]
        async with rig.store._writing() as tx:
            await tx.write(statement)
            await tx.session.commit()
        body = await verified(process, whole=False)
        assert body["chains"][0]["faults"], body
        after = rig.boot()
        after.audit.add(row(7))
        body = await verified(after, whole=False)
        found = await chains(rig)
        if harm == "cut":
            (begun,) = [each for each in found[after.audit._end.chain] if each.tool == "audit_chain"]
            assert (begun.code, begun.params["follows"]) == ("tail_missing", vars(last))
            assert {each["chain"]: each["whole"] for each in body["chains"]} == {"house": False, after.audit._end.chain: True}
        else:
            assert list(found) == ["house"]


async def test_a_home_that_lost_its_note_begins_anew_and_says_so() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        process.audit.add(row(1))
        await process.audit.close()
        rig.ledger.kept = None
        after = rig.boot()
        after.audit.add(row(2))
        body = await verified(after)
        assert [(each["chain"], each["why"]) for each in body["chains"]] == [("house", ""), (after.audit._end.chain, "head_lost")]


async def test_pruning_keeps_it_whole() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        for number in range(6):
            process.audit.add(row(number))
        await process.audit.flush()
        rig.clock.spent += 86_400 * 401
        process.audit.add(row(7, at=rig.clock.now()))
        await process.audit.flush()
        assert await prune_audit(process.kit) >= 6
        body = await verified(process)
        assert body["chains"][0]["pruned"] == body["chains"][0]["first"] - 1
        assert await prune_audit(replace(process.kit, policy=replace(process.kit.policy, audit_days=0))) == 0
        after = rig.boot()
        after.audit.add(row(8, at=rig.clock.now()))
        assert [each["chain"] for each in (await verified(after))["chains"]] == ["house"]


# no secret, no flood


class Inner(fields.Wire):
    password: str = Field(json_schema_extra=fields.SECRET)
    name: str = ""


class Told(fields.Params):
    token: str | None = Field(None, json_schema_extra=fields.SECRET)
    inner: Inner | None = None
    many: list[Inner] = []
    named: dict[str, Inner] = {}
    plain: str = ""


def test_what_a_schema_calls_secret_is_not_kept_wherever_it_stands() -> None:
    """S11"""
    said = {"token": "s3", "inner": {"password": "s3", "name": "a"}, "many": [{"password": "s3"}], "plain": "p"}
    assert hidden(Told, said) == {
        "token": "…", "inner": {"password": "…", "name": "a"}, "many": [{"password": "…"}], "plain": "p",
    }  # fmt: skip
    assert hidden(Told, {"named": {"a": {"password": "s3"}}}) == {"named": {"a": {"password": "…"}}}
    assert said["token"] == "s3", "what an idempotency key is compared by stays as it was"
    assert hidden(Told, {"token": None}) == {"token": None}


def test_of_a_file_the_log_keeps_which_one_it_was() -> None:
    kept = hidden(BY_NAME["port_import"].params, {"content": "{}", "fix": True})
    sha256 = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    assert kept == {"content": f"a file of 2 characters, sha256 {sha256}", "fix": True}


async def test_a_key_in_any_text_is_blotted_out() -> None:
    async with begin() as rig:
        process = rig.boot()
        key = OWNER.reveal()
        process.audit.add(row(1, summary=f"a {key}", correlation_id=key[:60], params={key: [{"x": key}]}))
        await process.audit.flush()
        assert key not in repr(await chains(rig))


async def test_a_flood_of_calls_without_a_key_fills_nothing() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        for _ in range(BURST + 300):
            await process.ask("deploy", key=NO_KEY)
        await process.audit.close()
        found = (await chains(rig))["house"]
        refused = [each for each in found if each.code == "unauthenticated"]
        assert len(refused) <= BURST + 5
        assert sum(each.params.get("times", 1) for each in refused) == BURST + 300


# who sees what


async def test_who_sees_which_rows() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        member, admin = await add_key(rig, Role.MEMBER), await add_key(rig, Role.ADMIN)
        scoped = await add_key(rig, Role.ADMIN, projects=frozenset({"blog"}))
        viewer, other = await add_key(rig, Role.VIEWER), await add_key(rig, Role.OWNER, team="other")
        await process.ok("slot_status", projectName="shop", key=member)
        await process.ask("slot_status", key=NO_KEY)
        await process.audit.flush()

        async def listed(key: Secret, **more: Any) -> list[dict[str, Any]]:
            return list((await process.ok("audit_list", key=key, limit=1000, **more))["rows"])

        await process.refused("audit_list", 403, "forbidden", key=viewer)
        own = await listed(member)
        assert [each["tool"] for each in own] == ["slot_status"]
        everything = await listed(admin)
        assert {each["team"] for each in everything} == {"main", None}
        assert any(each["code"] == "unauthenticated" for each in everything)
        assert await listed(other) == [], "another team, and not the operators'"
        assert not any(each["params"].get("projectName") == "shop" or each["team"] is None for each in await listed(scoped))
        assert await listed(other, projectName="shop") == []


async def test_whether_the_log_is_whole_is_told_to_all_and_what_others_did_to_the_operators() -> None:
    async with begin("active") as rig:
        process, rival = rig.boot(), await add_key(rig, team="rivals")
        narrow = await add_key(rig, Role.ADMIN, projects=frozenset({"shop"}))
        for _ in range(3):
            await process.ok("whoami", key=rival)
        await process.ok("whoami")
        every = await verified(process)
        assert every["rows"] > 4 and every["chains"]
        body = await process.ok("audit_verify", key=rival)
        assert (body["whole"], body["rows"], body["chains"]) == (True, 3, [])
        assert (await process.ok("audit_verify", key=narrow))["chains"] == []
        async with rig.store.write() as registry:
            await registry.audit._tx.write(update(audit_logs).where(audit_logs.c.tool == "whoami").values(ip="192.0.2.1"))
        body = await process.ok("audit_verify", key=rival)
        assert (body["whole"], body["chains"]) == (False, [])
        assert "house" not in body["summary"], body


async def test_without_the_database_nobody_is_told_that_the_log_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    async with begin("active") as rig:
        process = rig.boot()
        monkeypatch.setattr(type(rig.store), "standing", property(lambda _: Standing(away_since=START, why="gone")))
        await process.refused("audit_verify", 503, "degraded")


async def test_the_operators_are_the_oldest_team_that_is_not_deleted() -> None:
    async with begin("empty") as rig:
        process, rival = rig.boot(), await add_key(rig, team="rivals")
        assert (await process.ok("audit_verify", key=rival))["chains"] == []
        await process.ask("whoami", key=NO_KEY)
        await process.ok("team_delete", team="main", confirm="main")
        await process.audit.flush()
        assert (await process.ok("audit_verify", key=rival))["chains"], "nobody else is left to look after it"
        rows = (await process.ok("audit_list", key=rival, limit=1000))["rows"]
        assert any(each["team"] is None for each in rows)
        await process.ok("keys_rotate", key=rival, dryRun=True)


async def test_filters_and_pages() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        for number in range(7):
            process.audit.add(row(number, ok=bool(number % 2), params={"projectName": "shop"} if number < 3 else {}))
        await process.audit.flush()
        for said, count in (
            ({"correlationId": "c1", "ok": True}, 1),
            ({"keyId": "key_1", "ok": False}, 4), ({"keyId": "key_1", "projectName": "shop"}, 3),
            ({"keyId": "key_1", "since": "1d"}, 7), ({"keyId": "key_1", "until": "1d"}, 0),
        ):  # fmt: skip
            assert len((await process.ok("audit_list", **said))["rows"]) == count, said
        only = await process.gate.call(Asked("audit_list", {"tool": "deploy", "keyId": "key_1"}, OWNER, "test", "x"))
        assert len(only.body["rows"]) == 7
        seen, before = [], {}
        while True:
            body = await process.ok("audit_list", keyId="key_1", limit=2, **before)
            seen += [each["correlationId"] for each in body["rows"]]
            if not body["more"]:
                break
            before = {"before": body["nextBefore"]}
        assert seen == [f"c{number}" for number in reversed(range(7))]


# the files


async def test_the_files_hold_rows_exactly_and_never_more_than_their_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, rows = FileLedger(tmp_path), [row(number, chain="home", seq=number, prev="a", hash="b") for number in (1, 2)]
    assert (await kept.head(), await kept.waiting()) == (None, [])
    await kept.keep(Head("home", 2, "b"))
    await kept.put(rows[:1])
    with (tmp_path / "audit.pending").open("ab") as torn:
        torn.write(b'{"at": "2026')
    await kept.put(rows[1:])
    again = FileLedger(tmp_path)
    assert (await again.head(), await again.waiting()) == (Head("home", 2, "b"), rows)
    for name in ("audit.head", "audit.pending"):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600
    monkeypatch.setattr(ledger, "MOST_BYTES", 700)
    size = (tmp_path / "audit.pending").stat().st_size
    with pytest.raises(Unavailable, match="wait in it already"):
        await kept.put(rows)
    assert (tmp_path / "audit.pending").stat().st_size == size
    await kept.clear()
    assert await kept.waiting() == []
    (tmp_path / "audit.head").write_text("{")
    assert await kept.head() is None


async def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = FileLedger(tmp_path)
    first = row(1, chain="home", seq=1, prev="a", hash="b")
    await kept.put([first])
    write = ledger.os.write

    def full(handle: int, data: Any) -> int:
        write(handle, bytes(data[:10]))
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ledger.os, "write", full)
    with pytest.raises(Unavailable, match="No space left"):
        await kept.put([replace(first, seq=2)])
    monkeypatch.undo()
    assert await kept.waiting() == [first]


async def test_a_cancelled_writer_loses_no_row() -> None:
    async with begin() as rig:
        log = AuditLog(rig.store, rig.ledger, "house:9")
        log.add(row(1))
        gate = asyncio.Event()
        real = rig.store.append

        async def slow(act: Any) -> Any:
            await gate.wait()
            return await real(act)

        rig.store.append = slow  # type: ignore[method-assign]
        task = asyncio.create_task(log.flush())
        await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        gate.set()
        await log.flush()
        rows = [each for found in (await chains(rig)).values() for each in found]
        assert [each.correlation_id for each in rows if each.tool == "deploy"] == ["c1"]
