"""A tool: one thing CodeB can be asked to do, defined once and read by every entry."""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any, Generic, TypeVar

from codeb.model.access import Role
from codeb.tools.call import Call
from codeb.tools.fields import Changing, Confirmed, Guarded, Long, Params, Result
from codeb.tools.untrusted import paths

P = TypeVar("P", bound=Params)

USUAL_BYTES = 2**20
NAME = re.compile(r"[a-z]+(?:_[a-z]+)?")


class Risk(StrEnum):
    READS = "reads"
    CHANGES = "changes"
    DESTROYS = "destroys"


@dataclass(frozen=True)
class NextCall:
    """A likely next call, valid as it stands."""

    tool: str
    params: dict[str, Any]
    why: str


@dataclass(frozen=True)
class Outcome:
    """What a tool returns: the data, one sentence, what to do next, and what the caller should know."""

    result: Result
    summary: str
    next: tuple[NextCall, ...] = ()
    warnings: tuple[str, ...] = ()

    @cached_property
    def wire(self) -> Mapping[str, Any]:
        """As it crosses the wire, without the envelope. Made once: some outcomes answer many calls."""
        others = paths(type(self.result))
        return {
            **self.result.model_dump(by_alias=True),
            "summary": self.summary,
            "next": [{"tool": each.tool, "params": each.params, "why": each.why} for each in self.next],
            "warnings": list(self.warnings),
            **({"untrusted": list(others)} if others else {}),
        }


class Plan(Result):
    """What a dry run returns. `plan_id` is bound to the state the plan was made from."""

    dry_run: bool = True
    plan_id: str
    plan: dict[str, Any]
    changes: list[str]
    touches: dict[str, list[Any]] = {}
    """how far it reaches: hosts whose traffic moves or ends, containers, ports"""


class Accepted(Result):
    """What a long tool returns when it is not waited for."""

    operation_id: str
    state: str
    steps: list[dict[str, Any]] = []


def never(params: Params) -> bool:
    """For what destroys and yet must not wait for anybody: taking rights away."""
    return False


@dataclass(frozen=True)
class Tool(Generic[P]):
    """Name, words, shapes and rights of one tool. Deny by default: one without them cannot be built.

    `result` is the shape of the answer; a dry run answers `Plan`, a long tool with `wait: false` answers `Accepted`.
    `run` may raise any `PublicError`.
    """

    name: str
    title: str
    about: str
    params: type[P]
    result: type[Result]
    role: Role
    risk: Risk
    run: Callable[[Call, P], Awaitable[Outcome]]
    long: bool = False
    without_database: bool = False
    """whether it may change things while the database is away: only what neither creates nor widens anybody's rights"""
    holds_secret: bool = False
    """whether its answer shows a secret, once: under an idempotency key it is kept sealed only"""
    risky: Callable[[P], bool] | None = None
    """whether this call is one that a policy may keep from being made just so; None: always when it destroys, else never"""
    most_bytes: int = USUAL_BYTES
    """of a call's body over HTTP, by the tool's own path"""
    acts_on: str = "project_name"
    """the field that names what a risky call acts on: what is typed as `confirm`"""
    aliases: tuple[str, ...] = ()
    """other names it answers to; it is listed, narrowed and put on record by its own"""
    agents_must_say: tuple[str, ...] = field(default=())
    """fields that a person's command line may default, but an assistant has to give"""

    def __post_init__(self) -> None:
        for name in (self.name, *self.aliases):
            if not NAME.fullmatch(name):
                raise ValueError(f"tool name {name!r} is not family_verb")
        if not isinstance(self.role, Role) or not isinstance(self.risk, Risk):
            raise TypeError(f"tool {self.name} has no role or no risk")
        if not issubclass(self.params, Params) or not issubclass(self.result, Result):
            raise TypeError(f"tool {self.name} has no schema")
        if self.holds_secret and self.long:
            # its result would be in the journal
            raise TypeError(f"tool {self.name}: an operation keeps no secret")
        if self.changes != issubclass(self.params, Changing) or self.long != issubclass(self.params, Long):
            raise TypeError(f"tool {self.name}: its params must say dryRun and idempotencyKey exactly when it changes something")
        if self.may_be_risky and not (issubclass(self.params, Confirmed | Guarded) and self.acts_on in self.params.model_fields):
            raise TypeError(f"tool {self.name}: a risky call needs confirm, and the field that names what it acts on")

    @cached_property
    def must_say(self) -> tuple[str, ...]:
        """What an assistant has to give: `agents_must_say`, and which environment is changed, where there are several."""
        more = ("environment",) if self.changes and "environment" in self.params.model_fields else ()
        return tuple(dict.fromkeys((*self.agents_must_say, *more)))

    @property
    def may_be_risky(self) -> bool:
        return self.risky is not never and (self.risky is not None or self.risk is Risk.DESTROYS)

    def is_risky(self, params: P) -> bool:
        """Whether a policy of key or team binds this call."""
        return self.may_be_risky if self.risky is None else self.risky(params)

    @property
    def changes(self) -> bool:
        return self.risk is not Risk.READS

    @property
    def family(self) -> str:
        return self.name.partition("_")[0]

    @property
    def verb(self) -> str:
        return self.name.partition("_")[2]
