"""The reference model: what CodeB promises of slots, ports and traffic, as plain values and nothing else.

`expect` says whether an undisturbed call succeeds, and every state that may be left when it is disturbed: the first is the
one before, the last the one after.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

GRACE_SECONDS = 48 * 3600.0
FIRST_PORT = {"production": 4100, "staging": 4500}
LAST_PORT = {"production": 4499, "staging": 4999}
GOOD = ("1", "2", "3")
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
    """Everything: the environments by place, the projects, those of them that are deleted and can come back."""

    envs: Mapping[At, Env]
    projects: frozenset[str] = frozenset()
    deleted: frozenset[str] = frozenset()

    def put(self, at: At, env: Env | None) -> "Shop":
        rest = {key: value for key, value in self.envs.items() if key != at}
        return replace(self, envs=rest if env is None else {**rest, at: env})

    def with_pair(self, at: At) -> "Shop":
        """The environment, with the lowest free pair of ports, if it is not there."""
        if at in self.envs:
            return self
        taken = {env.port for env in self.envs.values()}
        port = next(each for each in range(FIRST_PORT[at[1]], LAST_PORT[at[1]], 2) if each not in taken)
        return self.put(at, Env(port))


@dataclass(frozen=True)
class Ask:
    """One call, in the few words the model knows."""

    tool: str
    project: str = "shop"
    environment: str = "production"
    version: str = "1"
    slot: str | None = None
    yes: bool = False
    """autoPromote, or force"""

    @property
    def at(self) -> At:
        return self.project, self.environment


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
        made = replace(shop, projects=shop.projects | {ask.project})
        return True, [shop, made.with_pair(ask.at)]
    if _of_all(ask):
        return True, list(_emptying(shop, now))
    if ask.project not in shop.projects:
        return no
    if ask.tool == "project_delete":
        return True, [shop, replace(shop, deleted=shop.deleted | {ask.project})]
    if ask.tool == "port_allocate":
        return True, [shop, shop.with_pair(ask.at)]
    if ask.tool == "deploy":
        return _deploy(shop, ask, now)
    env = shop.envs.get(ask.at)
    if env is None:
        return no
    return CALLS[ask.tool](shop, env, ask, now, hurt)


def _of_all(ask: Ask) -> bool:
    return ask.tool == "timer" or (ask.tool == "slot_cleanup" and ask.slot is None)


def _end(shop: Shop, ask: Ask) -> Shop:
    deleted = shop.deleted - {ask.project}
    if ask.tool == "undelete":
        return replace(shop, deleted=deleted)
    return Shop({at: env for at, env in shop.envs.items() if at[0] != ask.project}, shop.projects - {ask.project}, deleted)


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
    return (True, [shop, shop.put(ask.at, None)]) if env.idle else (False, [shop])


CALLS: dict[str, Callable[[Shop, Env, Ask, float, Hurt], Ends]] = {
    "promote": _promote, "rollback": _rollback, "slot_cleanup": _cleanup, "port_release": _release,
}  # fmt: skip
