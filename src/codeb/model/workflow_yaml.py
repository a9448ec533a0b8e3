"""How a job and its steps are written: YAML in which every value is a string in double quotes."""

import json
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

CHECKOUT = "actions/checkout@de0fac2e4500dabe0009e67214ff5f5447ce83dd # v6.0.2"
"""the only action; by its commit, for a tag can be moved"""


@dataclass(frozen=True)
class Step:
    """`key`: it calls CodeB, so it has the key; no other step has."""

    name: str
    run: str
    env: Mapping[str, str] = field(default_factory=dict)
    called: str = ""
    when: str = ""
    key: bool = False
    minutes: int = 5

    def __str__(self) -> str:
        env = {**self.env, **({"CODEB_API_KEY": "${{ secrets.CODEB_API_KEY }}"} if self.key else {})}
        return (
            f"      - name: {quoted(self.name)}\n"
            + (f"        id: {self.called}\n" if self.called else "")
            + (f"        if: {quoted(self.when)}\n" if self.when else "")
            + f"        timeout-minutes: {self.minutes}\n        env:\n{pairs(env, 10)}"
            + f"        run: |\n{textwrap.indent(self.run, ' ' * 10)}"
        )


def checkout(ref: str = "") -> str:
    with_ref = f"          ref: {quoted(ref)}\n" if ref else ""
    return f"      - uses: {CHECKOUT}\n        with:\n{with_ref}          persist-credentials: false\n"


def job(name: str, labels: Sequence[str], when: str, minutes: int, steps: Sequence[str | Step]) -> str:
    return (
        f"  {name}:\n    if: {quoted(when)}\n    runs-on: [{', '.join(map(quoted, labels))}]\n    timeout-minutes: {minutes}\n"
        f"    steps:\n{''.join(map(str, steps))}"
    )


def pairs(env: Mapping[str, str], deep: int) -> str:
    return "".join(f"{' ' * deep}{name}: {quoted(value)}\n" for name, value in env.items())


def quoted(value: str) -> str:
    """A YAML string in double quotes, which JSON's are. Raises `ValueError` for what could not be read back as itself."""
    if not value.isascii() or not value.isprintable():
        raise ValueError("only printable ASCII is written into a workflow")
    return json.dumps(value)
