"""What of a shell command is refused or asked about, rule by rule. Each says which tool does it properly."""

from __future__ import annotations

import re
from typing import Iterator

import codeb_calls
import file_rules
import places
import shell_inner
from shell_inner import Code
from shell_text import Run, Unreadable, outside
from shell_words import may_be, told, unsure
from verdict import Verdict, ask, deny, strictest

MANAGED = re.compile(
    r"(?:[a-z][a-z0-9-]*-(?:production|staging|preview|pr-[0-9]+)-(?:blue|green|postgres|redis)(?:\.[a-z0-9_.-]+)?|codeb-[a-z0-9_.-]+)"
)
ENGINES = frozenset(("docker", "podman", "nerdctl", "docker-compose", "podman-compose"))
ENGINE_VALUES = frozenset(
    "-H --host -c --context --config -l --log-level --tlscacert --tlscert --tlskey"
    " -f --file -p --project-name --profile --env-file".split()
)
NOUNS = ("container", "image", "volume", "network", "system", "builder", "service", "stack", "swarm", "compose", "node", "plugin")
PRUNES = {
    "system": "stopped containers, networks and images, those that a rollback needs among them",
    "container": "stopped containers, one set aside during a deploy among them",
    "image": "images that a rollback or a redeploy needs",
    "volume": "volumes: databases live in some of them",
    "network": "the networks of projects",
}
INSTEAD = "slot_cleanup empties slots, registry_gc deletes images that nobody needs."
SLOT_TOOLS = (
    "Slots are changed by deploy, promote, rollback and slot_cleanup; slot_status and logs show them, "
    "operation_cancel stops an operation."
)
LOOK = "health_check shows what is wrong; `we down` stops CodeB alone."
ENDS = f"That ends the Engine, the proxy or CodeB for every project. {LOOK}"
VERBS = frozenset("rm remove stop kill restart pause unpause rename update start cp".split())
OTHER_VERBS = {
    "volume": ("rm", "remove"),
    "network": ("rm", "remove", "disconnect", "connect"),
    "service": ("rm", "scale", "update", "rollback"),
    "stack": ("rm", "down", "deploy"),
}
DAEMONS = frozenset(("docker", "dockerd", "containerd", "caddy", "codeb"))
PACKAGES = frozenset(("apt", "apt-get", "aptitude", "dnf", "yum", "zypper", "apk", "snap", "brew", "dpkg", "pacman"))
UNITS = frozenset(("stop", "restart", "disable", "mask", "kill", "reload", "try-restart", "force-reload"))
DROPS = re.compile(
    r"\b(?:drop\s+(?:database|schema|table|role|user|owned)|truncate\s+(?:table\s+)?\w|delete\s+from\s+\S+\s*(?:;|\Z))",
    re.IGNORECASE,
)
DATABASES = frozenset(("psql", "pgcli", "mysql", "mariadb", "mysqladmin", "sqlite3", "usql", "pg_restore"))
REDIS = re.compile(
    r"(?:flushall|flushdb|shutdown|acl (?:deluser|setuser)|config (?:set|rewrite)|swapdb|replicaof)\b.*",
    re.IGNORECASE | re.DOTALL,
)
STORAGE_TOOLS = "db_delete and redis_delete keep a final dump, db_list shows what there is, db_rotate changes a password."
GUARDED = ENGINES | DATABASES | {"caddy", "rm", "unlink", "dropdb", "redis-cli", "pkill", "killall", "systemctl", "we"}
SENDS = re.compile(r"post|request|urlopen|fetch|axios|http", re.IGNORECASE)
STARTS = re.compile(r"subprocess|system|exec|spawn|popen|run|call|check_|shell|command|%x|qx|\$`", re.IGNORECASE)
"""what a program in another language starts one of ours with; `we` alone is a word of every comment"""
REMOVES = re.compile(r"rmtree|rmsync|removesync|rm_rf|rm_r\b|rimraf|remove_entry|rmdirsync", re.IGNORECASE)
"""a whole folder with all that is in it"""
CHANGES = re.compile(
    r"rmtree|unlink|remove|rename|replace|write|truncate|rmdir|symlink|copy|move|chmod|rmSync|open", re.IGNORECASE
)


def judge(command: str, folder: str) -> Verdict | None:
    """A whole command as the assistant wants to run it in this folder."""
    setting = outside(folder)
    found: list[Verdict | None] = []
    try:
        runs = []
        for each in shell_inner.every(command, setting):
            if isinstance(each, Verdict):
                found.append(each)
            elif isinstance(each, Code):
                found += list(_code(each))
            else:
                runs.append(each)
                found += _plain(each, [rule(each) for rule in RULES])
        found.append(_killed(runs))
    except (Unreadable, RecursionError) as fault:
        why = "it is nested too deeply" if isinstance(fault, RecursionError) else fault
        found.append(
            ask(f"The command cannot be looked through ({why}), so a person decides. Several short commands are easier.")
        )
    return strictest(found)


def _plain(run: Run, verdicts: list[Verdict | None]) -> list[Verdict | None]:
    """Of a script that was there before only refusals: somebody wrote it who knew what its variables would be."""
    return [each for each in verdicts if each is None or each.decision == "deny" or not run.of_file]


def engine(run: Run) -> Verdict | None:
    """Containers, images, networks and volumes beside CodeB."""
    # further on it may be a word of the program inside
    if run.program not in ENGINES or "--help" in run.words[1:4]:
        return None
    noun, verb, rest = _engine_words(run)
    said = told(f"`{run.program} {' '.join(word for word in (noun, verb) if word)}`")
    for one, what in PRUNES.items():
        if may_be(noun, one) and may_be(verb, "prune"):
            text = f"{said} removes {what}. {INSTEAD}"
            return deny(text) if (noun, verb) == (one, "prune") else ask(text)
    if (noun, verb) == ("system", "reset"):
        return deny(f"{said} removes every container, image, network and volume. {INSTEAD}")
    if noun == "swarm" and verb == "leave":
        return ask(f"{said} takes this machine out of the swarm: what runs on it stops.")
    if verb in ("run", "create") and (found := _mounts(run)) is not None:
        return found
    verbs = VERBS if noun in ("", "container", "compose") else frozenset(OTHER_VERBS.get(noun, ()))
    if not any(may_be(verb, each) for each in verbs):
        return _image(noun, verb, rest, said)
    names = [word.partition(":")[0] for word in rest if not word.startswith("-") or unsure(word)]
    if any(MANAGED.fullmatch(name.lstrip("/")) for name in names):
        return deny(f"{said} changes what CodeB manages behind its back. {SLOT_TOOLS}")
    if noun != "compose" and any(unsure(name) or re.fullmatch(r"[0-9a-f]{12,64}", name) for name in names):
        return ask(
            f"{said}: which one that is cannot be told from here. If CodeB manages it, it is not to be touched. {SLOT_TOOLS}"
        )
    return None


def _engine_words(run: Run) -> tuple[str, str, list[str]]:
    """Noun, verb and the rest, whatever options stand between. A verb without a noun is a container's."""
    rest, plain = list(run.words[1:]), []
    if run.program.endswith("-compose"):
        plain.append("compose")
    while rest and len(plain) < 2:
        word = rest.pop(0)
        if word in ENGINE_VALUES:
            rest = rest[1:]
        elif not word.startswith("-"):
            plain.append(word)
            if len(plain) == 1 and not (word in NOUNS or unsure(word)):
                return ("image", "rm", rest) if word == "rmi" else ("", word, rest)
    return ([*plain, "", ""])[0], ([*plain, "", ""])[1], rest


def _image(noun: str, verb: str, rest: list[str], said: str) -> Verdict | None:
    if noun == "image" and verb in ("rm", "remove") and any(word in ("-f", "--force") or unsure(word) for word in rest):
        return ask(f"{said}: a rollback or a redeploy may need one of these images. {INSTEAD}")
    return None


def _mounts(run: Run) -> Verdict | None:
    """A container that is given CodeB's home, the whole machine, or the Engine's socket."""
    for at, word in enumerate(run.words):
        value = word.partition("=")[2] if word.startswith(("--volume=", "--mount=", "-v=")) else ""
        if re.fullmatch(r"-v[^=].*", word, re.DOTALL):
            value = word[2:]
        if word in ("-v", "--volume", "--mount") and at + 1 < len(run.words):
            value = run.words[at + 1]
        match = re.search(r"(?:source|src)=([^,]+)", value)
        source = match[1] if match else value.partition(":")[0]
        if source.endswith("docker.sock"):
            return ask("The container gets the Engine's socket: it may do anything to every other container.")
        if source.startswith(("/", "~", ".")) and places.removed(source, run.folder) is not None:
            return ask(f"The container gets {source}, where CodeB's own files are. They are not changed by hand.")
    return None


def proxy(run: Run) -> Verdict | None:
    if run.program == "caddy" and any(may_be(word, each) for word in run.words[1:2] for each in ("reload", "stop", "untrust")):
        return deny(
            f"`caddy {told(run.words[1])}` cuts connections of every site. "
            "promote and rollback switch without it; domain_setup and maintenance_on change a site."
        )
    return None


def daemons(run: Run) -> Verdict | None:
    """The Engine, the proxy and CodeB itself."""
    words = [word.partition(".")[0] for word in run.words[1:] if not word.startswith("-")]
    named = [word for word in words if word in DAEMONS]
    if run.program in ("systemctl", "service", "rc-service", "initctl", "supervisorctl", "brew") and UNITS & set(words) and named:
        return deny(f"{named[0]} would be stopped for every project on this machine. {LOOK}")
    if run.words and run.words[0].startswith("/etc/init.d/") and run.program in DAEMONS and UNITS & set(words):
        return deny(f"{run.program} would be stopped for every project on this machine. {LOOK}")
    if run.program in PACKAGES and set(words) & {"remove", "purge", "uninstall", "autoremove"} and named:
        return ask(f"{named[0]} would be taken off this machine: no project runs without it.")
    if run.program in ("pkill", "killall", "killall5") and any(name in word for word in words for name in DAEMONS):
        return deny(ENDS)
    return None


def _killed(runs: list[Run]) -> Verdict | None:
    """`kill $(pidof caddy)`."""
    wanted = any(
        run.program in ("pidof", "pgrep", "lsof") and any(name in word for word in run.words for name in DAEMONS) for run in runs
    )
    if wanted and any(run.program == "kill" for run in runs):
        return deny(ENDS)
    return None


def databases(run: Run) -> Verdict | None:
    if run.program in ("dropdb", "dropuser"):
        return ask(f"`{run.program}` deletes without a dump. If it is a project's: {STORAGE_TOOLS}")
    fed = run.fed or shell_inner.written_by(run.fed_by) or ""
    if run.program in DATABASES and DROPS.search(" ".join([*run.words[1:], fed])):
        return ask(f"`{run.program}` would delete data, without a dump. If they are a project's: {STORAGE_TOOLS}")
    if run.program in ("redis-cli", "valkey-cli"):
        texts = [" ".join(run.words[at:]) for at in range(1, len(run.words))] + fed.splitlines()
        if any(REDIS.fullmatch(text) for text in texts):
            return ask(f"`{run.program}` would change or delete what every project has in that Redis. {STORAGE_TOOLS}")
    return None


def firewall(run: Run) -> Verdict | None:
    words = set(run.words[1:])
    flushes = run.program in ("iptables", "ip6tables") and words & {"-F", "--flush", "-X", "-P", "--policy"}
    if (
        flushes
        or (run.program == "nft" and words & {"flush", "delete"})
        or (run.program == "ufw" and words & {"disable", "reset", "delete"})
    ):
        return ask(
            f"`{run.program}` would change the firewall beside CodeB. "
            "Use firewall_list, firewall_allow, firewall_deny or firewall_sync."
        )
    return None


def assistant(run: Run) -> Verdict | None:
    """These guards themselves."""
    words = run.words[1:]
    if (
        run.program == "claude"
        and words[:1] in (["plugin"], ["plugins"], ["mcp"])
        and any(word in ("disable", "uninstall", "remove", "rm", "configure") for word in words)
    ):
        return ask("That changes or ends the guards of CodeB's plugin. It is a person's to decide.")
    return None


def _code(code: Code) -> Iterator[Verdict | None]:
    """A program in another language: what in it reads like one of our commands, or names one of our files."""
    text = " ".join(code.tokens)
    changes, starts = CHANGES.search(text) is not None, STARTS.search(text) is not None
    removes = REMOVES.search(text) is not None
    for at, token in enumerate(code.tokens):
        if token.lower() == "we" and not starts:
            continue
        if token.rpartition("/")[2].lower() in GUARDED:
            inner = code.run.inner(list(code.tokens[at : at + 24]))
            inner.fed = inner.fed_by = None
            yield from (rule(inner) for rule in (engine, proxy, daemons, databases, file_rules.files, codeb_calls.command))
        if SENDS.search(" ".join(code.tokens[max(0, at - 24) : at + 24])) and codeb_calls.PATH.fullmatch(token):
            yield codeb_calls.in_code(token)
        if changes and "/" in token:
            yield places.written(token, code.run.folder)
        if removes and token.strip("/") and token.startswith(("/", "~")):
            yield places.removed(token, code.run.folder)


RULES = (engine, proxy, daemons, databases, firewall, assistant, file_rules.files, codeb_calls.command, codeb_calls.over_http)
