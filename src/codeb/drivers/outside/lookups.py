"""What a name resolves to, by dnspython."""

from collections.abc import Sequence

import dns.asyncresolver
import dns.exception
import dns.nameserver
import dns.resolver

from codeb.contracts.outside import Looked


async def lookup(resolvers: Sequence[tuple[str, int]], name: str, kind: str, seconds: float) -> Looked:
    """As `Outside.lookup`; of this machine's resolvers where none are named."""
    resolver = dns.asyncresolver.Resolver(configure=not resolvers)
    if resolvers:
        resolver.nameservers = [dns.nameserver.Do53Nameserver(host, port) for host, port in resolvers]
    try:
        # a final dot: no search list of this machine is tried
        found = await resolver.resolve(f"{name}.", kind, lifetime=seconds)
    except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
        return Looked()
    except (dns.exception.DNSException, OSError) as fault:
        return Looked(reason=(str(fault) or type(fault).__name__)[:200])
    if kind == "TXT":
        return Looked(tuple(sorted(b"".join(item.strings).decode("ascii", "replace") for item in found)))
    return Looked(tuple(sorted(item.to_text() for item in found)))
