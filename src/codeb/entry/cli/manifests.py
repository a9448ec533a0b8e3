"""The `codeb.toml` of a source tree and what the server says of its project, read for comparison."""

from pathlib import Path
from typing import Any

import click

from codeb.entry.cli import exits, settings, show
from codeb.entry.cli.options import text_of
from codeb.entry.cli.session import Ended, Session
from codeb.entry.cli.surface import by_name
from codeb.model.manifest import FILE, LARGEST, SETTINGS, Manifest, NotAManifest, read
from codeb.model.manifest_plan import Host, Plan, Standing, compare, wire

KINDS = {"postgres": "database", "redis": "redis"}
"""of storage, as the server names them and as the file does"""


def loaded(path: Path) -> Manifest:
    """Shows all that is wrong with the file and raises `Ended`; `UsageError` for one that is the server's."""
    if path.parent.resolve() == settings.home().resolve():
        raise click.UsageError(
            f"{path} has the settings of the server of this machine. A source tree has a {FILE} of its own: call this from there."
        )
    try:
        return read(text_of(str(path), LARGEST))
    except NotAManifest as fault:
        show.err(click.style(f"✗ {path} cannot be used; nothing was done.", fg="red"))
        for each in fault.faults:
            show.err(f"    {show.harmless(str(each))}")
        raise Ended(exits.USAGE) from None


def here(session: Session, folder: str | None) -> tuple[Path, Manifest]:
    """The file of this folder, else the nearest one up to the root of the repository. Raises `UsageError`, `Ended`."""
    if folder is not None:
        path: Path | None = Path(folder) / FILE if Path(folder).is_dir() else Path(folder)
    else:
        path = settings.nearest(Path.cwd())
    if path is None or not path.is_file():
        raise click.UsageError(f"There is no {FILE} {f'at {path}' if path else 'here'}. `we init` writes one.")
    session.tree = path.resolve().parent
    return path, loaded(path)


def standing(session: Session, wanted: Manifest) -> Standing | None:
    """None where there is no such project. Asks for no more than the file names; shows a failure and raises `Ended`."""
    where = {"projectName": wanted.project}
    answer = session.ask("project_get", where)
    if answer.body.get("code") == "project_not_found":
        return None
    if not answer.ok:
        raise Ended(session.failed(answer))
    project = answer.body["project"]
    if project["state"] != "ready":
        show.err(click.style(f"✗ {wanted.project} is {project['state']}; nothing was done.", fg="red"))
        show.after(answer.body)
        raise Ended(exits.FAILED)
    storage = session.good("db_list", where)["storage"] if (wanted.database, wanted.redis) != (None, None) else []
    hosts = _hosts(session, where) if wanted.domains is not None else {}
    return Standing(
        {name: project.get(wire(name)) for name in SETTINGS}, [each["environment"] for each in project["environments"]],
        {(each["environment"], KINDS[each["kind"]]) for each in storage if each["kind"] in KINDS}, hosts,
    )  # fmt: skip


def _hosts(session: Session, where: dict[str, Any]) -> dict[str, Host]:
    found, last = dict[str, Host](), None
    while True:
        body = session.good("domain_list", {**where, "limit": 1000, **({"after": last} if last else {})})
        found |= {each["domain"]: Host(each["environment"], each["redirectTo"]) for each in body["domains"]}
        if not body["more"]:
            return found
        last = body["domains"][-1]["domain"]


def compared(session: Session, wanted: Manifest) -> Plan:
    """What differs now. Raises as `standing` does."""
    updatable = [each.name for each in by_name()["project_update"].params]
    return compare(wanted, standing(session, wanted), updatable)
