"""Which callers of a full house are sent on, and how often."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from relay.logic.overflow import KNOWN_MAX, SENT_MAX, Overflow


@given(st.lists(st.sampled_from("abcd"), max_size=60))
def test_each_call_is_sent_on_a_few_times_whatever_others_do(sids: list[str]) -> None:
    overflow = Overflow()
    sent = Counter(sid for sid in sids if overflow.send_on(sid))

    assert sent == {sid: min(asked, SENT_MAX) for sid, asked in Counter(sids).items()}


def test_what_is_remembered_is_bounded_and_a_call_that_comes_back_is_not_forgotten() -> None:
    overflow = Overflow()
    for number in range(2 * KNOWN_MAX):
        overflow.send_on(str(number))
        overflow.send_on("again")

    assert not overflow.send_on("again")
    assert overflow.send_on("0")
