"""A name as somebody outside sees it: what it resolves to, which certificate and which answer is there."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from codeb.model.specs import Address, Answer


@dataclass(frozen=True)
class Looked:
    """What a name resolves to for one type. `reason` says why nothing could be learnt; no records at all is no reason."""

    values: tuple[str, ...] = ()
    reason: str = ""


@dataclass(frozen=True)
class Certificate:
    """What was shown in a handshake; `issuer` None: none was, for this reason."""

    issuer: str | None = None
    expires_at: datetime | None = None
    covers: bool = False
    """whether it is for the name that was asked for"""
    trusted: bool = False
    """whether a browser without our own authority would accept it"""
    reason: str = ""


class Outside(Protocol):
    """Never raises for what the other side does. Each verb takes at most `seconds`, however slowly bytes drip.

    It connects to the very address it is given and follows nothing: whoever calls has checked that address (S14).
    """

    async def lookup(self, name: str, kind: str, seconds: float) -> Looked:
        """A, AAAA (through CNAMEs) or TXT, asked of the resolvers of this installation."""

    async def certificate(self, address: Address, seconds: float) -> Certificate:
        """The certificate for `address.host_header` at this address."""

    async def visit(self, address: Address, seconds: float) -> Answer:
        """One GET; a redirect is an answer."""
