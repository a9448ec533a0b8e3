"""The proxy in memory: the same promises, for tests of flows."""

from collections.abc import Sequence
from dataclasses import replace

from codeb.errors import Conflict, NotFound
from codeb.model.names import Place, Slot
from codeb.model.specs import Address, Live, Site


class MemoryProxy:
    """Sites and switches as plain values. `down` holds ports that do not answer; `refuse` hosts that are refused."""

    def __init__(self) -> None:
        self.loaded: dict[Place, Site] = {}
        self.switch: dict[Place, Live] = {}
        self.held: set[Place] = set()
        self.down: set[int] = set()
        self.refuse: set[str] = set()
        self.reloads = 0

    async def put_site(self, site: Site) -> bool:
        if self.loaded.get(site.place) == site:
            return False
        taken = {host for place, other in self.loaded.items() if place != site.place for host in _hosts(other)}
        if (taken | self.refuse) & set(_hosts(site)):
            raise Conflict(
                "The proxy refused the configuration; the previous one is still in force.",
                code="proxy_refused",
                hint="Use hosts that no other site has.",
                details={"caddy": "ambiguous site definition"},
            )
        if site.place not in self.switch:
            self.switch[site.place] = Live(Slot.BLUE)
            self.held.add(site.place)
        self.loaded[site.place] = site
        self.reloads += 1
        return True

    async def remove_site(self, place: Place) -> None:
        if self.loaded.pop(place, None) is not None:
            self.reloads += 1
        self.switch.pop(place, None)
        self.held.discard(place)

    async def sites(self) -> Sequence[Place]:
        return sorted(self.loaded)

    async def live(self, place: Place) -> Live:
        return Live(None) if place in self.held else self.switch.get(place, Live(None))

    async def set_live(self, place: Place, slot: Slot | None) -> None:
        if place not in self.switch:
            if slot is not None:
                raise _no_site(place)
            return
        if slot is None:
            self.held.add(place)
            return
        self.switch[place] = replace(self.switch[place], slot=slot)
        self.held.discard(place)

    async def set_fallback(self, place: Place, allowed: bool) -> None:
        if place not in self.switch:
            if allowed:
                raise _no_site(place)
            return
        self.switch[place] = replace(self.switch[place], fallback=allowed)

    def route(self, host: str, *, standing_in: bool = False) -> Address:
        return Address("127.0.0.1", 80, host_header=host)

    def answers(self, host: str) -> Slot | None:
        """Which slot a request for `host` would reach now; None for a 404, a 503 page or nobody answering."""
        for place, site in self.loaded.items():
            for slot, preview in site.preview_hosts:
                if preview == host:
                    return None if site.port(slot) in self.down else slot
            if host in site.hosts:
                return self._public(place, site)
        return None

    def _public(self, place: Place, site: Site) -> Slot | None:
        now = self.switch[place]
        if place in self.held or now.slot is None:
            return None
        wanted = (now.slot, now.slot.other) if now.fallback else (now.slot,)
        return next((slot for slot in wanted if site.port(slot) not in self.down), None)


def _hosts(site: Site) -> list[str]:
    return [*site.hosts, *(host for _, host in site.preview_hosts)]


def _no_site(place: Place) -> NotFound:
    text = f"The proxy has no site for {place.key}; nothing was switched."
    return NotFound(text, code="no_site", hint="Set the site up first.")
