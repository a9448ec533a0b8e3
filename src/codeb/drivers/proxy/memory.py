"""The proxy in memory: the same promises, for tests of flows."""

from collections.abc import Sequence
from dataclasses import replace

from codeb.errors import Conflict, NotFound, Unavailable
from codeb.model.drift import Configured
from codeb.model.names import Place, Slot
from codeb.model.specs import Address, Live, Site


class MemoryProxy:
    """`Proxy`, `ProxyUpkeep` and `Curtain`: sites and switches as plain values.

    `down` holds ports that do not answer; `refuse` hosts that are refused. What somebody else did: `lost` and `edited` site
    files, `strange` ones, a `foreign` configuration loaded over ours, `dead`: its process is killed, `stuck`: and stays so.
    """

    def __init__(self) -> None:
        self.loaded: dict[Place, Site] = {}
        self.switch: dict[Place, Live] = {}
        self.held: set[Place] = set()
        self.curtains: set[Place] = set()
        self.down: set[int] = set()
        self.refuse: set[str] = set()
        self.reloads = 0
        self.lost: set[Place] = set()
        self.edited: set[Place] = set()
        self.strange: set[str] = set()
        self.foreign = self.dead = self.stuck = False

    def is_so(self, site: Site) -> bool:
        return self.loaded.get(site.place) == site and site.place not in self.lost | self.edited

    async def put_site(self, site: Site) -> bool:
        if self.is_so(site):
            return False
        self._alive()
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
        self._written(site)
        self.reloads += 1
        self.foreign = False
        return True

    def _written(self, site: Site) -> None:
        self.loaded[site.place] = site
        self.lost.discard(site.place)
        self.edited.discard(site.place)

    def _alive(self) -> None:
        if self.dead:
            raise Unavailable("The proxy's admin socket does not answer; it is switched off.", hint="Start it.")

    async def runs(self) -> bool:
        return not self.dead

    async def configured(self, sites: Sequence[Site]) -> Configured:
        missing = {site.place for site in sites if site.place in self.lost or site.place not in self.loaded}
        edited = {site.place for site in sites if site.place not in missing and not self.is_so(site)}
        known = {site.place for site in sites}
        strange = self.strange | {place.key for place in self.loaded if place not in known}
        loaded = None if self.dead else not (self.foreign or self.lost or self.edited)
        return Configured(not self.dead, loaded, frozenset(missing), frozenset(edited), tuple(sorted(strange)))

    async def prepare(self, site: Site, live: Live) -> None:
        if site.place not in self.switch:
            self.switch[site.place] = Live(live.slot or Slot.BLUE, live.fallback)
            if live.slot is None:
                self.held.add(site.place)
        if self.dead:
            self._written(site)

    async def start(self) -> None:
        if self.dead and self.stuck:
            raise Unavailable("The proxy could not be started; no site is served by it.", hint="Read its last lines.")
        self.dead = self.foreign = False

    async def remove_site(self, place: Place) -> None:
        self._alive()
        if self.loaded.pop(place, None) is not None:
            self.reloads += 1
        self.switch.pop(place, None)
        for marked in (self.held, self.curtains, self.lost, self.edited):
            marked.discard(place)

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

    async def drawn(self, place: Place) -> bool:
        return place in self.curtains

    async def draw(self, place: Place, shown: bool) -> None:
        if shown and place not in self.switch:
            raise _no_site(place)
        (self.curtains.add if shown else self.curtains.discard)(place)

    def route(self, host: str, *, standing_in: bool = False) -> Address:
        return Address("127.0.0.1", 80, host_header=host)

    def answers(self, host: str) -> Slot | None:
        """Which slot a request for `host` would reach now; None for a 404, a 503 page or nobody answering."""
        if self.dead or self.foreign:
            return None
        for place, site in self.loaded.items():
            for slot, preview in site.preview_hosts:
                if preview == host:
                    return None if site.port(slot) in self.down else slot
            if host in site.hosts:
                return self._public(place, site)
        return None

    def _public(self, place: Place, site: Site) -> Slot | None:
        now = self.switch.get(place, Live(Slot.BLUE))
        if place in self.held or now.slot is None:
            return None
        wanted = (now.slot, now.slot.other) if now.fallback else (now.slot,)
        return next((slot for slot in wanted if site.port(slot) not in self.down), None)


def _hosts(site: Site) -> list[str]:
    return [*site.names, *(host for _, host in site.preview_hosts)]


def _no_site(place: Place) -> NotFound:
    text = f"The proxy has no site for {place.key}; nothing was switched."
    return NotFound(text, code="no_site", hint="Set the site up first.")
