"""What the assistant sends, and to whom it goes: to nobody while the connection does not have the floor."""

import json
from collections.abc import Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from relay.call.assistant.incoming import Incoming
from relay.call.playback.playback import Playback
from relay.call.report.assistant_events import AssistantHungUp, HandedOff, Said, UnknownMessage
from relay.call.report.events import BadAssistantMessage, Speech
from relay.errors import LegClosed, LegLost
from relay.media.frames import TELEPHONE, WIDEBAND, AudioFormat
from relay.wire import vapi
from tests.support.assistant_parts import Parts, assistant_parts
from tests.support.callrig import TONE
from tests.support.sockets import memory_socket_pair

STARTED: dict[str, Any] = {"type": "speech-update", "status": "started", "role": "assistant", "turn": 0}
STOPPED: dict[str, Any] = {**STARTED, "status": "stopped"}
ENDED: dict[str, Any] = {"type": "status-update", "status": "ended", "endedReason": "assistant-ended-call"}
SILENCE = TELEPHONE.silent_frame
SAMPLE = b"\x34\x12"


class Rig:
    def __init__(self, audio_format: AudioFormat = TELEPHONE, *, floor: bool = True) -> None:
        self.parts: Parts = assistant_parts(audio_format)
        self.handed: list[str | None] = []
        self.incoming = Incoming(
            audio_format,
            self.parts.playback,
            self.parts.dialogue,
            self.parts.report,
            handed_off=self.handed.append,
        )
        self.socket, self.peer = memory_socket_pair()
        if floor:
            self.incoming.take_floor()

    @property
    def playback(self) -> Playback:
        return self.parts.playback

    async def take(self, *messages: str | bytes | dict[str, Any]) -> vapi.StatusUpdate | None:
        """Let it read these; what it returned, if it did."""
        for message in messages:
            self.peer.send(json.dumps(message) if isinstance(message, dict) else message)
        ended: list[vapi.StatusUpdate] = []

        async def run() -> None:
            ended.append(await self.incoming.run(self.socket))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        return ended[0] if ended else None


async def test_audio_is_queued_for_the_caller_while_the_connection_has_the_floor() -> None:
    rig = Rig(floor=False)
    await rig.take(TONE * 5)
    assert rig.playback.queued_ms == 0

    rig.incoming.take_floor()
    await rig.take(TONE * 5)
    assert rig.playback.queued_ms == 100

    rig.incoming.leave_floor()
    await rig.take(TONE * 5)
    assert rig.playback.queued_ms == 100


@pytest.mark.parametrize("floor", [True, False])
async def test_half_a_sample_waits_for_its_other_half_whoever_had_the_floor_in_between(
    monkeypatch: pytest.MonkeyPatch, *, floor: bool
) -> None:
    """Taken with wrong halves 0x1234 would be 0x3412, which is nearly three times as loud."""
    rig = Rig(WIDEBAND, floor=floor)
    heard = bytearray()
    monkeypatch.setattr(rig.playback.intake, "push", heard.extend)
    await rig.take(SAMPLE * 320 + SAMPLE[:1])
    rig.incoming.take_floor()
    await rig.take(SAMPLE[1:] + SAMPLE * 319)

    assert heard == SAMPLE * (640 if floor else 320)


@pytest.mark.parametrize("floor", [True, False])
async def test_the_end_of_the_call_is_returned_and_reported_whoever_has_the_floor(*, floor: bool) -> None:
    rig = Rig(floor=floor)
    ended = await rig.take(ENDED, STARTED)

    assert ended is not None
    assert ended.ended_reason == "assistant-ended-call"
    assert rig.parts.told(AssistantHungUp) == [AssistantHungUp("assistant-ended-call")]
    assert rig.parts.told(Speech) == []


@pytest.mark.parametrize("floor", [True, False])
@pytest.mark.parametrize(
    ("message", "shows"),
    [
        ({"type": "status-update", "status": "in-progress"}, True),
        (SILENCE, True),
        ({"type": "status-update", "status": "queued"}, False),
        (STARTED, False),
        ("not JSON", False),
    ],
    ids=["in-progress", "audio", "queued", "speech", "bad"],
)
async def test_only_audio_and_its_word_show_that_the_assistant_listens(
    message: dict[str, Any] | str | bytes, *, shows: bool, floor: bool
) -> None:
    rig = Rig(floor=floor)
    await rig.take(message)

    assert rig.incoming.began.is_set() is shows


@pytest.mark.parametrize(
    ("messages", "busy"),
    [
        ([STARTED], True),
        ([STARTED, STOPPED], False),
        ([{"type": "tool-calls"}], True),
        ([STARTED, {"type": "user-interrupted"}], False),
        ([STARTED, {**STOPPED, "role": "user"}], True),
        ([{**STARTED, "role": "user"}], False),
    ],
)
async def test_it_is_busy_while_it_speaks_or_waits_for_a_function(
    messages: list[dict[str, Any]], *, busy: bool
) -> None:
    rig = Rig()
    await rig.take(*messages)

    assert rig.incoming.busy is busy


async def test_what_both_sides_say_is_reported_and_becomes_the_conversation() -> None:
    rig = Rig()
    words: dict[str, Any] = {"type": "transcript", "transcriptType": "final"}
    await rig.take(
        {**words, "role": "user", "transcriptType": "partial", "transcript": "what"},
        {**words, "role": "user", "transcript": "what time is it"},
        STARTED,
        TONE * 50,
        {**words, "role": "assistant", "transcript": "it is nine"},
        STOPPED,
    )

    assert rig.parts.told(Said) == [
        Said("user", "what", final=False),
        Said("user", "what time is it", final=True),
        Said("assistant", "it is nine", final=True),
    ]
    assert rig.parts.told(Speech) == [Speech("assistant", started=True), Speech("assistant", started=False)]
    assert ("user", "what time is it") in [(turn.role, turn.content) for turn in rig.playback.turns()]


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ({**STARTED, "turn": 3}, ("assistant_started", 3)),
        (STOPPED, ("assistant_stopped",)),
        ({"type": "user-interrupted"}, ("assistant_interrupted",)),
        (
            {"type": "transcript", "transcriptType": "partial", "role": "user", "transcript": "wait a moment"},
            ("caller_words", "wait a moment"),
        ),
    ],
)
async def test_playback_is_told_what_decides_about_an_interruption(
    message: dict[str, Any], told: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    rig, calls = Rig(), list[tuple[Any, ...]]()
    for part in (rig.playback.intake, rig.playback.interrupter):
        for name in ("assistant_started", "assistant_stopped", "assistant_interrupted", "caller_words"):
            monkeypatch.setattr(part, name, lambda *values, name=name: calls.append((name, *values)), raising=False)
    await rig.take(message)

    assert calls == [told]


async def test_who_is_on_the_line_after_a_hand_off_is_told_also_when_that_has_no_id() -> None:
    rig = Rig()
    await rig.take(
        {"type": "transfer-update", "toAssistant": {"id": "a-2"}},
        {"type": "transfer-update", "destination": {"type": "assistant", "assistantName": "Billing"}},
        {"type": "transfer-update", "destination": {"type": "number", "number": "+15005550006"}},
    )

    assert rig.handed == ["a-2", None]
    assert rig.parts.told(HandedOff) == [HandedOff("a-2"), HandedOff(None)]


async def test_words_of_a_connection_without_the_floor_change_nothing() -> None:
    rig = Rig(floor=False)
    await rig.take(
        {"type": "transcript", "transcriptType": "final", "role": "user", "transcript": "hello"},
        STARTED,
        {"type": "tool-calls"},
        {"type": "user-interrupted"},
        {"type": "transfer-update", "toAssistant": {"id": "a-2"}},
    )

    assert (rig.parts.report.told, rig.playback.turns(), rig.incoming.busy) == ([], (), False)
    assert rig.handed == []


@pytest.mark.parametrize("floor", [True, False])
async def test_a_message_that_cannot_be_read_is_counted_and_told_once(*, floor: bool) -> None:
    rig = Rig(floor=floor)
    await rig.take("{", "{", "{")

    assert list(rig.parts.report.counts.totals()["protocol_errors"].values()) == [3]  # type: ignore[attr-defined]
    assert len(rig.parts.told(BadAssistantMessage)) == 1


async def test_messages_of_unknown_types_are_counted_as_one_kind_and_told_once() -> None:
    rig = Rig()
    await rig.take({"type": "first"}, {"type": "second"})

    assert rig.parts.report.counts.totals()["protocol_errors"] == {"assistant.UNKNOWN_TYPE": 2}
    assert rig.parts.told(UnknownMessage) == [UnknownMessage("first")]


@pytest.mark.parametrize(("goodbye", "error"), [(True, LegClosed), (False, LegLost)])
async def test_the_end_of_the_socket_is_raised_behind_all_that_was_read(
    error: type[Exception], *, goodbye: bool
) -> None:
    rig = Rig()
    rig.peer.send(TONE * 5)
    if goodbye:
        rig.peer.close(1000)
    else:
        rig.peer.lose()
    with pytest.raises(error):
        await rig.incoming.run(rig.socket)

    assert rig.playback.queued_ms == 100


async def lost_after(rig: Rig, sends: Callable[[], Any], *, answer_s: float = 30, audio_s: float = 30) -> float | None:
    """How long `watch` goes on until it takes the peer for lost; None: for ten minutes at least."""
    began_at, lost_at = trio.current_time(), None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rig.incoming.run, rig.socket)
        nursery.start_soon(sends)
        with trio.move_on_after(600):
            try:
                await rig.incoming.watch(answer_s, audio_s)
            except LegLost:
                lost_at = trio.current_time() - began_at
        nursery.cancel_scope.cancel()
    return lost_at


async def stream(rig: Rig, frame: bytes, seconds: float) -> None:
    for _ in range(int(seconds * 50)):
        rig.peer.send(frame)
        await trio.sleep(0.02)


async def test_a_peer_that_never_says_a_word_is_lost(autojump_clock: MockClock) -> None:
    rig = Rig()

    assert await lost_after(rig, lambda: stream(rig, b"", 0), answer_s=7) == pytest.approx(7)


@pytest.mark.parametrize("floor", [True, False])
async def test_any_word_is_an_answer(autojump_clock: MockClock, *, floor: bool) -> None:
    rig = Rig(floor=floor)
    rig.peer.send("nonsense")

    assert await lost_after(rig, lambda: stream(rig, b"", 0), answer_s=7) is None


async def test_a_peer_that_sends_silence_too_is_lost_when_its_audio_stays_away(autojump_clock: MockClock) -> None:
    rig = Rig()

    lost_s = await lost_after(rig, lambda: stream(rig, SILENCE, 20), answer_s=5, audio_s=10)
    assert lost_s == pytest.approx(30, abs=0.1)


@pytest.mark.parametrize(("frame", "audio_s", "floor"), [(TONE, 10, True), (SILENCE, 0, True), (SILENCE, 10, False)])
async def test_audio_is_not_missed_of_a_peer_that_only_speaks_nor_where_none_is_asked_nor_without_the_floor(
    frame: bytes, audio_s: float, autojump_clock: MockClock, *, floor: bool
) -> None:
    rig = Rig(floor=floor)

    assert await lost_after(rig, lambda: stream(rig, frame, 20), answer_s=5, audio_s=audio_s) is None
