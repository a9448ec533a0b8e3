"""The clock: does something keep it right, and is it behind what was already written?"""

import ctypes
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from codeb.config import Settings
from codeb.entry.doctor import kernel
from codeb.model.specs import Finding

BEHIND = timedelta(seconds=60)
STA_UNSYNC = 0x40
"""of <sys/timex.h>: nobody keeps this clock right"""
KEEPERS = ("chronyd", "ntpd", "systemd-timesyncd", "openntpd", "timemaster")
WATCHED = ("codeb.db", "codeb.db-wal", "owner.key", "instance", "registry/*.json", "registry/slots/*.json", "caddy/slots/*")
FIX = "Let the machine keep its time: timedatectl set-ntp true   (or install chrony)"


def check(settings: Settings) -> Iterator[Finding]:
    yield _kept()
    yield compared(_newest(settings.home), datetime.now(UTC), "the newest file in the home")


def _kept() -> Finding:
    status = _kernel_status()
    if status is None:
        return Finding("clock", "pass", "Whether somebody keeps the clock right could not be asked of this kernel.")
    if not status & STA_UNSYNC:
        return Finding("clock", "pass", "The kernel's clock is synchronised.")
    keepers = [each for pid in kernel.processes() if (each := kernel.process(pid)).words and _keeps(each)]
    if keepers:
        return Finding(
            "clock", "warn", f"The clock is not synchronised yet, though {keepers[0]} runs.", "See: timedatectl status"
        )
    return Finding("clock", "warn", "Nothing keeps this machine's clock right.", FIX)


def _keeps(process: kernel.Process) -> bool:
    return Path(process.words[0]).name in KEEPERS


def _kernel_status() -> int | None:
    """`status` of adjtimex(2), asked without changing anything; None when it may not be asked."""
    with suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None, use_errno=True)
        # unsigned modes, then long offset, freq, maxerror, esterror, int status; room for the rest of struct timex
        word = ctypes.sizeof(ctypes.c_long)
        room = ctypes.create_string_buffer(512)
        if libc.adjtimex(room) >= 0:
            return ctypes.c_int.from_buffer(room, word * 5).value
    return None


def _newest(home: Path) -> datetime | None:
    found = 0.0
    for pattern in WATCHED:
        for path in home.glob(pattern):
            with suppress(OSError):
                found = max(found, path.lstat().st_mtime)
    return datetime.fromtimestamp(found, UTC) if found else None


def compared(newest: datetime | None, now: datetime, what: str) -> Finding:
    """A record from the future: this clock is wrong, or the one that stamped it was."""
    if newest is None:
        return Finding("clock and records", "pass", "Nothing is recorded yet.")
    ahead = newest - now
    if ahead > BEHIND:
        text = f"The clock says {now:%Y-%m-%d %H:%M:%S} UTC, which is {_words(ahead)} before {what}."
        fix = (
            "Set the clock right, then restart the server: timedatectl set-ntp true   (by hand: date -u -s 'YYYY-MM-DD HH:MM:SS')"
        )
        return Finding("clock and records", "fail", text, fix)
    return Finding("clock and records", "pass", f"The clock is not behind {what}.")


def _words(span: timedelta) -> str:
    seconds = span.total_seconds()
    for size, word in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {word}"
    return f"{seconds:.0f} s"
