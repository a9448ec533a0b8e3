"""Looks at the traffic at every instant: who had a version keeps answering, and nothing unproven ever answers (P1, P4)."""

from codeb.model.names import Place
from codeb.model.slots import Pair, State
from codeb.model.specs import Live
from tests.kit import Process, Rig

SWITCHES = {"promote": "target", "rollback": "target", "project_adopt": "slot"}
"""what may send traffic to a slot before it is on record, and which field of its input says to which"""


class Watch:
    """Every place of a rig. `faults` collects what was wrong, each once."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.faults: list[str] = []
        self.hurt: set[str] = set()
        """containers that the test broke itself: their sites may be down"""
        self.bent: set[Place] = set()
        """places whose site or switch the test changed itself"""
        self.had = {place for place, pair in rig.store.snapshot.pairs.items() if pair.active and self._answers(place)}

    def on(self, process: Process) -> None:
        process.world.at_point = self.look
        self.rig.machine.trap = self.look

    def look(self, point: str) -> None:
        for place, live in list(self.rig.proxy.switch.items()):
            for fault in self._of(place, live):
                if (said := f"at {point}: {fault}") not in self.faults:
                    self.faults.append(said)

    def _of(self, place: Place, live: Live) -> list[str]:
        snapshot = self.rig.store.snapshot
        pair, running = snapshot.pair_of(place), snapshot.running.get(place)
        mine = ("project_delete", "undelete", "project_purge", "preview_delete")
        if pair is None or place in self.bent or (running and running.saga in mine):
            return []
        found = []
        if place in self.had and not self._is_hurt(pair) and not self._answers(place):
            found.append(f"the public host of {place.key} does not answer")
        if live.slot is None or place in self.rig.proxy.held:
            return found
        aimed = running is not None and running.saga in SWITCHES and running.input.get(SWITCHES[running.saga]) == live.slot.value
        if pair[live.slot].state is not State.ACTIVE and not aimed:
            found.append(f"{live.slot} of {place.key} has the traffic and is {pair[live.slot].state}")
        if live.fallback and pair[live.slot.other].state is not State.GRACE:
            found.append(f"{live.slot.other} of {place.key} may stand in and is {pair[live.slot.other].state}")
        return found

    def _is_hurt(self, pair: Pair) -> bool:
        return any(row.container in self.hurt for row in pair.rows)

    def _answers(self, place: Place) -> bool:
        host = place.host(self.rig.policy.base_domain)
        return host in self.rig.health.broken or self.rig.health.through(host).ok
