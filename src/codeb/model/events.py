"""What happened that nobody asked for, or that somebody should hear of."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


class Severity(StrEnum):
    INFO = "info"
    WARN = "warn"
    ALARM = "alarm"


@dataclass(frozen=True)
class Event:
    """One line of the event log. `kind` is a stable machine word; `team` None: of the whole installation."""

    id: str
    at: datetime
    kind: str
    severity: Severity
    text: str
    team: str | None = None
    project: str | None = None
    environment: str | None = None
    operation_id: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Unreplayed:
    """A transaction that was done while the database was away and could not be added to it when it came back.

    `changes` holds its rows as they would have been; nothing of it is in the registry.
    """

    id: str
    at: datetime
    written: str
    reason: str
    operation_id: str | None = None
    changes: tuple[Mapping[str, Any], ...] = ()
    settled_at: datetime | None = None
    settled_by: str | None = None
