"""Commands that write, remove or show files, held against the places that are CodeB's own."""

from __future__ import annotations

import re

import places
from shell_text import Run
from verdict import ASK, DENY, Verdict, ask, strictest

REMOVE = frozenset(("rm", "rmdir", "unlink", "shred", "srm", "trash", "trash-put", "mv", "wipe"))
WRITE = frozenset(
    (
        "cp mv tee touch ln link install dd truncate chmod chown chgrp chattr setfacl sed perl ed ex vi vim nano emacs rsync "
        "tar unzip patch curl wget sqlite3 mkfifo mount umount"
    ).split()
)
SHOW = frozenset(
    (
        "cat less more head tail tac nl bat grep egrep fgrep rg ag awk gawk sed cut sort uniq strings xxd od hexdump base64 "
        "jq yq diff cmp cp scp rsync tar zip gzip curl python python3 source ."
    ).split()
)
HARMLESS = frozenset(
    (
        "ls ll stat file test [ [[ du df find tree readlink realpath basename dirname cd pushd popd echo printf export "
        "declare local for wc cat less more head tail tac nl bat grep egrep fgrep rg ag awk gawk cut sort uniq strings xxd od "
        "hexdump jq yq diff cmp md5sum sha256sum mkdir git we docker podman caddy systemctl journalctl sleep true false which "
        "type command sudo env nohup timeout nice xargs sh bash zsh dash ssh eval exec source . claude codeb getfacl lsattr "
        "id whoami ps pgrep pidof lsof watch time if"
    ).split()
)
"""programs that change no file they are given; those that run another one are looked at through it"""


def files(run: Run) -> Verdict | None:
    """Redirections, and the arguments of whatever may write."""
    found = [places.written(path, run.folder) for path in run.writes]
    program, words = run.program, run.words[1:]
    paths = [part for word in words for part in _paths(word)]
    if program in REMOVE:
        found += [places.removed(path, run.folder) for path in paths]
    elif program == "find" and any(word == "-delete" for word in words):
        found += [places.removed(path, run.folder) for path in paths[:1]]
    elif program == "rsync" and any(word.startswith(("--delete", "--remove")) for word in words):
        found += [places.removed(path, run.folder) for path in paths]
    elif program in WRITE and _writes(program, words):
        found += [places.written(path, run.folder) for path in _targets(program, paths)]
    elif program not in HARMLESS | WRITE:
        # what an unknown program does with a file of ours is not known
        found += [_question(places.written(path, run.folder)) for path in paths if "/" in path]
    if program in SHOW:
        found += [places.read(path, run.folder) for path in paths]
    return strictest(found)


def _paths(word: str) -> list[str]:
    """The path that a word is, or has behind a `=`."""
    if not word.startswith("-"):
        return [word, word.partition("=")[2]] if "=" in word else [word]
    return [word.partition("=")[2]] if "=" in word else []


def _writes(program: str, words: list[str]) -> bool:
    if program in ("sed", "perl"):
        return any(re.fullmatch(r"-[A-Za-z]*i.*|--in-place.*", word) for word in words)
    if program == "tar":
        return any(re.fullmatch(r"-?[A-Za-z]*x[A-Za-z]*|--extract|--get", word) for word in words)
    if program == "sqlite3":
        return not any(word in ("-readonly", "--readonly") for word in words)
    return True


def _targets(program: str, paths: list[str]) -> list[str]:
    """What of the paths is written: of those that copy, the last one only."""
    if program in ("cp", "install", "rsync", "ln", "link") and len(paths) > 1:
        return paths[-1:]
    return paths


def _question(verdict: Verdict | None) -> Verdict | None:
    return ask(verdict.reason) if verdict is not None and verdict.decision in (DENY, ASK) else verdict
