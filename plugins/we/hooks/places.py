"""CodeB's own files on a machine: which of them nobody writes by hand, and what does it instead."""

from __future__ import annotations

import os
import re

from shell_words import UNKNOWN, home_of, may_be, told, unsure
from verdict import Verdict, ask, deny

PROXY = "It is the proxy's: CodeB writes it, and a change by hand moves or cuts traffic."
SITES = f"{PROXY} Use domain_setup, promote, rollback or maintenance_on."
REGISTRY = (
    "It is CodeB's registry, the one source of truth. Use the tool for what you want changed; `reconcile` mends what differs."
)
VARIABLES = "Environment variables are kept in versions. Use env_set or env_sync; env_restore brings an earlier version back."
BACKUPS = "It is a backup. undelete brings a project back, env_restore its variables."
KEY = "It is a key. Nobody needs it in a conversation: the plugin has its own, and token_rotate or keys_rotate changes one."
AUDIT = "The audit log is append-only; audit_list reads it."
# Below CodeB's home: whose word it is.
PARTS = (
    ("caddy", SITES),
    ("registry", REGISTRY),
    ("codeb.db", REGISTRY),
    ("codeb.db-wal", REGISTRY),
    ("codeb.db-shm", REGISTRY),
    ("local.db", REGISTRY),
    ("env", VARIABLES),
    ("env-backup", VARIABLES),
    ("backups", BACKUPS),
    ("owner.key", KEY),
    ("master.key", KEY),
    ("instance", REGISTRY),
    ("audit.head", AUDIT),
    ("audit.pending", AUDIT),
    ("firewall", "Use firewall_allow, firewall_deny or firewall_sync."),
    ("server.pid", "Use `we down`."),
)
SHAPES = re.compile(
    r".*/(?:sites/[a-z0-9-]+\.caddy(?:\.bak)?|slots/[a-z0-9-]+-(?:production|staging|preview|pr-[0-9]+)/(?:green|fallback|hold|curtain))"
)
ENGINE_FOLDERS = ("/var/lib/docker", "/var/lib/containerd", "/var/lib/containers")
KEYS = ("owner.key", "master.key", "config.toml")
MARKERS = "green, fallback, hold, curtain"


def homes() -> list[str]:
    said = os.environ.get("CODEB_HOME")
    return [*([said] if said else []), "/opt/codeb", os.path.expanduser("~/.codeb")]


def proxy_folders() -> list[str]:
    said = os.environ.get("CODEB_CADDY_DIR")
    return [*([said] if said else []), "/etc/caddy"]


def whole(path: str, folder: str) -> str:
    """The path from the root, without `.`, `..` and links, as far as it is known; what begins with an unknown stays so."""
    if path.startswith(UNKNOWN):
        return os.path.normpath(path)
    # two slashes at the beginning are one to Linux, and stay two to normpath
    joined = re.sub(r"\A/+", "/", os.path.join(folder or "/", home_of(path)))
    if unsure(joined):
        return os.path.normpath(joined)
    return os.path.realpath(joined)


def _forms(path: str) -> list[str]:
    """The path as it is written, and as it is without links: a home may be reached by both."""
    return [os.path.normpath(path), os.path.realpath(path)]


def _below(path: str, above: str) -> str | None:
    """The rest of the path below that folder; empty: it is the folder; None: it is elsewhere."""
    for root in _forms(above):
        if path == root:
            return ""
        if path.startswith(root.rstrip("/") + "/"):
            return path[len(root.rstrip("/")) + 1 :]
    return None


def written(path: str, folder: str) -> Verdict | None:
    """May this file be written, changed or removed by hand?"""
    full = whole(path, folder)
    if SHAPES.fullmatch(full):
        return deny(f"{_name(full)}: {SITES}")
    for above in proxy_folders():
        if _below(full, above) is not None:
            return deny(f"{_name(full)}: {SITES}")
    for home in homes():
        rest = _below(full, home)
        if rest is None:
            continue
        first = rest.partition("/")[0]
        for part, why in PARTS:
            if may_be(first, part):
                return deny(f"{_name(full)}: {why}") if first == part else ask(f"{_name(full)} may be CodeB's own. {why}")
        if rest != "":
            return ask(f"{_name(full)} is in CodeB's home. Is it yours to change?")
    return None


def removed(path: str, folder: str) -> Verdict | None:
    """May this file, or folder with all that is in it, be removed or moved away?"""
    full = whole(path, folder)
    if full.startswith(UNKNOWN):
        # it may be anywhere: only its end can tell
        return written(path, folder)
    for home in ENGINE_FOLDERS:
        if _below(full, home) is not None:
            return deny(f"{_name(full)} is the Engine's: containers, images and volumes of every project. Use slot_cleanup.")
    for home in (*homes(), *proxy_folders()):
        for form in _forms(home):
            parts = form.split("/")
            if any(_may_be_path(full, "/".join(parts[:count]) or "/") for count in range(1, len(parts) + 1)):
                return deny(
                    f"{_name(full)} holds CodeB's home or its proxy ({home}): registry, keys and every site would be gone. "
                    "project_delete ends one project, slot_cleanup empties a slot."
                )
    return written(path, folder)


def _may_be_path(full: str, other: str) -> bool:
    """Part by part, so that a `*` does not reach across folders."""
    ours, theirs = full.rstrip("/").split("/"), other.rstrip("/").split("/")
    return len(ours) == len(theirs) and all(may_be(one, two) for one, two in zip(ours, theirs))


def read(path: str, folder: str) -> Verdict | None:
    """May this file be shown in the conversation?"""
    full = whole(path, folder)
    if _below(full, os.path.expanduser("~/.claude/.credentials.json")) == "":
        return ask(f"{_name(full)}: {KEY}")
    for home in homes():
        rest = _below(full, home)
        if rest is not None and rest in KEYS:
            return ask(f"{_name(full)}: {KEY}")
        if rest is not None and rest.startswith(("env/", "env-backup/")):
            return ask(f"{_name(full)} holds secrets in the clear. env_get shows the variables with their values masked.")
    return None


def _name(path: str) -> str:
    return told(path)
