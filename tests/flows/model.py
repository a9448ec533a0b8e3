"""The reference model: what CodeB promises of slots, ports and traffic, as plain values and nothing else.

`expect` says whether an undisturbed call succeeds, and every state that may be left when it is disturbed: the first is the
one before, the last the one after.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

GRACE_SECONDS = 48 * 3600.0
FIRST_PORT = {"production": 4100, "staging": 4500}
LAST_PORT = {"production": 4499, "staging": 4999}
GOOD = ("1", "2", "3", "slow")
CHANGE_NOTHING = ("reconcile", "loop")
"""what they mend is the world, which is to be as the registry says"""
FIRST_WATCH = (True, 60)
At = tuple[str, str]


@dataclass(frozen=True)
class Side:
    """One slot. `ends`: when its grace is over, in the world's seconds."""

    state: str = "empty"
    version: str = ""
    ends: float | None = None


@dataclass(frozen=True)
class Env:
    """Both slots; `port` is the lower one of the pair."""

    port: int
    blue: Side = Side()
    green: Side = Side()

    def side(self, slot: str) -> Side:
        return self.blue if slot == "blue" else self.green

    def find(self, state: str) -> str | None:
        return next((slot for slot in ("blue", "green") if self.side(slot).state == state), None)

    def put(self, **sides: Side) -> "Env":
        return replace(self, **sides)

    @property
    def idle(self) -> bool:
        return self.blue.state == self.green.state == "empty"


@dataclass(frozen=True)
class Shop:
    """Everything. A project has its watch: whether traffic goes back by itself, and how long it is looked at."""

    envs: Mapping[At, Env]
    projects: Mapping[str, tuple[bool, int]] = field(default_factory=dict)
    outside: frozenset[int] = frozenset()
    """ports that somebody else publishes"""
    deleted: frozenset[str] = frozenset()
    """projects that can come back"""

    def put(self, at: At, env: Env | None) -> "Shop":
        rest = {key: value for key, value in self.envs.items() if key != at}
        return replace(self, envs=rest if env is None else {**rest, at: env})

    def with_pair(self, at: At) -> "Shop":
        """The environment, with the lowest free pair of ports, if it is not there."""
        return self if at in self.envs else self.put(at, Env(self.free(at)))

    def free(self, at: At) -> int:
        taken = {env.port for env in self.envs.values()} | {port - port % 2 for port in self.outside}
        return next(each for each in range(FIRST_PORT[at[1]], LAST_PORT[at[1]], 2) if each not in taken)

    def crowded(self, at: At) -> bool:
        """Whether somebody else has a port of an environment that runs nothing."""
        env = self.envs[at]
        return at[0] not in self.deleted and env.idle and bool({env.port, env.port + 1} & self.outside)


@dataclass(frozen=True)
class Ask:
    """One call, in the few words the model knows."""

    tool: str
    project: str = "shop"
    environment: str = "production"
    version: str = "1"
    slot: str | None = None
    yes: bool = False
    """autoPromote, force, or autoRollback"""
    port: int = 0

    @property
    def at(self) -> At:
        return self.project, self.environment

    @property
    def seconds(self) -> int:
        """of the watch that project_update sets"""
        return len(self.version) * 7


Ends = tuple[bool, list[Shop]]
Hurt = Callable[[At, str], bool]
"""whether the container of a slot was broken by hand"""


def expect(shop: Shop, ask: Ask, now: float, hurt: Hurt) -> Ends:
    no = False, [shop]
    if ask.project in shop.deleted and ask.tool in ("undelete", "purge"):
        return True, [shop, _end(shop, ask)]
    if ask.tool in ("undelete", "purge") or (ask.project in shop.deleted and not _of_all(ask)):
        return no
    if ask.tool == "project_create":
        made = replace(shop, projects={ask.project: FIRST_WATCH, **shop.projects})
        return True, [shop, made.with_pair(ask.at)]
    if ask.tool in CHANGE_NOTHING:
        return True, [shop]
    if ask.tool == "port_sync":
        return True, [shop, _given_room(shop)]
    if _of_slots(ask):
        return True, list(_emptying(shop, now))
    if ask.project not in shop.projects:
        return no
    if ask.tool == "project_delete":
        return True, [shop, replace(shop, deleted=shop.deleted | {ask.project})]
    if ask.tool == "project_update":
        return True, [shop, replace(shop, projects={**shop.projects, ask.project: (ask.yes, ask.seconds)})]
    if ask.tool == "port_register":
        return _register(shop, ask)
    if ask.tool == "port_allocate":
        return True, [shop, shop.with_pair(ask.at)]
    if ask.tool == "deploy":
        return _deploy(shop, ask, now)
    env = shop.envs.get(ask.at)
    if env is None:
        return no
    return CALLS[ask.tool](shop, env, ask, now, hurt)


def _of_all(ask: Ask) -> bool:
    """Whether it is about everything, not about one project."""
    return _of_slots(ask) or ask.tool in ("port_sync", *CHANGE_NOTHING)


def _of_slots(ask: Ask) -> bool:
    return ask.tool == "timer" or (ask.tool == "slot_cleanup" and ask.slot is None)


def _end(shop: Shop, ask: Ask) -> Shop:
    deleted = shop.deleted - {ask.project}
    if ask.tool == "undelete":
        return replace(shop, deleted=deleted)
    left = {at: env for at, env in shop.envs.items() if at[0] != ask.project}
    rest = {name: watch for name, watch in shop.projects.items() if name != ask.project}
    return replace(shop, envs=left, projects=rest, deleted=deleted)


def _emptying(shop: Shop, now: float) -> Iterable[Shop]:
    yield shop
    for at, env in sorted(shop.envs.items()):
        slot = env.find("grace")
        if slot is not None and at[0] not in shop.deleted and (env.side(slot).ends or 0) <= now:
            shop = shop.put(at, env.put(**{slot: Side()}))
            yield shop


def _deploy(shop: Shop, ask: Ask, now: float) -> Ends:
    if ask.version not in GOOD:
        return False, [shop]
    there = shop.with_pair(ask.at)
    env = there.envs[ask.at]
    slot = {"blue": "green", "green": "blue"}.get(env.find("active") or "", "blue")
    if env.port + (slot == "green") in shop.outside:
        return False, [shop]
    done = there.put(ask.at, env.put(**{slot: Side("deployed", ask.version)}))
    if not ask.yes:
        return True, [shop, done]
    return True, [shop, done, done.put(ask.at, _promoted(done.envs[ask.at], slot, now))]


def _promoted(env: Env, slot: str, now: float) -> Env:
    former = env.find("active")
    env = env.put(**{slot: Side("active", env.side(slot).version)})
    return env if former is None else env.put(**{former: Side("grace", env.side(former).version, now + GRACE_SECONDS)})


def _promote(shop: Shop, env: Env, ask: Ask, now: float, hurt: Hurt) -> Ends:
    slot = ask.slot or env.find("deployed")
    if slot is None or env.side(slot).state != "deployed" or hurt(ask.at, slot):
        return False, [shop]
    return True, [shop, shop.put(ask.at, _promoted(env, slot, now))]


def _rollback(shop: Shop, env: Env, ask: Ask, now: float, hurt: Hurt) -> Ends:
    back, bad = env.find("grace"), env.find("active")
    if back is None or bad is None or (env.side(back).ends or 0) <= now or hurt(ask.at, back):
        return False, [shop]
    sides = {back: Side("active", env.side(back).version), bad: Side("deployed", env.side(bad).version)}
    return True, [shop, shop.put(ask.at, env.put(**sides))]


def _cleanup(shop: Shop, env: Env, ask: Ask, now: float, hurt: Hurt) -> Ends:
    assert ask.slot is not None
    side = env.side(ask.slot)
    over = side.state == "grace" and (side.ends or 0) <= now
    if side.state == "active" or (side.state != "empty" and not (ask.yes or over)):
        return False, [shop]
    return True, [shop, shop.put(ask.at, env.put(**{ask.slot: Side()}))]


def _release(shop: Shop, env: Env, ask: Ask, now: float, hurt: Hurt) -> Ends:
    return (True, [shop, shop.put(ask.at, None)]) if env.idle and not shop.crowded(ask.at) else (False, [shop])


def _register(shop: Shop, ask: Ask) -> Ends:
    """The very pair that is asked for: in the range, nobody else's, and nothing runs on the one it had."""
    env = shop.envs.get(ask.at)
    fits = ask.port % 2 == 0 and FIRST_PORT[ask.environment] <= ask.port < LAST_PORT[ask.environment]
    if not fits or any(other.port == ask.port for at, other in shop.envs.items() if at != ask.at):
        return False, [shop]
    if env is not None and env.port != ask.port and not env.idle:
        return False, [shop]
    return True, [shop, shop.put(ask.at, env if env is not None and env.port == ask.port else Env(ask.port))]


def _given_room(shop: Shop) -> Shop:
    for at in sorted(shop.envs):
        if shop.crowded(at):
            shop = shop.put(at, None).with_pair(at)
    return shop


def bound_to(shop: Shop, ask: Ask) -> Any:
    """What the plan of a call is made from: when it moved, the plan is stale."""
    env = shop.envs.get(ask.at)
    match ask.tool:
        case "port_allocate" | "project_create":
            return env is None
        case "port_register":
            return env and env.port
        case "project_update":
            return shop.projects.get(ask.project)
        case "project_delete":
            return {at: without_times(each) for at, each in shop.envs.items() if at[0] == ask.project}
        case "slot_cleanup":
            return env if ask.slot and env and env.side(ask.slot).state != "empty" else None
        case "port_sync":
            return [at for at in shop.envs if shop.crowded(at)]
        case "deploy" | "promote" | "rollback" | "port_release":
            return shop.with_pair(ask.at).envs[ask.at] if ask.project in shop.projects else None
    return None


def without_times(env: Env) -> Env:
    return env.put(blue=replace(env.blue, ends=None), green=replace(env.green, ends=None))


CALLS: dict[str, Callable[[Shop, Env, Ask, float, Hurt], Ends]] = {
    "promote": _promote, "rollback": _rollback, "slot_cleanup": _cleanup, "port_release": _release,
}  # fmt: skip
