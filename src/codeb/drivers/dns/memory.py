"""A DNS server in memory: the same promises, for tests of flows."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from codeb.errors import Conflict, InvalidParams, Unavailable
from codeb.model.domains import RecordSet, below, checked, zones_above


@dataclass
class Zone:
    ours: bool = False
    sets: dict[tuple[str, str], RecordSet] = field(default_factory=dict)
    """by name and type, without SOA and NS"""


class MemoryDns:
    """`Dns`. `away`: it does not answer; `makes_zones` False: nobody said which a new zone has."""

    def __init__(self) -> None:
        self.zones: dict[str, Zone] = {}
        self.away = False
        self.makes_zones = True

    def _answer(self) -> None:
        if self.away:
            raise Unavailable("The DNS server does not answer.", code="dns_unavailable", hint="Look whether it runs.")

    async def zone_of(self, name: str) -> str | None:
        self._answer()
        return self.holding(name)

    def holding(self, name: str) -> str | None:
        return next((zone for zone in zones_above(name) if zone in self.zones), None)

    async def make_zone(self, zone: str) -> None:
        self._answer()
        if zone not in self.zones and not self.makes_zones:
            raise Conflict("Nobody said which name servers a new zone has.", code="no_nameservers", hint="Say so.")
        self.zones.setdefault(zone, Zone(ours=True))

    async def drop_zone(self, zone: str) -> bool:
        self._answer()
        found = self.zones.get(zone)
        if found is None:
            return True
        if not found.ours or found.sets:
            return False
        del self.zones[zone]
        return True

    async def records(self, zone: str) -> Sequence[RecordSet] | None:
        self._answer()
        found = self.zones.get(zone)
        return None if found is None else list(found.sets.values())

    async def change(self, zone: str, put: Sequence[RecordSet], drop: Sequence[RecordSet]) -> None:
        try:
            sound = [checked(each) for each in put]
        except ValueError as fault:
            raise InvalidParams(f"This record is not put into DNS: {fault}.", code="bad_record") from fault
        if not put and not drop:
            return
        self._answer()
        found = self.zones.get(zone)
        if found is None:
            raise Conflict("The DNS server refused the change: there is no such zone.", code="dns_refused", hint="Make it.")
        sets = {key: each for key, each in found.sets.items() if key not in {(gone.name, gone.type) for gone in drop}}
        sets |= {(each.name, each.type): each for each in sound}
        for name, kind in sets:
            alone = kind != "CNAME" or not any(other[0] == name and other[1] != "CNAME" for other in sets)
            if not alone or not below(name, zone):
                raise Conflict("The DNS server refused the change: another record is there.", code="dns_refused", hint="Look.")
        found.sets = sets

    async def served(self, name: str, kind: str) -> tuple[str, ...]:
        self._answer()
        zone = self.zones.get(self.holding(name) or "")
        found = zone.sets.get((name, kind)) if zone else None
        return found.values if found else ()
