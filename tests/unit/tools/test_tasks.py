"""Work items: how they move, who holds which files, how a commit message ends them; what is another's is not there."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from codeb.contracts.store import Standing
from codeb.drivers.store.sql import SqlStore
from codeb.model.access import Member, Role
from codeb.model.work import overlap
from codeb.tools.catalog import BY_NAME
from codeb.tools.task_moves import merged
from codeb.tools.untrusted import MARK
from tests.kit import START, Process, add_key, begin

pytestmark = pytest.mark.anyio

PAY = {"projectName": "shop", "title": "Pay by invoice", "branch": "feature/pay", "files": ["./src/pay/", "README.md"]}
CART = {"projectName": "shop", "title": "Cart", "branch": "fix/cart"}


async def made(process: Process, **params: Any) -> str:
    return str((await process.ok("task_create", **params))["task"]["taskId"])


async def stuck(process: Process, **params: Any) -> dict[str, Any]:
    said = await process.ask("task_update", **params)
    assert (said.status, said.body["code"]) == (409, "task_status"), said.body
    return said.body


async def locked(process: Process, *paths: str, **more: Any) -> list[tuple[str, str]]:
    said = await process.ok("task_check", projectName="shop", paths=list(paths), **more)
    assert said["free"] is (not said["locked"])
    return [(each["path"], each["lockedPath"]) for each in said["locked"]]


async def test_one_is_made_listed_and_shown() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        async with rig.store.write() as registry:
            await registry.members.add(Member("mem_1", "main", "ana@example.com", Role.MEMBER, START))
        key = await add_key(rig, Role.MEMBER, member="mem_1")
        said = await process.ok("task_create", **PAY, description="why\nnot", key=key)
        task = said["task"]
        assert (task["status"], task["author"], task["branch"]) == ("draft", "ana@example.com", "feature/pay")
        assert [(each["path"], each["locked"]) for each in said["files"]] == [("README.md", True), ("src/pay", True)]
        assert (said["changed"], said["next"][0]["tool"]) == (True, "task_update")
        other = await made(process, **CART, status="in-progress")
        listed = await process.ok("task_list", limit=1)
        assert ([each["taskId"] for each in listed["tasks"]], listed["more"]) == ([other], True)
        rest = await process.ok("task_list", projectName="shop", before=other)
        assert (rest["tasks"], rest["more"]) == ([task], False)
        assert (await process.ok("task_list", branch="fix/cart", status="in-progress"))["tasks"][0]["taskId"] == other
        assert (await process.ok("task_list", branch="fix/cart", status="draft"))["tasks"] == []
        shown = await process.ok("task_get", taskId=task["taskId"])
        assert (shown["task"], shown["description"], shown["files"]) == (task, "why\nnot", said["files"])
        assert (await process.ok("task_get", taskId=other))["task"]["author"].startswith("main/owner/")


async def test_another_branch_is_told_who_holds_what_and_nothing_is_made() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        first = await made(process, **PAY)
        wanted = {**CART, "files": ["src", "docs", "src/pay/x.py"]}
        for more in ({"dryRun": True}, {}):
            said = await process.refused("task_create", 409, "files_locked", **wanted, **more)
            held = said["details"]["locks"]
            assert said["untrusted"] == ["details.locks"]
            assert [(each["path"], each["lockedPath"]) for each in held] == [("src", "src/pay"), ("src/pay/x.py", "src/pay")]
            one = held[0]
            assert (one["taskId"], one["branch"], one["title"]) == (first, "feature/pay", "Pay by invoice")
            assert one["author"].startswith("main/owner/") and one["until"] > rig.clock.now().isoformat()
            # whatever somebody called their work is data
            assert first in said["error"] and "feature/pay" not in said["error"] + said["hint"] and "invoice" not in said["error"]
        assert len((await process.ok("task_list"))["tasks"]) == 1
        await made(process, **CART, files=["src/payments.py", "docs"])


async def test_a_check_names_what_is_locked_and_what_is_the_branch_own() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        await made(process, **PAY)
        assert await locked(process, "src/pay/a.py", "src", "docs") == [("src/pay/a.py", "src/pay"), ("src", "src/pay")]
        assert await locked(process, "src/pay/a.py", branch="feature/pay") == []
        own = (await process.ok("task_check", projectName="shop", paths=["src"], branch="feature/pay"))["own"]
        assert [each["lockedPath"] for each in own] == ["src/pay"]
        said = await process.ok("task_check", projectName="shop", paths=["src/pay//a.py", "./README.md"], branch="other")
        assert said["summary"] == "2 of them are locked on another branch, by 1 task."
        rig.clock.jumped += timedelta(hours=8)
        assert await locked(process, "src/pay/a.py", "README.md") == []
        await made(process, **CART, files=["src/pay"])


async def test_tasks_of_one_branch_share_their_files_until_the_last_is_done() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        first = await made(process, **PAY)
        second = await made(process, **{**PAY, "files": ["src", "README.md"]})
        await process.ok("task_complete", taskId=first)
        assert await locked(process, "README.md", "src/pay/a.py") == [("README.md", "README.md"), ("src/pay/a.py", "src")]
        await process.refused("task_create", 409, "files_locked", **CART, files=["README.md"])
        await process.ok("task_complete", taskId=second)
        assert await locked(process, "README.md", "src") == []


async def test_it_moves_as_the_table_says() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        task = await made(process, **PAY)
        said = await stuck(process, taskId=task, status="review")
        assert said["details"] == {"taskId": task, "status": "draft", "allowed": ["in-progress", "done"]}
        assert "in-progress or done" in said["error"]
        for status in ("in-progress", "review", "in-progress", "draft", "in-progress"):
            assert (await process.ok("task_update", taskId=task, status=status))["task"]["status"] == status
        again = await process.ok("task_update", taskId=task, status="in-progress")
        assert (again["changed"], "was so already" in again["summary"]) == (False, True)
        done = await process.ok("task_complete", taskId=task)
        assert (done["completed"][0]["was"], done["completed"][0]["status"]) == ("in-progress", "done")
        await stuck(process, taskId=task, addFiles=["x"])
        await stuck(process, taskId=task, lockTtl="1h")
        await process.ok("task_update", taskId=task, title="Pay later")
        taken_up = await process.ok("task_update", taskId=task, status="in-progress")
        assert (taken_up["task"]["doneAt"], taken_up["task"]["title"]) == (None, "Pay later")
        assert "addFiles" in taken_up["warnings"][0] and not any(each["locked"] for each in taken_up["files"])
        await process.ok("task_update", taskId=task, addFiles=["README.md"])
        assert await locked(process, "README.md", "src/pay") == [("README.md", "README.md")]


async def test_files_are_taken_given_back_and_held_longer() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        task, other = await made(process, **PAY, lockTtl="1h"), await made(process, **CART, files=["docs"])
        await process.refused("task_update", 409, "files_locked", taskId=task, addFiles=["docs/a.md"])
        await process.ok("task_update", taskId=task, removeFiles=["README.md", "never"], addFiles=["lib", "lib/"])
        assert await locked(process, "README.md", "lib/x") == [("lib/x", "lib")]
        rig.clock.jumped += timedelta(minutes=50)
        await process.ok("task_update", taskId=task, lockTtl="30m")
        rig.clock.jumped += timedelta(minutes=20)
        assert await locked(process, "src/pay", "lib", "README.md") == [("src/pay", "src/pay"), ("lib", "lib")]
        rig.clock.jumped += timedelta(minutes=10)
        assert await locked(process, "src/pay", "lib") == []
        # what is over may be held again, unless another branch has it by now
        await process.ok("task_update", taskId=other, addFiles=["lib"])
        await process.refused("task_update", 409, "files_locked", taskId=task, lockTtl="1h")
        await process.ok("task_update", taskId=other, removeFiles=["lib"])
        await process.ok("task_update", taskId=task, lockTtl="1h")
        assert await locked(process, "src/pay", "lib", "README.md") == [("src/pay", "src/pay"), ("lib", "lib")]


async def test_a_task_takes_its_files_along_to_another_branch() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        task, shared = await made(process, **PAY), await made(process, **{**PAY, "files": ["README.md"]})
        await process.refused("task_update", 409, "files_locked", taskId=task, branch="feature/other")
        await process.ok("task_update", taskId=shared, branch="feature/pay", removeFiles=["README.md"])
        # what is over does not come along: another branch has it by now
        late = await made(process, **{**PAY, "files": ["late"], "lockTtl": "1m"})
        rig.clock.jumped += timedelta(minutes=2)
        await made(process, **CART, files=["late"])
        assert not (await process.ok("task_update", taskId=late, branch="feature/late"))["files"][0]["locked"]
        await process.ok("task_update", taskId=task, branch="feature/other")
        assert await locked(process, "README.md", "src/pay", branch="feature/other") == []
        assert len(await locked(process, "README.md", "src/pay", branch="feature/pay")) == 2


async def test_a_commit_message_completes_what_it_names_and_no_more() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        one, two, three = await made(process, **PAY), await made(process, **CART), await made(process, **CART)
        nobody = "task_" + "f" * 28
        message = f"Pay ({one})\n\nTask: {two}\nSee {nobody}\n"
        plan = await process.ok("task_complete", commitMessage=message, dryRun=True)
        assert (plan["plan"]["tasks"], plan["plan"]["unknown"]) == ([one, two], [nobody])
        said = await process.ok("task_complete", commitMessage=message, planId=plan["planId"])
        assert (said["named"], said["unknown"]) == ([one, two, nobody], [nobody])
        assert [(each["taskId"], each["status"]) for each in said["completed"]] == [(one, "done"), (two, "done")]
        assert nobody in said["warnings"][0]
        assert (await process.ok("task_get", taskId=three))["task"]["status"] == "draft"
        again = await process.ok("task_complete", commitMessage=message)
        assert [each["was"] for each in again["completed"]] == ["done", "done"]
        for text in ("Merge branch 'main'", "", "task_complete"):
            none = await process.ok("task_complete", commitMessage=text)
            assert (none["named"], none["completed"]) == ([], []) and "names no task" in none["summary"]
        only = await process.ok("task_complete", commitMessage=nobody)
        assert only["unknown"] == [nobody] and "None of the tasks" in only["summary"]


async def test_a_plan_to_complete_or_change_is_stale_once_the_task_moved() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        task = await made(process, **PAY)
        change = {"taskId": task, "title": "Pay later", "addFiles": ["docs"]}
        end = await process.ok("task_complete", taskId=task, dryRun=True)
        plan = await process.ok("task_update", **change, dryRun=True)
        assert plan["changes"] == ["change what is said of it", "lock 1 path"]
        assert end["changes"] == [f"{task} from draft to done"]
        assert (await process.ok("task_get", taskId=task))["task"]["title"] == "Pay by invoice"
        rig.clock.jumped += timedelta(minutes=1)
        await process.ok("task_update", taskId=task, status="in-progress")
        await process.refused("task_complete", 409, "stale_plan", taskId=task, planId=end["planId"])
        await process.refused("task_update", 409, "stale_plan", **change, planId=plan["planId"])
        plan = await process.ok("task_update", **change, dryRun=True)
        await process.ok("task_update", **change, planId=plan["planId"])


async def test_only_what_brought_it_live_makes_it_deployed() -> None:
    async with begin("ready") as rig:
        process = rig.boot()
        task, other = await made(process, **PAY), await made(process, **CART)
        promoted = (await process.ok("promote", projectName="shop", environment="production"))["operationId"]
        said = await process.ok("task_complete", commitMessage=task, operationId=promoted)
        assert (said["completed"][0]["was"], said["completed"][0]["status"]) == ("draft", "deployed")
        shown = (await process.ok("task_get", taskId=task))["task"]
        assert (shown["operationId"], shown["doneAt"]) == (promoted, shown["deployedAt"])
        assert (await process.ok("task_complete", taskId=task))["completed"][0]["status"] == "deployed"
        await stuck(process, taskId=task, status="in-progress")
        rig.image("bad", status=500)
        failed = await process.ask("deploy", projectName="shop", environment="production", image="shop:bad", timeout=1)
        bad = failed.body["details"]["operationId"]
        await process.refused("task_complete", 409, "not_deployed", taskId=other, operationId=bad)
        await process.refused("task_complete", 404, "operation_not_found", taskId=other, operationId="op_" + "0" * 26)
        back = (await process.ok("rollback", projectName="shop", environment="production"))["operationId"]
        await process.refused("task_complete", 409, "not_deployed", taskId=other, operationId=back)
        again = (await process.ok("deploy", projectName="shop", environment="production", image="shop:3"))["operationId"]
        assert (await process.ok("task_complete", taskId=task, operationId=again))["completed"][0]["status"] == "deployed"
        assert (await process.ok("task_get", taskId=task))["task"] == shown, "what brought it live is what did so first"
        await process.ok("project_create", projectName="blog")
        narrow = await add_key(rig, projects=frozenset({"blog"}))
        elsewhere = await made(process, **{**CART, "projectName": "blog"})
        await process.refused("task_complete", 404, "task_not_found", taskId=elsewhere, operationId=promoted)
        hidden = {"taskId": elsewhere, "operationId": promoted, "key": narrow}
        await process.refused("task_complete", 404, "operation_not_found", **hidden)
        assert (await process.ok("task_complete", commitMessage=elsewhere, operationId=promoted))["unknown"] == [elsewhere]
        assert (await process.ok("task_complete", commitMessage=elsewhere, projectName="shop"))["unknown"] == [elsewhere]
        assert (await process.ok("task_get", taskId=elsewhere))["task"]["status"] == "draft"


async def test_a_call_says_which_task_it_means() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        for params in ({}, {"taskId": "task_" + "0" * 28, "commitMessage": "x"}):
            said = await process.refused("task_complete", 400, "invalid_params", **params)
            assert [each["field"] for each in said["details"]["fields"]] == ["taskId", "commitMessage"]


async def test_what_is_merged_is_done() -> None:
    """For whoever hears of it from the repository's host."""
    async with begin("active") as rig:
        process = rig.boot()
        one, other = await made(process, **PAY), await made(process, **CART)
        async with rig.store.write() as registry:
            done = await merged(registry, rig.clock.now(), "shop", "feature/pay")
            assert [(each.id, each.status) for each in done] == [(one, "done")]
            assert await merged(registry, rig.clock.now(), "shop", "feature/pay") == ()
        assert await locked(process, "README.md") == []
        assert [each["taskId"] for each in (await process.ok("task_list"))["tasks"]] == [other]


async def test_of_64_callers_at_once_one_branch_gets_the_folder() -> None:
    """P7, S31: whatever part of it they ask for, no two branches hold what overlaps."""
    async with begin("active") as rig:
        process = rig.boot()
        parts = ["src", "src/a", "src/a/b.py", "src/b"]
        asked = await asyncio.gather(
            *(
                process.ask("task_create", **{**CART, "branch": f"b{number % 9}", "files": [parts[number % 4]]})
                for number in range(64)
            )
        )
        assert {each.status for each in asked} == {200, 409}
        async with rig.store.read() as registry:
            held = await registry.tasks.locks("shop", rig.clock.now())
        for one in held:
            for two in held:
                assert one.branch == two.branch or not overlap(one.path, two.path), (one, two)


async def test_another_team_and_another_project_find_nothing() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        await process.ok("project_create", projectName="blog")
        task = await made(process, **PAY)
        nobody = "task_" + "0" * 28
        for key in (await add_key(rig, team="rivals"), await add_key(rig, projects=frozenset({"blog"}))):
            assert (await process.ok("task_list", key=key))["tasks"] == []
            for tool in ("task_get", "task_update", "task_complete"):
                said = [await process.refused(tool, 404, "task_not_found", taskId=each, key=key) for each in (task, nobody)]
                assert said[0]["error"].replace(task, nobody) == said[1]["error"] and said[0]["hint"] == said[1]["hint"]
            assert (await process.ok("task_complete", commitMessage=task, key=key))["unknown"] == [task]
            for tool, params in (("task_check", {"paths": ["src"]}), ("task_create", CART), ("task_list", {})):
                await process.refused(tool, 404, "project_not_found", **{**params, "projectName": "shop"}, key=key)
        viewer = await add_key(rig, Role.VIEWER)
        await process.refused("task_complete", 403, "forbidden", taskId=task, key=viewer)
        assert (await process.ok("task_get", taskId=task, key=viewer))["task"]["taskId"] == task


async def test_tasks_of_a_deleted_project_wait_for_it_and_go_with_it() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        task, gone = await made(process, **PAY), {"projectName": "shop", "confirm": "shop"}
        await process.ok("project_delete", **gone)
        assert (await process.ok("task_list"))["tasks"] == []
        for tool in ("task_get", "task_complete"):
            await process.refused(tool, 409, "project_deleted", taskId=task)
        await process.refused("task_check", 409, "project_deleted", projectName="shop", paths=["src"])
        assert (await process.ok("task_complete", commitMessage=task))["unknown"] == [task]
        await process.ok("undelete", projectName="shop")
        assert (await process.ok("task_get", taskId=task))["task"]["status"] == "draft"
        assert len(await locked(process, "README.md")) == 1
        await process.ok("project_delete", **gone)
        await process.ok("project_delete", **gone, purge=True)
        await process.refused("task_get", 404, "task_not_found", taskId=task)


async def test_without_the_database_they_are_read_and_not_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    """P9."""
    async with begin("active") as rig:
        process = rig.boot()
        task = await made(process, **PAY)
        monkeypatch.setattr(SqlStore, "standing", property(lambda self: Standing(away_since=START, why="gone")))
        it = {"taskId": task}
        for tool, params in (("task_create", CART), ("task_update", {**it, "title": "x"}), ("task_complete", it)):
            await process.refused(tool, 503, "degraded", **params)
        assert len(await locked(process, "README.md")) == 1
        assert (await process.ok("task_get", taskId=task))["task"]["status"] == "draft"


async def test_a_task_and_a_project_hold_only_so_much(rig_limits: None) -> None:
    async with begin("active") as rig:
        process = rig.boot()
        task = await made(process, **PAY)
        await process.refused("task_update", 409, "too_many_files", taskId=task, addFiles=["a", "b"])
        await process.ok("task_update", taskId=task, addFiles=["a"])
        await process.refused("task_create", 409, "too_many_files", **CART, files=["b", "c"])
        await made(process, **CART, files=["b"])


@pytest.fixture
def rig_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("codeb.tools.task_writes.MOST_FILES", 3)
    monkeypatch.setattr("codeb.tools.task_writes.MOST_LOCKS", 4)


async def test_what_a_message_says_is_not_kept_by_the_log() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        await process.ok("task_complete", commitMessage="a long story of ours")
        await process.audit.flush()
        async with rig.store.read() as registry:
            row = next(each for each in await registry.audit.latest(5) if each.tool == "task_complete")
        assert "20 characters" in row.params["commitMessage"] and "story" not in str(row.params)


def test_everybody_may_look_and_members_may_change() -> None:
    """What is another's words is marked, wherever it stands in an answer (S25)."""
    words = {"title", "branch", "author", "description", "path", "lockedPath"}
    for name in ("task_list", "task_get", "task_check", "task_create", "task_update", "task_complete"):
        schema = BY_NAME[name].result.model_json_schema(by_alias=True, mode="serialization")
        shapes = [schema, *schema.get("$defs", {}).values()]
        for shape in shapes:
            for field, said in shape["properties"].items():
                assert (field in words) is bool(said.get(MARK)), (name, field)
