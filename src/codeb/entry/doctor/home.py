"""The folder with CodeB's state: is it ours, does it last, is there room, and does nobody else read its secrets?"""

import os
import shlex
import stat
from collections.abc import Iterator
from pathlib import Path

from codeb.config import Settings
from codeb.drivers.store.mirror import Damaged, verified
from codeb.entry.doctor import kernel
from codeb.model.specs import Finding

MIB = 1024 * 1024
FAIL_BYTES, WARN_BYTES = 256 * MIB, 2048 * MIB
"""a deploy writes logs, journal and registry files; what is left below this is gone within hours"""
FAIL_INODES, WARN_INODES = 0.01, 0.05
FLEETING = {
    "tmpfs": ("fail", "in memory: everything CodeB knows is gone with the next restart of the machine"),
    "ramfs": ("fail", "in memory: everything CodeB knows is gone with the next restart of the machine"),
    "overlay": ("warn", "a container's own layer: it is gone with the container"),
}
SECRETS = ("owner.key", "master.key", "registry/api-keys.json", "registry/api-keys.json.prev", "caddy/probe.key")


def check(settings: Settings) -> Iterator[Finding]:
    """Raises `OSError`."""
    home = settings.home
    if not home.exists():
        yield _absent(home)
        return
    yield _owner(home)
    yield from _disk(home)
    yield _secrets(home)
    yield _registry_files(home)


def _absent(home: Path) -> Finding:
    above = next(folder for folder in home.parents if folder.exists())
    if os.access(above, os.W_OK):
        return Finding("home", "warn", f"{home} is not there yet.", "Start the server, which makes it: we up")
    me = _name(os.geteuid())
    fix = f"sudo install -d -m 0750 -o {me} {shlex.quote(str(home))}"
    return Finding("home", "fail", f"{home} is not there, and {me} may not make it in {above}.", fix)


def _owner(home: Path) -> Finding:
    seen, quoted = home.stat(), shlex.quote(str(home))
    mode, owner = stat.S_IMODE(seen.st_mode), _name(seen.st_uid)
    if not home.is_dir():
        return Finding("home", "fail", f"{home} is not a folder.", "Move it away, or set CODEB_HOME.")
    if seen.st_uid != os.geteuid() and os.geteuid() != 0:
        me = _name(os.geteuid())
        return Finding("home", "fail", f"{home} belongs to {owner}, not to {me}.", f"sudo chown -R {me} {quoted}")
    if mode & 0o022:
        text = f"{home} has mode {mode:04o}: others than {owner} may put files in it."
        return Finding("home", "fail", text, f"chmod 0750 {quoted}")
    if mode & 0o700 != 0o700:
        return Finding("home", "fail", f"{home} has mode {mode:04o}: its own server may not use it.", f"chmod 0750 {quoted}")
    return Finding("home", "pass", f"{home} belongs to {owner}, mode {mode:04o}.")


def _disk(home: Path) -> Iterator[Finding]:
    mount, seen = kernel.mount_of(home), os.statvfs(home)
    if mount.read_only or seen.f_flag & os.ST_RDONLY:
        yield Finding(
            "home disk", "fail", f"{mount.point} is mounted read-only: nothing can be recorded.",
            f"See why in `dmesg`, check the disk, then: mount -o remount,rw {shlex.quote(str(mount.point))}",
        )  # fmt: skip
    elif mount.kind in FLEETING:
        status, why = FLEETING[mount.kind]
        yield Finding("home disk", status, f"{home} is on {mount.kind}, {why}.", "Set CODEB_HOME to a folder on a disk.")
    else:
        yield Finding("home disk", "pass", f"{home} is on {mount.kind} ({mount.point}).")
    yield room("home space", home, seen)


def room(name: str, folder: Path, seen: os.statvfs_result) -> Finding:
    """Free bytes and inodes for somebody who is not root."""
    free, inodes = seen.f_bavail * seen.f_frsize, seen.f_favail / seen.f_files if seen.f_files else 1.0
    text = f"{free // MIB} MiB are free on the disk of {folder}"
    # file systems that make inodes as they go say that they have none
    text += f", and {inodes:.0%} of its inodes." if seen.f_files else "."
    small = free < FAIL_BYTES or inodes < FAIL_INODES
    tight = free < WARN_BYTES or inodes < WARN_INODES
    fix = f"Make room: see what fills it with `du -xh -d2 {shlex.quote(str(kernel.mount_of(folder).point))} | sort -h | tail`"
    return Finding(name, "fail" if small else "warn" if tight else "pass", text, fix if small or tight else "")


def _secrets(home: Path) -> Finding:
    """Secrets are for their owner alone; the rest is safe while the home keeps others out."""
    for name in SECRETS:
        path = home / name
        if not path.exists():
            continue
        seen, quoted = path.stat(), shlex.quote(str(path))
        if (mode := stat.S_IMODE(seen.st_mode)) & 0o077:
            return Finding("secrets", "fail", f"{path} has mode {mode:04o}: others may read it.", f"chmod 0600 {quoted}")
        if seen.st_uid != home.stat().st_uid:
            text = f"{path} belongs to {_name(seen.st_uid)}, the home to {_name(home.stat().st_uid)}."
            return Finding("secrets", "fail", text, f"sudo chown {_name(home.stat().st_uid)} {quoted}")
    for database in (home / "codeb.db", home / "local.db"):
        if home.stat().st_mode & 0o001 and database.exists() and database.stat().st_mode & 0o004:
            text = f"{database} may be read by everybody on this machine."
            return Finding("secrets", "fail", text, f"chmod o-rwx {shlex.quote(str(home))} {shlex.quote(str(database))}")
    return Finding("secrets", "pass", "Keys and registry may be read by their owner alone.")


def _registry_files(home: Path) -> Finding:
    folder = home / "registry"
    files = sorted(path for path in folder.rglob("*.json") if ".damaged" not in path.name) if folder.is_dir() else []
    for path in files:
        try:
            verified(path)
        except FileNotFoundError:  # rewritten or removed while we looked
            continue
        except PermissionError:
            fix = f"sudo chown {_name(home.stat().st_uid)} {shlex.quote(str(path))}"
            return Finding("registry files", "fail", f"{path} may not be read.", fix)
        except Damaged as fault:
            fix = "Nothing acts on it; the next start sets it aside and writes it anew: we down && we up -d"
            return Finding("registry files", "warn", f"{fault}.", fix)
    aside = sorted(path for path in home.rglob("*.damaged*") if path.is_file())
    if aside:
        fix = f"Find out what damaged it (disk, an editor), then remove it: rm {shlex.quote(str(aside[0]))}"
        return Finding("registry files", "warn", f"{aside[0]} was found damaged and set aside.", fix)
    return Finding("registry files", "pass", f"{len(files)} files, each with its checksum.")


def _name(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
