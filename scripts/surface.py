"""Writes what is read off the catalogue: the frozen public surface, its page for people, the copies of command line and plugin.

`--write` writes the files; `--check` says how they differ from the catalogue and ends with 1 when they do.
"""

import argparse
import difflib
import json
import sys
from pathlib import Path
from typing import Any

from codeb.entry.cli import exits
from codeb.entry.mcp.snapshot import snapshot
from codeb.entry.surface import path_of, surface
from codeb.tools.catalog import TOOLS
from codeb.tools.tool import Tool

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "docs" / "tools.lock.json"
PAGE = ROOT / "docs" / "tools.md"
ASSISTANTS = ROOT / "docs" / "assistants.lock.json"
CLI = ROOT / "src" / "codeb" / "entry" / "cli" / "surface.json"
PLUGIN = ROOT / "plugins" / "we" / "hooks" / "tools.json"

EXAMPLES = {
    "projectName": "shop", "environment": "production", "version": "1.4.2", "operationId": "op_0123456789abcdef", "port": 4100,
    "conflictId": "cf_0123456789abcdef0123456789ab", "approvalId": "ap_0123456789abcdef", "blue": 4100, "green": 4101,
    "domain": "shop.example.com", "pullRequest": 12,
    "team": "main", "name": "ana@example.com", "keyId": "key_0123456789abcdef0123456789ab",
    "content": '{"projects": {"shop": {"ports": {"production": {"blue": 4100, "green": 4101}}}}}',
    "server": "storage-1", "roles": ["storage"],
    "addresses": ["192.0.2.7"],
    "repository": "shop", "container": "web", "title": "Pay by invoice", "branch": "feature/pay", "paths": ["src/pay.py"],
    "taskId": "task_0123456789abcdef0123456789ab",
    "files": {"Dockerfile": "FROM scratch\nEXPOSE 8080\n", "README.md": None},
    "sha": "0123456789abcdef0123456789abcdef01234567", "verdict": "approve",
}  # fmt: skip

ENVELOPE = (
    """A call that succeeds answers `{"success": true, …result, "summary", "next": [{"tool", "params", "why"}], "warnings",
"duration" (ms), "timestamp", "correlationId"}`, one that fails `{"success": false, "error", "code", "hint", "details", …}`.
Exit codes of `we`:
""",
    "| code | meaning |", "|---|---|", *(f"| {code} | {text} |" for code, text in exits.WORDS),
)  # fmt: skip


def _shape(schema: dict[str, Any], defs: dict[str, Any]) -> dict[str, Any]:
    """The one alternative that is not null, with references followed."""
    if ref := schema.get("$ref"):
        return _shape(defs[ref.rpartition("/")[2]], defs) | {key: value for key, value in schema.items() if key != "$ref"}
    if "anyOf" in schema:
        chosen = next(each for each in schema["anyOf"] if each.get("type") != "null")
        return _shape(chosen, defs) | {key: value for key, value in schema.items() if key != "anyOf"}
    return schema


def params_of(tool: Tool[Any]) -> list[dict[str, Any]]:
    """Every param: wire name, type, whether it is required, default, description, allowed words."""
    schema = tool.params.model_json_schema(by_alias=True)
    required, defs = schema.get("required", []), schema.get("$defs", {})
    found = []
    for name, said in schema["properties"].items():
        shape = _shape(said, defs)
        item = _shape(shape.get("items", {}), defs)
        one = {"name": name, "type": shape["type"], "about": shape.get("description", "")}
        if name in required:
            one["required"] = True
        if shape.get("writeOnly"):
            one["secret"] = True
        if shape.get("default") not in (None, ""):
            one["default"] = shape["default"]
        if shape.get("contentMediaType"):
            one["file"] = True
        if words := shape.get("enum") or item.get("enum"):
            one["enum"] = words
        found.append(one)
    return found


def compact() -> dict[str, Any]:
    """What the command line needs to know of every tool."""
    return {
        "tools": [
            {
                "name": tool.name, "aliases": list(tool.aliases), "title": tool.title, "about": tool.about,
                "family": tool.family, "verb": tool.verb,
                "role": tool.role.value, "risk": tool.risk.value, "long": tool.long, "params": params_of(tool),
            }
            for tool in TOOLS
        ]
    }  # fmt: skip


def guarded() -> dict[str, Any]:
    """What the plugin's guards need to know of every tool, by each of its names."""
    found: dict[str, Any] = {}
    for tool in TOOLS:
        defaults = {each["name"]: each.get("default") for each in params_of(tool)}
        one = {
            "name": tool.name, "title": tool.title, "risk": tool.risk.value, "role": tool.role.value,
            "environment": "environment" in defaults, "dryRun": defaults.get("dryRun") is True,
        }  # fmt: skip
        found |= dict.fromkeys((tool.name, *tool.aliases), one)
    return found


def _example(params: list[dict[str, Any]]) -> dict[str, Any]:
    wanted = [each for each in params if each.get("required") or each["name"] in ("version", "environment")]
    return {each["name"]: EXAMPLES[each["name"]] for each in wanted}


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _about(param: dict[str, Any]) -> str:
    words = "one of " + ", ".join(f"`{word}`" for word in param["enum"]) if "enum" in param else ""
    return _cell("; ".join(part for part in (param["about"], words) if part))


def page() -> str:
    """docs/tools.md."""
    from codeb.entry.cli.surface import by_name

    lines = [
        "# Tools", "",
        "Generated by `scripts/surface.py --write` from the catalogue; `docs/tools.lock.json` has the full JSON schemas of",
        "params and results. On the command line `we tool NAME '{…}'` makes any of these calls as it stands.", "",
        *ENVELOPE, "",
        "| tool | what it does | role | risk |", "|---|---|---|---|",
        *(f"| [`{tool.name}`](#{tool.name}) | {_cell(tool.title)} | {tool.role} | {tool.risk} |" for tool in TOOLS), "",
    ]  # fmt: skip
    for tool in TOOLS:
        params = params_of(tool)
        lines += [f"## {tool.name}", "", tool.about, ""]
        kind = "an operation of several steps" if tool.long else "one call"
        also = f" Also called {', '.join(f'`{each}`' for each in tool.aliases)}." if tool.aliases else ""
        lines += [f"Role: **{tool.role}**. Risk: **{tool.risk}**. It is {kind}.{also}", ""]
        if params:
            lines += ["| param | type | default | about |", "|---|---|---|---|"]
            for each in params:
                default = "required" if each.get("required") else f"`{json.dumps(each['default'])}`" if "default" in each else ""
                lines.append(f"| `{each['name']}` | {each['type']} | {default} | {_about(each)} |")
            lines.append("")
        example = _example(params)
        body = json.dumps(example)
        lines += ["```", f"POST {path_of(tool)}  {body}", by_name()[tool.name].spoken(example), "```", ""]
    return "\n".join(lines)


def _json(value: Any, indent: int | None) -> str:
    separators = None if indent else (",", ":")
    return json.dumps(value, indent=indent, ensure_ascii=False, sort_keys=bool(indent), separators=separators) + "\n"


def _rows(value: dict[str, Any]) -> str:
    """One tool per line: small to load, and a change of one tool is a change of one line."""
    rows = ",\n".join(json.dumps(tool, ensure_ascii=False, separators=(",", ":")) for tool in value["tools"])
    return f'{{"tools":[\n{rows}\n]}}\n'


def _by_name(value: dict[str, Any]) -> str:
    rows = ",\n".join(f"{json.dumps(name)}: {json.dumps(one, ensure_ascii=False)}" for name, one in value.items())
    return f"{{\n{rows}\n}}\n"


def files() -> dict[Path, str]:
    """The files that are plain data, with what they have to contain."""
    return {CLI: _rows(compact()), LOCK: _json(surface(), 1), PLUGIN: _by_name(guarded()), ASSISTANTS: _json(snapshot(), 1)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    doing = parser.add_mutually_exclusive_group(required=True)
    doing.add_argument("--write", action="store_true", help="write the files")
    doing.add_argument("--check", action="store_true", help="end with 1 and a diff when one of them is stale")
    write = parser.parse_args().write
    stale = [path for path, wanted in files().items() if settled(path, wanted, write=write)]
    # the page speaks with the command line's own copy, which is written by now
    stale += [PAGE] if settled(PAGE, page(), write=write) else []
    if stale and not write:
        print("Stale: run scripts/surface.py --write", file=sys.stderr)
    return 1 if stale and not write else 0


def settled(path: Path, wanted: str, *, write: bool) -> bool:
    """Whether the file was stale; written, or its difference shown."""
    there = path.read_text(encoding="utf-8") if path.exists() else ""
    if there == wanted:
        return False
    name = str(path.relative_to(ROOT))
    if write:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(wanted, encoding="utf-8")
        print(f"wrote {name}")
    else:
        lines = difflib.unified_diff(there.splitlines(True), wanted.splitlines(True), name, f"{name} (catalogue)", n=1)
        sys.stdout.writelines(list(lines)[:200])
    return True


if __name__ == "__main__":
    sys.exit(main())
