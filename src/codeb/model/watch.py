"""Watching an active slot: what looks at it add up to, and what is to be done. Times are monotonic seconds.

well --bad look--> suspect --three in a row, or a death--> restarted, with longer and longer pauses --still bad--> traffic
goes back, where that is allowed and a healthy version stands ready; else an alarm. Within the watch window after a promote
traffic goes back at once. One bad look moves nothing; a minute without one ends the trouble.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

LOOKS = 3
"""so many bad looks in a row are no accident"""
WATCHED_SECONDS, PATIENT_SECONDS = 2.0, 5.0
"""and they have to span this long: inside the watch window, and outside"""
DEATHS = 2
"""so often a watched container may not die"""
RESTARTS = 3
"""after so many restarts that did not help, and"""
BAD_SECONDS = 30.0
"""after a trouble of this length, another version is better than one more try"""
BOOT_SECONDS = 30.0
"""how long one that was started may take to answer, and how long nothing is decided after the runtime was away"""
STABLE_SECONDS = 60.0
LONGEST_PAUSE = 60.0
RETRY_SECONDS, LONGEST_RETRY = 30.0, 600.0
"""until a rollback that failed is tried again: doubled each time"""


@dataclass(frozen=True)
class Look:
    """What was found at `at`. `fault` says why it is not well, in words; empty: it is."""

    at: float
    running: bool
    fault: str = ""
    life: str = ""
    """which run of which container; another one means that it was started anew"""
    restarts: int = 0
    """how often the runtime itself has restarted this container"""
    coming: bool = False
    """down, and the runtime is about to start it again"""
    gone: bool = False
    """there is no container to restart, or none that may be"""
    silent: bool = False
    """it runs, and no HTTP answer of any kind came"""


@dataclass(frozen=True)
class Story:
    """What the looks at one promoted slot amount to. A new one knows nothing: losing it costs a few looks."""

    last: Look | None = None
    failing: int = 0
    """bad looks in a row"""
    bad_since: float | None = None
    """the first of them"""
    ill_since: float | None = None
    """the first bad look or death since it was last stable"""
    well_since: float | None = None
    born: float | None = None
    """when the present life was first seen; None for one that was there before us"""
    deaths: int = 0
    revivals: int = 0
    """how often it was started anew in this trouble, by whomever"""
    restart_after: float = 0.0
    returns: int = 0
    """rollbacks that failed"""
    return_after: float = 0.0
    calm_until: float = 0.0
    alarmed: bool = False


class Act(StrEnum):
    NOTHING = "nothing"
    RESTART = "restart"
    ROLL_BACK = "roll back"


@dataclass(frozen=True)
class Decision:
    act: Act
    why: str = ""
    alarm: str = ""
    """what people have to hear, said once per trouble"""


@dataclass(frozen=True)
class Facts:
    """What besides the looks matters. `no_way_back` says why traffic could not go back; empty: a healthy grace is ready."""

    now: float
    watched: bool
    auto_rollback: bool
    no_way_back: str


def seen(story: Story, look: Look) -> Story:
    """The story with one more look."""
    deaths, reborn = _deaths(story.last, look), _reborn(story.last, look)
    bad = bool(look.fault)
    story = replace(
        story,
        last=look,
        failing=story.failing + 1 if bad else 0,
        bad_since=_first(story.bad_since, look.at) if bad else None,
        ill_since=_first(story.ill_since, look.at) if bad or deaths else story.ill_since,
        well_since=None if bad else look.at if deaths else _first(story.well_since, look.at),
        born=look.at if reborn else story.born,
        deaths=story.deaths + deaths,
        revivals=story.revivals + reborn,
    )
    if story.ill_since is not None and story.well_since is not None and look.at - story.well_since >= STABLE_SECONDS:
        return Story(last=look, well_since=story.well_since, return_after=story.return_after)
    return story


def restarted(story: Story, at: float) -> Story:
    """The story after a restart of ours, whether it helped or not: the next one waits longer."""
    revivals = story.revivals + 1
    last = None if story.last is None else replace(story.last, running=True, life="")
    return replace(
        story, last=last, revivals=revivals, restart_after=at + pause(revivals), born=at,
        failing=0, bad_since=None, well_since=None,
    )  # fmt: skip


def alarmed(story: Story) -> Story:
    """The story once people were told."""
    return replace(story, alarmed=True)


def returned_in_vain(story: Story, at: float) -> Story:
    """The story after a rollback that failed."""
    wait = min(LONGEST_RETRY, RETRY_SECONDS * 2.0 ** min(story.returns, 10))
    return replace(story, returns=story.returns + 1, return_after=at + wait, alarmed=True)


def blinded(story: Story, at: float) -> Story:
    """The story after a look that saw nothing, because the runtime did not answer.

    What died meanwhile is not held against anybody, and what comes up again gets time.
    """
    last = None if story.last is None else replace(story.last, life="", running=False)
    return replace(story, last=last, failing=0, bad_since=None, well_since=None, calm_until=at + BOOT_SECONDS)


def pause(restarts: int) -> float:
    """Seconds between one restart and the next: 1, 2, 4 … 60."""
    return min(LONGEST_PAUSE, 2.0 ** min(max(restarts, 1) - 1, 16))


def ripe(story: Story, now: float, watched: bool) -> str:
    """Why traffic should leave this version, in words; empty while it should not."""
    look = story.last
    if look is None or now < story.calm_until:
        return ""
    if watched:
        if story.deaths >= DEATHS:
            return f"died {story.deaths} times in the watch window: {look.fault or 'it runs again'}"
        return f"health failed in the watch window: {look.fault}" if _lasts(story, now, WATCHED_SECONDS) else ""
    lasts = _lasts(story, now, PATIENT_SECONDS)
    if lasts and story.ill_since is not None and now - story.ill_since >= BAD_SECONDS:
        return f"health failed for {now - story.ill_since:.0f} s: {look.fault}"
    fell = lasts or not look.running or story.revivals > RESTARTS
    if story.revivals >= RESTARTS and fell:
        return f"health failed after {story.revivals} restarts: {look.fault or 'it died again'}"
    return ""


def decide(story: Story, facts: Facts) -> Decision:
    """What is to be done now. Going back needs all of: trouble that lasts, the project's consent, a healthy grace."""
    why, look, alarm = ripe(story, facts.now, facts.watched), story.last, ""
    if look is None or facts.now < story.calm_until:
        return Decision(Act.NOTHING)
    if why and facts.auto_rollback and not facts.no_way_back and facts.now >= story.return_after:
        return Decision(Act.ROLL_BACK, why)
    if why and not story.alarmed:
        stays = facts.no_way_back if facts.auto_rollback else "autoRollback is off"
        alarm = f"{why}. Traffic stays where it is: {stays}." if stays else ""
    if not look.gone and facts.now >= story.restart_after and _wants_restart(story, look, facts.now):
        return Decision(Act.RESTART, look.fault, alarm)
    return Decision(Act.NOTHING, why, alarm)


def _wants_restart(story: Story, look: Look, now: float) -> bool:
    if not look.running:
        return not look.coming
    booted = story.born is None or now - story.born >= BOOT_SECONDS
    return booted and _lasts(story, now, PATIENT_SECONDS)


def _lasts(story: Story, now: float, seconds: float) -> bool:
    return story.failing >= LOOKS and story.bad_since is not None and now - story.bad_since >= seconds


def _deaths(last: Look | None, look: Look) -> int:
    """How many deaths lie between two looks. Unknown lives are nobody's death."""
    if last is None or not last.running:
        return 0
    if not last.life:
        return 0 if look.running else 1
    if look.life == last.life:
        return 0 if look.running else 1
    return max(1, look.restarts - last.restarts)


def _reborn(last: Look | None, look: Look) -> bool:
    """Whether the runtime, or somebody, started it anew since the last look."""
    return last is not None and bool(last.life) and bool(look.life) and look.life != last.life and look.running


def _first(known: float | None, at: float) -> float:
    return at if known is None else known
