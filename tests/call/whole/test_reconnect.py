"""The assistant's socket drops: what the next connection gets, what the caller hears, and when it is given up."""

from collections.abc import Callable

import numpy as np
import pytest
import trio
from trio.testing import MockClock

from relay.config import ReconnectConfig, SessionConfig
from relay.errors import AssistantUnavailable, LegLost
from relay.media import g711
from tests.support.callrig import MULAW, PCM, SILENCE, TONE, Assistant, FakeDialer, Rig, open_rig
from tests.support.numbered import heard_frames, heard_pairs, numbered, whole_and_in_order

RETRIABLE = AssistantUnavailable("no", "VAPI_SERVER_ERROR", retriable=True)
REFUSED = AssistantUnavailable("no", "VAPI_UNAUTHORIZED", retriable=False)


def sentence(pitch_hz: float, seconds: float) -> bytes:
    """What `LoudnessModel` takes for speech, and can be told from any other pitch byte by byte."""
    at = np.arange(int(seconds * 8000)) / 8000
    return g711.encode((9000 * np.sin(2 * np.pi * pitch_hz * at)).astype(np.int16))


async def next_assistant(rig: Rig) -> Assistant:
    """The assistant of the next connection, which says that it is in progress."""
    assistant = Assistant(await rig.dialer.peer(len(rig.dialer.peers), within_s=30), rig.dialer.format)
    rig.nursery.start_soon(assistant.speak)
    return assistant


def context(assistant: Assistant) -> list[tuple[str, str, bool]]:
    notes = [note for note in assistant.told if note["type"] == "add-message"]
    return [(n["message"]["role"], n["message"]["content"], n["triggerResponseEnabled"]) for n in notes]


async def greet(rig: Rig, text: str = "Hello, how can I help you?") -> None:
    rig.assistant.speech("started")
    rig.assistant.say(numbered(0, 50))
    rig.assistant.transcript(text, role="assistant", kind="final")
    await trio.sleep(2)


WAYS: dict[str, Callable[[Rig], object]] = {
    "reset": lambda rig: rig.dialer.peers[0].lose(),
    "bare close": lambda rig: rig.dialer.peers[0].close(1005),
    "going away": lambda rig: rig.dialer.peers[0].close(1001),
    "no pong": lambda rig: rig.dialer.sockets[0].dead.set(),
    "worker died": lambda rig: rig.assistant.tell(
        type="status-update", status="ended", endedReason="call.in-progress.error-vapifault-worker-died"
    ),
    "its model overloaded": lambda rig: rig.assistant.tell(
        type="status-update",
        status="ended",
        endedReason="call.in-progress.error-providerfault-openai-503-server-overloaded-error",
    ),
    "its limit": lambda rig: rig.assistant.tell(
        type="status-update", status="ended", endedReason="exceeded-max-duration"
    ),
}


@pytest.mark.parametrize("way", WAYS)
async def test_a_lost_assistant_is_replaced_and_hears_the_unfinished_sentence_whole(
    way: str, autojump_clock: MockClock
) -> None:
    first, second = sentence(400, 1.0), sentence(700, 2.0)
    async with open_rig(MULAW) as rig:
        await rig.begin()
        await greet(rig)
        rig.phone.say(first)
        await trio.sleep(2)
        rig.assistant.transcript("I want to cancel", kind="final")
        rig.phone.say(second)
        await trio.sleep(1.5)
        WAYS[way](rig)
        assistant = await next_assistant(rig)
        await trio.sleep(5)
        line = rig.event("assistant.reconnected")

        assert rig.dialer.asked == [(True, None), (False, "vapi-0")]
        assert context(assistant)[0] == ("assistant", "Hello, how can I help you?", False)
        assert context(assistant)[1][:2] == ("user", "I want to cancel")
        assert second in assistant.heard
        assert first not in assistant.heard
        assert line["dropped_ms"] == 0
        assert line["gap_ms"] < 1500
        assert line["attempt"] == 1
        assert rig.event("assistant.lost")["call_id"] == rig.call.id
        assert rig.metric("relay_reconnects_total", leg="assistant", result="ok") == 1
        rig.phone.stop()
        ended = await rig.ended("caller_hangup")
        assert ended["reconnects"] == {"assistant": 1}
        assert rig.dialer.hung_up == ([] if way in {"worker died", "its model overloaded", "its limit"} else ["vapi-0"])


async def test_what_was_lost_before_a_word_was_said_greets_again(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        await rig.begin()
        rig.dialer.peers[0].lose()
        await next_assistant(rig)
        await trio.sleep(1)

        assert rig.dialer.asked == [(True, None), (True, "vapi-0")]


async def test_words_that_nobody_answered_are_answered_by_the_next(autojump_clock: MockClock) -> None:
    """It waits for the caller, who has said everything: only the context can make it speak."""
    async with open_rig() as rig:
        await rig.begin()
        await greet(rig)
        rig.phone.say(sentence(400, 1.0))
        await trio.sleep(2)
        rig.assistant.transcript("I want to cancel", kind="final")
        await trio.sleep(0.3)
        rig.dialer.peers[0].lose()
        assistant = await next_assistant(rig)
        await trio.sleep(2)

        assert context(assistant)[-1] == ("user", "I want to cancel", True)


@pytest.mark.parametrize("announced", [False, True])
async def test_keys_that_nothing_was_answered_to_are_told_again_once_and_in_order(
    announced: bool, autojump_clock: MockClock
) -> None:
    """Those before the assistant's last words are known from its answer."""
    async with open_rig() as rig:
        await rig.begin()
        rig.phone.press("1")
        await trio.sleep(1)
        if announced:
            rig.assistant.speech("started")
        rig.assistant.say(numbered(0, 50))
        await trio.sleep(2)
        rig.phone.press("2")
        await trio.sleep(0.5)
        rig.dialer.peers[0].lose()
        rig.phone.press("3")
        assistant = await next_assistant(rig)
        await trio.sleep(3)

        pressed = [text for _, text, answer in context(assistant) if "keypad" in text and answer]
        assert ["2" in pressed[0], "3" in pressed[1], len(pressed)] == [True, True, 2]


@pytest.mark.parametrize("agreed", [False, True])
async def test_of_an_assistant_that_joins_right_after_an_interruption_every_word_is_heard(
    agreed: bool, autojump_clock: MockClock
) -> None:
    """It answers sooner than one that was interrupted would, and says nothing of its turns."""
    async with open_rig() as rig:
        await rig.begin()
        rig.assistant.say(numbered(0, 200))
        await trio.sleep(1.5)
        rig.phone.say(TONE * 30)
        await trio.sleep(0.5)
        if agreed:
            rig.assistant.interrupted()
        await trio.sleep(0.1)
        rig.dialer.peers[0].lose()
        assistant = await next_assistant(rig)
        assistant.say(numbered(1000, 50))
        await trio.sleep(4)

        assert rig.event("bargein.settled")["by"] == "expired"
        heard = [number for number, _ in heard_frames(rig.phone.heard())]
        assert heard[-50:] == list(range(1000, 1050))


async def test_the_context_holds_what_was_heard_and_no_more(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        await rig.begin()
        rig.assistant.speech("started")
        rig.assistant.send(numbered(0, 500))
        rig.assistant.transcript("one two three four five six seven eight nine ten", role="assistant", kind="final")
        await trio.sleep(5)
        rig.phone.say(TONE * 40)
        await trio.sleep(1)
        rig.dialer.peers[0].lose()
        assistant = await next_assistant(rig)
        await trio.sleep(2)

        (turn,) = context(assistant)
        assert turn[1].startswith("one two three four")
        assert "seven" not in turn[1]


async def test_the_caller_hears_what_was_queued_then_never_nothing_for_long(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        await rig.begin()
        rig.assistant.send(numbered(0, 100))
        await trio.sleep(0.5)
        rig.dialer.failure = RETRIABLE
        rig.dialer.answer_after_s = 4.0
        rig.dialer.peers[0].lose()
        await trio.sleep(8)
        heard = rig.phone.heard()
        end = heard.rindex(numbered(99, 1)) + 160

        assert whole_and_in_order(heard[:end], 0, 100)
        assert longest_silence_s(heard[end : end + 5 * 8000]) < 1.5


async def test_a_half_sentence_is_not_finished_by_the_next_connection(autojump_clock: MockClock) -> None:
    """Half a frame of the old connection must not be glued to the first of the new."""
    async with open_rig() as rig:
        await rig.begin()
        rig.assistant.send(numbered(0, 40) + numbered(40, 1)[:80])
        await trio.sleep(0.1)
        rig.dialer.peers[0].lose()
        assistant = await next_assistant(rig)
        await trio.sleep(2)
        assistant.say(numbered(50, 50))
        await trio.sleep(2)
        heard = rig.phone.heard()

        assert numbered(50, 50) in heard
        assert 40 not in heard_pairs(heard[: heard.index(numbered(50, 50))][-1600:])


async def test_half_a_sample_of_a_lost_connection_does_not_turn_the_next_into_noise(autojump_clock: MockClock) -> None:
    """Every sample of the new one would be made of halves of two: noise, as loud as it can be."""
    async with open_rig(PCM) as rig:
        await rig.begin()
        rig.assistant.send(bytes(321))
        await trio.sleep(0.1)
        rig.dialer.peers[0].lose()
        assistant = await next_assistant(rig)
        await trio.sleep(3)
        begin = len(rig.phone.heard())
        assistant.say(np.full(2 * 16000, 300, "<i2").tobytes())
        await trio.sleep(2)
        samples = g711.decode(rig.phone.heard()[begin:])

        assert np.abs(samples).max() < 400
        assert (samples > 250).sum() > 8000


async def test_late_words_of_a_lost_connection_go_nowhere(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        await rig.begin()
        await greet(rig)
        rig.dialer.sockets[0].dead.set()
        await next_assistant(rig)
        rig.assistant.send(numbered(1000, 50))
        rig.assistant.transcript("late", kind="final")
        await trio.sleep(3)

        assert not any(number >= 1000 for number in heard_pairs(rig.phone.heard()) if number < 1050)
        assert rig.events("transcript.final")[-1]["role"] == "assistant"


async def test_the_sound_of_the_wait_does_not_make_the_answers_late(autojump_clock: MockClock) -> None:
    """It fills a buffer of its own, which would stay in front of all that is said from then on."""
    async with open_rig() as rig:
        await rig.begin()
        await greet(rig)
        rig.dialer.answer_after_s = 3.0
        rig.dialer.peers[0].lose()
        assistant = await next_assistant(rig)
        await trio.sleep(2)
        said_at = trio.current_time()
        assistant.say(numbered(50, 50))
        await trio.sleep(2)
        heard_at = rig.phone.player.started_s + rig.phone.heard().index(numbered(50, 1)) / 8000

        assert (rig.metric("relay_frames_invented_total", cause="reconnect") or 0) > 50
        assert heard_at - said_at < 0.3, "the buffer, and what is kept of a pause"


async def test_the_caller_can_interrupt_during_the_outage(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        await rig.begin()
        rig.assistant.send(numbered(0, 500))
        await trio.sleep(1)
        rig.dialer.failure = RETRIABLE
        rig.dialer.answer_after_s = 5.0
        rig.dialer.peers[0].lose()
        await trio.sleep(1)
        rig.phone.say(TONE * 50)
        await trio.sleep(3)

        assert rig.event("bargein.flushed")["turn"] == 1
        assert max(heard_pairs(rig.phone.heard_after_clear()[:8000]), default=0) < 500
        assert numbered(300, 1) not in rig.phone.heard()


async def test_attempts_are_bounded_and_the_next_loss_has_all_of_them_again(autojump_clock: MockClock) -> None:
    async with open_rig(reconnect=ReconnectConfig(max_attempts=2)) as rig:
        await rig.begin()
        for _ in range(3):
            await trio.sleep(3)
            rig.dialer.peers[-1].lose()
            await next_assistant(rig)
        await trio.sleep(3)
        rig.dialer.failure = RETRIABLE
        dials = len(rig.dialer.asked)
        rig.dialer.peers[-1].lose()
        await rig.ended("assistant_unavailable", within_s=5)

        assert len(rig.dialer.asked) == dials + 2
        assert rig.event("assistant.given_up")["attempts"] == 2
        assert rig.metric("relay_reconnects_total", leg="assistant", result="failed") == 2
        assert rig.metric("relay_reconnects_total", leg="assistant", result="ok") == 3


async def test_what_is_refused_for_good_is_not_asked_again(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        await rig.begin()
        rig.dialer.failure = REFUSED
        rig.dialer.peers[0].lose()
        await rig.ended("assistant_unavailable")

        assert len(rig.dialer.asked) == 2


async def test_a_handshake_that_fails_is_tried_again_and_its_call_hung_up(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        rig.dialer.handshake_failure = LegLost("HTTP 404")
        rig.ring()
        await rig.ended("assistant_unavailable", within_s=5)

        assert len(rig.dialer.asked) == 4
        assert rig.dialer.hung_up == ["vapi-0"] * 4


async def test_an_assistant_that_accepts_and_says_nothing_is_lost(autojump_clock: MockClock) -> None:
    async with open_rig(reconnect=ReconnectConfig(answer_timeout_s=5)) as rig:
        rig.ring()
        await rig.dialer.connected.wait()
        await trio.sleep(4.9)
        before = rig.events("assistant.lost")
        await trio.sleep(1)

        assert before == []
        assert len(rig.events("assistant.lost")) == 1
        assert len(rig.dialer.peers) == 2


@pytest.mark.parametrize(("steady", "losses"), [(True, 1), (False, 0)])
async def test_a_steady_stream_that_stops_is_lost(steady: bool, losses: int, autojump_clock: MockClock) -> None:
    """A peer that sends speech only may be quiet for as long as it likes."""
    async with open_rig(reconnect=ReconnectConfig(answer_timeout_s=10, audio_timeout_s=10)) as rig:
        await rig.begin()
        rig.assistant.silent_when_quiet = not steady
        rig.assistant.say(numbered(0, 200))
        await trio.sleep(8)
        rig.assistant.silent_when_quiet = True
        await trio.sleep(11)

        assert len(rig.events("assistant.lost")) == losses


async def test_a_stuck_write_is_a_loss_and_nothing_said_meanwhile_is_missing(autojump_clock: MockClock) -> None:
    said = sentence(500, 3.0)
    async with open_rig(MULAW) as rig:
        await rig.begin()
        await greet(rig)
        rig.dialer.peers[0].stop_reading()
        rig.phone.say(said)
        assistant = await next_assistant(rig)
        await trio.sleep(8)

        assert said in assistant.heard
        assert rig.event("assistant.reconnected")["dropped_ms"] == 0


async def test_more_than_the_log_holds_is_dropped_and_counted(autojump_clock: MockClock) -> None:
    async with open_rig(reconnect=ReconnectConfig(replay_max_ms=1000)) as rig:
        await rig.begin()
        await greet(rig)
        rig.phone.say(sentence(500, 4.0))
        await trio.sleep(3.5)
        rig.dialer.peers[0].lose()
        await next_assistant(rig)
        await trio.sleep(1)

        assert 2000 < rig.event("assistant.reconnected")["dropped_ms"] < 3600
        assert rig.call.summary()["frames_dropped"] != {}


@pytest.mark.parametrize("after_s", [0.05, 0.7, 2.0])
async def test_the_caller_hangs_up_during_the_outage(after_s: float, autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        rig.dialer.hang_up_after_s = 60.0
        await rig.begin()
        rig.dialer.answer_after_s = 1.5
        rig.dialer.peers[0].lose()
        await trio.sleep(after_s)
        rig.phone.stop()
        await rig.ended("caller_hangup", within_s=2.1)


async def test_audio_of_another_rate_is_replayed_as_well(autojump_clock: MockClock) -> None:
    async with open_rig(PCM) as rig:
        await rig.begin()
        await greet(rig)
        rig.phone.say(sentence(487, 2.0))
        await trio.sleep(1.5)
        rig.dialer.peers[0].lose()
        assistant = await next_assistant(rig)
        await trio.sleep(4)
        samples = np.frombuffer(assistant.heard, "<i2")

        assert 2.0 * 16000 * 0.98 < (np.abs(samples) > 100).sum() < 2.0 * 16000 * 1.05


async def test_the_call_still_ends_when_nobody_speaks(autojump_clock: MockClock) -> None:
    async with open_rig(session=SessionConfig(idle_timeout_s=6)) as rig:
        await rig.begin()
        rig.dialer.peers[0].lose()
        await next_assistant(rig)
        await rig.ended("idle", within_s=8)


def longest_silence_s(heard: bytes) -> float:
    longest = run = 0
    for byte in heard:
        run = run + 1 if byte in {SILENCE[0], 0x7F} else 0
        longest = max(longest, run)
    return longest / 8000


@pytest.mark.parametrize(
    ("updates", "asked_for"),
    [
        ([{"toAssistant": {"id": "a-2", "name": "Billing"}, "fromAssistant": {"id": "a-1"}}], "a-2"),
        ([{"destination": {"type": "assistant", "assistantId": "a-2"}}], "a-2"),
        ([{"toAssistant": {"id": "a-2"}}, {"toAssistant": {"id": "a-3"}}], "a-3"),
        ([{"toAssistant": {"id": "a-2"}}, {"destination": {"type": "assistant", "assistantName": "Front"}}], None),
        ([{"destination": {"type": "number", "number": "+15005550006"}}], None),
    ],
)
async def test_after_a_hand_off_each_new_call_is_with_the_assistant_that_was_on_the_line(
    updates: list[dict[str, object]], asked_for: str | None, autojump_clock: MockClock
) -> None:
    async with open_rig() as rig:
        await rig.begin()
        await greet(rig)
        for update in updates:
            rig.assistant.tell(type="transfer-update", **update)
        for _ in range(2):
            await trio.sleep(3)
            rig.dialer.peers[-1].lose()
            await next_assistant(rig)

        assert rig.dialer.asked_for == [None, asked_for, asked_for]


@pytest.mark.parametrize(
    ("later", "asked_for"), [("a-2", [None, "a-2", None, None]), ("a-3", [None, "a-2", None, "a-3"])]
)
async def test_a_hand_off_that_is_refused_is_not_asked_for_again_in_this_call(
    later: str, asked_for: list[str | None], autojump_clock: MockClock
) -> None:
    """The assistant that a hand-off brought need not be a stored one. The configured one may hand over again."""
    async with open_rig() as rig:
        rig.dialer.unknown = {"a-2"}
        await rig.begin()
        await greet(rig)
        rig.assistant.tell(type="transfer-update", toAssistant={"id": "a-2"})
        for _ in range(2):
            await trio.sleep(3)
            rig.dialer.peers[-1].lose()
            rig.assistant = await next_assistant(rig)
        rig.assistant.tell(type="transfer-update", toAssistant={"id": later})
        await trio.sleep(3)
        rig.dialer.peers[-1].lose()
        await next_assistant(rig)

        assert rig.dialer.asked_for == asked_for


async def test_another_assistant_of_the_list_is_not_asked_for_what_the_first_handed_over_to(
    autojump_clock: MockClock,
) -> None:
    """It may be of another account."""
    other = FakeDialer(MULAW, name="other")
    async with open_rig(others=[other]) as rig:
        await rig.begin()
        await greet(rig)
        rig.assistant.tell(type="transfer-update", toAssistant={"id": "a-2"})
        await trio.sleep(1)
        rig.dialer.failure = REFUSED
        rig.dialer.peers[-1].lose()
        with trio.fail_after(30):
            await other.connected.wait()

        assert (rig.dialer.asked_for, other.asked_for) == ([None, "a-2"], [None])
