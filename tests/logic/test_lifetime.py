import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.logic.lifetime import Change, Lifetime, LifetimeRules

RULES = LifetimeRules(limit_s=600, window_s=60, margin_s=10, quiet_s=1)


def connected(at: float = 0.0, rules: LifetimeRules = RULES) -> Lifetime:
    """Its window is from 530 to 590 after it began."""
    result = Lifetime(rules)
    result.connected(at)
    return result


def test_before_the_first_connection_nothing_is_due() -> None:
    lifetime = Lifetime(RULES)

    assert (lifetime.deadline, lifetime.expire(1e9)) == (None, None)


def test_in_a_silent_call_the_window_begins_with_a_quiet_moment() -> None:
    lifetime = connected(1000.0)

    assert lifetime.deadline == 1530.0
    assert lifetime.expire(1529.9) is None
    assert lifetime.expire(1530.0) is Change.QUIET


def test_it_is_said_once_for_each_connection() -> None:
    lifetime = connected()
    lifetime.expire(530.0)
    assert (lifetime.deadline, lifetime.expire(599.0)) == (None, None)
    lifetime.connected(531.0)

    assert lifetime.deadline == 1061.0


def test_the_quiet_moment_comes_after_the_assistant_s_words() -> None:
    lifetime = connected()
    lifetime.assistant(speaks=True, now=528.0)
    assert lifetime.deadline == 590.0
    lifetime.assistant(speaks=False, now=540.0)
    assert lifetime.deadline == 541.0

    assert lifetime.expire(541.0) is Change.QUIET


def test_a_quiet_moment_that_began_before_the_window_is_used_at_its_start() -> None:
    lifetime = connected()
    lifetime.assistant(speaks=True, now=100.0)
    lifetime.assistant(speaks=False, now=529.5)

    assert lifetime.deadline == 530.5


def test_silence_after_the_caller_s_words_is_not_quiet() -> None:
    lifetime = connected()
    lifetime.caller(speaks=True)
    lifetime.caller(speaks=False)
    assert lifetime.deadline == 590.0
    lifetime.assistant(speaks=True, now=545.0)
    lifetime.assistant(speaks=False, now=550.0)

    assert lifetime.deadline == 551.0


def test_it_is_not_quiet_while_the_caller_speaks_into_the_end_of_the_assistant_s_words() -> None:
    lifetime = connected()
    lifetime.assistant(speaks=True, now=540.0)
    lifetime.caller(speaks=True)
    lifetime.assistant(speaks=False, now=541.0)

    assert lifetime.deadline == 590.0


def test_a_caller_who_only_hums_while_the_assistant_speaks_does_not_count() -> None:
    lifetime = connected()
    lifetime.assistant(speaks=True, now=540.0)
    lifetime.caller(speaks=True)
    lifetime.caller(speaks=False)
    lifetime.assistant(speaks=False, now=545.0)

    assert lifetime.deadline == 546.0


def test_without_a_quiet_moment_the_call_moves_at_the_end_of_the_window() -> None:
    lifetime = connected()
    lifetime.caller(speaks=True)
    assert lifetime.expire(589.9) is None

    assert lifetime.expire(590.0) is Change.FORCED


@pytest.mark.parametrize(
    ("limit_s", "window_at", "forced_at"), [(600, 530, 590), (60, 0, 50), (30, 0, 20), (12, 0, 6), (10, 0, 5)]
)
def test_a_short_limit_leaves_a_window_all_the_same(limit_s: float, window_at: float, forced_at: float) -> None:
    rules = LifetimeRules(limit_s=limit_s, window_s=60, margin_s=10, quiet_s=0)
    lifetime = connected(rules=rules)
    assert lifetime.deadline == window_at
    lifetime.caller(speaks=True)

    assert lifetime.deadline == forced_at


@given(
    st.floats(10, 2000),
    st.lists(st.tuples(st.floats(0, 30), st.sampled_from(["caller", "assistant"]), st.booleans()), max_size=80),
)
def test_whatever_is_said_the_call_moves_once_in_the_window(
    limit_s: float, steps: list[tuple[float, str, bool]]
) -> None:
    rules = LifetimeRules(limit_s=limit_s)
    lifetime = connected(rules=rules)
    now = 0.0
    moved: list[float] = []
    for step_s, who, speaks in [*steps, (limit_s, "caller", True)]:
        until = now + step_s
        while (at := lifetime.deadline) is not None and at <= until:
            assert lifetime.expire(at) is not None
            moved.append(at)
        now = until
        if who == "caller":
            lifetime.caller(speaks=speaks)
        else:
            lifetime.assistant(speaks=speaks, now=now)

    assert len(moved) == 1
    assert moved[0] < limit_s
    assert moved[0] >= min(limit_s / 2, limit_s - rules.margin_s) - rules.window_s
