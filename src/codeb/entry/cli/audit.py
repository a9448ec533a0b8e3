"""`we audit`: read, filter, export and verify the audit log."""

from typing import Any

import click

from codeb.entry.cli import exits, show
from codeb.entry.cli.generated import Commands
from codeb.entry.cli.options import options, params_of
from codeb.entry.cli.session import Session
from codeb.entry.cli.surface import by_name

VERIFY_SECONDS = 900.0


def _read(**given: Any) -> int:
    context = click.get_current_context()
    if context.invoked_subcommand is not None:
        return exits.OK
    session: Session = context.find_object(Session) or Session()
    params = params_of(session, by_name()["audit_list"], given, positional=False)
    if given["export"] is not None:
        return _export(session, params, given["export"])
    if given["as_json"]:
        return session.raw(session.ask("audit_list", params))
    rows: list[dict[str, Any]] = []
    wanted, asked = int(params.get("limit", 50)), dict(params)
    while True:
        body = session.good("audit_list", asked)
        rows += body["rows"]
        # a page may be short because what is asked for is rare; what was looked through is not looked through again
        if not body["more"] or len(rows) >= wanted:
            break
        asked |= {"before": body["nextBefore"], "limit": wanted - len(rows)}
    _table(rows)
    show.after({**body, "next": []})
    if body["more"]:
        show.err(f"  older ones: --before {body['nextBefore']}")
    return exits.OK


def _table(rows: list[dict[str, Any]]) -> None:
    if not rows:
        show.out("No rows.")
        return
    cells = [
        [
            each["at"][:19].replace("T", " "), show.colour("done" if each["ok"] else "failed"), each["tool"],
            each["params"].get("projectName"), each["role"], each["keyId"], each["ip"], each["code"],
            show.harmless(each["summary"])[:80],
        ]
        for each in rows
    ]  # fmt: skip
    show.table(
        ["AT", "STATE", "TOOL", "PROJECT", "ROLE", "KEY", "FROM", "CODE", "WHAT"], [[_plain(x) for x in row] for row in cells]
    )


def _plain(cell: Any) -> str:
    return show.harmless("" if cell is None else str(cell)).replace("\n", " ")


def _export(session: Session, params: dict[str, Any], target: str) -> int:
    """Every row as JSON lines. A file is there whole or not at all, and only for its owner."""
    import contextlib
    import os
    import sys
    from pathlib import Path

    query = {**{name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in params.items()}}
    failed, chunks = session.client.lines("/api/audit", {**query, "format": "jsonl"})
    if failed is not None:
        return session.failed(failed)
    if target == "-":
        for chunk in chunks:
            sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()
        return exits.OK
    path, count = Path(target), 0
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb") as file:
            for chunk in chunks:
                file.write(chunk)
                count += chunk.count(b"\n")
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as fault:
        raise click.ClickException(f"{path} cannot be written: {fault.strerror}") from None
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
    show.out(f"{count} rows are in {path}.")
    return exits.OK


@click.command(short_help="Check that the audit log is whole")
@click.option("--json", "as_json", is_flag=True, help="print the server's answer as it is")
@click.pass_obj
def verify(session: Session, as_json: bool) -> int:
    """Recompute every hash of every chain. Ends with 1 when a row is missing, altered, put in or cut off."""
    answer = session.ask("audit_verify", {}, seconds=VERIFY_SECONDS)
    if not answer.ok:
        return session.raw(answer) if as_json else session.failed(answer)
    code = exits.OK if answer.body.get("whole") else exits.FAILED
    if as_json:
        session.raw(answer)
        return code
    rows = [
        [
            show.colour("pass" if each["whole"] else "fail"), each["chain"], each["rows"], each["first"], each["last"],
            each["pruned"],
            each["why"], (each["hash"] or "")[:16],
        ]
        for each in answer.body["chains"]
    ]  # fmt: skip
    if rows:
        show.table(["STATE", "CHAIN", "ROWS", "FIRST", "LAST", "PRUNED", "BEGUN FOR", "HASH"], rows)
    for each in answer.body["chains"]:
        for fault in each["faults"]:
            show.warn(f"{each['chain']}: row {fault['seq']} {fault['problem']}")
        if each["moreFaults"]:
            show.warn(f"{each['chain']}: and {each['moreFaults']} more")
    show.out(str(answer.body["summary"]))
    show.after(answer.body)
    return code


class _Audit(Commands):
    """The rows themselves, unless another word follows. Its options are made when they are asked for."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        if not self.params:
            target = "write every row as JSON lines to this file, or - for standard output"
            self.params = [
                *options(by_name()["audit_list"], positional=False),
                click.Option(["--export", "export"], metavar="FILE|-", help=target),
            ]
        return super().get_params(ctx)


audit = _Audit(
    "audit", callback=_read, invoke_without_command=True, short_help="Read, export and verify the audit log",
    help="Every call, accepted or refused, newest first: an admin sees the team's, a member those of the own key.",
)  # fmt: skip
audit.add_command(verify)
