"""`we doctor`: every check of this machine, side by side, none of which can stop another. Changes nothing, needs no key."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable, Sequence

from codeb import config
from codeb.config import Settings
from codeb.entry.doctor import clock, database, docker, home, ports, proxy, server, vault
from codeb.errors import PublicError
from codeb.model.specs import Finding

SECONDS = 30.0
"""for one check, whatever hangs"""
NOT_THE_SERVERS = {"CODEB_API_URL", "CODEB_API_KEY", "CODEB_PROJECT", "CODEB_ENVIRONMENT"}
"""variables of the command line, and those of tests below"""
TESTING = ("CODEB_TEST_", "CODEB_ALLOW_", "CODEB_BENCH_")

Check = Callable[[Settings], Awaitable[Iterable[Finding]]]


def _aside(check: Callable[[Settings], Iterable[Finding]]) -> Check:
    async def run(settings: Settings) -> Iterable[Finding]:
        return await asyncio.to_thread(lambda: list(check(settings)))

    return run


CHECKS: Sequence[tuple[str, Check]] = (
    ("home", _aside(home.check)), ("database", database.check), ("master key", vault.check),
    ("docker", docker.check), ("caddy", proxy.check),
    ("ports", _aside(ports.check)), ("server", _aside(server.check)), ("clock", _aside(clock.check)),
)  # fmt: skip


def examined() -> list[Finding]:
    """Everything, in the order of reading. Settings that cannot be used are one finding, and end it: the rest hangs on them."""
    try:
        settings = config.load()
    except PublicError as fault:
        fix = "Correct what it names, in the environment or in codeb.toml of the home; then: we doctor"
        return [Finding("settings", "fail", fault.message, fix)]
    return [_settings(settings), *asyncio.run(_examine(settings))]


async def _examine(settings: Settings) -> list[Finding]:
    found = await asyncio.gather(*(_guarded(name, check, settings) for name, check in CHECKS))
    return [each for part in found for each in part]


async def _guarded(name: str, check: Check, settings: Settings) -> list[Finding]:
    try:
        async with asyncio.timeout(SECONDS):
            return list(await check(settings))
    except TimeoutError:
        text = f"The checks of {name} did not end within {SECONDS:g} s."
        return [Finding(name, "fail", text, "See whether the machine or its disk hangs: dmesg | tail")]
    except Exception as fault:  # one check that cannot be made is a finding, and the others are made
        text = f"The checks of {name} could not be made: {type(fault).__name__}: {fault}"[:500]
        return [Finding(name, "fail", text, "As the server's user, or as root: sudo we doctor")]


def _settings(settings: Settings) -> Finding:
    rows = config.explained(settings)
    said = {where: sum(row["from"] == where for row in rows) for where in ("environment", "codeb.toml")}
    known = {row["variable"] for row in rows} | NOT_THE_SERVERS
    unknown = sorted(
        name for name in os.environ if name.startswith("CODEB_") and name not in known and not name.startswith(TESTING)
    )
    if settings.crash_at:
        return Finding("settings", "fail", "CODEB_CRASH_AT is set: the server will kill itself.", "unset CODEB_CRASH_AT")
    if settings.development:
        text = "CODEB_ENV is development: a server started so accepts any well-formed key."
        return Finding("settings", "warn", text, "unset CODEB_ENV   (or take env out of codeb.toml)")
    if unknown:
        return Finding(
            "settings", "warn", f"{unknown[0]} is no setting of CodeB.", f"Mistyped? See `we config`; unset {unknown[0]}"
        )
    text = f"Home {settings.home}; {said['environment']} from the environment, {said['codeb.toml']} from its codeb.toml."
    return Finding("settings", "pass", text)
