"""The firewall group of a Vultr account, by its API v2: rules that only let in, without a way to change one.

The vendor's API knows no transaction and no timer: a change is made rule by rule, new ones first, and what is not proven is taken
back the same way. What a death leaves half done is put right by whoever resumes the operation. Rules without our comment are
never touched, and serve where they say the same.
"""

import asyncio
import ipaddress
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx2

from codeb.contracts.firewall import Proof
from codeb.errors import StepFailed, Unavailable
from codeb.model.firewall import Gates, Opening, Standing, Transport, ours
from codeb.model.secret import Secret

log = logging.getLogger("codeb.firewall")

CALL_SECONDS = 10.0
TRIES, PAUSE = 5, 0.5
"""of a call that is refused because there were too many; the pause doubles each time"""
PAGE, PAGES = 100, 100


@dataclass(frozen=True)
class Found:
    """One rule of the group."""

    id: int
    opening: Opening
    ours: bool


class VultrFirewall:
    """See `contracts.firewall.Firewall`. One group for every server that is attached to it."""

    provider, everywhere = "vultr", True

    def __init__(
        self, url: str, key: Secret, group: str, gates: Gates, permit: Callable[[], None], *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:  # fmt: skip
        self._rules = f"{url}/firewalls/{group}/rules"
        self._key, self._gates, self._permit, self._sleep = key, gates, permit, sleep
        self._turn = asyncio.Lock()

    # looking

    async def look(self) -> Standing:
        return self._standing(await self._found())

    def _standing(self, found: Sequence[Found]) -> Standing:
        missing = [str(each) for each in self._lacking(found)]
        gates = set(self._gates.openings)
        return Standing(
            ours=frozenset(each.opening for each in found if each.ours) - gates,
            others=frozenset(each.opening for each in found if not each.ours or each.opening in gates),
            edited=f"it lacks {', '.join(missing)}" if missing else "",
        )  # fmt: skip

    def _lacking(self, found: Sequence[Found]) -> list[Opening]:
        """What of the gates is missing. SSH that somebody opened to fewer is open enough: it is theirs to narrow."""
        there = {each.opening for each in found}
        ssh = any((each.transport, each.port) == (Transport.TCP, self._gates.ssh) for each in there)
        return [
            each for each in self._gates.openings
            if each not in there and not (ssh and (each.transport, each.port) == (Transport.TCP, self._gates.ssh))
        ]  # fmt: skip

    async def _found(self) -> list[Found]:
        rules, cursor = list[Found](), ""
        for _ in range(PAGES):
            said = await self._call("GET", self._rules, params={"per_page": str(PAGE)} | ({"cursor": cursor} if cursor else {}))
            try:
                rules += [each for rule in said["firewall_rules"] if (each := _read(rule)) is not None]
                cursor = said["meta"]["links"]["next"]
            except (KeyError, TypeError, ValueError) as fault:
                raise _away(f"its list of rules cannot be read ({type(fault).__name__})") from fault
            if not cursor:
                return rules
        raise _away("its list of rules does not end")

    # changing

    async def change(self, add: Sequence[Opening], remove: Sequence[Opening], proof: Proof) -> bool:
        async with self._turn:
            self._permit()
            found = await self._found()
            there = {each.opening for each in found}
            lacking = [each for each in self._lacking(found) if each not in add]
            fresh = [each for each in (*lacking, *add) if each not in there]
            kept = {*add, *self._gates.openings}
            gone = [each for each in found if each.ours and each.opening in remove and each.opening not in kept]
            if not fresh and not gone:
                return False
            made, closed = list[Opening](), list[Opening]()
            try:
                for opening in fresh:
                    made.append(opening)
                    await self._open(opening)
                for rule in gone:
                    closed.append(rule.opening)
                    await self._call("DELETE", f"{self._rules}/{rule.id}", missing=True)
                await proof()
            except BaseException:
                await self._come_back(closed, made)
                raise
            return True

    async def _open(self, opening: Opening) -> None:
        """Raises `StepFailed` (`firewall_refused`). One that is there meanwhile is no fault."""
        net = ipaddress.ip_network(opening.cidr)
        body = {
            "ip_type": f"v{net.version}", "protocol": opening.transport.value, "subnet": str(net.network_address),
            "subnet_size": net.prefixlen, "port": str(opening.port), "notes": opening.comment,
        }  # fmt: skip
        try:
            await self._call("POST", self._rules, json=body)
        except StepFailed:
            if opening not in {each.opening for each in await self._found()}:
                raise

    async def _come_back(self, closed: Sequence[Opening], made: Sequence[Opening]) -> None:
        """What fails here is put right by the operation's own way back, and told until then."""
        try:
            for opening in closed:
                await self._open(opening)
            for rule in await self._found():
                if rule.ours and rule.opening in made:
                    await self._call("DELETE", f"{self._rules}/{rule.id}", missing=True)
        except (StepFailed, Unavailable) as fault:
            log.error("the firewall group is only partly as it was: %s", fault.message)

    async def settle(self) -> bool:
        return False

    # the API

    async def _call(
        self, method: str, url: str, *, params: Mapping[str, str] | None = None, json: Any = None, missing: bool = False
    ) -> dict[str, Any]:
        """Raises `StepFailed` for what is refused, `Unavailable` for the rest. `missing`: a 404 is as good as done."""
        headers = {"Authorization": f"Bearer {self._key.reveal()}", "Accept": "application/json"}
        for attempt in range(TRIES):
            if method != "GET":
                self._permit()
            try:
                async with httpx2.AsyncClient(trust_env=False, timeout=CALL_SECONDS, follow_redirects=False) as client:
                    answer = await client.request(method, url, params=params, json=json, headers=headers)
            except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as fault:
                raise _away(str(fault)[:200] or type(fault).__name__) from fault
            if answer.status_code == 429 and attempt < TRIES - 1:
                await self._sleep(PAUSE * 2**attempt)
                continue
            if answer.status_code in (200, 201, 202, 204) or (missing and answer.status_code == 404):
                return _body(answer)
            raise _refused(answer)
        raise AssertionError("the last try has ended")


def _body(answer: httpx2.Response) -> dict[str, Any]:
    if not answer.content or answer.status_code == 404:
        return {}
    try:
        said = answer.json()
    except ValueError as fault:
        raise _away("its answer is no JSON") from fault
    return said if isinstance(said, dict) else {}


def _refused(answer: httpx2.Response) -> StepFailed | Unavailable:
    try:
        text = str(answer.json().get("error", ""))[:300]
    except (ValueError, AttributeError):
        text = ""
    said = f"status {answer.status_code}" + (f": {text}" if text else "")
    if answer.status_code == 400:
        return StepFailed(
            f"The firewall refused a rule ({said}); what was in force still is.", code="firewall_refused",
            hint="A group holds a limited number of rules; see details.", details={"vendor": text},
        )  # fmt: skip
    hint = {
        401: "CODEB_VULTR_API_KEY is not taken; its access list must also hold this machine's address.",
        404: "There is no such group: see CODEB_VULTR_FIREWALL_GROUP.",
        429: "Too many calls; it is tried again.",
    }.get(answer.status_code, "Try again in a moment.")
    return _away(said, hint)


def _away(why: str, hint: str = "Try again in a moment.") -> Unavailable:
    return Unavailable(f"The vendor's firewall does not answer as it should: {why}.", code="firewall_unavailable", hint=hint)


def _read(rule: Mapping[str, Any]) -> Found | None:
    """None for what is no single port of TCP or UDP open to a network. Raises `KeyError`, `TypeError`, `ValueError`."""
    port = str(rule.get("port", ""))
    if rule["protocol"] not in ("tcp", "udp") or rule.get("source") or not (port.isascii() and port.isdecimal()):
        return None
    network = str(ipaddress.ip_network(f"{rule['subnet']}/{rule['subnet_size']}", strict=False))
    notes = str(rule.get("notes") or "")
    return Found(int(rule["id"]), Opening(Transport(rule["protocol"]), int(port), network, notes), ours(notes))
