import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.logic.assistant.lifetime import Lifetime, LifetimeRules, Moment, Scene

RULES = LifetimeRules(limit_s=600, window_s=60, hurry_s=15, last_s=5, quiet_s=1, unanswered_s=4)
STEP_S = 0.1


def scene(who: str) -> Scene:
    """Who speaks: "c", "a"; "+": there is more of the assistant due; "u": the caller was not understood yet."""
    return Scene("c" in who, "a" in who, assistant_due="+" in who, unfinished="c" in who or "u" in who)


def listen(lifetime: Lifetime, start: float, *stretches: tuple[float, str]) -> list[tuple[float, Moment]]:
    """Ask every 100 ms from `start` on, through stretches of so many seconds. Returns each changed answer."""
    answers: list[tuple[float, Moment]] = []
    last: Moment | None = None
    step = 0
    for seconds, who in stretches:
        for _ in range(round(seconds / STEP_S)):
            now = round(start + step * STEP_S, 3)
            answer = lifetime.moment(scene(who), now)
            if answer is not None and answer is not last:
                answers.append((now, answer))
            last = answer
            step += 1
    return answers


def test_the_quiet_moment_comes_after_the_assistants_words() -> None:
    assert listen(Lifetime(RULES, 0), 540, (3, "a"), (5, ""))[0] == (543.9, Moment.QUIET)


def test_a_silence_after_the_callers_words_is_the_assistants_time_to_answer() -> None:
    assert listen(Lifetime(RULES, 0), 540, (3, "c"), (3, ""), (2, "a"), (3, ""))[0] == (548.9, Moment.QUIET)


def test_words_that_are_not_answered_do_not_keep_it_from_being_quiet() -> None:
    assert listen(Lifetime(RULES, 0), 540, (3, "c"), (6, ""))[0] == (546.9, Moment.QUIET)


def test_who_only_hums_while_the_assistant_speaks_gets_no_answer_to_wait_for() -> None:
    assert listen(Lifetime(RULES, 0), 540, (1, "a"), (0.5, "ac"), (1, "a"), (3, ""))[0] == (543.4, Moment.QUIET)


def test_who_speaks_into_the_end_of_the_assistants_words_was_last() -> None:
    assert listen(Lifetime(RULES, 0), 540, (1, "a"), (0.5, "ac"), (1, "c"), (6, ""))[0] == (546.4, Moment.QUIET)


def test_a_pause_within_the_assistants_words_is_not_quiet_unless_it_goes_on_and_on() -> None:
    assert listen(Lifetime(RULES, 0), 540, (1, "a+"), (3, "+"), (1, "a"), (2, ""))[0] == (545.9, Moment.QUIET)
    assert listen(Lifetime(RULES, 0), 540, (1, "a+"), (6, "+"))[0] == (544.9, Moment.QUIET)


def test_a_quiet_moment_passes_when_somebody_speaks() -> None:
    answers = listen(Lifetime(RULES, 0), 540, (1, "a"), (2, ""), (1, "c"), (1, ""), (1, "a"), (2, ""))

    assert answers == [(541.9, Moment.QUIET), (546.9, Moment.QUIET)]


def test_a_silence_from_before_the_window_counts() -> None:
    assert listen(Lifetime(RULES, 0), 536, (2, "a"), (5, ""))[0] == (540.0, Moment.QUIET)
    assert listen(Lifetime(RULES, 0), Lifetime(RULES, 0).listen_at, (10, ""))[0] == (540.0, Moment.QUIET)


def test_before_the_window_no_silence_is_long_enough() -> None:
    assert listen(Lifetime(RULES, 0), 400, (140, ""))[:1] == []


def test_in_a_hurry_it_moves_as_soon_as_the_caller_was_understood_and_the_assistant_is_silent() -> None:
    assert listen(Lifetime(RULES, 0), 540, (46, "c"), (1, "u"), (1, ""))[0] == (587.0, Moment.HURRIED)
    assert listen(Lifetime(RULES, 0), 540, (48, "a"), (1, ""))[0] == (588.0, Moment.HURRIED)


@pytest.mark.parametrize("who", ["a", "c", "u"])
def test_who_never_stops_is_cut_at_the_last(who: str) -> None:
    assert listen(Lifetime(RULES, 0), 585, (15, who)) == [(595.0, Moment.FORCED)]


@pytest.mark.parametrize(
    ("limit_s", "window_at", "hurry_at", "last_at"),
    [(3600, 3540, 3585, 3595), (600, 540, 585, 595), (30, 15, 22.5, 27), (10, 5, 7.5, 9)],
)
def test_of_a_short_limit_the_first_half_is_used_all_the_same(
    limit_s: float, window_at: float, hurry_at: float, last_at: float
) -> None:
    lifetime = Lifetime(LifetimeRules(limit_s), 0)

    assert (lifetime.window_at, lifetime.hurry_at, lifetime.last_at) == (window_at, hurry_at, last_at)


@given(
    st.floats(10, 2000),
    st.lists(st.tuples(st.floats(0.1, 5), st.sampled_from(["", "c", "a", "ac", "u", "+"])), max_size=40),
)
def test_whatever_is_said_the_call_may_move_before_its_end_and_never_without_reason(
    limit_s: float, stretches: list[tuple[float, str]]
) -> None:
    """Asked every 100 ms for all of the call."""
    rules = LifetimeRules(limit_s)
    lifetime = Lifetime(rules, 0.0)
    now, silent_since, answer = lifetime.window_at - 1, lifetime.window_at - 1, None
    for seconds, who in [*stretches, (limit_s, "a")]:
        until = min(now + seconds, limit_s - STEP_S)
        while now < until:
            silent_since = now if {*who} & {*"ac"} else silent_since
            answer = lifetime.moment(scene(who), now)
            if answer is Moment.QUIET:
                assert lifetime.window_at <= now < lifetime.hurry_at
                assert now - silent_since >= rules.quiet_s
            elif answer is Moment.HURRIED:
                assert lifetime.hurry_at <= now < lifetime.last_at
                assert not {*who} & {*"acu"}
            else:
                assert answer is (Moment.FORCED if now >= lifetime.last_at else None)
            now += STEP_S

    assert answer is Moment.FORCED
