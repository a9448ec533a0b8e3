"""The only place that starts a process: argument lists, a fixed environment, never a shell."""

import asyncio
import os
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from codeb.errors import Unavailable

SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Ended:
    """How a program ended and what it wrote."""

    code: int
    out: bytes
    err: bytes


def environment(home: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The whole environment a child gets: nothing of ours leaks into it, its own files land below `home`."""
    fixed = {
        "PATH": SEARCH_PATH,
        "LANG": "C.UTF-8",
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / "config"),
        "XDG_DATA_HOME": str(home / "data"),
    }
    return fixed | dict(extra or {})


async def run(
    arguments: Sequence[str], *, home: Path, seconds: float, extra: Mapping[str, str] | None = None, stdin: bytes = b""
) -> Ended:
    """Run a program to its end and give back what it wrote, whatever its exit code.

    Raises `Unavailable` when it cannot be started or has not ended within `seconds`; it is killed then, and also
    when the caller is cancelled.
    """
    try:
        child = await asyncio.create_subprocess_exec(
            *arguments,
            # without anything to say no pipe: one that ends at once has closed it before the first write
            stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(home, extra),
            start_new_session=True,
        )
    except OSError as error:
        raise _cannot_start(arguments[0], error) from error
    try:
        async with asyncio.timeout(seconds):
            out, err = await child.communicate(stdin or None)
    except TimeoutError as error:
        raise Unavailable(
            f"{Path(arguments[0]).name} did not end within {seconds:g} seconds and was killed.",
            hint="See whether the machine is overloaded, then try again.",
        ) from error
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    return Ended(child.returncode or 0, out, err)


def start_detached(arguments: Sequence[str], *, home: Path, output: Path, extra: Mapping[str, str] | None = None) -> int:
    """Start a program that outlives CodeB, in a session of its own, writing to the file `output`; gives its id.

    Raises `Unavailable` when it cannot be started.
    """
    handle = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o640)
    try:
        child = subprocess.Popen(  # noqa: S603 - an argument list of our own, no shell
            list(arguments),
            stdin=subprocess.DEVNULL,
            stdout=handle,
            stderr=handle,
            env=environment(home, extra),
            cwd=home,
            start_new_session=True,
            umask=0o027,
        )
    except OSError as error:
        raise _cannot_start(arguments[0], error) from error
    finally:
        os.close(handle)
    # Should it end before CodeB does, somebody has to collect it, or it stays a zombie that looks alive.
    threading.Thread(target=child.wait, name=f"reap-{child.pid}", daemon=True).start()
    return child.pid


def follow(arguments: Sequence[str], *, environment: Mapping[str, str], each: Callable[[str], None]) -> int:
    """Run a program that works for whoever is at the command line, and hand on each line that it writes as it comes; gives its
    exit code. It has `environment` and nothing else, and ends with this process.

    Raises `Unavailable` when it cannot be started.
    """
    try:
        child = subprocess.Popen(  # noqa: S603 - an argument list of our own, no shell
            list(arguments), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=dict(environment),
            encoding="utf-8", errors="replace",
        )  # fmt: skip
    except OSError as error:
        raise _cannot_start(arguments[0], error) from error
    with child:
        try:
            assert child.stdout is not None
            for line in child.stdout:
                each(line.rstrip("\r\n"))
            return child.wait()
        except BaseException:
            child.terminate()
            raise


def _cannot_start(program: str, error: OSError) -> Unavailable:
    return Unavailable(
        f"{program} cannot be started: {error.strerror}.",
        hint="Check that the program is installed and may be executed.",
        details={"program": program},
    )
