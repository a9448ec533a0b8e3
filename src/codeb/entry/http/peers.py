"""Who really calls: the socket's peer, or whom a configured proxy says it speaks for (S30)."""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

MOST_HOPS = 32


@dataclass(frozen=True)
class Client:
    """`ip` is the right-most address that no trusted proxy has; `https` whether a trusted proxy was asked over TLS."""

    ip: str | None
    https: bool = False


def client_of(peer: str | None, headers: Sequence[tuple[bytes, bytes]], trusted: Sequence[Network]) -> Client:
    """Headers of others than trusted proxies are not looked at. `X-Forwarded-For` counts before `Forwarded`.

    Each proxy adds at the right whom it heard; so the list is believed from the right, as far as it was written by
    trusted ones. What is no address ends it: the client is then the hop that reported it.
    """
    here = _address(peer)
    if here is None or not _within(here, trusted):
        return Client(peer)
    named = _listed(headers, b"x-forwarded-for")
    last = _parts(_listed(headers, b"forwarded"))
    told = named or [part.get("for", "") for part in last]
    for word in reversed(told[-MOST_HOPS:]):
        said = _address(_bare(word))
        if said is None:
            break
        here = said
        if not _within(said, trusted):
            break
    scheme = (_listed(headers, b"x-forwarded-proto") or ["" if named or not last else last[-1].get("proto", "")])[-1]
    return Client(str(here), scheme.lower() == "https")


def _listed(headers: Sequence[tuple[bytes, bytes]], name: bytes) -> list[str]:
    text = ",".join(value.decode("latin-1") for key, value in headers if key == name)
    return [part.strip() for part in text.split(",")] if text.strip() else []


def _parts(hops: list[str]) -> list[dict[str, str]]:
    """`for=192.0.2.1;proto=https`, hop by hop."""
    found = []
    for hop in hops:
        pairs = (pair.partition("=") for pair in hop.split(";"))
        found.append({name.strip().lower(): value.strip().strip('"') for name, _, value in pairs})
    return found


def _bare(word: str) -> str:
    """Without a port, which may stand behind `192.0.2.1` and behind `[2001:db8::1]`."""
    if word.startswith("["):
        return word[1:].partition("]")[0]
    return word.partition(":")[0] if word.count(":") == 1 else word


def _address(text: str | None) -> Address | None:
    try:
        found = ipaddress.ip_address(text or "")
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found


def _within(address: Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)
