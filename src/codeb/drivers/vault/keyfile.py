"""The file with the master keys: one a line, newest first, for its owner alone."""

import os
import shlex
import stat
from collections.abc import Collection, Sequence
from pathlib import Path

from codeb.contracts.vault import closed
from codeb.drivers.files import Unsound, atomic_write, owners_of
from codeb.model.sealed import MasterKey

MOST_BYTES = 64 * 1024
ROOT = 0


class Refused(Unsound):
    """The file is there and is not used: why, and the command that mends it."""

    def __init__(self, why: str, fix: str) -> None:
        super().__init__(why)
        self.fix = fix


def keys_in(path: Path, owners: Collection[int]) -> tuple[MasterKey, ...]:
    """Newest first. Raises `FileNotFoundError`, and `Refused` for a file that is not to be used."""
    quoted = shlex.quote(str(path))
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except OSError as fault:
        fix = f"It has to be a file, no link, that {_user(os.geteuid())} may read: ls -l {quoted}"
        raise Refused(f"The master key {path} cannot be read: {fault.strerror}.", fix) from fault
    try:
        seen = os.fstat(handle)
        mode = stat.S_IMODE(seen.st_mode)
        if not stat.S_ISREG(seen.st_mode):
            raise Refused(f"The master key {path} is not a file.", f"See what it is: ls -ld {quoted}")
        if seen.st_uid not in owners:
            fix = f"sudo chown {_user(os.geteuid())} {quoted}"
            raise Refused(f"The master key {path} belongs to another user ({_user(seen.st_uid)}).", fix)
        if mode & 0o077:
            raise Refused(f"The master key {path} has mode {mode:04o}: others may use it.", f"chmod 0600 {quoted}")
        text = os.read(handle, MOST_BYTES)
    finally:
        os.close(handle)
    if not (found := _parsed(text)):
        fix = f"Put the kept copy of it back at {quoted}; it has one key a line, 32 bytes in base64."
        raise Refused(f"The master key {path} holds no key, or something else besides.", fix)
    return found


def _parsed(text: bytes) -> tuple[MasterKey, ...]:
    """None when anything in it is no key: half a keyring would pass for a whole one."""
    try:
        found = [MasterKey.of(line) for line in text.decode("ascii").split("\n") if line]
    except ValueError:
        return ()
    return tuple({each.id: each for each in found}.values())


class KeyFile:
    """See `keys_in`. `path` None: `{home}/master.key`; one that is set may also belong to root, who can read it anyway."""

    def __init__(self, home: Path, path: Path | None = None) -> None:
        self.path = path or home / "master.key"
        self._home = home
        self._also = frozenset({ROOT}) if path is not None else frozenset[int]()

    def read(self) -> tuple[MasterKey, ...]:
        """Empty when there is no file. Raises `Unavailable` (`vault_closed`)."""
        try:
            return keys_in(self.path, owners_of(self._home) | self._also)
        except FileNotFoundError:
            return ()
        except Refused as why:
            raise closed(str(why), why.fix) from why

    def write(self, keys: Sequence[MasterKey]) -> None:
        """Durably, old or new. Raises `Unavailable` (`vault_closed`); the file is then as it was."""
        text = "".join(f"{each.text.reveal()}\n" for each in keys)
        try:
            atomic_write(self.path, text.encode("ascii"), 0o600)
        except OSError as fault:
            fix = f"See that its folder may be written by {_user(os.geteuid())}: ls -ld {shlex.quote(str(self.path.parent))}"
            raise closed(f"The master key {self.path} cannot be written: {fault.strerror}.", fix) from fault


def _user(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
