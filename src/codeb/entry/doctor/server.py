"""The server on this home: does one run, just one, does it answer, is it of this version, and may it open enough?"""

import http.client
import json
import re
import resource
from collections.abc import Iterator
from pathlib import Path

from codeb.config import Settings
from codeb.entry.cli.machine import server_process
from codeb.entry.doctor import kernel
from codeb.entry.version import VERSION
from codeb.model.specs import Finding

ANSWER_SECONDS = 5.0
FEW_FILES, ENOUGH_FILES = 256, 1024
NOFILE = re.compile(r"Max open files +([0-9]+|unlimited)")
TASKS_USED = 0.8


def servers(home: Path) -> list[kernel.Process]:
    """Every server of this home: each keeps `server.pid` open while it lives, even after somebody removed that file."""
    return kernel.having_open(home.resolve() / "server.pid")


def check(settings: Settings) -> Iterator[Finding]:
    found, holder = servers(settings.home), server_process(settings.home)
    yield _alone(settings.home, found, holder)
    if found or holder:
        yield _answers(settings, holder or found[0].pid)
    yield _files(holder)
    yield _tasks(holder)


def _alone(home: Path, found: list[kernel.Process], holder: int | None) -> Finding:
    if len(found) > 1:
        others = [each for each in found if each.pid != holder] or found[1:]
        text = f"{len(found)} servers run on {home}: {', '.join(map(str, found))}. They undo each other's work."
        return Finding("server", "fail", text, f"kill {' '.join(str(each.pid) for each in others)}")
    if not found and holder is None:
        return Finding("server", "warn", f"No server runs on {home}. What is deployed is served without it.", "we up -d")
    return Finding("server", "pass", f"One server runs on {home}: process {holder or found[0].pid}.")


def _answers(settings: Settings, pid: int) -> Finding:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104 - asked, not bound
    log, again = settings.home / "logs" / "server.log", f"we down && we up -d   (kill -9 {pid} loses nothing that was begun)"
    connection = http.client.HTTPConnection(host, settings.port, timeout=ANSWER_SECONDS)
    try:
        connection.request("GET", "/health")
        answer = connection.getresponse()
        status, said = answer.status, json.loads(answer.read(65_536))
    except (OSError, ValueError, http.client.HTTPException) as fault:
        text = f"The server (process {pid}) does not answer on {host}:{settings.port}: {fault}."
        return Finding("server answers", "fail", text, f"See {log}; does it run with the same CODEB_PORT? Then: {again}")
    finally:
        connection.close()
    state = str(said.get("status")) if isinstance(said, dict) else "nothing"
    if status != 200 or state not in ("ok", "degraded"):
        return Finding("server answers", "warn", f"It answers {status}, and says that it is {state}.", f"See {log}")
    if (theirs := said.get("version")) != VERSION:
        text = f"The running server is version {theirs}, this command {VERSION}."
        return Finding("server answers", "warn", text, "Restart it on the new one: we down && we up -d")
    return Finding("server answers", "pass", f"It answers on {host}:{settings.port}, version {VERSION}.")


def _files(holder: int | None) -> Finding:
    soft: float = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    try:
        match = NOFILE.search((kernel.PROC / str(holder) / "limits").read_text()) if holder else None
    except OSError:
        match = None
    if match:
        soft = float("inf") if match[1] == "unlimited" else int(match[1])
    whose = f"The server (process {holder})" if match else "A server started from here"
    text = f"{whose} may open {'any number of' if soft in (-1, float('inf')) else f'{soft:.0f}'} files."
    if soft in (-1, float("inf")) or soft >= ENOUGH_FILES:
        return Finding("open files", "pass", text)
    fix = "LimitNOFILE=65536 in its unit file, or `ulimit -n 65536` before `we up`"
    return Finding("open files", "fail" if soft < FEW_FILES else "warn", f"{text} Each caller takes one.", fix)


def _tasks(holder: int | None) -> Finding:
    """The control group's limit on processes and threads, version 2 or 1."""
    used, limit = _pids(holder)
    if limit is None:
        return Finding("processes", "pass", "No control group limits the number of processes.")
    text = f"{used} of {limit} processes and threads of its control group are used."
    if used < limit * TASKS_USED:
        return Finding("processes", "pass", text)
    return Finding("processes", "warn", text, "TasksMax=infinity in its unit file, then: systemctl daemon-reload")


def _pids(holder: int | None) -> tuple[int, int | None]:
    try:
        for line in (kernel.PROC / (str(holder) if holder else "self") / "cgroup").read_text().splitlines():
            _, names, path = line.split(":", 2)
            if names and "pids" not in names.split(","):
                continue
            folder = Path("/sys/fs/cgroup", *(["pids"] if names else []), path.lstrip("/"))
            limit = (folder / "pids.max").read_text().strip()
            if limit != "max":
                return int((folder / "pids.current").read_text()), int(limit)
    except (OSError, ValueError):
        pass
    return 0, None
