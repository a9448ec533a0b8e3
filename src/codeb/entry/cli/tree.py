"""`we deploy .`: a source tree is built, pushed and deployed by its digest, in one go."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from codeb.entry.cli import builders, calls, exits, show
from codeb.entry.cli.options import params_of
from codeb.entry.cli.session import Session
from codeb.entry.cli.surface import ToolView
from codeb.errors import PublicError
from codeb.model import grammar


def deploy(session: Session, tool: ToolView, word: str, given: dict[str, Any], *, as_json: bool) -> int:
    """Raises `UsageError` where there is nothing to build."""
    tree = Path(word).resolve()
    if not tree.is_dir():
        raise click.UsageError(f"{word} is no folder.")
    if not (tree / "Dockerfile").is_file():
        raise click.UsageError(f"There is no Dockerfile in {tree}, so there is nothing to build. To deploy an image, name it.")
    if given.get("image") is not None:
        raise click.UsageError(f"--image and {word} exclude each other: the image is built from the tree.")
    session.tree = tree
    params = params_of(session, tool, given, positional=False)
    params.setdefault("version", version_of(tree))
    # everything that could be wrong is found out before the build, and what the image is to be called
    planned = session.ask(tool.name, {**params, "dryRun": True})
    if not planned.ok:
        return session.raw(planned) if as_json else session.failed(planned)
    image = str(planned.body["plan"]["image"])
    if params.get("dryRun"):
        return _planned(session, planned.body, tree, as_json, planned)
    try:
        grammar.image(image)
    except ValueError as fault:
        raise click.UsageError(f"The server names no image that can be built: {fault}.") from None
    _warn_of_another_machine(session, image)
    told = builders.Told(_line)
    try:
        digest = _built(tree, image, told)
    except PublicError as fault:
        return _failed(fault, tree, image, told)
    show.err(f"Pushed {image}@{digest}")
    return calls.execute(session, tool, {**params, "image": f"{image}@{digest}"}, as_json=as_json)


def _planned(session: Session, body: dict[str, Any], tree: Path, as_json: bool, answer: Any) -> int:
    if as_json:
        return session.raw(answer)
    show.out(f"Would build {tree} and push it as {body['plan']['image']}.")
    # the plan is that of a deploy by tag; what is built has a digest only then
    calls.plan({**body, "next": []})
    return exits.OK


def _warn_of_another_machine(session: Session, image: str) -> None:
    """A registry on loopback is the server's own machine, as the server sees it."""
    from urllib.parse import urlsplit

    mine = urlsplit(session.client.where.url).hostname or ""
    theirs = urlsplit(f"//{grammar.image_host(image) or ''}").hostname or ""
    if not _loopback(mine) and _loopback(theirs):
        show.warn(f"The server's image registry is {theirs}, its own machine; what is pushed from here may go elsewhere.")


def _loopback(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")


def _built(tree: Path, image: str, told: builders.Told) -> str:
    builder = builders.chosen()
    show.err(f"Building {tree} as {image} with {builder.name}.")
    if builder.cache:
        show.err(f"  {builder.cache}")
    return builder.build(tree, image, told)


def _line(text: str) -> None:
    show.err(click.style("    │ ", fg="bright_black") + show.harmless(text))


def _failed(fault: PublicError, tree: Path, image: str, told: builders.Told) -> int:
    pushing = fault.code == "push_failed" or any(line.startswith("The push refers to") for line in told.last)
    what = f"{image} could not be pushed" if pushing else f"{tree} could not be built"
    hint = fault.hint or (
        "Check that the image registry runs, that this machine reaches it, and `docker login`." if pushing
        else "The last lines above say why; nothing was pushed."
    )  # fmt: skip
    show.failure({"error": f"{what}: {fault.message} Nothing was deployed.", "hint": hint, "details": {"logs": list(told.last)}})
    return exits.FAILED


def version_of(tree: Path) -> str:
    """The commit, with the time where the tree has more than that; the time alone where it is no commit's."""
    now = f"{datetime.now(UTC):%Y%m%d-%H%M%S}"
    code, commit = _git(tree, "rev-parse", "--short=12", "HEAD")
    if code != 0 or not grammar.TAG.fullmatch(commit):
        return now
    code, changed = _git(tree, "status", "--porcelain", "--", ".")
    return commit if code == 0 and not changed else f"{commit}-{now}"


def _git(tree: Path, *arguments: str) -> tuple[int, str]:
    return builders.asked("git", "-C", str(tree), "-c", "core.fsmonitor=false", *arguments)
