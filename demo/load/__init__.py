"""An open-loop load client that sees every failure: its own small HTTP/1.1 client, no retries, nothing hidden.

    wire     one connection: connect, send, read; says at which stage what broke
    kinds    the eight kinds of traffic
    report   what is counted, and the result
    run      `Load`: keeps the rates, ends gracefully

As a program: `python -m demo.load --host-header shop.localhost --port 8080 --seconds 10 --json`.
"""

from demo.load.report import Failure, KindResult, Result, Sight, Switch, backslides
from demo.load.run import Load, Rates, Target

__all__ = ["Failure", "KindResult", "Load", "Rates", "Result", "Sight", "Switch", "Target", "backslides"]
