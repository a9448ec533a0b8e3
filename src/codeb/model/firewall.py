"""The firewall: who may reach which port, the rows that say so, and how a rule in a firewall is known to be ours."""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from codeb.model.drift import Mismatch, Remedy, unseen
from codeb.model.events import Severity
from codeb.model.ports import Range

STORAGE_PORTS = (Range(5432, 5499), Range(6379, 6499))
"""PostgreSQL and Redis: closed except to the app servers, unless somebody says otherwise"""

NOBODY = "-"
"""stands for the project in a rule that belongs to the installation"""

COMMENT = re.compile(r"codeb:(-|[a-z][a-z0-9-]{0,39}):([a-z0-9][a-z0-9-]{0,39})")


class Transport(StrEnum):
    TCP = "tcp"
    UDP = "udp"


@dataclass(frozen=True, order=True)
class Opening:
    """One port open to one network, as a firewall has it. Two are the same opening whatever their comments say."""

    transport: Transport
    port: int
    cidr: str
    comment: str = field(default="", compare=False)

    def __str__(self) -> str:
        return f"{self.port}/{self.transport} from {self.cidr}"


@dataclass(frozen=True)
class Rule:
    """A row: this opening on this server, for this project (`NOBODY`: for the installation) and purpose."""

    server: str
    transport: Transport
    port: int
    cidr: str
    project: str
    purpose: str
    created_at: datetime | None = None
    created_by: str = ""

    @property
    def comment(self) -> str:
        return f"codeb:{self.project}:{self.purpose}"

    @property
    def opening(self) -> Opening:
        return Opening(self.transport, self.port, self.cidr, self.comment)

    @property
    def key(self) -> tuple[str, Transport, int, str, str]:
        """What is unique in the store."""
        return self.server, self.transport, self.port, self.cidr, self.project


@dataclass(frozen=True)
class Gates:
    """What stays open whatever the rows say: the way in for people, and what CodeB and its proxy serve."""

    ssh: int = 22
    public: tuple[tuple[Transport, int], ...] = ()

    @property
    def openings(self) -> tuple[Opening, ...]:
        ports = [(Transport.TCP, self.ssh, "codeb:-:ssh"), *((kind, port, "codeb:-:public") for kind, port in self.public)]
        every = ("0.0.0.0/0", "::/0")
        return tuple(Opening(kind, port, cidr, comment) for kind, port, comment in ports for cidr in every)


@dataclass(frozen=True)
class Standing:
    """What a firewall has in force."""

    on: bool = True
    """whether there are any rules of ours at all, those of `Gates` included"""
    begun: bool = True
    """whether it was ever on: one that is off since the machine restarted is turned on again by itself"""
    ours: frozenset[Opening] = frozenset()
    """our openings without those of `Gates`"""
    others: frozenset[Opening] = frozenset()
    """openings that somebody else made: they serve as well, and are nobody's to change here"""
    edited: str = ""
    """what else of ours is not as it was left, in words"""

    @property
    def open(self) -> frozenset[Opening]:
        return self.ours | self.others


def is_storage(port: int) -> bool:
    return any(port in span for span in STORAGE_PORTS)


def ours(comment: str) -> bool:
    return COMMENT.fullmatch(comment) is not None


def wanted(rules: Iterable[Rule], servers: Collection[str] | None, live: Collection[str]) -> dict[Opening, Opening]:
    """The openings that are to be in force, each once, with the comment of the first rule that asks for it.

    `servers`: those the firewall guards, None for all; `live`: projects that are not deleted.
    """
    found = dict[Opening, Opening]()
    for rule in sorted(rules, key=lambda each: (each.project, each.purpose)):
        if (servers is None or rule.server in servers) and (rule.project == NOBODY or rule.project in live):
            found.setdefault(rule.opening, rule.opening)
    return found


def change(want: Collection[Opening], touched: Iterable[Opening]) -> tuple[tuple[Opening, ...], tuple[Opening, ...]]:
    """Of these openings: which are to be open, and which are not."""
    by = {each: each for each in want}
    some = sorted(set(touched))
    return tuple(by[each] for each in some if each in by), tuple(each for each in some if each not in by)


def differences(standing: Standing, want: Collection[Opening], *, fixed: bool = False) -> list[Mismatch]:
    """Where the firewall is not what the rows say. `fixed`: whether strangers are closed too, because somebody asked for it."""
    if not standing.on:
        policy, repair = (Remedy.MENDED, "it is turned on again") if standing.begun or fixed else (
            Remedy.REPORTED, "look at firewall_list, then call firewall_sync with fix: that turns it on")  # fmt: skip
        return [
            Mismatch(
                "firewall_off", "firewall", "The firewall is off: every port is open", repair, policy, severity=Severity.ALARM
            )
        ]
    found = []
    if standing.edited:
        text = f"The firewall's own rules were changed by somebody else: {standing.edited}"
        found.append(
            Mismatch("firewall_edited", "firewall", text, "they are written anew", Remedy.MENDED, severity=Severity.ALARM)
        )
    for each in sorted(set(want) - standing.open):
        text = f"The firewall does not let in {each}, which it should"
        found.append(
            Mismatch("firewall_missing", str(each), text, "it is opened again", Remedy.MENDED, port=each.port, subject=str(each))
        )
    for each in sorted(standing.ours - set(want)):
        text = f"The firewall lets in {each} ({each.comment or 'no comment'}), which nobody asked for"
        policy, repair = (Remedy.MENDED, "it is closed") if fixed else (
            Remedy.REPORTED, "firewall_sync with fix closes it, firewall_allow keeps it")  # fmt: skip
        found.append(
            Mismatch(
                "firewall_stranger", str(each), text, repair, policy, port=each.port, severity=Severity.ALARM, subject=str(each)
            )
        )
    return found


def unknown(why: str) -> list[Mismatch]:
    return [unseen("The firewall", why)]
