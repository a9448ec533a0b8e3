"""The load client as a process of its own: `python -m demo.load --port 8080 --host-header shop.localhost --seconds 10`.

Ends after `--seconds`, at SIGTERM or SIGINT, when the file `--stop-file` appears, or (with `--until-stdin-closes`)
when standard input ends; always gracefully. Exit code 0 when nothing was lost, 1 otherwise.
"""

import argparse
import asyncio
import contextlib
import json
import resource
import signal
import sys
from dataclasses import fields
from pathlib import Path

from demo.load.report import Result
from demo.load.run import Load, Rates, Target


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m demo.load", description="open-loop load; every failure is counted")
    parser.add_argument("--address", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--host-header", default="localhost")
    parser.add_argument("--seconds", type=float, help="without it: until it is told to stop")
    parser.add_argument("--stop-file", type=Path)
    parser.add_argument("--until-stdin-closes", action="store_true")
    parser.add_argument("--json", action="store_true", help="the summary as one line of JSON")
    parser.add_argument("--trace", action="store_true", help="with --json: every answer too")
    for rate in fields(Rates):
        kind = int if rate.name in ("sse", "websocket") else float
        parser.add_argument(f"--{rate.name}", type=kind, default=rate.default, help=f"default {rate.default}")
    return parser.parse_args()


async def told_to_stop(options: argparse.Namespace) -> None:
    """Return at the first reason to stop."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if options.until_stdin_closes:
        reader = asyncio.StreamReader()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        watch = asyncio.create_task(reader.read())
        watch.add_done_callback(lambda _: stop.set())
    if options.seconds is not None:
        loop.call_later(options.seconds, stop.set)
    while not stop.is_set() and not (options.stop_file and options.stop_file.exists()):
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), 0.1 if options.stop_file else None)


async def run(options: argparse.Namespace) -> Result:
    target = Target(options.port, options.host_header, options.address)
    rates = Rates(**{rate.name: getattr(options, rate.name) for rate in fields(Rates)})
    async with Load(target, rates) as load:
        await told_to_stop(options)
    return load.result


def show(result: Result) -> None:
    """A table for people."""
    for kind, counts in result.summary()["kinds"].items():
        numbers = " ".join(f"{name} {counts[name]:>6}" for name in ("sent", "ok", "failed", "cut", "stale"))
        print(f"{kind:<10} {numbers}  {counts['latency_ms']}")
    for failure in result.failures:
        print(f"  {failure.at - result.started:8.3f} s {failure.kind} {failure.stage}: {failure.reason}")
    print(f"lost {result.lost} of {result.total('sent')}")


def main() -> int:
    options = arguments()
    # A target that hangs holds many connections open: running out of descriptors would be our failure, not its.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    result = asyncio.run(run(options))
    if options.json:
        print(json.dumps(result.summary(options.trace)), flush=True)
    else:
        show(result)
    return 1 if result.lost else 0


if __name__ == "__main__":
    sys.exit(main())
