"""What we need of the proxy in front: static sites, and a switch that is one bit."""

from collections.abc import Sequence
from typing import Protocol

from codeb.model.drift import Configured
from codeb.model.names import Place, Slot
from codeb.model.specs import Address, Live, Site


class Proxy(Protocol):
    """Sites and which slot is live. Every verb may be repeated with the same end.

    A site that was never given a live slot answers 503 with a page that says so. Raises `Unavailable` when the
    proxy does not answer, `Conflict` (code `proxy_refused`) when it refuses a configuration; the previous one stays,
    `NotFound` (code `no_site`) to make a slot live, or allow a fallback, where there is no site.
    """

    async def put_site(self, site: Site) -> bool:
        """Have this site configured and loaded; True when that needed a reload, False when it was so already."""

    async def remove_site(self, place: Place) -> None:
        """Take the site away, with its switch."""

    async def sites(self) -> Sequence[Place]:
        """The environments that have a site."""

    async def live(self, place: Place) -> Live:
        """What the proxy would do with the next request, read from the switch itself. No site: `Live(None)`."""

    async def set_live(self, place: Place, slot: Slot | None) -> None:
        """Switch all new requests to `slot`, at once, without a reload; None holds the site (503 page).

        Requests, streams and WebSockets under way stay where they are.
        """

    async def set_fallback(self, place: Place, allowed: bool) -> None:
        """Whether the other slot may answer when the live one is down. Only ever true for a slot in grace."""

    def route(self, host: str, *, standing_in: bool = False) -> Address:
        """Where a request for `host` enters the proxy, as a client on this machine reaches it.

        With `standing_in` this one request takes the way that all will take once the fallback is allowed, so that it can
        be tried before anybody depends on it.
        """


class ProxyUpkeep(Protocol):
    """What it takes to put right what somebody else did to the proxy."""

    async def runs(self) -> bool:
        """Whether the proxy's process is there; cheap, never raises."""

    async def configured(self, sites: Sequence[Site]) -> Configured:
        """Compare what is on disk and what is loaded with these sites. A dead process is a finding, not an error."""

    async def prepare(self, site: Site, live: Live) -> None:
        """Have what a proxy needs to serve this site: its switch, which appears with `live` when it is missing.

        While no process runs, the site's file too, since nobody could load it. A switch that is there is left as it is.
        """

    async def start(self) -> None:
        """Have the process running on the configuration on disk: started when dead, loaded when it runs another.

        Traffic of sites that are as they should be is not touched. Raises `Unavailable`.
        """


class Curtain(Protocol):
    """The maintenance page in front of an environment's public hosts; previews stay reachable. No reload.

    It is apart from the switch: a promote behind it moves the traffic as ever, and CodeB's own requests by `route` pass.
    """

    async def drawn(self, place: Place) -> bool:
        """Whether the page is shown; no site: False."""

    async def draw(self, place: Place, shown: bool) -> None:
        """Show the page, or take it away, at once. Raises `NotFound` (`no_site`) to show it where there is no site."""
