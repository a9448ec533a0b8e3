"""Over the wire: how long a refusal takes does not tell what is wrong with a key (S13).

A statistic that sees nothing proves nothing, so the same one is asked of a server whose authentication does tell.
"""

import json
import random
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import pytest

from tests.entry.clocked import LEAK

ROUNDS = 400
"""calls with a text of each kind"""
WARM = 20
LOTS = 60
TELLS = 1.5
"""from here on a ratio is no chance any more: without a leak it was between 0.3 and 0.9, in dozens of runs"""
FLOOR = 2.0
"""microseconds that count as nothing: on a machine where all is quiet, medians of the same work differ by a part of one"""


class Line:
    """A kept connection, and how long one call over it takes."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def close(self) -> None:
        self._socket.close()

    def ask(self, key: str) -> tuple[float, bytes]:
        """Microseconds until the whole answer is there, and the answer."""
        head = f"POST /api/project/list HTTP/1.1\r\nHost: 127.0.0.1\r\nX-API-Key: {key}\r\nContent-Type: application/json\r\n"
        call = f"{head}Content-Length: 2\r\n\r\n{{}}".encode()
        began = time.perf_counter_ns()
        self._socket.sendall(call)
        answer = self._socket.recv(65536)
        while not answer.endswith(b"}"):
            answer += self._socket.recv(65536)
        return (time.perf_counter_ns() - began) / 1000, answer


@contextmanager
def served(*, leaks: bool) -> Iterator[tuple[Line, dict[str, str]]]:
    command = [sys.executable, "-m", "tests.entry.clocked", *([LEAK] if leaks else [])]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        said = json.loads(server.stdout.readline())
        line = Line(said["port"])
        try:
            yield line, said["keys"]
        finally:
            line.close()
            server.communicate()


def measured(*, leaks: bool) -> dict[str, list[float]]:
    """Of each kind one call a round, in an order drawn anew, less the round's own middle: so no drift counts for any kind."""
    draw, found = random.Random(13), dict[str, list[float]]()
    with served(leaks=leaks) as (line, keys):
        order, answers = list(keys), set[str]()
        for number in range(WARM + ROUNDS):
            draw.shuffle(order)
            took = {}
            for name in order:
                took[name], answer = line.ask(keys[name])
                answers.add(same_of(answer))
            middle = statistics.median(took.values())
            if number >= WARM:
                for name, each in took.items():
                    found.setdefault(name, []).append(each - middle)
    assert len(answers) == 1 and answers.pop().startswith("401 ")
    return found


def same_of(answer: bytes) -> str:
    """The answer without what differs from call to call."""
    head, _, body = answer.partition(b"\r\n\r\n")
    said = {name: value for name, value in json.loads(body).items() if name not in ("correlationId", "timestamp")}
    lines = [line for line in head.decode().lower().split("\r\n")[1:] if not line.startswith(("date:", "x-correlation-id:"))]
    return f"{head[9:12].decode()} {lines} {said}"


def spread(of: Iterable[Iterable[float]]) -> float:
    medians = [statistics.median(each) for each in of]
    return max(medians) - min(medians)


def told(found: dict[str, list[float]]) -> float:
    """How far the medians of the kinds lie apart, against the furthest that they do when each round's times are dealt out by lot.

    At most about 1 where the kind makes no difference: then the true order is one more lot.
    """
    draw, rounds, furthest = random.Random(31), [list(each) for each in zip(*found.values(), strict=True)], FLOOR
    for _ in range(LOTS):
        for each in rounds:
            draw.shuffle(each)
        furthest = max(furthest, spread(zip(*rounds, strict=True)))
    return spread(found.values()) / furthest


@pytest.mark.quiet
def test_how_long_a_refusal_takes_tells_nothing_about_a_key() -> None:
    """S13: unknown, nearly right, malformed, revoked, expired, of somebody who was removed: interleaved, without rate limits."""
    found = measured(leaks=False)
    assert len(found) == 8
    assert told(found) < TELLS, {name: round(statistics.median(each), 1) for name, each in found.items()}


@pytest.mark.quiet
def test_a_server_that_tells_is_found_out() -> None:
    """S13: the same measurement of a server that goes through a slow hash (of some 40 microseconds) for known keys only."""
    found = measured(leaks=True)
    assert told(found) > TELLS, {name: round(statistics.median(each), 1) for name, each in found.items()}
