"""Whose the time was that the caller waited for an answer: the parts, and that they are all of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.record.entries import FromAssistant, MarkReturned, PingAnswered, Timed, ToAssistant
from relay.record.latency import AnswerWait, answers
from relay.record.sides import CallSides
from tests.record.test_summary import stopped
from tests.support.recordings_of_calls import attached, call_of, ended, sent, spoken, told

LOUD, QUIET = b"\x00\x20" * 320, bytes(640)
FORWARDED = [ToAssistant(2.0 + n * 0.02, 640, 0) for n in range(100)]


def came(at_s: float, *, data: bytes = LOUD, has_floor: bool = True) -> FromAssistant:
    return FromAssistant(at_s, has_floor, data)


def only(*entries: Timed) -> AnswerWait:
    call = call_of(attached(), *spoken(0.0, 400), *stopped(2.0), *entries, ended(9.0))
    [answer] = answers(call, CallSides(call))
    return answer


@pytest.mark.parametrize(
    ("entries", "ours_ms", "network_ms", "assistant_ms"),
    [
        ([*FORWARDED, came(2.8), *sent(2.9, 5)], 100, None, 800),
        ([*FORWARDED, came(2.3, data=QUIET), came(2.5, has_floor=False), came(2.8), *sent(2.9, 5)], 100, None, 800),
        ([*FORWARDED, came(2.8), *sent(2.9, 5), MarkReturned(3.06, 1, 100)], 100, 60, 800),
        ([PingAnswered(1.0, 1, 90.0), PingAnswered(5.0, 1, 41.6), *FORWARDED, came(2.8), *sent(2.9, 5)], 100, 42, 758),
        ([PingAnswered(1.0, 1, 40), *FORWARDED, came(2.8), *sent(2.9, 5), MarkReturned(3.06, 1, 100)], 100, 100, 760),
        ([PingAnswered(1.0, 1, 40.0), *FORWARDED, came(1.5), *sent(2.9, 5)], 900, 0, 0),
        ([*FORWARDED, came(2.8), *sent(2.7, 10, audible=False), *sent(2.8, 5, position_ms=200)], 100, None, 800),
        ([*FORWARDED, came(1.5), *sent(2.9, 5)], 900, None, 0),
        ([*[it for it in FORWARDED if it.at_s > 2.15], came(2.8), *sent(2.9, 5)], 260, None, 640),
    ],
    ids=[
        *("relay", "silence and what was only overheard", "network", "pings", "both networks", "pings, held"),
        *("behind silence", "held", "late to the assistant"),
    ],
)
def test_the_wait_for_an_answer_is_divided_by_whose_it_was(
    entries: list[Timed], ours_ms: int, network_ms: int | None, assistant_ms: int
) -> None:
    answer = only(*entries)

    assert (answer.ours_ms, answer.network_ms, answer.assistant_ms) == (ours_ms, network_ms, assistant_ms)
    assert answer.felt_ms == ours_ms + assistant_ms + (network_ms or 0)


def test_audio_of_the_assistant_that_was_cut_within_samples_is_put_together() -> None:
    """Nothing in it is louder than silence, and each half by itself would be."""
    faint = b"\xff\xff\x00\x00" * 160
    halves = [came(2.3, data=faint[:321]), came(2.32, data=faint[321:])]
    answer = only(*FORWARDED, *halves, came(2.8, data=LOUD[:-1]), *sent(2.9, 5))

    assert (answer.ours_ms, answer.assistant_ms) == (100, 800)


def test_the_time_in_which_the_assistant_is_away_is_not_the_relays() -> None:
    lost = told(1.5, "assistant.lost", error="no pong", close_code=None)
    back = told(4.0, "assistant.reconnected", gap_ms=2500.0, replayed_ms=0, dropped_ms=0, attempt=1)
    answer = only(lost, back, ToAssistant(4.01, 640, 0), came(4.5), *sent(4.6, 5))

    assert (answer.ours_ms, answer.assistant_ms) == (100, 2500)


def test_an_assistant_that_has_another_format_than_was_asked_for_is_heard_in_that() -> None:
    adopted = told(0.5, "assistant.format_adopted", asked="pcm_s16le 16000 Hz x1", granted="mulaw 8000 Hz x1")
    answer = only(adopted, *FORWARDED, came(2.5, data=b"\xff" * 160), came(2.8, data=b"\x10" * 160), *sent(2.9, 5))

    assert answer.assistant_ms == 800


@given(*[st.floats(0, 8)] * 3, st.floats(0, 0.5), st.floats(0, 2000))
def test_the_parts_are_never_negative_and_always_all_of_it(
    left_s: float, came_s: float, sent_s: float, way: float, ping_ms: float
) -> None:
    sound: list[Timed] = [*sent(sent_s, 5)]
    ping = PingAnswered(1.0, 1, ping_ms)
    entries: list[Timed] = [
        ping,
        ToAssistant(left_s, 640, 0),
        came(came_s),
        *sound,
        MarkReturned(sent_s + 0.1 + way, 1, 100),
    ]
    call = call_of(attached(), *spoken(0.0, 500), *stopped(2.0), *entries, ended(10.0))

    for answer in answers(call, CallSides(call)):
        assert min(answer.ours_ms, answer.network_ms or 0, answer.assistant_ms) >= 0
        assert answer.ours_ms + (answer.network_ms or 0) + answer.assistant_ms == answer.felt_ms
