"""What a guard of the table is, and how a room's file lists its own."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Guard:
    """`text` stands exactly once in `file` (below src/codeb) and becomes `becomes`; one of `tests` (below tests) then fails.

    `same` says in words why nothing can tell the two apart, where that is so: such a one may survive.
    """

    file: str
    text: str
    becomes: str
    tests: tuple[str, ...]
    same: str = ""

    @property
    def name(self) -> str:
        """For people, in one line."""
        return f"{self.file}: {_line(self.text)}  =>  {_line(self.becomes) or 'nothing'}"

    def in_place(self, source: str) -> str:
        """The source without the guard. Raises `LookupError` where the text is not there, or not only once."""
        if (found := source.count(self.text)) != 1:
            raise LookupError(f"{self.name}: the text stands there {found} times")
        return source.replace(self.text, self.becomes)


def guards_of(file: str, *tests: str) -> Callable[..., Guard]:
    """Makes the guards of one file, which `tests` watch over unless one names others."""

    def guard(text: str, becomes: str, *others: str, same: str = "") -> Guard:
        return Guard(file, text, becomes, others or tests, same)

    return guard


def _line(text: str) -> str:
    return " ".join(text.split())
