"""Log lines as they come."""

import json
import time
from typing import Any

import click

from codeb.entry.cli import exits, show
from codeb.entry.cli.client import Answer, Unreachable
from codeb.entry.cli.session import Session, unreachable

WAIT_SECONDS = 20
MOST_LINES = 10_000
PAUSE_SECONDS = 1.0
SHORTEST_SECONDS, LONGEST_SECONDS = 0.2, 2.0
"""between two calls while lines come all the time: more and more, so that they leave the key some of its calls"""


def lines(body: dict[str, Any], *, stamps: bool, as_json: bool = False) -> None:
    for line in body["lines"]:
        if as_json:
            show.out(json.dumps(line, ensure_ascii=False))
        else:
            stamp = click.style(f"{line['at']}  ", fg="bright_black") if stamps else ""
            show.out(stamp + show.harmless(line["text"]))
    show.flush()


def follow(session: Session, params: dict[str, Any], *, stamps: bool, as_json: bool) -> int:
    """Print lines until Ctrl-C, from the last ones on; with `as_json` one JSON object a line.

    Once it has begun, a server that goes away is waited for as long as it takes.
    """
    try:
        answer = session.ask("logs", params, seconds=60)
        pause = SHORTEST_SECONDS
        while answer.ok:
            lines(answer.body, stamps=stamps, as_json=as_json)
            cursor = answer.body["cursor"]
            said = {name: value for name, value in params.items() if name != "since" or not cursor}
            if cursor:
                said |= {"after": cursor, "waitSeconds": WAIT_SECONDS, "tail": MOST_LINES}
            # without a cursor, or with lines that --grep hides, the answer comes at once
            session.sleep(pause if cursor else PAUSE_SECONDS)
            asked = time.monotonic()
            answer = _again(session, said)
            quiet = time.monotonic() - asked > LONGEST_SECONDS
            pause = SHORTEST_SECONDS if quiet else min(pause * 1.5, LONGEST_SECONDS)
        return session.failed(answer)
    except Unreachable as fault:
        return unreachable(fault)
    except KeyboardInterrupt:
        return exits.INTERRUPTED


def _again(session: Session, params: dict[str, Any]) -> Answer:
    said = False
    while True:
        try:
            answer = session.once("logs", params, seconds=WAIT_SECONDS + 15)
            if answer.status < 500:
                return answer
        except Unreachable:
            pass
        if not said:
            said = True
            show.err("(the server does not answer; waiting for it)")
        session.sleep(PAUSE_SECONDS)
