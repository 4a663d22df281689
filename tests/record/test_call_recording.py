"""What is taken down of a call, and that it has bounds and no secrets."""

import zlib
from collections.abc import Callable

import trio
from structlog.testing import capture_logs
from trio.testing import MockClock

from relay.errors import AssistantUnavailable
from relay.media.frames import TELEPHONE
from relay.record.backlog import CALL_MAX_BYTES, Backlog
from relay.record.call_recording import CallRecording
from relay.record.entries import (
    AssistantConnected,
    CallerLent,
    CallerNote,
    ClockSeen,
    Dialled,
    FromAssistant,
    FromCaller,
    ManyCalls,
    MarkReturned,
    RecordingEnd,
    RecordingHeader,
    SpeechScore,
    TextFromAssistant,
    TextToAssistant,
    ToAssistant,
    ToCaller,
    Told,
    Woke,
)
from relay.redaction import Redactor

HEADER = RecordingHeader("1", "call", "CA1", 0.0, "mulaw", 8000, "mulaw", 8000, {})
SECRET = "wss://phone-call-websocket.example/secret-path-of-the-call"


def recording(redactor: Redactor | None = None, failed: Callable[[], None] = lambda: None) -> CallRecording:
    return CallRecording(HEADER, redactor or Redactor(), trio.current_time(), Backlog(), failed)


async def test_times_count_from_the_beginning_of_the_recording(autojump_clock: MockClock) -> None:
    taken = recording()
    await trio.sleep(1.5)
    taken.from_caller(trio.current_time(), 20.0, 1, b"in")
    taken.to_caller(trio.current_time(), 1, 20, b"out", audible=True, queued_ms=40)
    taken.mark_returned(1, 200)
    taken.from_assistant(b"audio", has_floor=True)
    taken.to_assistant(b"audio")
    taken.end()

    assert taken.take() == [
        HEADER,
        FromCaller(1.5, 20.0, 1, b"in"),
        ToCaller(1.5, 1, 20, True, 40, b"out"),
        MarkReturned(1.5, 1, 200),
        FromAssistant(1.5, True, b"audio"),
        ToAssistant(1.5, 5, zlib.crc32(b"audio")),
        RecordingEnd(1.5, "ended"),
    ]
    assert taken.take() == []


async def test_what_else_decides_is_taken_down_for_a_replay(autojump_clock: MockClock) -> None:
    taken = recording()
    taken.take()
    first, second = taken.new_connection(), taken.new_connection()
    taken.caller_lent(joins_frames=True)
    taken.from_caller(trio.current_time(), 0.0, 0, b"at once")
    await trio.sleep(0.5)
    taken.from_caller(trio.current_time() - 0.5, 0.0, 0, b"late")
    taken.dialled(first, "vapi-1", TELEPHONE)
    taken.assistant_connected(first)
    taken.from_assistant(b"audio", has_floor=False, connection=second)
    taken.speech_score(32.0, 0.5)
    taken.speech_score(64.0, 0.5, 1.5)
    taken.caller_note("malformed", "NOT_JSON", "no JSON")
    taken.passed("speaker")
    for many in (False, True, True, False):
        taken.many_calls(many=many)

    assert taken.take() == [
        CallerLent(0.0, joins_frames=True),
        FromCaller(0.0, 0.0, 0, b"at once"),
        FromCaller(0.0, 0.0, 0, b"late", used_s=0.5),
        Dialled(0.5, 1, "vapi-1", "mulaw", 8000),
        AssistantConnected(0.5, 1),
        FromAssistant(0.5, False, b"audio", 2),
        SpeechScore(0.5, 32.0, 0.5),
        SpeechScore(0.5, 64.0, 0.5, 1.5),
        CallerNote(0.5, "malformed", ("NOT_JSON", "no JSON")),
        Woke(0.5, "speaker"),
        ManyCalls(0.5, many=True),
        ManyCalls(0.5, many=False),
    ]


async def test_no_secret_is_in_an_error_that_is_taken_down(autojump_clock: MockClock) -> None:
    taken = recording(Redactor({SECRET}))
    taken.assistant_gone(1, f"{SECRET}: lost", None)
    taken.dial_refused(1, AssistantUnavailable(f"at {SECRET}", "VAPI_UNREACHABLE", retriable=True))
    taken.caller_note("unsupported", "CODE", f"at {SECRET}")

    assert len(shown := str(taken.take()).split("***")) == 4
    assert "secret-path" not in "".join(shown)


async def test_no_secret_is_in_the_state_from_which_a_call_goes_on(autojump_clock: MockClock) -> None:
    taken = recording(Redactor({SECRET}))
    taken.stood({"conversation": [{"role": "user", "text": f"at {SECRET}", "interrupted": False}]})

    assert "secret-path" not in str(taken.take())


async def test_no_secret_is_taken_down(autojump_clock: MockClock) -> None:
    taken = recording(Redactor({SECRET}))
    taken.from_assistant(f'{{"listenUrl": "{SECRET}"}}', has_floor=True)
    taken.to_assistant('{"type": "add-message", "content": "pressed 7"}')
    taken.told("assistant.lost", {"error": f"connection to {SECRET} lost", "token": "short"})
    texts = [entry for entry in taken.take() if isinstance(entry, TextFromAssistant | TextToAssistant | Told)]

    assert len(texts) == 3
    assert "secret-path" not in str(texts)
    assert texts[1] == TextToAssistant(0.0, "add-message")
    assert texts[-1] == Told(0.0, "assistant.lost", {"error": "connection to *** lost", "token": "***"})


async def test_the_clock_is_taken_down_where_it_has_gone_on_within_a_step(mock_clock: MockClock) -> None:
    taken = recording()
    taken.take()
    for stall_s in (0.0004, 0.0006, 0.0004):
        mock_clock.jump(1.0)
        taken.passed("speaker")
        taken.look()
        mock_clock.jump(stall_s)
        assert taken.look() == trio.current_time()
        taken.look()

    [seen] = [entry for entry in taken.take() if isinstance(entry, ClockSeen)]
    assert (round(seen.at_s, 6), seen.task, seen.looks) == (2.001, "", 2)


async def test_what_nobody_fetches_is_bounded_and_given_up_with_a_line_in_the_log(autojump_clock: MockClock) -> None:
    taken = recording()
    with capture_logs() as logged:
        for _ in range(CALL_MAX_BYTES // 160):
            taken.from_assistant(bytes(160), has_floor=True)

    assert taken.take() == []
    assert logged == [
        {"event": "record.failed", "call_id": "call", "error": "the disk is too slow", "log_level": "warning"}
    ]


async def test_given_up_it_takes_down_nothing_but_still_knows_the_troubles(autojump_clock: MockClock) -> None:
    failed: list[str] = []
    taken = recording(failed=lambda: failed.append("once"))
    with capture_logs() as logged:
        taken.give_up("a full disk")
        taken.give_up("another reason")
    taken.told("assistant.lost", {})
    taken.end()

    assert taken.take() == []
    assert taken.is_over
    assert taken.troubles.found == ["leg_lost"]
    assert [line["error"] for line in logged] == ["a full disk"]
    assert failed == ["once"]
