"""The event log of a recorded call as engineers draw it by hand."""

from relay.record.event_log import event_log
from relay.record.sides import CallSides
from relay.record.summary import summarise
from relay.record.verdict import verdict
from tests.support.recordings_of_calls import attached, call_of, ended, spoken, told


def test_each_event_has_its_time_and_the_milliseconds_since_the_one_before() -> None:
    call = call_of(
        told(0.0, "assistant.dialing", assistant="main", audio="mulaw 8000 Hz x1"),
        attached(0.25),
        *spoken(0.25, 10),
        told(1.5, "transcript.final", role="user", text="größer"),
        ended(12.0),
    )

    assert list(event_log(call)) == [
        '    -0.250       +0 ms  assistant.dialing         assistant=main  audio="mulaw 8000 Hz x1"',
        "     0.000     +250 ms  caller.attached",
        "     1.250    +1250 ms  transcript.final          role=user  text=größer",
        "    11.750   +10500 ms  call.ended                reason=caller_hangup  duration_s=1.0  frames_stale=0",
    ]


def test_a_recording_without_events_has_no_lines() -> None:
    assert list(event_log(call_of())) == []


def test_nothing_that_others_have_written_reaches_the_terminal_as_a_command() -> None:
    call = call_of(attached(), told(0.5, "assistant.unavailable", code="X", error="gone\x1b[2J\x9b2J\r\nx"), ended(2.0))
    lines = [*event_log(call), *verdict(call, summarise(call, CallSides(call)))]

    assert all(line.isprintable() for line in lines)
