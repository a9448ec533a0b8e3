"""PowerDNS by its HTTP API, and by real queries to the server it runs.

Its own errors come as JSON (422) and as plain text (401, 404, 409): only the status decides, the text is evidence.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import dns.asyncquery
import dns.exception
import dns.message
import dns.rcode
import dns.rdatatype
import httpx2

from codeb.errors import Conflict, InvalidParams, Unavailable
from codeb.model.domains import TTL, RecordSet, checked, zones_above
from codeb.model.secret import Secret
from codeb.model.specs import Finding

MARK = "codeb"
"""the account of a zone that we made"""
QUERY_SECONDS = 3.0
ANSWER_BYTES = 32 * 1024 * 1024
OWN_TYPES = frozenset({"SOA", "NS"})


@dataclass(frozen=True)
class PowerDnsSettings:
    """`url` is that of the API, without /api; `address` and `port` are where the server answers queries."""

    url: str
    api_key: Secret = field(repr=False)
    address: str
    port: int = 53
    nameservers: tuple[str, ...] = ()
    """names of the servers that a new zone has, the first one its primary; empty: no zone is made"""
    seconds: float = 5.0


class PowerDns:
    """`Dns` on PowerDNS 4.7 or newer. `permit` is asked before what changes something."""

    def __init__(self, settings: PowerDnsSettings, permit: Callable[[], None] = lambda: None) -> None:
        self._settings = settings
        self._permit = permit
        self._base = f"{settings.url.rstrip('/')}/api/v1/servers/localhost"

    @cached_property
    def _client(self) -> httpx2.AsyncClient:
        """Made when it is first used: reading this machine's certificates takes longer than the start of everything else."""
        settings = self._settings
        return httpx2.AsyncClient(
            headers={"X-API-Key": settings.api_key.reveal(), "Accept": "application/json"},
            timeout=httpx2.Timeout(settings.seconds), trust_env=False, follow_redirects=False,
        )  # fmt: skip

    @property
    def makes_zones(self) -> bool:
        return bool(self._settings.nameservers)

    async def close(self) -> None:
        if "_client" in vars(self):
            await self._client.aclose()

    async def check(self) -> Finding:
        """The line about DNS in a health report."""
        try:
            about = await self._json("GET", "")
        except Unavailable as fault:
            return Finding("dns", "fail", fault.message, fault.hint)
        return Finding("dns", "pass", f"PowerDNS {str(about.get('version', '?'))[:20]} answers.")

    async def zone_of(self, name: str) -> str | None:
        for zone in zones_above(name):
            if (await self._ask("GET", _path(zone), params={"rrsets": "false"}, known=(404, 422))).status_code == 200:
                return zone
        return None

    async def make_zone(self, zone: str) -> None:
        if not self._settings.nameservers:
            raise Conflict(
                f"There is no zone for {zone}, and it is not said which name servers a new one has; nothing was made.",
                code="no_nameservers", hint="Set CODEB_PDNS_NAMESERVERS, or make the zone.",
            )  # fmt: skip
        names = [_dotted(each) for each in self._settings.nameservers]
        soa = f"{names[0]} hostmaster.{_dotted(zone)} 0 10800 3600 604800 {TTL}"
        first = {"content": soa, "disabled": False}
        body = {
            "name": _dotted(zone), "kind": "Native", "account": MARK, "soa_edit_api": "DEFAULT", "nameservers": names,
            "rrsets": [{"name": _dotted(zone), "type": "SOA", "ttl": 3600, "records": [first]}],
        }  # fmt: skip
        await self._ask("POST", "/zones", body=body, known=(409,))

    async def drop_zone(self, zone: str) -> bool:
        found = await self._zone(zone)
        if found is None:
            return True
        left = [each for each in found["rrsets"] if each["type"] not in OWN_TYPES or each["name"] != _dotted(zone)]
        if found.get("account") != MARK or left:
            return False
        await self._ask("DELETE", _path(zone), known=(404, 422))
        return True

    async def records(self, zone: str) -> Sequence[RecordSet] | None:
        found = await self._zone(zone)
        return None if found is None else [_records(each) for each in found["rrsets"]]

    async def change(self, zone: str, put: Sequence[RecordSet], drop: Sequence[RecordSet]) -> None:
        sets = [_replace(each) for each in put]
        sets += [{"name": _dotted(each.name), "type": each.type, "changetype": "DELETE"} for each in drop]
        if sets:
            await self._ask("PATCH", _path(zone), body={"rrsets": sets})

    async def served(self, name: str, kind: str) -> tuple[str, ...]:
        query = dns.message.make_query(name, kind)
        try:
            where, port = self._settings.address, self._settings.port
            answer, _ = await dns.asyncquery.udp_with_fallback(query, where, timeout=QUERY_SECONDS, port=port)
        except (dns.exception.DNSException, OSError) as fault:
            raise Unavailable(
                f"The DNS server does not answer queries at {self._settings.address}: {fault}"[:300],
                code="dns_unavailable", hint="Look at CODEB_PDNS_SERVER, and whether the server runs.",
            ) from fault  # fmt: skip
        wanted = dns.rdatatype.from_text(kind)
        found = (item for rrset in answer.answer if rrset.rdtype == wanted for item in rrset)
        return tuple(sorted(item.to_text().rstrip(".").strip('"') for item in found))

    # the API

    async def _zone(self, zone: str) -> dict[str, Any] | None:
        got = await self._ask("GET", _path(zone), known=(404, 422))
        return _parsed(got) if got.status_code == 200 else None

    async def _json(self, method: str, path: str) -> dict[str, Any]:
        return _parsed(await self._ask(method, path))

    async def _ask(
        self, method: str, path: str, *, body: Any = None, params: dict[str, str] | None = None, known: tuple[int, ...] = ()
    ) -> httpx2.Response:
        if method != "GET":
            self._permit()
        try:
            async with asyncio.timeout(self._settings.seconds * 2):
                got = await self._client.request(method, self._base + path, json=body, params=params)
        except (httpx2.HTTPError, TimeoutError, OSError) as fault:
            raise Unavailable(
                f"The DNS server's API does not answer ({type(fault).__name__}); no more was changed in DNS.",
                code="dns_unavailable", hint="Look at CODEB_PDNS_URL, and whether PowerDNS runs. Names go on as they are.",
            ) from fault  # fmt: skip
        if got.is_success or got.status_code in known:
            return got
        said = got.text[:300].strip()
        if got.status_code in (401, 403):
            raise Unavailable(
                "The DNS server does not take our key; nothing was changed.", code="dns_unavailable",
                hint="Set CODEB_PDNS_API_KEY to the api-key of PowerDNS.",
            )  # fmt: skip
        if got.status_code >= 500:
            raise Unavailable(f"The DNS server failed: {said}", code="dns_unavailable", hint="Look at the log of PowerDNS.")
        raise Conflict(
            f"The DNS server refused the change; nothing of it was made: {said}", code="dns_refused",
            hint="Most often another record of that name stands in the way.", details={"status": got.status_code, "said": said},
        )  # fmt: skip


def _parsed(got: httpx2.Response) -> dict[str, Any]:
    try:
        found = got.json()
        if not isinstance(found, dict) or len(got.content) > ANSWER_BYTES:
            raise ValueError
    except ValueError as fault:
        raise Unavailable(
            "What answers at CODEB_PDNS_URL is no PowerDNS.", code="dns_unavailable", hint="Look at CODEB_PDNS_URL."
        ) from fault
    return found


def _dotted(name: str) -> str:
    return f"{name}."


def _path(zone: str) -> str:
    # a zone's name has passed the grammar of domains: nothing in it needs escaping
    return f"/zones/{_dotted(zone)}"


def _replace(records: RecordSet) -> dict[str, Any]:
    try:
        sound = checked(records)
    except ValueError as fault:
        raise InvalidParams(f"This record is not put into DNS: {fault}; nothing was changed.", code="bad_record") from fault
    contents = [_content(sound.type, value) for value in sound.values]
    return {
        "name": _dotted(sound.name), "type": sound.type, "ttl": sound.ttl, "changetype": "REPLACE",
        "records": [{"content": each, "disabled": False} for each in contents],
    }  # fmt: skip


def _content(kind: str, value: str) -> str:
    if kind in ("CNAME", "MX"):
        return _dotted(value)
    return f'"{value}"' if kind == "TXT" else value


def _records(found: dict[str, Any]) -> RecordSet:
    kind = str(found["type"])
    contents = [str(each["content"]) for each in found.get("records", ()) if not each.get("disabled")]
    if kind in ("CNAME", "MX"):
        contents = [each.rstrip(".") for each in contents]
    elif kind == "TXT":
        contents = [each.strip('"') for each in contents]
    return RecordSet(str(found["name"]).rstrip("."), kind, tuple(sorted(contents)), int(found.get("ttl", 0)))
