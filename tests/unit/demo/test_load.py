"""The load client: nothing is lost against a good server, and every fault of a bad one is seen where it happened."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest
from demo.load import Load, Rates, Result, Sight, Switch, Target, backslides

from tests.unit.demo.conftest import Running, Serve, faulty, free_port

pytestmark = pytest.mark.anyio
Start = Callable[..., Running]
ROOT = Path(__file__).parents[3]
OK = b'HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n{"version":"v1"}'


def only(**rates: float) -> Rates:
    return Rates(**{field.name: rates.get(field.name, 0) for field in fields(Rates)})  # type: ignore[arg-type]  # ints where ints go


async def against(serve: Serve, seconds: float = 0.6, patience: float = 2.0, **rates: float) -> Result:
    async with faulty(serve) as port:
        result = await Load(Target(port), only(**rates), patience=patience).run(seconds)
    for name, kind in result.kinds.items():
        assert kind.sent == kind.ok + kind.failed + kind.cut, name
    return result


def reasons(result: Result) -> set[tuple[str, str, str]]:
    return {(failure.kind, failure.stage, failure.reason) for failure in result.failures}


async def request(reader: asyncio.StreamReader) -> bytes:
    return await reader.readuntil(b"\r\n\r\n")


async def test_a_good_server_loses_nothing_and_the_client_is_light(start_app: Start) -> None:
    app = start_app()
    result = await Load(Target(app.port)).run(3)
    assert result.failures == []
    assert (result.lost, result.total("stale")) == (0, 0)
    due = {"short": 180, "keepalive": 180, "post": 60, "upload": 3, "slow": 6, "stream": 6, "sse": 5, "websocket": 5}
    for kind, expected in due.items():
        counts = result.kinds[kind]
        assert counts.sent == counts.ok, kind
        assert abs(counts.sent - expected) <= max(1, expected // 20), kind
    assert result.versions["v1"].count == result.slots["blue"].count == result.total("sent") == len(result.trace)
    assert result.cpu_seconds < 0.25 * 3


async def test_kept_connections_are_really_reused() -> None:
    connections = 0

    async def serve(number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections = number
        while True:
            await request(reader)
            writer.write(OK)

    result = await against(serve, seconds=1.5, keepalive=40)
    assert result.kinds["keepalive"].ok >= 55
    assert 8 <= connections <= 20


async def test_every_tenth_connection_is_reset() -> None:
    async def serve(number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        if number % 10 == 0:
            # Bytes that nobody read turn the close into a reset.
            writer.transport.abort()
            return
        writer.write(OK)

    result = await against(serve, seconds=1, short=50)
    counts = result.kinds["short"]
    assert counts.failed == counts.sent // 10 > 0
    assert reasons(result) <= {("short", "headers", "reset"), ("short", "headers", "closed")}
    assert (result.lost, counts.cut) == (counts.failed, 0)


async def test_a_truncated_body_is_a_failure_of_the_body() -> None:
    async def serve(number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(OK[:-5] if number % 2 else OK)

    result = await against(serve, short=30)
    assert reasons(result) == {("short", "body", "truncated")}
    assert result.failures[0].status == 200
    assert result.kinds["short"].failed == (result.kinds["short"].sent + 1) // 2


@pytest.mark.parametrize(
    ("answer", "stage", "reason"),
    [
        (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", "headers", "status 502"),
        (b"nonsense\r\n\r\n", "headers", "malformed (ValueError)"),
        (b"HTTP/1.1 200 OK\r\nContent-Le", "headers", "truncated"),
        (b"", "headers", "closed"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", "body", "wrong body"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", "body", "truncated"),
        (b"HTTP/1.1 200 OK\r\n\r\nno length", "body", "malformed (ValueError)"),
    ],
)
async def test_wrong_answers(answer: bytes, stage: str, reason: str) -> None:
    async def serve(_: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(answer)

    result = await against(serve, seconds=0.3, short=20)
    assert reasons(result) == {("short", stage, reason)}
    assert result.kinds["short"].ok == 0


async def test_silence_and_refusal() -> None:
    async def silent(_: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(5)

    result = await against(silent, seconds=0.3, patience=0.3, short=10, slow=10)
    assert reasons(result) == {("short", "headers", "timeout"), ("slow", "headers", "timeout")}
    result = await Load(Target(free_port()), only(short=10, websocket=1)).run(0.3)
    assert reasons(result) == {("short", "connect", "refused"), ("websocket", "connect", "refused")}


async def test_a_kept_connection_closed_between_requests_is_stale_and_under_a_request_a_failure() -> None:
    async def between(_: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(OK)
        await asyncio.sleep(0.05)

    async def under(_: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(OK)
        await request(reader)

    result = await against(between, seconds=1, keepalive=20)
    assert (result.kinds["keepalive"].failed, result.lost) == (0, 0)
    assert result.kinds["keepalive"].stale >= 15
    result = await against(under, seconds=1, keepalive=20)
    assert reasons(result) == {("keepalive", "headers", "stale")}
    assert (result.kinds["keepalive"].failed >= 5, result.kinds["keepalive"].stale) == (True, 0)


async def test_a_wrong_echo_of_a_post_and_of_an_upload() -> None:
    body = json.dumps({"sha256": "0" * 64, "length": 1}).encode()

    async def serve(_: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await request(reader)
        length = head.partition(b"Content-Length: ")[2].split(b"\r\n")[0]
        received = await reader.readexactly(int(length or 1))
        while not length and not received.endswith(b"\r\n0\r\n\r\n"):
            received += await reader.read(65536)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    result = await against(serve, seconds=0.4, post=20, upload=5)
    assert reasons(result) == {("post", "body", "wrong echo"), ("upload", "body", "wrong echo")}


async def test_a_stream_without_one_of_its_chunks() -> None:
    async def serve(_: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        chunks = b"".join(b"%x\r\n%s\r\n" % (len(t), t) for t in (b"chunk %d\n" % i for i in range(19)))
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n")

    assert reasons(await against(serve, stream=10)) == {("stream", "body", "wrong chunks")}


@pytest.mark.parametrize(
    ("tail", "outcome"),
    [
        (b"0\r\n\r\n", ("cut", "the stream was ended")),
        (b"", ("cut", "closed")),
        (b"7\r\nid: 3\n\n\r\n", ("failed", "an event is missing")),
    ],
)
async def test_event_streams_that_end_or_skip(tail: bytes, outcome: tuple[str, str]) -> None:
    async def serve(_: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7\r\nid: 1\n\n\r\n" + tail)

    counts = (result := await against(serve, seconds=0.3, sse=2)).kinds["sse"]
    assert counts.sent >= 4
    assert {"cut": counts.cut, "failed": counts.failed}[outcome[0]] == counts.sent
    assert reasons(result) == {("sse", "body", outcome[1])}


@pytest.mark.parametrize("fault", ["drop", "bye", "lie"])
async def test_websockets_that_are_dropped_or_lied_to(start_app: Start, fault: str) -> None:
    app = start_app()

    async def serve(_: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """The real app, until the second echo."""
        ours, theirs = await asyncio.open_connection("127.0.0.1", app.port)
        theirs.write(await request(reader))
        writer.write(await request(ours))
        for _ in range(2):
            writer.write(await ours.read(1000))
            theirs.write(await reader.read(1000))
        writer.write({"drop": b"", "bye": b"\x88\x02\x03\xe9", "lie": b"\x81\x03lie"}[fault])
        theirs.close()

    result = await against(serve, seconds=1, websocket=2)
    counts = result.kinds["websocket"]
    outcome = {"drop": "closed", "bye": "close frame 1001", "lie": "wrong echo"}[fault]
    assert reasons(result) == {("websocket", "body", outcome)}
    assert (counts.failed if fault == "lie" else counts.cut) >= 2
    assert result.lost == counts.sent - counts.ok


async def test_a_websocket_that_broke_just_before_the_end_is_a_cut_and_does_not_hold_up_the_end(start_app: Start) -> None:
    app = start_app()

    async def serve(_: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ours, theirs = await asyncio.open_connection("127.0.0.1", app.port)
        theirs.write(await request(reader))
        writer.write(await request(ours) + await ours.read(1000))
        theirs.write(await reader.read(1000))
        writer.write(await ours.read(1000))
        theirs.close()

    async with asyncio.timeout(5):
        # The client rests 200 ms after each echo: it has not looked at the connection again when the end comes.
        result = await against(serve, seconds=0.1, websocket=2)
    assert (result.kinds["websocket"].sent, result.kinds["websocket"].cut) == (2, 2)
    assert reasons(result) == {("websocket", "body", "closed")}


def sight(sent: float, answered: float, slot: str) -> Sight:
    return Sight("short", sent, answered, slot, "")


def test_backslides_are_answers_of_the_old_to_requests_sent_after_the_new_had_answered() -> None:
    good = [sight(1, 2, "blue"), sight(9.9, 12, "blue"), sight(10.1, 10.5, "blue"), sight(10.2, 11, "green")]
    switches = [Switch(10, "green"), Switch(20, "blue")]
    assert backslides(good, switches) == []
    late = sight(11.1, 11.2, "blue")
    assert backslides([late, *good], switches) == [late]
    again = [sight(19.9, 20.1, "green"), sight(20.1, 20.2, "blue"), sight(20.15, 20.3, "green")]
    assert backslides(good + again, switches) == []
    wrong = sight(20.25, 20.4, "green")
    assert backslides([*good, *again, wrong], switches) == [wrong]
    slow = [sight(5, 10.01, "green"), sight(10.05, 10.1, "blue")]
    assert backslides([*slow, *good], switches) == [], "an answer from an earlier time of the same slot begins nothing"


@pytest.mark.parametrize("ending", ["seconds", "sigterm", "stop-file", "stdin"])
def test_as_a_process_it_ends_gracefully_and_prints_json(start_app: Start, ending: str, tmp_path: Path) -> None:
    app = start_app()
    stop = tmp_path / "stop"
    extra = {"seconds": ["--seconds", "1"], "sigterm": [], "stop-file": ["--stop-file", str(stop)]}
    command = [sys.executable, "-m", "demo.load", "--port", str(app.port), "--json", "--trace"]
    command += extra.get(ending, ["--until-stdin-closes"])
    pipes = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipes, stdout=pipes, stderr=pipes, text=True) as load:
        if ending != "seconds":
            with pytest.raises(subprocess.TimeoutExpired):
                load.wait(1.2)
        if ending == "sigterm":
            load.terminate()
        stop.touch()
        out, err = load.communicate(timeout=20)
    assert (load.returncode, err) == (0, "")
    summary = json.loads(out)
    assert summary["failures"] == []
    assert summary["total"]["sent"] == summary["total"]["ok"] == len(summary["trace"]) > 50
    assert summary["kinds"]["slow"]["latency_ms"]["p50"] >= 2000


def test_as_a_process_it_exits_1_when_something_was_lost() -> None:
    command = [sys.executable, "-m", "demo.load", "--port", str(free_port()), "--seconds", "0.3"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=20)
    assert done.returncode == 1
    assert "connect: refused" in done.stdout
