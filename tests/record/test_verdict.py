"""The verdict on a recorded call: sentences that a stranger understands, the worst first."""

import pytest

from relay.logic.end_reason import EndReason
from relay.record.entries import FromAssistant, Timed, ToAssistant
from relay.record.sides import CallSides
from relay.record.summary import summarise
from relay.record.verdict import ENDS, clock, moments, verdict
from tests.record.test_summary import FLUSHED, stopped
from tests.support.recordings_of_calls import attached, call_of, ended, sent, spoken, told


def sentences(*entries: Timed, complete: bool = True) -> list[str]:
    call = call_of(attached(), *entries, complete=complete)
    return verdict(call, summarise(call, CallSides(call)))


def test_of_a_call_that_went_well_it_says_so_and_how_well() -> None:
    silent = {"turn": 1, "clear_to_silent_ms": 60.0, "onset_to_silent_ms": 165.0}
    interrupted = [
        told(8.0, "bargein.flushed", turn=1, **FLUSHED),
        told(8.06, "bargein.silent", **silent),
        told(9.0, "bargein.settled", turn=1),
    ]
    assert sentences(*spoken(0.0, 600), *stopped(2.0), *sent(3.2, 5), *interrupted, ended(62.0)) == [
        "Nothing went wrong.",
        "The caller hung up after 01:02.0.",
        "The caller heard 1 answer, after 1.2 s at the median.",
        "The caller interrupted 1 time, and heard nothing more 165 ms later at most.",
    ]


@pytest.mark.parametrize(
    ("reports", "sentence"),
    [
        ([("hangup", 0.1234)], "At the provider the assistant's call ended with hangup, and cost $0.1234."),
        ([("hangup", None)], "At the provider the assistant's call ended with hangup."),
        (
            [("x-error", 0.5), (None, 0.25)],
            "At the provider the assistant's 2 calls ended with x-error, then not told, and cost $0.7500 in all.",
        ),
    ],
)
def test_it_says_how_the_provider_saw_the_end_and_what_that_cost(
    reports: list[tuple[str | None, float | None]], sentence: str
) -> None:
    call = call_of(attached(), ended(62.0))
    call.after_end[:] = [
        told(63.0, "webhook.accepted", assistant_call_id=str(n), ended_reason=reason, cost_usd=cost_usd)
        for n, (reason, cost_usd) in enumerate(reports)
    ]

    assert verdict(call, summarise(call, CallSides(call)))[-1] == sentence


BACK = "try 2 brought it back, and nothing of the caller was lost"
ANSWER = FromAssistant(6.5, has_floor=True, data=b"\x00\x20" * 320)
AWAY = [
    told(2.5, "assistant.lost", error="no pong", close_code=None),
    told(3.0, "assistant.reconnected", gap_ms=500.0, replayed_ms=0, dropped_ms=0, attempt=1),
]
LOST = [
    told(133.0, "assistant.lost", error="no pong", close_code=None),
    told(137.1, "assistant.reconnected", gap_ms=4100.0, replayed_ms=400, dropped_ms=0, attempt=2),
]


@pytest.mark.parametrize(
    ("entries", "sentence"),
    [
        (
            LOST,
            f"At 02:13.0 the assistant was away for 4.1 s: its socket was lost, no pong; {BACK}.",
        ),
        (
            [told(5.0, "caller.lost", error="closed with 1006"), told(6.0, "caller.reattached", gap_ms=1000.0)],
            "At 00:05.0 the caller was away for 1.0 s: their stream was lost, closed with 1006.",
        ),
        (
            [told(5.0, "assistant.unavailable", code="VAPI_SERVER_ERROR", error="500")],
            "At 00:05.0 a call with the assistant could not be made: 500 (VAPI_SERVER_ERROR).",
        ),
        (
            [told(5.0, "assistant.notes_dropped", code="NOTES_FULL", error="more than 32 waited")],
            "At 00:05.0 the assistant was not told of everything that the caller pressed: more than 32 waited.",
        ),
        (
            [told(5.0, "assistant.given_up", attempts=4)],
            "At 00:05.0 no assistant could be had: given up after 4 tries.",
        ),
        ([told(5.0, "caller.not_back")], "At 00:05.0 the caller was given up: no new stream of theirs came in time."),
        ([told(5.0, "client.gone", grace_s=30)], "At 00:05.0 the browser was given up: it did not come back in time."),
        ([told(5.0, "call.failed")], "At 00:05.0 the relay failed on this call: its log says why."),
        (
            [told(5.0, "playout.hole", hole_ms=340.0)],
            "At 00:05.0 the caller heard 340 ms of silence in the middle of a word: the assistant's audio came late.",
        ),
        (
            [told(5.0, "bargein.flushed", turn=1, **FLUSHED), told(7.0, "bargein.false", turn=1)],
            "At 00:05.0 the assistant was cut by a false alarm: it went on as if nobody had interrupted it.",
        ),
        (
            [*spoken(0.0, 600), *stopped(2.0), ToAssistant(2.0, 640, 0), ANSWER, *sent(6.6, 5)],
            "At 00:02.0 the caller waited 4.6 s for an answer: the assistant took 4.5 s of it.",
        ),
        (
            [*spoken(0.0, 600), *stopped(2.0), ToAssistant(2.0, 640, 0), *AWAY, ANSWER, *sent(6.6, 5)],
            "At 00:02.0 the caller waited 4.6 s for an answer: the assistant was away.",
        ),
        (
            [*spoken(0.0, 600), *stopped(2.0), *sent(6.6, 5)],
            "At 00:02.0 the caller waited 4.6 s for an answer: the relay took 4.6 s of it.",
        ),
    ],
)
def test_what_went_wrong_is_said_with_its_time_and_its_cause(entries: list[Timed], sentence: str) -> None:
    found = sentences(*entries, ended(200.0))

    assert found[0] == sentence
    assert "Nothing went wrong." not in found


def test_an_interruption_that_was_only_agreement_is_no_false_alarm() -> None:
    cut, back = told(5.0, "bargein.flushed", turn=1, **FLUSHED), told(5.9, "bargein.false", turn=1, by="agreement")
    another = told(7.0, "bargein.flushed", turn=1, **FLUSHED), told(9.0, "bargein.false", turn=1, by="assistant")
    agreed = "The caller only agreed 1 time, and the assistant went on with what they had not heard."

    assert sentences(cut, back, ended(20.0)) == [
        "Nothing went wrong.",
        "The caller hung up after 00:20.0.",
        agreed,
    ]
    assert sentences(cut, back, *another, ended(20.0)) == [
        "At 00:07.0 the assistant was cut by a false alarm: it went on as if nobody had interrupted it.",
        "The caller hung up after 00:20.0.",
        agreed,
    ]


def test_frames_of_a_turn_that_was_cut_are_a_fault_of_the_relay() -> None:
    (first, *_) = sentences(ended(9.0, frames_stale=2))

    assert first == "At 00:09.0 2 frames of a turn that was cut had been sent all the same: a fault of the relay."


def test_small_holes_are_not_worth_a_sentence() -> None:
    assert sentences(told(5.0, "playout.hole", hole_ms=200.0), ended(9.0))[0] == "Nothing went wrong."


def test_the_worst_comes_first() -> None:
    hole, crash = told(5.0, "playout.hole", hole_ms=340.0), told(150.0, "call.failed")
    call = call_of(attached(), hole, *LOST, crash, ended(200.0))
    found = moments(call, summarise(call, CallSides(call)))

    assert [moment.at_s for moment in found] == [150.0, 133.0, 5.0]
    assert found[0].as_json() == {"at_s": 150.0, "what": "the relay failed on this call", "cause": "its log says why"}


def test_of_a_recording_that_was_cut_short_that_is_said_first() -> None:
    first, *_, last = sentences(*spoken(0.0, 100), complete=False)

    assert first == "The recording is cut short after 00:02.0: what came behind is not known."
    assert last == "The recording has no end of the call; it goes to 00:02.0."


def test_every_end_of_a_call_that_can_be_recorded_has_its_sentence() -> None:
    assert set(ENDS) == {*EndReason} - {EndReason.REFUSED}


@pytest.mark.parametrize(("at_s", "shown"), [(0, "00:00.0"), (-1, "00:00.0"), (59.96, "01:00.0"), (3671.25, "61:11.2")])
def test_times_are_minutes_and_seconds(at_s: float, shown: str) -> None:
    assert clock(at_s) == shown
