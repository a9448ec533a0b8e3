"""Who has called how often. Exact over every stretch of time, and bounded in memory."""

import ipaddress
import math
from collections import OrderedDict, deque

from codeb.model.limits import Allowance, Rate

MOST_CALLERS = 100_000
MOST_PEERS = 10_000


class Sliding:
    """The last calls of each caller: never more than `rate.calls` are let in in any `rate.seconds`.

    A call that is refused does not count: who asks too often is let in again as soon as a place is free. Memory: a number
    per call let in, for at most `most` callers. Beyond that the one who was let in longest ago is forgotten.
    """

    def __init__(self, rate: Rate, most: int) -> None:
        self._rate = rate
        self._most = most
        self._seen: OrderedDict[str, deque[float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._seen)

    def take(self, who: str, now: float) -> Allowance:
        """Let one more in at this monotonic second, if there is a place, and say what is left."""
        calls = self._seen.get(who)
        if calls is None:
            self._make_room(now)
            calls = self._seen[who] = deque()
        old, limit = now - self._rate.seconds, self._rate.calls
        while calls and calls[0] <= old:
            calls.popleft()
        if granted := len(calls) < limit:
            calls.append(now)
            self._seen.move_to_end(who)
        return Allowance(limit, limit - len(calls), math.ceil(calls[0] - old), granted)

    def _make_room(self, now: float) -> None:
        """Two at a time, the longest silent first: so the table shrinks while new ones come, and no call pays for all."""
        for _ in range(2):
            if not self._seen:
                return
            who, calls = next(iter(self._seen.items()))
            if len(self._seen) < self._most and calls and calls[-1] > now - self._rate.seconds:
                return
            del self._seen[who]


def neighbourhood(ip: str | None) -> str:
    """What failures are counted by: an IPv4 address, or the /64 of an IPv6 one, in which anybody has as many as they like."""
    try:
        address = ipaddress.ip_address(ip or "")
    except ValueError:
        return "unknown"
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)
