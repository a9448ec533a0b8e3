"""`we init`: a source tree looked at, its `codeb.toml` written, its project set up."""

import difflib
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from codeb.entry.cli import calls, exits, manifests, show, sources
from codeb.entry.cli.session import Ended, Session
from codeb.entry.cli.surface import ToolView
from codeb.entry.cli.workflow import folder, seen
from codeb.model import grammar
from codeb.model.manifest import FILE, USUAL, Manifest, Name, NotAManifest, read, write
from codeb.model.manifest_plan import PARTS, compare, wire
from codeb.model.source import Portrait, portrait

KEPT = ("type", "container_port", "health_path", "memory_mb", "cpus")
"""settings that an option says and the file keeps"""
PASSED = ("firewall", "dedicated", "dryRun", "planId", "idempotencyKey", "wait")
"""what concerns this call alone"""


@dataclass(frozen=True)
class _Tree:
    """The folder, what it is, and its file; None: it has none."""

    path: Path
    seen: Portrait
    file: Manifest | None


def init(session: Session, tool: ToolView, words: tuple[str, ...], given: dict[str, Any], *, as_json: bool, yes: bool) -> int:
    """Raises `UsageError`, `Ended`."""
    name, path = _words(words, given)
    tree = _look(path)
    session.tree = tree.path
    asked = _asked(tree, name, given)
    _tell(tree)
    if tree.file is not None and asked != tree.file:
        return _other(tree, asked)
    wanted = _completed(asked, tree.seen)
    params = dict(compare(wanted, None, ()).changes[0].params)
    params |= {each: given[each] for each in PASSED if given.get(each) is not None}
    text = write(wanted, _notes(tree, wanted))
    if given.get("dryRun"):
        return _dry(session, tool, tree, params, text, as_json=as_json)
    if tree.file is None:
        # what the server would refuse is known before anything is written
        rehearsed = session.ask(tool.name, {**_without(params), "dryRun": True})
        if not rehearsed.ok:
            return session.raw(rehearsed) if as_json else session.failed(rehearsed)
        _ask(wanted, rehearsed.body, yes=yes or as_json)
        _write(tree.path / FILE, text)
    code = calls.execute(session, tool, params, as_json=as_json)
    if code != exits.OK:
        show.err(f"  {tree.path / FILE} stays. `we init` goes on from there, as often as it is called.")
        return code
    if params.get("domain") and not as_json:
        _unproved(session, params)
    if len(compare(wanted, None, ()).changes) > 1:
        show.err(f"  {FILE} says more than this sets up: `we plan`")
    return code


def _unproved(session: Session, params: Mapping[str, Any]) -> None:
    """A name that nobody proved yet was left out, which the end of an operation does not tell: what proves it is said here."""
    about = {"projectName": params["projectName"], "environment": params["environments"][0], "domain": params["domain"]}
    redirect = {"redirect": True} if params.get("redirect") else {}
    answer = session.ask("domain_setup", {**about, **redirect, "dryRun": True})
    plan = answer.body.get("plan") or {}
    if answer.ok and plan.get("state") == "pending":
        show.warn(f"{params['domain']} is not proved to be yours yet. Set this, then call `we init` again:")
        for each in plan.get("setAtRegistrar", []):
            show.err(f"    {show.harmless(each['name'])}  {each['type']}  {show.harmless(each['value'])}")


def _words(words: tuple[str, ...], given: Mapping[str, Any]) -> tuple[str | None, Path]:
    """`we init [NAME] [FOLDER]`: what looks like a path is the folder."""
    paths = [word for word in words if word in (".", "..") or word.startswith(("./", "../", "/"))]
    names = [word for word in words if word not in paths]
    if not names[1:] and not paths and len(words) == 2:
        paths = names[1:]
    said = given.get("projectName")
    if len(names) > 1 or len(paths) > 1:
        raise click.UsageError(f"Say one name and one folder, which begins with ./ or /: {' '.join(words)}")
    if names and said not in (None, names[0]):
        raise click.UsageError(f"The name is given twice: {names[0]} and {said}.")
    return (names[0] if names else said), folder(paths[0] if paths else ".")


def _look(path: Path) -> _Tree:
    try:
        found = sources.taken(path)
    except OSError as fault:
        raise click.UsageError(f"{path} cannot be read: {fault.strerror}.") from None
    for text in found.warnings:
        show.warn(text)
    file = path / FILE
    # whatever stands there is not written over
    return _Tree(path, portrait(found.files), manifests.loaded(file) if os.path.lexists(file) else None)


# what is wanted


def _asked(tree: _Tree, name: str | None, given: Mapping[str, Any]) -> Manifest:
    """What the options say, else the file."""
    said: dict[str, Any] = {each: given[wire(each)] for each in KEPT if given.get(wire(each)) is not None}
    if tree.file is None or name is not None:
        said["project"] = _name(tree, name)
    if places := _places(given):
        said["environments"] = places
    elif tree.file is None:
        said["environments"] = USUAL
    asked = replace(tree.file or Manifest(""), **said)
    return _checked(_with_domain(_with_parts(asked, given), given))


def _completed(asked: Manifest, seen: Portrait) -> Manifest:
    """With what the tree tells and nobody says otherwise."""
    facts = {"type": seen.type, "container_port": seen.container_port, "health_path": seen.health_path}
    told: dict[str, Any] = {key: each.value for key, each in facts.items() if each and getattr(asked, key) is None}
    return replace(asked, **told)


def _with_parts(asked: Manifest, given: Mapping[str, Any]) -> Manifest:
    said: dict[str, Any] = {}
    for part in PARTS:
        there = getattr(asked, part) or ()
        if given.get(part) and not set(asked.places) <= set(there):
            said[part] = asked.places
        elif given.get(part) is False and there:
            said[part] = ()
    return replace(asked, **said)


def _places(given: Mapping[str, Any]) -> tuple[str, ...]:
    """Each on its own, or parted by commas."""
    return tuple(each for word in given.get("environments") or () for each in word.split(",") if each)


def _with_domain(wanted: Manifest, given: Mapping[str, Any]) -> Manifest:
    host, redirect = given.get("domain"), given.get("redirect")
    if host is None:
        if redirect is not None:
            raise click.UsageError("--redirect is about a domain: say --domain too.")
        return wanted
    there = wanted.domains or ()
    if known := next((each for each in there if each.name == host), None):
        meant = known if redirect is None else replace(known, redirect=redirect)
        return replace(wanted, domains=tuple(meant if each is known else each for each in there))
    return replace(wanted, domains=(*there, Name(host, wanted.places[0], redirect)))


def _checked(wanted: Manifest) -> Manifest:
    """Held to the grammar of the file, whatever it came from. Raises `UsageError`."""
    try:
        return read(write(wanted))
    except NotAManifest as fault:
        raise click.UsageError("; ".join(f"{each.key}: {each.problem}" for each in fault.faults) + ".") from None


def _name(tree: _Tree, said: str | None) -> str:
    """As it is called, calls itself, or as its folder is called. Raises `UsageError`."""
    if said is not None:
        return _sound(said)
    if tree.seen.name is not None:
        return str(tree.seen.name.value)
    try:
        return grammar.project_name(tree.path.name)
    except ValueError:
        raise click.UsageError("Nothing tells what the project is to be called: we init NAME.") from None


def _sound(name: str) -> str:
    try:
        return grammar.project_name(name)
    except ValueError as fault:
        raise click.UsageError(f"{fault}.") from None


def _notes(tree: _Tree, wanted: Manifest) -> dict[str, str]:
    """Where what stands in the file was seen."""
    facts = {"project": tree.seen.name, "type": tree.seen.type, "container_port": tree.seen.container_port}
    facts["health_path"] = tree.seen.health_path
    return {name: fact.where for name, fact in facts.items() if fact is not None and getattr(wanted, name) == fact.value}


# what is said and done


def _tell(tree: _Tree) -> None:
    """What was seen, to whoever watches."""
    found = {"type": tree.seen.type, "containerPort": tree.seen.container_port, "healthPath": tree.seen.health_path}
    for line in seen({name: (fact.value, fact.where) for name, fact in found.items() if fact}):
        show.err(line)
    for text in tree.seen.beside:
        show.warn(text)
    for unread in tree.seen.unread:
        show.warn(f"{unread.where}: {unread.why}")
    for gap in tree.seen.gaps:
        show.err(f"  missing: {gap.name}: {gap.text}. {gap.fix}")


def _other(tree: _Tree, wanted: Manifest) -> int:
    """The file is somebody's work: it is not written over."""
    assert tree.file is not None
    show.err(click.style(f"✗ {tree.path / FILE} is there, and says something else; nothing was done.", fg="red"))
    now, then = write(tree.file).splitlines(), write(wanted).splitlines()
    for line in difflib.unified_diff(now, then, lineterm="", n=0):
        if not line.startswith(("---", "+++", "@@")) and line[1:].strip():
            show.err(f"  {line}")
    show.err(
        "  Write these lines into it and call `we init` again, or leave the options out. What is set up is changed by `we apply`."
    )
    return exits.FAILED


def _dry(session: Session, tool: ToolView, tree: _Tree, params: dict[str, Any], text: str, *, as_json: bool) -> int:
    answer = session.ask(tool.name, _without(params) | {"dryRun": True})
    if as_json or not answer.ok:
        return session.raw(answer) if as_json else session.failed(answer)
    if tree.file is None:
        show.out(f"Would write {tree.path / FILE}:")
        for line in text.splitlines():
            show.out(f"    {line}")
    calls.plan({**answer.body, "next": []})
    return exits.OK


def _without(params: Mapping[str, Any]) -> dict[str, Any]:
    """Without what belongs to the call itself."""
    return {name: value for name, value in params.items() if name not in ("planId", "idempotencyKey", "wait")}


def _ask(wanted: Manifest, body: Mapping[str, Any], *, yes: bool) -> None:
    """Where there is somebody to ask. Raises `Ended` when the answer is no."""
    if yes or not sys.stdin.isatty():
        return
    show.err(str(body.get("summary", "")))
    for change in body.get("changes", []):
        show.err(f"  - {show.harmless(str(change))}")
    if not click.confirm(f"Write {FILE} and set up {wanted.project}?", default=True, err=True):
        show.err("Nothing was done.")
        raise Ended(exits.FAILED)


def _write(path: Path, text: str) -> None:
    """Never over another one. Raises `UsageError`."""
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as fault:
        raise click.UsageError(f"{path} cannot be written: {fault.strerror}. Nothing was done.") from None
    show.err(f"Wrote {path}")
