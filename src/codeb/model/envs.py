"""Environment variables: names, values, versions, what differs between two of them, and what a write may do.

Nothing here says a value aloud: errors name keys, or where in the call or the file something stands.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from codeb.errors import Conflict, InvalidParams
from codeb.model import grammar
from codeb.model.names import Place
from codeb.model.secret import Secret

KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
LONGEST_VALUE = 32 * 1024
"""bytes of UTF-8 in one value"""
MOST_KEYS = 1_000
MOST_BYTES = 2**20
"""names and values together: the kernel gives a program little more than twice that for arguments and environment"""

ALWAYS_PROTECTED = re.compile(r"DATABASE_URL|REDIS_URL|POSTGRES_[A-Z0-9_]*")
CHANGE_ME = re.compile(r"(?<![A-Za-z0-9])change[_-]?me(?![A-Za-z0-9])", re.IGNORECASE)
"""as a word of its own, wherever it stands: also as the password in an address"""
TO_FILL_IN = re.compile(r"<?your_[a-z0-9_-]*>?|<?GENERATE_[A-Za-z0-9_-]*>?", re.IGNORECASE)

FEW, SHARE = 3, 3
"""a whole file may leave out fewer than so many keys, or no more than one of so many of those there are"""
STEP = timedelta(milliseconds=1)


def key(text: str) -> str:
    """Raises `ValueError`, without the text: it may be a value that was put in the wrong place."""
    if not KEY.fullmatch(text):
        raise ValueError("a name is 1 to 128 letters, digits and '_', not starting with a digit")
    if text.startswith("CODEB_"):
        raise ValueError("names that begin with CODEB_ are CodeB's own")
    return text


def value(text: str) -> str:
    """Kept exactly. Raises `ValueError`, without the text."""
    if "\0" in text or any("\ud800" <= char <= "\udfff" for char in text):
        raise ValueError("a value has no NUL character and no lone surrogates")
    if len(text) > LONGEST_VALUE or len(text.encode()) > LONGEST_VALUE:
        raise ValueError(f"a value has at most {LONGEST_VALUE} bytes")
    return text


def whole(values: Mapping[str, str]) -> Mapping[str, str]:
    """All of them together. Raises `ValueError`."""
    if len(values) > MOST_KEYS:
        raise ValueError(f"at most {MOST_KEYS} variables")
    if sum(len(name) + len(text.encode()) + 2 for name, text in values.items()) > MOST_BYTES:
        raise ValueError(f"names and values have at most {MOST_BYTES} bytes together")
    return values


def is_placeholder(text: str) -> bool:
    """Whether a value is one that somebody forgot to fill in: CHANGE_ME, your_…, GENERATE_…"""
    return bool(TO_FILL_IN.fullmatch(text.strip()) or any(CHANGE_ME.finditer(text)))


@dataclass(frozen=True)
class Env:
    """The variables of one environment. `generated`: names that CodeB made, protected like those that always are."""

    values: Mapping[str, str] = field(default_factory=dict, repr=False)
    generated: frozenset[str] = frozenset()

    def protects(self, name: str) -> bool:
        return name in self.values and (name in self.generated or bool(ALWAYS_PROTECTED.fullmatch(name)))

    @property
    def protected(self) -> tuple[str, ...]:
        return tuple(name for name in sorted(self.values) if self.protects(name))

    def text(self) -> Secret:
        """As it is sealed."""
        plain = {"values": dict(sorted(self.values.items())), "generated": sorted(self.generated)}
        return Secret(json.dumps(plain, ensure_ascii=False, separators=(",", ":")))

    @classmethod
    def of(cls, text: Secret) -> "Env":
        plain = json.loads(text.reveal())
        return cls(plain["values"], frozenset(plain["generated"]))


@dataclass(frozen=True)
class Difference:
    """Names only, in order."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.removed)

    @property
    def lines(self) -> list[str]:
        """As a plan says it."""
        words = (("add", self.added), ("change", self.changed), ("remove", self.removed))
        return [f"{word} {name}" for word, names in words for name in names]


def difference(before: Mapping[str, str], after: Mapping[str, str]) -> Difference:
    both = before.keys() & after.keys()
    return Difference(
        tuple(sorted(after.keys() - both)), tuple(sorted(name for name in both if before[name] != after[name])),
        tuple(sorted(before.keys() - both)),
    )  # fmt: skip


@dataclass(frozen=True)
class EnvVersion:
    """One version on record. Never changed; the next write makes another one. Of what is in it, it says only names."""

    place: Place
    number: int
    created_at: datetime
    """later than the version before it, also when the clock went back"""
    created_by: str
    action: str
    """set, sync, restore, generate, inherit"""
    count: int
    difference: Difference
    """to the version before it"""
    sealed: str = field(default="", repr=False)


def next_moment(now: datetime, last: datetime | None) -> datetime:
    """When a version written now is written: in whole milliseconds, and after the one before it."""
    moment = now.replace(microsecond=now.microsecond // 1000 * 1000)
    return moment if last is None or moment > last else last + STEP


# what a write may do


def with_set(now: Env, values: Mapping[str, str], unset: Iterable[str], *, force: bool) -> Env:
    """These values set, and those names taken out.

    Raises `InvalidParams` for placeholders and for what is both set and taken out; `Conflict` (`env_protected`) where a
    protected one would change, without `force`.
    """
    gone = set(unset)
    if both := sorted(gone & values.keys()):
        raise InvalidParams(f"{', '.join(both)}: set and taken out in one call; nothing was done.", hint="Say one of them.")
    _refuse_placeholders(values)
    after = {name: text for name, text in now.values.items() if name not in gone} | dict(values)
    if not force:
        _refuse_protected(now, difference(now.values, after))
    return _fitting(Env(after, now.generated & after.keys()))


def with_file(now: Env, values: Mapping[str, str], *, force: bool) -> Env:
    """The file's values in place of all there are; protected ones that it leaves out stay.

    Raises as `with_set` does, and `Conflict` (`env_drops_many`) for a file that leaves out much of what there is, without
    `force`: it may be another project's.
    """
    _refuse_placeholders(values)
    kept = {name: text for name, text in now.values.items() if name not in values and now.protects(name)}
    after = {**kept, **values}
    made = difference(now.values, after)
    if not force:
        _refuse_protected(now, made)
        _refuse_drop(len(now.values) - len(now.protected), made.removed)
    return _fitting(Env(after, now.generated & after.keys()))


def with_version(now: Env, then: Env, *, force: bool) -> Env:
    """As it was then; protected ones stay as they are now, unless `force`: what they name may have moved since."""
    after = dict(then.values)
    if not force:
        after |= {name: now.values[name] for name in now.protected}
    return Env(after, (now.generated | then.generated) & after.keys())


def with_generated(now: Env, values: Mapping[str, Secret], without: Iterable[str] = ()) -> Env:
    """What CodeB made itself, in place of what has these names; protected from now on. `without`: those of it to take back."""
    gone = {name for name in without if name in now.generated} - values.keys()
    after = {name: text for name, text in now.values.items() if name not in gone}
    after |= {key(name): value(text.reveal()) for name, text in values.items()}
    return _fitting(Env(after, (now.generated | values.keys()) & after.keys()))


def _refuse_placeholders(values: Mapping[str, str]) -> None:
    if found := sorted(name for name, text in values.items() if is_placeholder(text)):
        raise InvalidParams(
            f"{_names(found)} {'has' if len(found) == 1 else 'have'} a placeholder instead of a value; nothing was done.",
            code="env_placeholder", hint="Fill in what is meant, or leave the variable out.",
            details={"keys": found},
        )  # fmt: skip


def _refuse_protected(now: Env, made: Difference) -> None:
    if found := [name for name in (*made.changed, *made.removed) if now.protects(name)]:
        raise Conflict(
            f"{_names(found)} {'is' if len(found) == 1 else 'are'} protected and would change; nothing was done.",
            code="env_protected", hint="Leave them out to keep them as they are; say force: true to change them all the same.",
            details={"keys": found},
        )  # fmt: skip


def _refuse_drop(free: int, removed: tuple[str, ...]) -> None:
    many = len(removed) >= FEW and len(removed) * SHARE > free
    if removed and (many or len(removed) == free):
        raise Conflict(
            f"This would drop {len(removed)} of {free} variables: {_names(removed)}. Nothing was done.", code="env_drops_many",
            hint="Is it the right file, and whole? Compare with env_scan; say force: true to drop them all the same.",
            details={"keys": list(removed)},
        )  # fmt: skip


def _fitting(env: Env) -> Env:
    try:
        whole(env.values)
    except ValueError as fault:
        raise InvalidParams(f"That is too much: {fault}. Nothing was done.", code="env_too_large") from None
    return env


def _names(found: Iterable[str]) -> str:
    names = list(found)
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")


# which version is meant

NUMBER = re.compile(r"[1-9][0-9]{0,8}")
STAMP = re.compile(r"([0-9]{8}T[0-9]{6})(\.[0-9]{3})?Z")
MASTER = "master"


def which(text: str) -> int | datetime | None:
    """A version's number; the moment whose version is meant; None for the first one (`master`). Raises `ValueError`."""
    if text == MASTER:
        return None
    if NUMBER.fullmatch(text):
        return int(text)
    try:
        if STAMP.fullmatch(text):
            form = "%Y%m%dT%H%M%S.%fZ" if "." in text else "%Y%m%dT%H%M%SZ"
            moment = datetime.strptime(text, form).replace(tzinfo=UTC)
            # a file's name in whole seconds means all of that second
            return moment if "." in text else moment + timedelta(milliseconds=999)
        if grammar.RFC3339.fullmatch(text):
            return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise ValueError("a version is its number, a moment (2026-01-31T10:00:00Z, or as its file is named), or master")


def stamp(moment: datetime) -> str:
    """As a version's file is named: 20260131T100000.123Z."""
    text = moment.astimezone(UTC).strftime("%Y%m%dT%H%M%S.%f")
    return f"{text[:-3]}Z"
