"""The tools as the command line knows them: read from `surface.json`, which `scripts/surface.py` makes from the catalogue.

Nothing heavy is imported here: `we --help` has to be there at once.
"""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

FRONT = {
    "deploy": "deploy", "promote": "promote", "rollback": "rollback", "logs": "logs", "health_check": "health",
    "audit_list": "audit", "audit_verify": "audit verify", "env_set": "env set", "env_sync": "env sync", "env_scan": "env scan",
    "workflow_scan": "workflow scan", "workflow_generate": "workflow init", "workflow_init": "project create",
    "task_list": "task list", "task_create": "task create", "task_check": "task check", "task_complete": "task complete",
}  # fmt: skip
"""tools that a hand-made command stands for, with every param of the tool as an option"""

INSTEAD = {"env_set": ["LOG_LEVEL"], "env_sync": ["-f", ".env"], "env_scan": ["-f", ".env"], "workflow_scan": ["."]}
"""what a command says in place of a secret param, of which no option is made (S11)"""

COMMAND = {"keys_rotate": "rotate-master"}
"""commands that are not called as their tool's verb"""

SHORT = {"projectName": "-p", "environment": "-e"}
ALSO = {
    "projectName": ("--project", "-p"),
    "environment": ("--env", "-e"),
    "idempotencyKey": ("--key",),
    "autoPromote": ("--promote",),
}


def kebab(name: str) -> str:
    return "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in name)


@dataclass(frozen=True)
class Param:
    """One param of a tool, by its wire name."""

    name: str
    type: str
    about: str
    required: bool = False
    default: Any = None
    enum: tuple[str, ...] = ()
    file: bool = False
    """whether its value is the text of a file, which the command line names instead"""
    secret: bool = False

    @property
    def flags(self) -> list[str]:
        """How it is written as an option; a truth is a pair of flags, an object has none."""
        flag = f"--{kebab(self.name)}"
        first = f"{flag}/--no-{kebab(self.name)}" if self.type == "boolean" else flag
        return [first, *ALSO.get(self.name, ())]


@dataclass(frozen=True)
class ToolView:
    name: str
    title: str
    about: str
    family: str
    verb: str
    role: str
    risk: str
    long: bool
    params: tuple[Param, ...]
    aliases: tuple[str, ...]

    @property
    def changes(self) -> bool:
        return self.risk != "reads"

    @property
    def first(self) -> Param | None:
        """The param that may be given without its name: the first required one that is a single value, else the project."""
        single = [each for each in self.params if each.type in ("string", "integer")]
        return next(
            (each for each in single if each.required), next((each for each in single if each.name == "projectName"), None)
        )

    @property
    def words(self) -> str:
        return FRONT.get(self.name, f"{self.family} {self.command}".strip())

    @property
    def command(self) -> str:
        """Its word within its family."""
        return COMMAND.get(self.name, self.verb)

    def spoken(self, params: dict[str, Any]) -> str:
        """This call as a command that can be pasted into a shell."""
        import shlex

        said = ["we", *self.words.split()]
        known = {each.name: each for each in self.params}
        if self.name in INSTEAD:
            said += INSTEAD[self.name]
            params = {name: value for name, value in params.items() if name not in known or not known[name].secret}
        files = {each.name for each in self.params if each.file}
        if set(params) - set(known) | set(params) & files or any(isinstance(value, dict) for value in params.values()):
            return shlex.join(["we", "tool", self.name, json.dumps(params, ensure_ascii=False)])
        for name, value in params.items():
            flag = SHORT.get(name, f"--{kebab(name)}")
            if isinstance(value, bool):
                said.append(flag if value else f"--no-{kebab(name)}")
            elif value is not None:
                for each in value if isinstance(value, list) else [value]:
                    text = str(each)
                    # a value that looks like an option has to be tied to its name
                    said += [f"--{kebab(name)}={text}"] if text.startswith("-") else [flag, text]
        return shlex.join(said)


@cache
def tools() -> tuple[ToolView, ...]:
    said = json.loads(Path(__file__).with_name("surface.json").read_text(encoding="utf-8"))
    return tuple(
        ToolView(**{**each, "aliases": tuple(each["aliases"]), "params": tuple(_param(p) for p in each["params"])})
        for each in said["tools"]
    )


def _param(said: dict[str, Any]) -> Param:
    return Param(**{**said, "enum": tuple(said.get("enum", ()))})


@cache
def by_name() -> dict[str, ToolView]:
    return {name: tool for tool in tools() for name in (*tool.aliases, tool.name)}


def suggestion(tool: str, params: dict[str, Any]) -> str:
    """A `next` call of an answer as a command, in the shortest words there are."""
    if tool == "operation_get" and "operationId" in params:
        import shlex

        return shlex.join(["we", "ops", str(params["operationId"]), "--follow"])
    known = by_name().get(tool)
    if tool in ("approve", "reject") and set(params) == {"approvalId"}:
        import shlex

        return shlex.join(["we", tool, str(params["approvalId"])])
    if known is None:
        import shlex

        return shlex.join(["we", "tool", tool, json.dumps(params, ensure_ascii=False)])
    return known.spoken(params)
