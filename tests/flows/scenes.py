"""What the fault sweep interrupts: at least one scene per tool that changes something, most tools from several states."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from codeb.drivers.runtime.memory_machine import Behaviour
from codeb.drivers.store.sqlite import SqliteDatabase
from codeb.model.access import Approval
from codeb.model.events import Unreplayed
from codeb.model.firewall import Opening, Transport
from codeb.model.pulls import PullState
from codeb.model.secret import Secret
from tests.flows.crash import DOMAIN, INIT, SCENES, SITE, WHERE, Scene, beside, proved, two_servers
from tests.kit import Process, Rig, add_key
from tests.kit_pulls import PULL, SEEN, SHOP


@dataclass(frozen=True)
class Led(Scene):
    """A scene in which something else goes on already; `lead` begins it and says what the call is to be about."""

    lead: Callable[[Process, Rig], Awaitable[dict[str, Any]]] | None = None


def _late(rig: Rig) -> None:
    rig.clock.jumped += timedelta(hours=49)


def _occupied(rig: Rig) -> None:
    rig.machine.add_foreign("somebody", 4100)


def _slow(rig: Rig) -> None:
    rig.machine.add_image("shop:slow", Behaviour(answers_after=40))


def _nobody(rig: Rig) -> None:
    rig.health.broken.add(SITE)


def _begun(tool: str, seconds: float, **params: Any) -> Callable[[Process, Rig], Awaitable[dict[str, Any]]]:
    """Begin it, let so many seconds of it pass, cancel that one."""

    async def lead(process: Process, rig: Rig) -> dict[str, Any]:
        body = await process.ok(tool, **WHERE, wait=False, **params)
        if seconds:
            await asyncio.sleep(seconds)
        return {"operationId": body["operationId"]}

    return lead


async def _ended(process: Process, rig: Rig) -> dict[str, Any]:
    body = await process.ok("deploy", **WHERE, image="shop:3")
    return {"operationId": body["operationId"]}


async def _conflict(process: Process, rig: Rig) -> dict[str, Any]:
    changes = ({"table": "project_slots", "after": {"project": "shop"}},)
    left = Unreplayed("cf_" + "0" * 28, rig.clock.now(), "01", "another version is active", changes=changes)
    async with rig.store.write() as registry:
        await registry.conflicts.add(left)
    listed = await process.ok("conflict_list")
    return {"conflictId": listed["conflicts"][0]["conflictId"]}


async def _somebody(process: Process, rig: Rig) -> dict[str, Any]:
    await process.ok("member_invite", name="ana", role="admin")
    return {"name": "ana"}


async def _key(process: Process, rig: Rig) -> dict[str, Any]:
    return {"keyId": (await process.ok("token_create", role="member"))["token"]["keyId"]}


async def _team(process: Process, rig: Rig) -> dict[str, Any]:
    made = await process.ok("team_create", team="other")
    return {"team": "other", "confirm": "other", "key": Secret(made["key"])}


async def _asked(process: Process, rig: Rig) -> dict[str, Any]:
    """A key that is bound to another identity's yes asks for a promote."""
    key = await add_key(rig, approval=Approval.HUMAN)
    said = await process.ask("promote", key=key, **WHERE)
    return {"approvalId": said.body["details"]["approvalId"]}


STORAGE = {"server": "storage-1", "roles": ["storage"], "addresses": ["192.0.2.7"]}
GONE = {"projectName": "shop", "confirm": "shop"}
CLOSE = {"projectName": "shop", "port": 4100}
DATABASE = {"projectName": "shop", "port": 4100, "cidr": "192.0.2.0/24", "purpose": "database"}


async def _server(process: Process, rig: Rig) -> dict[str, Any]:
    await process.ok("server_add", **STORAGE)
    return {"server": "storage-1"}


def _open(rig: Rig) -> None:
    """As `firewall_allow` left it some time ago."""
    assert isinstance(rig.store._database, SqliteDatabase)
    columns = "server, transport, port, cidr, project, purpose, created_by"
    values = ("local", "tcp", 4100, "192.0.2.0/24", "shop", "database", "main/owner/key_owner")
    with closing(sqlite3.connect(rig.store._database.path)) as database:
        database.execute(f"INSERT INTO firewall_rules ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?)", values)
        database.commit()
    opening = Opening(Transport.TCP, 4100, "192.0.2.0/24", "codeb:shop:database")
    rig.wall.ours[opening] = opening


def _closed(rig: Rig) -> None:
    """As `project_delete` left it: on record, and not in force."""
    _open(rig)
    rig.wall.ours.clear()


def _wall(rig: Rig) -> None:
    """Somebody let in a stranger, and changed what stays open."""
    stranger = Opening(Transport.TCP, 8080, "0.0.0.0/0", "codeb:ghost:web")
    rig.wall.ours[stranger], rig.wall.edited = stranger, "by hand"


TASK = {"projectName": "shop", "title": "Pay", "branch": "feature/pay", "files": ["src/pay", "README.md"]}


async def _task(process: Process, rig: Rig) -> dict[str, Any]:
    """One with files, which another task of its branch shares in part."""
    made = await process.ok("task_create", **TASK)
    await process.ok("task_create", **{**TASK, "files": ["README.md"]})
    return {"taskId": made["task"]["taskId"]}


PROPOSE = {"projectName": "shop", "branch": "other", "title": "Pay by invoice", "text": "Because."}


def _merged_there(rig: Rig) -> None:
    """Somebody merged it at the host."""
    pulls = rig.servers.pulls.repositories[SHOP].pulls
    pulls[1] = replace(pulls[1], state=PullState.MERGED, merged_at=rig.servers.pulls.when, merged_as=SEEN)


STAGING = {"projectName": "shop", "environment": "staging"}
CREATE = {"projectName": "shop", "containerPort": 8080, "environments": ["production", "staging"]}

MISSING = {**INIT, "environments": ["production", "staging"]}
FORM = {"projectName": "shop", "containerPort": 9000, "healthPath": "/up", "memoryMb": 256, "cpus": 2.0, "type": "go"}

OLD = """{"projects": {"blog": {"ports": {"production": {"blue": 4200, "green": 4201}}},
          "wiki": {"ports": {"production": {"blue": 4300, "green": 4301}}}},
 "ports": {"allocated": {"4301": {"project": "news", "slot": "blue"}}}}"""

MORE: dict[str, Scene] = {
    "deploy, not waited for": Scene("active", "deploy", {**WHERE, "image": "shop:2", "wait": False}),
    "promote, not waited for": Scene("ready", "promote", {**WHERE, "wait": False}),
    "deploy and promote, after a rollback": Scene(
        "back", "deploy", {**WHERE, "image": "shop:3", "autoPromote": True}, parts=({**WHERE, "image": "shop:3"},)
    ),
    "cleanup of expired": Scene("grace", "slot_cleanup", {}, spoil=_late),
    "workflow_init": Scene("empty", "workflow_init", CREATE),
    "workflow_init, one more environment": Scene("active", "workflow_init", CREATE),
    "workflow_init, what is missing": Scene(
        "active", "workflow_init", MISSING, spoil=two_servers, parts=({**MISSING, "dryRun": True},)
    ),
    "project_update": Scene("active", "project_update", {"projectName": "shop", "autoRollback": False, "watchSeconds": 5}),
    "project_update, what its containers are like": Scene("grace", "project_update", FORM),
    "pr_create": Scene("sourced", "pr_create", PROPOSE),
    "pr_create, not waited for": Scene("sourced", "pr_create", {**PROPOSE, "wait": False}),
    "pr_review": Scene("sourced", "pr_review", {**PULL, "verdict": "request-changes", "text": "Not yet."}),
    "pr_merge": Scene("sourced", "pr_merge", PULL),
    "git_sync": Scene("sourced", "git_sync", {"projectName": "shop"}, spoil=_merged_there),
    "project_delete, new": Scene("new", "project_delete", {"projectName": "shop", "confirm": "shop"}),
    "port_allocate": Scene("active", "port_allocate", STAGING),
    "port_register": Scene("new", "port_register", {**WHERE, "blue": 4200, "green": 4201}),
    "port_release": Scene("new", "port_release", WHERE),
    "port_sync": Scene("new", "port_sync", {"fix": True}, spoil=_occupied),
    "port_import": Scene("new", "port_import", {"content": OLD, "fix": True}),
    "operation_cancel, at once": Led("active", "operation_cancel", {}, lead=_begun("deploy", 0, image="shop:2")),
    "operation_cancel, waiting for health": Led(
        "grace", "operation_cancel", {}, spoil=_slow, lead=_begun("deploy", 0.05, image="shop:slow")
    ),
    "operation_cancel, during the switch": Led("ready", "operation_cancel", {}, spoil=_nobody, lead=_begun("promote", 1)),
    "operation_cancel, ended": Led("active", "operation_cancel", {}, lead=_ended),
    "env_set": Scene("active", "env_set", {**WHERE, "values": {"A": "1", "B": "2"}}),
    "env_set, over another": Scene("varied", "env_set", {**WHERE, "values": {"B": "2"}, "unset": ["A"]}),
    "env_sync": Scene("varied", "env_sync", {**WHERE, "envContent": "A=x\nB='#'"}),
    "env_restore": Scene("varied", "env_restore", {**WHERE, "version": "master"}),
    "domain_setup, not waited for": Scene("active", "domain_setup", {**DOMAIN, "wait": False}, spoil=proved),
    "domain_setup, beside others": Scene("active", "domain_setup", DOMAIN, spoil=beside),
    "registry_delete": Scene("active", "registry_delete", {"repository": "shop", "tag": "multi"}),
    "keys_rotate": Scene("active", "keys_rotate", {}),
    "server_add": Scene("active", "server_add", STORAGE),
    "server_remove": Led("active", "server_remove", {}, lead=_server),
    "firewall_allow": Scene("active", "firewall_allow", DATABASE),
    "firewall_deny": Scene("active", "firewall_deny", CLOSE, spoil=_open, parts=({**CLOSE, "dryRun": True},)),
    "firewall_sync": Scene("active", "firewall_sync", {"fix": True}, spoil=_wall, again=True),
    "project_delete, with what is open for it": Scene(
        "grace", "project_delete", GONE, spoil=_open, parts=({**GONE, "dryRun": True},)
    ),
    "undelete, with what was open for it": Scene("gone", "undelete", {"projectName": "shop"}, spoil=_closed),
    "task_create": Scene("active", "task_create", TASK),
    "task_update": Led("active", "task_update", {"status": "in-progress", "addFiles": ["docs"], "lockTtl": "2h"}, lead=_task),
    "task_update, another branch": Led("active", "task_update", {"branch": "fix", "removeFiles": ["README.md"]}, lead=_task),
    "task_complete": Led("active", "task_complete", {}, lead=_task),
    "team_create": Scene("active", "team_create", {"team": "other", "displayName": "Other"}),
    "team_settings": Scene("active", "team_settings", {"displayName": "Main", "approval": "name"}),
    # the key that asks ends with its team, so asked again it is refused
    "team_delete": Led("active", "team_delete", {}, lead=_team, again=True),
    "member_invite": Scene("active", "member_invite", {"name": "ana", "role": "admin"}),
    "member_invite, another role": Led("active", "member_invite", {"role": "viewer"}, lead=_somebody),
    "member_remove": Led("active", "member_remove", {}, lead=_somebody),
    "token_create": Scene("active", "token_create", {"preset": "ci", "projects": ["shop"], "expires": "90d"}),
    "token_revoke": Led("active", "token_revoke", {}, lead=_key),
    "token_rotate": Led("active", "token_rotate", {}, lead=_key),
    "conflict_settle": Led("active", "conflict_settle", {}, lead=_conflict),
    "approve": Led("ready", "approve", {"reason": "looked at the preview"}, lead=_asked),
    "reject": Led("ready", "reject", {"reason": "not on a Friday"}, lead=_asked),
}

ALL: dict[str, Scene] = SCENES | MORE
