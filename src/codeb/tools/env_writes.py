"""Environment variables, to write: single ones, a whole file, an earlier version. What changes something is one more version."""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from codeb.contracts.store import Registry
from codeb.errors import InvalidParams
from codeb.flows import envs
from codeb.flows.rollback import pinned, redeploy
from codeb.model.access import Role
from codeb.model.envs import Difference, Env, difference, with_file, with_set, with_version
from codeb.model.names import Place
from codeb.tools import fields
from codeb.tools.call import Call
from codeb.tools.drafts import Draft, draft
from codeb.tools.envs import ContentParams, found, read_file, runs, told
from codeb.tools.tool import NextCall, Outcome, Risk, Tool

log = logging.getLogger("codeb.envs")


class SetParams(fields.Changing, fields.OnEnvironment):
    values: fields.EnvValues | None = None
    unset: list[fields.EnvKey] | None = Field(None, min_length=1, max_length=1000, description="variables to take out")
    force: bool = Field(False, description="also where a protected variable changes")


class SyncParams(fields.Changing, ContentParams):
    force: bool = Field(False, description="also where a protected variable changes, or many are dropped")


class RestoreParams(fields.Changing, fields.OnEnvironment):
    version: fields.EnvWhich
    force: bool = Field(False, description="protected variables too, as they were then; default: as they are now")


class WrittenResult(fields.Result):
    project_name: str
    environment: str
    version: int | None
    """the newest now; null: nothing was ever written"""
    changed_anything: bool
    """false: everything was so already, and there is no new version"""
    added: list[str]
    changed: list[str]
    removed: list[str]
    kept: list[str]
    """protected ones that were left out, or were other ones then, and stay as they are"""
    runs: dict[str, int | None]
    """by slot that holds something: the version it runs with; the next deploy takes the newest"""


@dataclass(frozen=True)
class _Wanted:
    """What a write makes of what there is."""

    after: Env
    kept: tuple[str, ...] = ()


Decide = Callable[[Registry, Env], Awaitable[_Wanted]]


def _draft(tool: str, place: Place, now: envs.Held, wanted: _Wanted) -> Draft:
    made = difference(now.env.values, wanted.after.values)
    plan = {
        "projectName": place.project, "environment": place.environment, "from": now.number,
        "added": list(made.added), "changed": list(made.changed), "removed": list(made.removed), "kept": list(wanted.kept),
    }  # fmt: skip
    return draft(tool, plan, made.lines, {"version": now.number})


async def _write(call: Call, params: Any, action: str, decide: Decide) -> Outcome:
    name = call.project(params.project_name).name
    place = Place(name, params.environment)

    async def look(registry: Registry) -> tuple[envs.Held, _Wanted]:
        now = await envs.newest(call.kit, registry, place)
        return now, await decide(registry, now.env)

    if params.dry_run:
        drafted = _draft(call.tool, place, *await call.kit.store.consult(look))
        what = f"{len(drafted.changes)} variables" if drafted.changes else "nothing: everything is so already"
        return drafted.shown(f"Would change {what} of {name} {place.environment}.", None)

    async def act(registry: Registry) -> WrittenResult:
        await call.ready(registry, name)
        now, wanted = await look(registry)
        _draft(call.tool, place, now, wanted).still_fits(params)
        version = await envs.write(call.kit, registry, place, now, wanted.after, by=call.actor.name, action=action)
        made = version.difference if version else Difference()
        return WrittenResult(
            project_name=name, environment=place.environment, version=version.number if version else now.number or None,
            changed_anything=version is not None, added=list(made.added), changed=list(made.changed), removed=list(made.removed),
            kept=list(wanted.kept), runs=runs(call, place),
        )  # fmt: skip

    done = await call.change(act, lambda result: result.model_dump(by_alias=True, mode="json"))
    warnings = (*await _published(call, place), *_port(call, params, done))
    return _told(call, place, done, warnings)


async def _published(call: Call, place: Place) -> tuple[str, ...]:
    """The files say it too. The write counts whatever becomes of them: never raises."""
    try:
        await envs.publish(call.kit, place)
    except Exception as fault:
        log.error("the env files of %s are behind: %s", place.key, fault)
        return ("The files in env and env-backup are behind; they are written again by themselves, and by the next deploy.",)
    return ()


def _port(call: Call, params: Any, done: WrittenResult) -> tuple[str, ...]:
    if "PORT" not in (*done.added, *done.changed):
        return ()
    port = call.project(params.project_name).container_port
    return (f"A container gets PORT={port}, the project's containerPort, whatever PORT says here.",)


def _told(call: Call, place: Place, done: WrittenResult, warnings: tuple[str, ...]) -> Outcome:
    where = f"{place.project} {place.environment}"
    if not done.changed_anything:
        number = f"version {done.version}" if done.version else "no version yet"
        return Outcome(done, f"{where}: everything was so already; there is no new version ({number}).", (), warnings)
    made = Difference(tuple(done.added), tuple(done.changed), tuple(done.removed))
    said = f"{where}: version {done.version} of its environment variables ({told(made)})."
    if not done.runs:
        first = {"projectName": place.project, "environment": place.environment, "version": "1.0.0"}
        return Outcome(done, said, (NextCall("deploy", first, "put a first version into a slot"),), warnings)
    running = ", ".join(f"{slot} has {f'version {number}' if number else 'none'}" for slot, number in done.runs.items())
    said = f"{said} What runs goes on as it is ({running}); the next deploy takes version {done.version}."
    return Outcome(done, said, _deploy(call, place, done), warnings)


def _deploy(call: Call, place: Place, done: WrittenResult) -> tuple[NextCall, ...]:
    pair = call.kit.store.snapshot.pair_of(place)
    rows = [row for row in (pair.active, *pair.rows) if row and row.deployment_id] if pair else []
    if not rows:
        return ()
    image = pinned(rows[0].image or "", rows[0].digest, rows[0].image_id)
    _, details = redeploy(place, image, rows[0].version or "")
    why = f"the same version with variables of version {done.version}; then promote it"
    return (NextCall("deploy", details["redeploy"]["params"], why),)


# set


async def _set(call: Call, params: SetParams) -> Outcome:
    if not params.values and not params.unset:
        raise InvalidParams(
            "Say what is to change; nothing was done.", hint="Give values, unset or both.",
            details={"fields": [{"field": each, "problem": "is missing"} for each in ("values", "unset")]},
        )  # fmt: skip

    async def decide(registry: Registry, now: Env) -> _Wanted:
        return _Wanted(with_set(now, params.values or {}, params.unset or (), force=params.force))

    return await _write(call, params, "set", decide)


# sync


async def _sync(call: Call, params: SyncParams) -> Outcome:
    call.project(params.project_name)
    values = read_file(params)

    async def decide(registry: Registry, now: Env) -> _Wanted:
        kept = tuple(name for name in now.protected if name not in values)
        return _Wanted(with_file(now, values, force=params.force), kept)

    return await _write(call, params, "sync", decide)


# restore


async def _restore(call: Call, params: RestoreParams) -> Outcome:
    place = Place(params.project_name, params.environment)

    async def decide(registry: Registry, now: Env) -> _Wanted:
        version = await found(call, registry, place, params.version)
        assert version is not None, "one that is named is there, or it was refused"
        then = envs.opened(call.kit, version)
        after = with_version(now, then, force=params.force)
        other = {*difference(then.values, after.values).added, *difference(then.values, after.values).changed}
        return _Wanted(after, tuple(sorted(other)))

    return await _write(call, params, "restore", decide)


TOOLS: tuple[Tool[Any], ...] = (
    Tool(
        "env_set", "Set environment variables",
        "Set or take out single variables: one more version. What runs keeps its own; the next deploy takes the new one.",
        SetParams, WrittenResult, Role.MEMBER, Risk.CHANGES, _set, without_database=True, agents_must_say=("environment",),
    ),
    Tool(
        "env_sync", "Write a whole .env file",
        "Have exactly the variables of a .env file, but keep protected ones that it leaves out: one more version.",
        SyncParams, WrittenResult, Role.MEMBER, Risk.CHANGES, _sync, without_database=True, most_bytes=10 * 2**20,
        agents_must_say=("environment",),
    ),
    Tool(
        "env_restore", "Restore an earlier version",
        "Have the variables of an earlier version again, as one more version; protected ones stay as they are now.",
        RestoreParams, WrittenResult, Role.MEMBER, Risk.CHANGES, _restore, without_database=True,
        agents_must_say=("environment",),
    ),
)  # fmt: skip
