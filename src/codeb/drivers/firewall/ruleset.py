"""Our table of nftables: how it is written, and how it is read back.

Two chains. `input` is closed but for what is opened; ports that containers publish never pass it, so `forward` closes those
that were redirected, by the port they were first sent to. Rules of others, Docker's among them, still apply after ours.
"""

import ipaddress
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from codeb.model.firewall import Gates, Opening, Transport, ours

TABLE = "inet codeb"
GONE = f"add table {TABLE}\ndelete table {TABLE}\n"
"""the table away, whether it was there or not"""

INPUT = (
    ('iifname "lo" accept', "loopback"),
    ("ct state established,related accept", "established"),
    # Begun before there was a firewall to remember it: no connection can begin without a SYN.
    ("meta l4proto tcp tcp flags & syn != syn accept", "under-way"),
    ("meta l4proto { icmp, ipv6-icmp } accept", "icmp"),
    ("ip6 saddr fe80::/10 udp sport 547 udp dport 546 accept", "dhcp"),
)
FORWARD = (("ct state established,related accept", "established"),)
FORWARD_LAST = ("ct status dnat drop", "published")


def _from(cidr: str) -> str:
    net = ipaddress.ip_network(cidr)
    if net.prefixlen == 0:
        return f"meta nfproto ipv{net.version}"
    return f"{'ip' if net.version == 4 else 'ip6'} saddr {net}"


def _rule(text: str, comment: str) -> str:
    return f'\t\t{text} comment "{comment}"'


def render(openings: Iterable[Opening], gates: Gates) -> str:
    """The whole table, as one transaction that replaces the former one. Values are held to their grammar by the model."""
    every = [*gates.openings, *sorted(set(openings) - set(gates.openings))]
    lines = [GONE + f"table {TABLE} {{", "\tchain input {", "\t\ttype filter hook input priority -10; policy drop;"]
    lines += [_rule(text, f"codeb:-:{name}") for text, name in INPUT]
    lines += [_rule(f"{_from(each.cidr)} {each.transport} dport {each.port} accept", each.comment) for each in every]
    lines += ["\t}", "\tchain forward {", "\t\ttype filter hook forward priority -10; policy accept;"]
    lines += [_rule(text, f"codeb:-:{name}") for text, name in FORWARD]
    lines += [
        _rule(
            f"{_from(each.cidr)} meta l4proto {each.transport} ct status dnat ct original proto-dst {each.port} accept",
            each.comment,
        )
        for each in every
    ]
    lines += [_rule(FORWARD_LAST[0], f"codeb:-:{FORWARD_LAST[1]}"), "\t}", "}", ""]
    return "\n".join(lines)


@dataclass(frozen=True)
class Table:
    """Our table as it is in force. `frame` is all of it that no opening explains, in one text."""

    input: frozenset[Opening]
    forward: frozenset[Opening]
    frame: str


def parse(listing: bytes) -> Table:
    """What `nft -j list table` said. Raises `ValueError` when it is no such listing."""
    said = json.loads(listing)
    chains: dict[str, set[Opening]] = {"input": set(), "forward": set()}
    frame = []
    for item in said["nftables"]:
        rule = item.get("rule")
        if rule is not None:
            opening = _opening(rule.get("expr", []), str(rule.get("comment", "")))
            if opening is not None and rule["chain"] in chains:
                chains[rule["chain"]].add(opening)
                continue
        if "metainfo" not in item:
            frame.append(_bare(item))
    return Table(frozenset(chains["input"]), frozenset(chains["forward"]), json.dumps(frame, sort_keys=True))


def _bare(value: Any) -> Any:
    """Without numbers that each writing makes anew."""
    if isinstance(value, dict):
        return {key: _bare(each) for key, each in value.items() if key not in ("handle", "packets", "bytes")}
    return [_bare(each) for each in value] if isinstance(value, list) else value


def _opening(exprs: Sequence[dict[str, Any]], comment: str) -> Opening | None:
    """The opening that a rule is, as `render` writes them; None for any other rule."""
    if not ours(comment) or not exprs or exprs[-1] != {"accept": None}:
        return None
    found = dict[str, Any]()
    for each in exprs[:-1]:
        match = each.get("match", {})
        # a set or a status in force is said by `in`
        if match.get("op") not in ("==", "in"):
            return None
        said = _matched(match.get("left", {}), match.get("right"))
        if not said or said.keys() & found.keys():
            return None
        found |= said
    status = found.pop("status", None)
    transport, port = found.pop("transport", None), found.pop("port", None)
    if status not in (None, "dnat") or isinstance(port, bool) or not isinstance(port, int) or len(found) != 1:
        return None
    try:
        return Opening(Transport(transport or ""), port, _network(*found.popitem()), comment)
    except ValueError:
        return None


def _matched(left: dict[str, Any], value: Any) -> dict[str, Any]:
    """What a match says of transport, port, status, family or source; empty for anything else."""
    kind = None
    if "meta" in left:
        kind = {"nfproto": "family", "l4proto": "transport"}.get(left["meta"].get("key"))
    elif "ct" in left:
        kind = {"status": "status", "proto-dst": "port"}.get(left["ct"].get("key"))
    elif (payload := left.get("payload", {})).get("field") == "dport":
        return {"transport": payload.get("protocol"), "port": value}
    elif payload.get("field") == "saddr":
        kind = "source"
    return {kind: value} if kind else {}


def _network(kind: str, value: Any) -> str:
    """Raises `ValueError`."""
    if kind == "family":
        return {"ipv4": "0.0.0.0/0", "ipv6": "::/0"}[value] if value in ("ipv4", "ipv6") else str(ipaddress.ip_network(value))
    if isinstance(value, dict):
        return str(ipaddress.ip_network(f"{value['prefix']['addr']}/{value['prefix']['len']}"))
    return str(ipaddress.ip_network(str(value)))
