"""The guard beside a change of the firewall: a process of its own that takes the change back when its time is over.

It outlives CodeB. Started as `python -m codeb.drivers.firewall.guard FOLDER TOKEN SECONDS NFT...`.
"""

import asyncio
import logging
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from codeb.drivers.firewall import pending
from codeb.errors import Unavailable

log = logging.getLogger("codeb.firewall.guard")

EVERY_SECONDS = 0.1
TRIES = 60


async def watch(folder: Path, token: str, seconds: float, program: Sequence[str]) -> bool:
    """Gives whether it took the change back. Ends as soon as the change is proven, or somebody else took it back."""
    end = time.monotonic() + seconds
    (folder / f"{token}.armed").touch()
    try:
        while time.monotonic() < end:
            if not (folder / f"{token}.pending").exists():
                return False
            await asyncio.sleep(EVERY_SECONDS)
        for _ in range(TRIES):
            try:
                return await pending.take_back(folder, token, program)
            except Unavailable as fault:
                log.error("%s %s", fault.message, fault.details)
                await asyncio.sleep(1)
        return False
    finally:
        (folder / f"{token}.armed").unlink(missing_ok=True)


def main(arguments: Sequence[str]) -> int:
    folder, token, seconds, *program = arguments
    logging.basicConfig(format="%(asctime)s %(message)s")
    if asyncio.run(watch(Path(folder), token, float(seconds), program)):
        log.error("change %s was not proven within %s s: the former firewall is in force again", token, seconds)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
