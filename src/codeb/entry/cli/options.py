"""The params of a tool as options of a command, and back."""

from collections.abc import Callable
from typing import Any

import click

from codeb.entry.cli.session import Session
from codeb.entry.cli.surface import Param, ToolView, kebab

KINDS: dict[str, click.ParamType[Any]] = {"string": click.STRING, "integer": click.INT, "number": click.FLOAT}


class Later(click.Command):
    """A command whose options are made when it is called or asked about: the list of commands need not wait for them."""

    def __init__(self, name: str, *, make: Callable[[], list[click.Parameter]], **more: Any) -> None:
        super().__init__(name, **more)
        self._make = make

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        if not self.params:
            self.params = self._make()
        return super().get_params(ctx)


FIRST = "first"
"""the name of the argument that stands for the first required param"""


def options(tool: ToolView, *, positional: bool = True) -> list[click.Parameter]:
    """An option for every param but objects and secrets; the first required one may be given without its name."""
    found: list[click.Parameter] = [option(each) for each in tool.params if each.type != "object" and not each.secret]
    if positional and tool.first is not None:
        metavar = "[FILE|-]" if tool.first.file else f"[{kebab(tool.first.name).upper().replace('-', '_')}]"
        kind = _kind(tool.first)
        complete = _projects if tool.first.name == "projectName" else None
        found.insert(0, click.Argument([FIRST], required=False, metavar=metavar, type=kind, shell_complete=complete))
    if tool.risk == "destroys":
        found.append(click.Option(["--yes"], is_flag=True, help="do not ask whether to go on"))
    found.append(click.Option(["--json", "as_json"], is_flag=True, help="print the server's answer as it is"))
    return found


def option(param: Param) -> click.Option:
    about = param.about
    if param.default not in (None, []) and param.type != "boolean":
        said = ", ".join(param.default) if isinstance(param.default, list) else param.default
        about += f"  [default: {said}]"
    if param.type == "boolean":
        return click.Option([*param.flags, param.name], default=None, help=about)
    many = param.type == "array"
    kind: click.ParamType[Any] = click.Choice(param.enum) if param.enum else _kind(param)
    complete = _projects if param.name == "projectName" else None
    return click.Option([*param.flags, param.name], type=kind, multiple=many, help=about, shell_complete=complete)


MOST_BYTES = 10 * 1024 * 1024
"""the largest body any tool takes"""


def text_of(source: str, most: int = -1) -> str:
    """A whole file as it is, every byte, `-` for standard input. Raises `ClickException`, also for more than `most` bytes."""
    try:
        with click.open_file(source, "rb") as file:
            raw: bytes = file.read(most + 1 if most >= 0 else -1)
        if 0 <= most < len(raw):
            raise click.ClickException(f"{source} is longer than any server takes.")
        return raw.decode("utf-8")
    except OSError as fault:
        raise click.ClickException(f"{source} cannot be read: {fault.strerror}.") from None
    except UnicodeDecodeError:
        raise click.ClickException(f"{source} is not UTF-8.") from None


class Text(click.ParamType[str]):
    """The text of a file that is named in its place."""

    name = "FILE|-"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            return text_of(value, MOST_BYTES)
        except click.ClickException as fault:
            self.fail(f"cannot read it: {fault.message}", param, ctx)


def _kind(param: Param) -> click.ParamType[Any]:
    return Text() if param.file else KINDS["string" if param.type == "array" else param.type]


def params_of(session: Session, tool: ToolView, given: dict[str, Any], *, positional: bool = True) -> dict[str, Any]:
    """What was said, by wire name, with the repository's project and environment. Raises `UsageError` for what is missing."""
    said: dict[str, Any] = {}
    for each in tool.params:
        value = given.get(each.name)
        if value is not None and value != ():
            said[each.name] = list(value) if isinstance(value, tuple) else value
    word = given.get(FIRST) if positional else None
    if word is not None and tool.first is not None and said.setdefault(tool.first.name, word) != word:
        raise click.UsageError(f"--{kebab(tool.first.name)} is given twice: {said[tool.first.name]} and {word}.")
    said = session.place(said, tool)
    missing = [f"--{kebab(each.name)}" for each in tool.params if each.required and each.name not in said]
    if missing:
        tip = ""
        if "--project-name" in missing:
            named, assumed = " What destroys has its project named.", ' Or write `project = "…"` into codeb.toml.'
            tip = named if tool.risk == "destroys" else assumed
        raise click.UsageError(f"Missing {', '.join(missing)}.{tip}")
    return said


def _projects(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Names for the shell's completion; none when the server does not answer at once."""
    try:
        answer = Session(ctx.find_root().params.get("api_url")).ask("project_list", {"limit": 1000}, seconds=1)
        names = [each["projectName"] for each in answer.body.get("projects", [])]
    except Exception:  # a completion never speaks, whatever is wrong
        return []
    return [name for name in names if name.startswith(incomplete)]
