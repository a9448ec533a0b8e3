"""P4: what looks at an active slot add up to. The table row by row, then what holds for every sequence of looks."""

from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeb.model import watch
from codeb.model.watch import Act, Decision, Facts, Look, Story

OK, BAD, DEAD, COMING, GONE, REBORN, BLIND = "ok", "bad", "dead", "coming", "gone", "reborn", "blind"


@dataclass
class Play:
    """A slot that is looked at, and what was decided each time. Restarts are acted on: they may help or not."""

    watched: bool = True
    auto_rollback: bool = True
    no_way_back: str = ""
    now: float = 100.0
    life: int = 1
    story: Story = field(default_factory=Story)
    last: Decision = field(default_factory=lambda: Decision(Act.NOTHING))

    def see(self, what: str, after: float = 1.0) -> Act:
        self.now += after
        if what == BLIND:
            self.story = watch.blinded(self.story, self.now)
        else:
            self.life += what == REBORN
            self.story = watch.seen(self.story, self._look(what))
        self.last = watch.decide(self.story, Facts(self.now, self.watched, self.auto_rollback, self.no_way_back))
        if self.last.alarm:
            self.story = watch.alarmed(self.story)
        return self.last.act

    def _look(self, what: str) -> Look:
        fault = {OK: "", REBORN: "", BAD: "/ gave status 500"}.get(what, "its container stopped")
        life = "" if what == GONE else str(self.life)
        return Look(self.now, what in (OK, BAD, REBORN), fault, life, coming=what == COMING, gone=what == GONE)

    def all(self, *looks: str, after: float = 1.0) -> list[Act]:
        return [self.see(each, after) for each in looks]

    def restart(self) -> None:
        self.life += 1
        self.story = watch.restarted(self.story, self.now)


def test_well_is_left_alone() -> None:
    assert set(Play().all(*[OK] * 100)) == {Act.NOTHING}


@pytest.mark.parametrize("watched", [True, False])
def test_single_bad_looks_move_nothing_however_often(watched: bool) -> None:
    assert set(Play(watched).all(*[BAD, OK] * 100)) == {Act.NOTHING}
    assert set(Play(watched).all(*[BAD, BAD, OK] * 100)) == {Act.NOTHING}


def test_inside_the_window_three_bad_looks_over_two_seconds_send_traffic_back() -> None:
    play = Play()
    assert play.all(OK, BAD, BAD, BAD) == [Act.NOTHING] * 3 + [Act.ROLL_BACK]
    assert "watch window" in play.last.why
    assert "500" in play.last.why


def test_three_bad_looks_in_a_moment_are_not_enough() -> None:
    assert Play().all(BAD, BAD, BAD, BAD, after=0.5) == [Act.NOTHING] * 4
    assert Play().all(BAD, BAD, BAD, BAD, BAD, after=0.5)[-1] is Act.ROLL_BACK


def test_two_bad_looks_are_not_enough_however_far_apart() -> None:
    assert Play().all(BAD, BAD, after=6.0) == [Act.NOTHING] * 2


def test_dying_once_is_a_restart_and_dying_twice_sends_traffic_back() -> None:
    play = Play()
    assert play.all(OK, DEAD) == [Act.NOTHING, Act.RESTART]
    play.restart()
    assert play.all(OK, DEAD) == [Act.NOTHING, Act.ROLL_BACK]


def test_what_the_runtime_restarted_itself_counts_as_well() -> None:
    assert Play().all(OK, REBORN, OK, REBORN) == [Act.NOTHING] * 3 + [Act.ROLL_BACK]


def test_several_deaths_between_two_looks_are_told_by_the_runtimes_count() -> None:
    first = watch.seen(Story(), Look(1.0, True, "", "a", restarts=0))
    assert watch.seen(first, Look(2.0, True, "", "b", restarts=3)).deaths == 3


def test_what_the_runtime_is_about_to_start_is_left_to_it() -> None:
    play = Play(watched=False)
    assert set(play.all(OK, *[COMING] * 20)) == {Act.NOTHING}


def test_what_is_gone_cannot_be_restarted_but_left() -> None:
    assert Play(watched=False).all(OK, GONE, GONE) == [Act.NOTHING] * 3
    assert Play().all(OK, GONE, GONE, GONE)[-1] is Act.ROLL_BACK


def test_outside_the_window_it_is_restarted_after_five_seconds_and_left_after_thirty() -> None:
    play = Play(watched=False)
    acts = play.all(OK, *[BAD] * 6)
    assert acts == [Act.NOTHING] * 6 + [Act.RESTART]
    play.restart()
    acts = play.all(*[BAD] * 26)
    assert acts.index(Act.ROLL_BACK) == 24, "30 s after the first bad look"
    assert set(acts[:24]) == {Act.NOTHING}, "one that boots is not restarted again"


def test_outside_the_window_three_restarts_that_do_not_help_are_enough() -> None:
    play, restarts = Play(watched=False), 0
    play.see(OK)
    for _ in range(60):
        act = play.see(DEAD, 0.5)
        if act is Act.RESTART:
            restarts += 1
            play.restart()
        elif act is Act.ROLL_BACK:
            break
    assert (act, restarts) == (Act.ROLL_BACK, 3)


def test_restarts_pause_longer_and_longer_until_a_stable_minute() -> None:
    play, at = Play(watched=False, auto_rollback=False), list[float]()
    play.see(OK)
    for _ in range(1000):
        if play.see(DEAD, 0.25) is Act.RESTART:
            at.append(play.now)
            play.restart()
    gaps = [later - earlier for earlier, later in pairwise(at)]
    assert gaps[:7] == pytest.approx([1, 2, 4, 8, 16, 32, 60], abs=0.5)
    play.all(*[OK] * 62)
    assert play.story.revivals == 0
    assert play.see(DEAD) is Act.RESTART


@pytest.mark.parametrize(
    ("more", "says"),
    [({"auto_rollback": False}, "autoRollback is off"), ({"no_way_back": "no slot is in grace"}, "no slot is in grace")],
)
@pytest.mark.parametrize("watched", [True, False])
def test_what_cannot_be_left_is_told_once(watched: bool, more: dict[str, str | bool], says: str) -> None:
    play, alarms = Play(watched, **more), list[str]()  # type: ignore[arg-type]  # its keys are fields
    for _ in range(120):
        play.see(BAD)
        alarms += [play.last.alarm] if play.last.alarm else []
    assert len(alarms) == 1
    assert says in alarms[0]
    play.all(*[OK] * 62)
    assert not play.story.alarmed, "over, and may be told anew"


def test_a_rollback_that_failed_is_not_tried_each_second() -> None:
    play = Play()
    assert play.all(BAD, BAD, BAD)[-1] is Act.ROLL_BACK
    play.story = watch.returned_in_vain(play.story, play.now)
    acts = play.all(*[BAD] * 30)
    assert acts.index(Act.ROLL_BACK) == 29


def test_nothing_is_decided_while_the_runtime_is_away_nor_while_things_come_up_again() -> None:
    play = Play()
    play.all(OK, BAD, BAD)
    assert set(play.all(*[BLIND] * 60)) == {Act.NOTHING}
    assert set(play.all(*[BAD] * 29)) == {Act.NOTHING}
    assert play.see(BAD) is Act.ROLL_BACK
    fresh = Play()
    fresh.all(OK, BLIND, REBORN, BLIND, REBORN)
    assert fresh.story.deaths == 0


def test_the_memory_of_a_process_may_be_lost() -> None:
    """A new process knows nothing: it comes to the same end, a few looks later."""
    play = Play()
    play.all(BAD, BAD)
    play.story = Story()
    assert play.all(BAD, BAD, BAD) == [Act.NOTHING] * 2 + [Act.ROLL_BACK]


# --- every sequence ----------------------------------------------------------------------------------------------

LOOKS = st.sampled_from([OK, OK, BAD, BAD, BAD, DEAD, COMING, GONE, REBORN, BLIND])
STEPS = st.lists(st.tuples(LOOKS, st.floats(0.3, 8.0)), min_size=1, max_size=80)


def run(play: Play, steps: list[tuple[str, float]]) -> list[Act]:
    acts = []
    for what, after in steps:
        acts.append(play.see(what, after))
        if acts[-1] is Act.RESTART:
            play.restart()
        elif acts[-1] is Act.ROLL_BACK:
            play.story = watch.returned_in_vain(play.story, play.now)
    return acts


@given(steps=STEPS, watched=st.booleans(), back=st.sampled_from(["", "no slot is in grace"]), auto=st.booleans())
def test_going_back_needs_consent_and_a_healthy_grace(
    steps: list[tuple[str, float]], watched: bool, back: str, auto: bool
) -> None:
    acts = run(Play(watched, auto, back), steps)
    if back or not auto:
        assert Act.ROLL_BACK not in acts


@given(steps=STEPS, watched=st.booleans())
def test_a_decision_needs_a_death_or_three_bad_looks_in_a_row(steps: list[tuple[str, float]], watched: bool) -> None:
    for upto in range(1, len(steps) + 1):
        play = Play(watched)
        act = run(play, steps[:upto])[-1]
        before = [what for what, _ in steps[:upto]]
        if act is not Act.NOTHING and not {DEAD, COMING, GONE, REBORN} & set(before):
            assert before[-3:] == [BAD] * 3
        if before[-1] == BLIND:
            assert act is Act.NOTHING


@given(steps=STEPS)
def test_a_watched_slot_that_is_well_and_never_died_is_left_alone(steps: list[tuple[str, float]]) -> None:
    play = Play()
    run(play, [(what, after) for what, after in steps if what in (OK, BAD, BLIND)])
    assert play.see(OK) is Act.NOTHING


@given(first=st.integers(0, 10**6), more=st.integers(0, 10**6))
def test_the_pause_never_shrinks_and_never_exceeds_a_minute(first: int, more: int) -> None:
    assert 1.0 <= watch.pause(first) <= watch.pause(first + more) <= 60.0


@given(steps=STEPS, watched=st.booleans())
def test_restarts_are_never_closer_than_their_pause(steps: list[tuple[str, float]], watched: bool) -> None:
    play, last = Play(watched, auto_rollback=False), None
    for what, after in steps:
        if play.see(what, after) is Act.RESTART:
            if last is not None:
                assert play.now - last[0] >= watch.pause(last[1]) or play.story.revivals == 0
            play.restart()
            last = (play.now, play.story.revivals)
