"""Environment variables, to read: masked or shown, their history, what differs, and how a local file compares."""

from typing import Any

from pydantic import Field

from codeb.contracts.store import Registry
from codeb.errors import Forbidden, InvalidParams, NotFound
from codeb.flows import envs
from codeb.model import envfile
from codeb.model.access import Role
from codeb.model.envs import Difference, Env, EnvVersion, difference, is_placeholder, which
from codeb.model.names import Place
from codeb.tools import fields
from codeb.tools.call import Call
from codeb.tools.drafts import draft
from codeb.tools.tool import NextCall, Outcome, Risk, Tool

MASK = "…"


class GetParams(fields.Guarded, fields.OnEnvironment):
    keys: list[fields.EnvKey] | None = Field(None, min_length=1, max_length=1000, description="only these; default: all")
    version: fields.EnvWhich | None = Field(None, description="number, moment or master; default: the newest")
    reveal: bool = Field(False, description="show the values; needs the role member, and is on record")


class VersionView(fields.Result):
    version: int
    at: str
    by: str
    action: str
    """set, sync, restore, generate"""
    count: int
    added: list[str]
    changed: list[str]
    removed: list[str]


class GetResult(fields.Result):
    project_name: str
    environment: str
    version: int | None
    """null: nothing was ever written"""
    newest: int | None
    variables: dict[str, str]
    """by name; every value is … unless it was to be revealed"""
    revealed: bool
    protected: list[str]
    runs: dict[str, int | None]
    """by slot that holds something: the version it was deployed with, for good"""


class HistoryParams(fields.OnEnvironment):
    limit: fields.Limit = 50
    before: int | None = Field(None, ge=1, le=999_999_999, description="only versions before this number")


class HistoryResult(fields.Result):
    project_name: str
    environment: str
    versions: list[VersionView]
    more: bool
    runs: dict[str, int | None]


class DiffParams(fields.OnEnvironment):
    from_version: fields.EnvWhich | None = Field(None, description="default: the one before toVersion")
    to_version: fields.EnvWhich | None = Field(None, description="default: the newest")


class DiffResult(fields.Result):
    """Names; no value is shown."""

    project_name: str
    environment: str
    from_version: int
    to_version: int
    added: list[str]
    changed: list[str]
    removed: list[str]


class ContentParams(fields.OnEnvironment):
    env_content: fields.EnvContent | None = None
    content: fields.EnvContent | None = Field(None, description="the same as envContent: say one of them")


class ScanResult(fields.Result):
    """Names; no value is shown."""

    project_name: str
    environment: str
    version: int | None
    only_local: list[str]
    only_server: list[str]
    different: list[str]
    same: list[str]
    protected: list[str]
    """of those that differ or are only on the server: a sync keeps them, or is refused"""
    placeholders: list[str]


def read_file(params: Any) -> dict[str, str]:
    """The variables of a call's `.env` file. Raises `InvalidParams`, with the lines that cannot be taken."""
    said = [name for name, text in (("envContent", params.env_content), ("content", params.content)) if text is not None]
    if len(said) != 1:
        problem = "is missing" if not said else "is said twice, as envContent and as content"
        raise InvalidParams(
            f"The file {problem}; nothing was done.", hint="Send its text as envContent.",
            details={"fields": [{"field": "envContent", "problem": problem}]},
        )  # fmt: skip
    found = envfile.parse(params.env_content if params.content is None else params.content)
    if found.faults:
        lines = [{"line": fault.line, "problem": fault.problem} for fault in found.faults[: envfile.MOST_FAULTS]]
        words = "; ".join(f"line {each['line']}: {each['problem']}" for each in lines[:5])
        raise InvalidParams(
            f"{len(found.faults)} line{'' if len(found.faults) == 1 else 's'} cannot be taken ({words}); nothing was done.",
            code="env_lines", hint="Nothing is guessed: mend these lines and send the file again.", details={"lines": lines},
        )  # fmt: skip
    return dict(found.values)


def runs(call: Call, place: Place) -> dict[str, int | None]:
    """The version of each slot that holds something."""
    pair = call.kit.store.snapshot.pair_of(place)
    return {row.slot.value: row.env_version for row in pair.rows if row.deployment_id} if pair else {}


async def found(call: Call, registry: Registry, place: Place, said: str | int | None) -> EnvVersion | None:
    """The version that is meant; None: the newest, and there is none. Raises `NotFound` (`env_version_not_found`)."""
    if said is None:
        return await registry.envs.newest(place)
    meant = which(str(said))
    if meant is None:
        version = await registry.envs.first(place)
    elif isinstance(meant, int):
        version = await registry.envs.get(place, meant)
    else:
        version = await registry.envs.newest(place, meant)
    if version is None:
        at = "" if isinstance(meant, int) else " at that moment" if meant else ""
        raise NotFound(
            f"{place.project} {place.environment} has no such version of its environment variables{at}.",
            code="env_version_not_found", hint="See env_history.",
        )  # fmt: skip
    return version


# get


async def _get(call: Call, params: GetParams) -> Outcome:
    call.project(params.project_name)
    place = Place(params.project_name, params.environment)
    if params.reveal and not call.actor.role.covers(Role.MEMBER):
        raise Forbidden(
            f"To reveal values needs the role member; this key is {call.actor.role}. Nothing was shown.",
            hint="Leave out reveal to see the names.",
        )

    async def look(registry: Registry) -> tuple[EnvVersion | None, int | None]:
        newest = await registry.envs.history(place, 1)
        return await found(call, registry, place, params.version), newest[0].number if newest else None

    version, newest = await call.kit.store.consult(look)
    env = envs.opened(call.kit, version) if version else Env()
    names = sorted(env.values) if params.keys is None else _asked(env, params.keys)
    if params.dry_run:
        return _rehearse(params, place, version, names)
    if params.plan_id is not None:
        _rehearsal(params, place, version, names).still_fits(params)
    if params.reveal:
        await call.spend_approval()
    result = GetResult(
        project_name=place.project, environment=place.environment, version=version.number if version else None, newest=newest,
        variables={name: env.values[name] if params.reveal else MASK for name in names}, revealed=params.reveal,
        protected=[name for name in env.protected if name in names], runs=runs(call, place),
    )  # fmt: skip
    shown = "shown" if params.reveal else "masked"
    return Outcome(result, f"{_where(place, version)}: {len(names)} variable{'' if len(names) == 1 else 's'}, {shown}.")


def _asked(env: Env, keys: list[str]) -> list[str]:
    if missing := sorted(set(keys) - env.values.keys()):
        raise NotFound(
            f"There is no {', '.join(missing[:10])}; nothing was shown.",
            code="env_key_not_found",
            hint="Leave out keys to see all.",
        )
    return sorted(set(keys))


def _where(place: Place, version: EnvVersion | None) -> str:
    return f"{place.project} {place.environment}, " + (f"version {version.number}" if version else "nothing was ever written")


def _rehearsal(params: GetParams, place: Place, version: EnvVersion | None, names: list[str]) -> Any:
    number = version.number if version else None
    plan = {
        "projectName": place.project, "environment": place.environment, "version": number, "keys": names, "reveal": params.reveal,
    }  # fmt: skip
    word = "reveal" if params.reveal else "list"
    return draft("env_get", plan, [f"{word} {name}" for name in names], {"version": number})


def _rehearse(params: GetParams, place: Place, version: EnvVersion | None, names: list[str]) -> Outcome:
    made = _rehearsal(params, place, version, names)
    said = params.model_dump(by_alias=True, mode="json", exclude_unset=True, exclude={"dry_run", "plan_id", "confirm"})
    shown: Outcome = made.shown(
        f"Would {'reveal' if params.reveal else 'list'} {len(names)} variables of {_where(place, version)}.",
        NextCall("env_get", {**said, "planId": made.id}, "do exactly this"),
    )
    return shown


# history, diff


def view(version: EnvVersion) -> VersionView:
    made = version.difference
    return VersionView(
        version=version.number, at=version.created_at.isoformat(), by=version.created_by, action=version.action,
        count=version.count, added=list(made.added), changed=list(made.changed), removed=list(made.removed),
    )  # fmt: skip


async def _history(call: Call, params: HistoryParams) -> Outcome:
    call.project(params.project_name)
    place = Place(params.project_name, params.environment)
    there = await call.kit.store.consult(lambda registry: registry.envs.history(place, params.limit + 1, params.before))
    result = HistoryResult(
        project_name=place.project, environment=place.environment, versions=[view(each) for each in there[: params.limit]],
        more=len(there) > params.limit, runs=runs(call, place),
    )  # fmt: skip
    newest = f"the newest of these is {there[0].number}" if there else "nothing was ever written"
    return Outcome(result, f"{place.project} {place.environment}: {newest}.")


async def _diff(call: Call, params: DiffParams) -> Outcome:
    call.project(params.project_name)
    place = Place(params.project_name, params.environment)

    async def look(registry: Registry) -> tuple[EnvVersion | None, EnvVersion | None]:
        to = await found(call, registry, place, params.to_version)
        if params.from_version is not None:
            return await found(call, registry, place, params.from_version), to
        before = await registry.envs.history(place, 1, to.number) if to else []
        return (await registry.envs.get(place, before[0].number) if before else None), to

    one, other = await call.kit.store.consult(look)
    before, after = (envs.opened(call.kit, each) if each else Env() for each in (one, other))
    made = difference(before.values, after.values)
    first, second = one.number if one else 0, other.number if other else 0
    result = DiffResult(
        project_name=place.project, environment=place.environment, from_version=first, to_version=second,
        added=list(made.added), changed=list(made.changed), removed=list(made.removed),
    )  # fmt: skip
    return Outcome(result, f"{place.project} {place.environment}, from version {first} to {second}: {told(made)}.")


def told(made: Difference) -> str:
    """In words, names and all."""
    parts = [("added", made.added), ("changed", made.changed), ("removed", made.removed)]
    said = [f"{word} {', '.join(names[:10])}" + (" …" if len(names) > 10 else "") for word, names in parts if names]
    return "; ".join(said) or "nothing differs"


# scan


async def _scan(call: Call, params: ContentParams) -> Outcome:
    call.project(params.project_name)
    place = Place(params.project_name, params.environment)
    local = read_file(params)
    held = await call.kit.store.consult(lambda registry: envs.newest(call.kit, registry, place))
    made = difference(held.env.values, local)
    differs = {*made.changed, *made.removed}
    same = sorted(held.env.values.keys() & local.keys() - differs)
    result = ScanResult(
        project_name=place.project, environment=place.environment, version=held.number or None, only_local=list(made.added),
        only_server=list(made.removed), different=list(made.changed), same=same,
        protected=[name for name in held.env.protected if name in differs],
        placeholders=sorted(name for name, text in local.items() if is_placeholder(text)),
    )  # fmt: skip
    said = f"only local: {len(made.added)}, only on the server: {len(made.removed)}, different: {len(made.changed)}"
    warnings = (f"Placeholders that env_sync refuses: {', '.join(result.placeholders)}.",) if result.placeholders else ()
    return Outcome(result, f"{_where(place, held.version)}: {said if made else 'the file says the same'}.", (), warnings)


TOOLS: tuple[Tool[Any], ...] = (
    Tool(
        "env_get", "Show environment variables",
        "The variables of one environment, values masked; with reveal their values, which is on record.",
        GetParams, GetResult, Role.VIEWER, Risk.READS, _get, risky=lambda params: params.reveal,
    ),
    Tool(
        "env_scan", "Compare a local file",
        "What differs between a local .env file and the server's variables, by name.",
        ContentParams, ScanResult, Role.MEMBER, Risk.READS, _scan,
    ),
    Tool(
        "env_history", "List versions", "The versions of an environment's variables: by whom, when, and which names changed.",
        HistoryParams, HistoryResult, Role.VIEWER, Risk.READS, _history,
    ),
    Tool(
        "env_diff", "Compare two versions", "Which variables two versions added, changed and removed; no value is shown.",
        DiffParams, DiffResult, Role.VIEWER, Risk.READS, _diff,
    ),
)  # fmt: skip
