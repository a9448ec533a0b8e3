"""What a source tree is, from the names of its files and the text of the few that tell: no file is opened here.

Each fact comes with where it was seen, each thing that is missing with what to do, and what could not be read is said.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from codeb.model import dockerfile, grammar
from codeb.model.dockerfile import Dockerfile, port_number, split
from codeb.model.source_kinds import Kinds, kinds

MOST_FILES = 2000
MOST_OF_A_FILE = 65_536
MOST_OF_A_TREE = 600_000
"""characters of all texts together"""
TELLING = (
    "Dockerfile", "package.json", "pyproject.toml", "requirements.txt", "Pipfile", "go.mod", "Procfile",
)  # fmt: skip
"""files of the root whose text tells what the tree is"""
CODE = re.compile(
    r"(?:[^/]+/){0,3}(?:main|app|server|index|urls|routes?|router|views|wsgi|asgi|health|healthz|api)\.(?:js|mjs|cjs|ts|py|go)"
)
"""code in which a server's routes usually stand"""
WORKFLOW = re.compile(r"\.github/workflows/[^/]+\.ya?ml")
OURS = re.compile(r"codeb|\bwe deploy\b", re.IGNORECASE)

WORDS = ("health", "healthz", "healthcheck", "health-check", "livez", "readyz", "live", "ready", "ping", "status")
"""what a path that says whether an application is well is called; the likeliest first"""
_ANY = "|".join(WORDS)
NEXT_ROUTE = re.compile(rf"(?:src/)?(?:app/((?:api/)?(?:{_ANY}))/route\.[a-z]{{2,3}}|pages/(api/(?:{_ANY}))\.[a-z]{{2,3}})")
REMIX_ROUTE = re.compile(rf"app/routes/((?:api\.)?(?:{_ANY}))(?:/route)?\.[a-z]{{2,3}}")
CODE_ROUTE = re.compile(
    r"(?:\.(?:get|route|all|head|use|add_api_route|add_url_rule|get_all|any)|\bpath|HandleFunc|Handle)"
    rf"\s{{0,9}}\(\s{{0,99}}[\"'`](?:(?:GET|HEAD) )?/?((?:api/)?(?:{_ANY}))(/?)[\"'`]",
    re.IGNORECASE,
)
CHECKED = re.compile(r"https?://[^/\s\"']{1,255}(/[A-Za-z0-9._~/-]{1,255})")
LISTEN_FLAGS = ("--port", "-p", "--http-port", "--bind", "-b", "--listen", "--listen-address", "--addr")
SERVED = {"nginx": 80, "httpd": 80, "caddy": 80, "traefik": 80, "nginx-unprivileged": 8080}
"""where images that serve files listen, by the last part of their name"""


@dataclass(frozen=True)
class Fact:
    value: str | int
    where: str
    """the file and what in it, or why it is assumed"""


@dataclass(frozen=True)
class Gap:
    """What a deployment from this tree lacks, or has to assume."""

    name: str
    text: str
    fix: str


@dataclass(frozen=True)
class Unread:
    where: str
    why: str


@dataclass(frozen=True)
class Portrait:
    name: Fact | None
    """what the project may be called, in the grammar of its name"""
    type: Fact | None
    container_port: Fact | None
    health_path: Fact | None
    dockerfile: bool
    workflow: str
    """the file of the workflow that deploys it; empty: none"""
    gaps: tuple[Gap, ...]
    unread: tuple[Unread, ...]
    beside: tuple[str, ...]
    """what else was seen and does not fit what was taken"""


def tells(path: str) -> bool:
    """Whether the text of the file at this path is worth handing in."""
    return path in TELLING or CODE.fullmatch(path) is not None or WORKFLOW.fullmatch(path) is not None


def portrait(texts: Mapping[str, str | None]) -> Portrait:
    """`texts`: every file by its path in the tree, with its text, or None where that was not read."""
    built = dockerfile.read(texts.get("Dockerfile") or "")
    kind = kinds(texts)
    ports = list(_ports(texts, built, kind))
    found_health = next(_health(texts, built), None)
    types = [Fact(*each) for each in kind.types] + ([Fact("docker", "Dockerfile")] if "Dockerfile" in texts else [])
    unread = [Unread(path, "was not read") for path in TELLING if path in texts and texts[path] is None]
    unread += [Unread(f"Dockerfile line {line}", why) for line, why in built.unread]
    unread += [Unread(*each) for each in kind.unread]
    # where its kind usually listens is no second opinion
    said = [each for each in ports if each.where not in {where for _, where in kind.ports}]
    beside = [
        f"{each.where} says port {each.value}; {said[0].value} is taken" for each in said[1:] if each.value != said[0].value
    ]
    beside += [
        f"{each.where} would make it {each.value}; {types[0].value} is taken" for each in types[1:] if each.value != "docker"
    ]
    workflow = _workflow(texts)
    return Portrait(
        name=_name(kind), type=types[0] if types else None, container_port=ports[0] if ports else None,
        health_path=found_health, dockerfile="Dockerfile" in texts, workflow=workflow,
        gaps=tuple(_gaps(texts, bool(types), ports, found_health, workflow)), unread=tuple(unread), beside=tuple(beside),
    )  # fmt: skip


def _name(kind: Kinds) -> Fact | None:
    for text, where in kind.names:
        try:
            return Fact(grammar.project_name(text.rpartition("/")[2].replace(".", "-")), where)
        except ValueError:
            continue
    return None


# where it listens


def _ports(texts: Mapping[str, str | None], built: Dockerfile, kind: Kinds) -> Iterator[Fact]:
    """The most certain first: what the image says of itself, what starts it, what its kind does."""
    stage = built.last
    said = port_number(stage.env.get("PORT", ""))
    # of several that are exposed the one that PORT names is the application's
    for exposed, number in sorted(stage.ports, key=lambda each: each[0] != said):
        yield Fact(exposed, f"Dockerfile line {number}: EXPOSE {exposed}")
    for word, command in (("ENTRYPOINT", stage.entrypoint), ("CMD", stage.command)):
        if command is not None and (port := listens(command[1])) is not None:
            yield Fact(port, f"Dockerfile line {command[0]}: {word}")
    if said is not None:
        yield Fact(said, f"Dockerfile line {stage.port_line}: ENV PORT={said}")
    for line in (texts.get("Procfile") or "").removeprefix("\ufeff").splitlines():
        if line.startswith("web:") and (port := listens(split(line[4:]))) is not None:
            yield Fact(port, "Procfile: web")
    if kind.start is not None and (port := listens(split(kind.start[0]))) is not None:
        yield Fact(port, kind.start[1])
    served = stage.image.rpartition("/")[2].partition("@")[0].partition(":")[0]
    if served in SERVED:
        yield Fact(SERVED[served], f"Dockerfile: FROM {served}")
    yield from (Fact(*each) for each in kind.ports)


def listens(words: list[str], deep: int = 2) -> int | None:
    """The port that a command line names: `--port 8000`, `-b 0.0.0.0:8000`, `PORT=8000 …`, `runserver 0.0.0.0:8000`."""
    for word, after in zip(words, [*words[1:], ""], strict=False):
        name, tied, value = word.partition("=")
        port = None
        if name in LISTEN_FLAGS or word == "runserver":
            port = port_number((value if tied else after).rpartition(":")[2])
        elif name == "PORT":
            port = port_number(value)
        elif word == "-c" and deep:
            port = listens(split(after), deep - 1)
        if port is not None:
            return port
    return None


# what says that it is well


def _health(texts: Mapping[str, str | None], built: Dockerfile) -> Iterator[Fact]:
    if built.last.check is not None:
        line, words = built.last.check
        for found in CHECKED.finditer(" ".join(words)):
            yield from _sound(found[1], f"Dockerfile line {line}: HEALTHCHECK")
    routes = list(_routes(texts))
    by_word = {word: number for number, word in enumerate(WORDS)}
    for path, where in sorted(routes, key=lambda each: (by_word[each[0].strip("/").rpartition("/")[2]], each)):
        yield from _sound(path, where)


def _sound(path: str, where: str) -> Iterator[Fact]:
    """`/` says nothing that is not assumed anyway."""
    try:
        kept = grammar.health_path(path)
    except ValueError:
        return
    if kept != "/":
        yield Fact(kept, where)


def _routes(texts: Mapping[str, str | None]) -> Iterator[tuple[str, str]]:
    for path, text in texts.items():
        if said := NEXT_ROUTE.fullmatch(path):
            yield f"/{said[1] or said[2]}", path
        elif said := REMIX_ROUTE.fullmatch(path):
            yield f"/{said[1].replace('.', '/')}", path
        elif text is not None and CODE.fullmatch(path):
            yield from _in_code(path, text)


def _in_code(path: str, text: str) -> Iterator[tuple[str, str]]:
    for found in CODE_ROUTE.finditer(text):
        begins = text.rfind("\n", 0, found.start()) + 1
        if text[begins : begins + 200].lstrip()[:2].startswith(("#", "//", "*", "/*")):
            continue
        line = text.count("\n", 0, found.start()) + 1
        yield f"/{found[1].lower()}{found[2]}", f"{path} line {line}"


# what is missing


def _workflow(texts: Mapping[str, str | None]) -> str:
    """The workflow that speaks of CodeB; one whose text was not read, if it is called what ours is called."""
    for path, text in sorted(texts.items()):
        if WORKFLOW.fullmatch(path):
            ours = any(True for _ in OURS.finditer(text)) if text is not None else path.endswith(("/deploy.yml", "/deploy.yaml"))
            if ours:
                return path
    return ""


def _gaps(
    texts: Mapping[str, str | None], known: bool, ports: Iterable[Fact], health: Fact | None, workflow: str
) -> Iterator[Gap]:  # fmt: skip
    if not known:
        yield Gap(
            "type", "nothing tells what kind of application it is",
            "Say it with --type: nextjs, remix, nodejs, python, go or docker.",
        )  # fmt: skip
    if "Dockerfile" not in texts:
        yield Gap(
            "Dockerfile", "there is none, so `we deploy .` has nothing to build",
            "Add one; or deploy an image that is built elsewhere, by its name.",
        )  # fmt: skip
    elif ".dockerignore" not in texts:
        yield Gap(
            ".dockerignore", "there is none, so the build gets every file of the folder, .env and .git too",
            "Add one that leaves out .git, .env and what is built anew anyway.",
        )  # fmt: skip
    if not any(True for _ in ports):
        yield Gap(
            "port", "nothing tells where it listens inside its container; 3000 is assumed, and given to it as PORT",
            "EXPOSE it in the Dockerfile, or say --port.",
        )  # fmt: skip
    if health is None:
        yield Gap(
            "health path", "no route such as /health was found; / is asked, and counts as healthy with 2xx and 3xx",
            "Answer 200 at a path of its own once it is ready to serve, and say --health-path.",
        )  # fmt: skip
    if not workflow:
        yield Gap("workflow", "no workflow deploys it on a push", "`we workflow init` writes one; `we deploy .` deploys without.")
