"""What somebody does to the world by hand, beside CodeB: which of it is still so, what it explains, what is to be mended."""

import re
from dataclasses import replace

from codeb.drivers.runtime.memory_machine import Behaviour
from codeb.model.deletion import READY
from codeb.model.names import Place
from codeb.model.slots import Pair, SlotRow, State, grace_expired
from codeb.model.specs import Live
from tests.kit import Rig

SITES = ("lost", "edited", "flipped", "held", "fallback")
CONTAINERS = ("removed", "stopped", "sick")
HOW = (*SITES, "removed", *CONTAINERS, "port", "port", "port")


class Hands:
    """Of one rig. `hurt`: containers, `bent`: places whose site or switch was changed; until it is mended."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.hurt: set[str] = set()
        self.bent: set[Place] = set()

    def do(self, how: str, which: int) -> None:
        if how in SITES:
            self._bend(which, how)
        elif how in CONTAINERS:
            self._hurt(which, how)
        else:
            self._occupy(which)

    def _hurt(self, which: int, how: str) -> None:
        """Remove or stop a container, or have its application turn bad."""
        boxes = [box for box in self.rig.machine.boxes.values() if box.instance and not box.name.endswith(".kept")]
        if not boxes:
            return
        box = boxes[which % len(boxes)]
        self.hurt.add(box.name)
        if how == "removed":
            del self.rig.machine.boxes[box.name]
        elif how == "stopped":
            self.rig.machine.stop(box, 1)
        else:
            box.behaviour = Behaviour(status=500)

    def _bend(self, which: int, how: str) -> None:
        """Remove or edit a site's file, or set one of its bits."""
        proxy, places = self.rig.proxy, sorted(self.rig.proxy.loaded.keys() & self.rig.store.snapshot.pairs.keys())
        if not places:
            return
        place = places[which % len(places)]
        now = proxy.switch[place]
        if how in ("lost", "edited"):
            getattr(proxy, how).add(place)
        elif how == "held":
            proxy.held ^= {place}
        elif how == "flipped" and now.slot is not None:
            proxy.switch[place] = replace(now, slot=now.slot.other)
        else:
            proxy.switch[place] = replace(now, fallback=not now.fallback)
        self.bent.add(place)

    def _occupy(self, which: int) -> None:
        """Another program takes a port that nobody of CodeB uses now, or those that did go away."""
        machine, snapshot = self.rig.machine, self.rig.store.snapshot
        used = {row.port for pair in snapshot.pairs.values() for row in pair.rows if row.state is not State.EMPTY}
        pairs = [pair for _, pair in sorted(snapshot.pairs.items())]
        idle = [row.port for pair in pairs for row in pair.rows if all(each.state is State.EMPTY for each in pair.rows)]
        ports = (*idle, 4100, 4101, 4105, 4502)
        port = ports[which % len(ports)]
        strangers = [name for name, box in machine.boxes.items() if not box.instance]
        if strangers or port in used:
            for name in strangers:
                del machine.boxes[name]
        else:
            machine.add_foreign(f"somebody-{port}", port)

    def outside(self) -> frozenset[int]:
        return frozenset(port for box in self.rig.machine.boxes.values() if not box.instance for _, port in box.published)

    # what came of it

    def look(self) -> None:
        """Forget what was put right, or is no more."""
        self.hurt = {name for name in self.hurt if self._is_hurt(name)}
        self.bent = {place for place in self.bent if self._is_bent(place)}

    def came_back(self) -> None:
        """A grace that was over when its project came back stays aside, stopped, until it is emptied."""
        for pair in self.rig.store.snapshot.pairs.values():
            over = pair.grace is not None and grace_expired(pair.grace, self.rig.store._now())
            if pair.grace is not None and over and f"{pair.grace.container}.kept" in self.rig.machine.boxes:
                self.hurt.add(pair.grace.container)

    def _is_hurt(self, name: str) -> bool:
        """Whether the slot still holds what was broken."""
        pair = self._pair_of(name)
        box = self.rig.machine.boxes.get(name)
        if pair is None or next(row for row in pair.rows if row.container == name).state is State.EMPTY:
            return False
        if self._is_deleted(pair.place):
            # it is set aside and stopped, as it should be; what is missing is made anew when the project comes back
            aside = self.rig.machine.boxes.get(f"{name}.kept")
            return aside is None or aside.behaviour.status == 500
        return box is None or not box.running or box.behaviour.status == 500

    def _is_deleted(self, place: Place) -> bool:
        return self.rig.store.snapshot.projects[place.project].state != READY

    def _pair_of(self, name: str) -> Pair | None:
        project, environment, _ = name.split("-")
        return self.rig.store.snapshot.pairs.get(Place(project, environment))

    def _is_bent(self, place: Place) -> bool:
        proxy, pair = self.rig.proxy, self.rig.store.snapshot.pairs.get(place)
        if pair is None or place not in proxy.loaded:
            return False
        held, now = place in proxy.held, proxy.switch[place]
        is_so = Live(None) if held else now
        wanted = Live(pair.active.slot if pair.active else None, self._stands(pair.grace))
        differs = is_so.slot is not wanted.slot or (not held and is_so.fallback is not wanted.fallback)
        return differs or place in proxy.lost | proxy.edited

    def _stands(self, row: SlotRow | None) -> bool:
        """Whether it runs, so that it may stand in. A grace that is over is not started again: then it may not."""
        box = None if row is None else self.rig.machine.boxes.get(row.container)
        return box is not None and box.running

    def unmended(self) -> set[str]:
        """What a round of reconciliation must not leave: all but what a person decides."""
        now, found = self.rig.store._now(), {place.key for place in self.bent if self._with_version(place)}
        for name in self.hurt:
            box, pair = self.rig.machine.boxes.get(name), self._pair_of(name)
            row = next(each for each in pair.rows if each.container == name) if pair else None
            kept_up = (
                row is not None
                and not self._is_deleted(row.place)
                and (row.state is State.ACTIVE or (row.state is State.GRACE and not grace_expired(row, now)))
            )
            if kept_up and (box is None or not box.running):
                found.add(name)
        return found

    def _with_version(self, place: Place) -> bool:
        """A site that was left by versions that are gone may be written anew by the next deploy."""
        return any(row.state is not State.EMPTY for row in self.rig.store.snapshot.pairs[place].rows)

    def explains(self, fault: str) -> bool:
        places = {name.rpartition("-")[0] for name in self.hurt} | {place.key for place in self.bent}
        if any(name in fault for name in self.hurt):
            return True
        return bool(re.match(r"the (proxy|public host)", fault)) and any(place in fault for place in places)
