"""How the undos of one operation share the seconds it has left to go back in."""

from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Generic

from codeb.contracts.world import World
from codeb.errors import PublicError, Unavailable
from codeb.saga.step import I, Step

TRIES = 3
"""of an undo that is refused; one whose part is away is tried until the time is over"""
LEAST_SECONDS = 1.0
"""what every undo may take, however little is left"""


@dataclass
class Turn(Generic[I]):
    """One step to undo."""

    at: int
    step: Step[I]
    tries: int = 0
    problem: PublicError | None = None
    """why the last try failed; None: it is undone"""


async def undo_all(
    turns: Iterable[Turn[I]], world: World, seconds: float, attempt: Callable[[Turn[I], float], Awaitable[PublicError | None]]
) -> list[Turn[I]]:
    """Undo in this order, within `seconds` in all; returns what could not be undone. `attempt(turn, limit)` is one try.

    A step whose part is away holds up the ones behind it, for what they undo may lie beneath what it would have undone;
    one that stands `apart` does not, and has another turn when the others are through. Half of the time is shared out
    equally beforehand: whoever waits cannot use up what belongs to those that had no turn yet.
    """
    line = deque(turns)
    end, share = world.monotonic() + seconds, seconds / (2 * max(len(line), 1))
    left_undone = []
    while line:
        turn = line.popleft()
        kept = share * sum(not other.tries for other in line)
        yields = turn.step.apart and kept > 0
        while True:
            turn.tries += 1
            left = end - kept - world.monotonic()
            # One try that hangs may not have it all: its effect may be there by now, and the next one find it done.
            most = share if yields else seconds / 2
            turn.problem = await attempt(turn, max(min(left, most), LEAST_SECONDS))
            if turn.problem is None:
                break
            away, pause = isinstance(turn.problem, Unavailable), min(0.3 * turn.tries, 2.0)
            if away and yields:
                line.append(turn)
                break
            if not (away or turn.tries < TRIES) or world.monotonic() + pause >= end - kept:
                left_undone.append(turn)
                break
            await world.sleep(pause)
    return left_undone
