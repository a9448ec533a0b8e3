"""The outside by real queries and connections: dnspython for names, a handshake for certificates, one GET for the answer."""

import asyncio
import ssl
from dataclasses import replace
from functools import cache, lru_cache
from pathlib import Path

from codeb.contracts.health import Health
from codeb.contracts.outside import Certificate, Looked
from codeb.model.specs import Address, Answer


class NetworkOutside:
    """`Outside`. `resolvers` are (address, port); none: those of this machine."""

    def __init__(self, health: Health, resolvers: tuple[tuple[str, int], ...] = ()) -> None:
        self._health = health
        self._resolvers = resolvers

    async def lookup(self, name: str, kind: str, seconds: float) -> Looked:
        # its library costs start-up time that nobody else pays
        from codeb.drivers.outside.lookups import lookup

        return await lookup(self._resolvers, name, kind, seconds)

    async def certificate(self, address: Address, seconds: float) -> Certificate:
        name = address.host_header or address.host
        shown = await _leaf(address, name, _anything(), seconds)
        if isinstance(shown, str):
            return Certificate(reason=shown)
        # its library costs start-up time that nobody else pays
        from codeb.drivers.outside.leaf import read

        try:
            seen = read(shown, name)
        except ValueError as fault:
            return Certificate(reason=f"the certificate cannot be read: {fault}"[:200])
        return replace(seen, trusted=not isinstance(await _leaf(address, name, _trusting(), seconds), str))

    async def visit(self, address: Address, seconds: float) -> Answer:
        return await self._health.probe(address, seconds)


@cache
def _anything() -> ssl.SSLContext:
    """To see what is shown, whoever signed it: whether it is to be trusted is told apart."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _trusting() -> ssl.SSLContext:
    """As this machine trusts now. Reading all authorities takes tens of milliseconds of the loop: once for each state of them."""
    paths = ssl.get_default_verify_paths()
    return _reading(tuple(Path(each).stat().st_mtime_ns for each in (paths.cafile, paths.capath) if each and Path(each).exists()))


@lru_cache(1)
def _reading(_: tuple[int, ...]) -> ssl.SSLContext:
    return ssl.create_default_context()


async def _leaf(address: Address, name: str, context: ssl.SSLContext, seconds: float) -> bytes | str:
    """The certificate that is shown, or why there is none."""
    writer = None
    try:
        async with asyncio.timeout(seconds):
            _, writer = await asyncio.open_connection(
                address.host, address.port, ssl=context, server_hostname=name, ssl_handshake_timeout=seconds
            )
        found = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        return bytes(found) if found else "no certificate was shown"
    except TimeoutError:
        return f"no answer within {seconds:g} s"
    except (OSError, ssl.SSLError) as fault:
        return (str(fault) or type(fault).__name__)[:200]
    finally:
        if writer is not None:
            writer.transport.abort()
