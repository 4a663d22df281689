"""A session is had by who shows one of its tokens, where its process is gone, and by nobody else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.logic.browser.kept_session import TURNS_OF_A_PROCESS, KeptSession, SessionPlace, place_of
from relay.logic.tokens import fingerprint
from relay.media.frames import WIDEBAND

TOKENS = st.text(max_size=20)
KEPT = KeptSession("1.a", WIDEBAND, WIDEBAND, fingerprint("token"), fingerprint("resume"))


@pytest.mark.parametrize(
    ("kept", "shown", "taken", "place"),
    [
        (None, "token", False, SessionPlace.UNKNOWN),
        (None, "token", True, SessionPlace.UNKNOWN),
        (KEPT, "another", False, SessionPlace.UNKNOWN),
        (KEPT, "another", True, SessionPlace.UNKNOWN),
        (KEPT, "token", False, SessionPlace.ELSEWHERE),
        (KEPT, "token", True, SessionPlace.OURS),
        (KEPT, "resume", False, SessionPlace.ELSEWHERE),
        (KEPT, "resume", True, SessionPlace.OURS),
    ],
)
def test_where_a_session_is(kept: KeptSession | None, shown: str, *, taken: bool, place: SessionPlace) -> None:
    assert place_of(kept, fingerprint(shown), taken=taken) is place


@given(token=TOKENS, resume=TOKENS, shown=TOKENS, taken=st.booleans())
def test_only_the_two_tokens_of_a_session_say_anything_of_it(
    token: str, resume: str, shown: str, *, taken: bool
) -> None:
    kept = KeptSession("1.a", WIDEBAND, WIDEBAND, fingerprint(token), fingerprint(resume))

    place = place_of(kept, fingerprint(shown), taken=taken)

    assert (place is not SessionPlace.UNKNOWN) == (shown in {token, resume})


def test_a_token_that_was_never_given_out_opens_nothing() -> None:
    assert not KeptSession("1.a", WIDEBAND, WIDEBAND).is_opened_by("")


@given(st.integers(0, 1000), st.integers(1, TURNS_OF_A_PROCESS))
def test_each_process_numbers_its_turns_behind_those_of_the_one_before(moves: int, turn: int) -> None:
    one, next_one = (KeptSession("1.a", WIDEBAND, WIDEBAND, moves=it).turns_before for it in (moves, moves + 1))

    assert one + turn <= next_one
