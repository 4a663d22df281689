"""How a whole call ends, on the virtual clock: each way with its reason, within 2 s, and touching no other call."""

import gc
import math
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from relay.call.assistant.outgoing import Outgoing
from relay.call.assistant.placer import END_S
from relay.call.caller.analysis import Analysis
from relay.call.caller.speech_detection import SpeechDetection
from relay.call.caller.twilio_leg import TwilioLeg
from relay.call.playback.flush import Flush
from relay.call.playback.intake import Intake
from relay.call.playback.playback import LAST_MARK_S
from relay.call.playback.speaker import Speaker
from relay.config import JitterConfig, ReconnectConfig, SessionConfig, TwilioConfig
from relay.errors import AssistantUnavailable, LegLost
from relay.logic.end_reason import EndReason
from tests.support.callrig import SID, TONE, Rig, open_rig
from tests.support.numbered import heard_frames, numbered, whole_and_in_order

OTHER_SID = "CA" + "2" * 32
UNAVAILABLE = AssistantUnavailable("no", "VAPI_UNREACHABLE", retriable=True)
END_CALL = {"type": "end-call"}
ONCE = ReconnectConfig(max_attempts=0)
NO_GRACE = ReconnectConfig(reattach_grace_s=0)


async def test_the_caller_hangs_up(autojump_clock: MockClock) -> None:
    """The assistant is told before its socket is closed, so nothing has to be ended by REST."""
    async with open_rig() as rig:
        await rig.begin()
        await trio.sleep(1)
        rig.phone.stop()
        line = await rig.ended("caller_hangup")

        assert rig.assistant.told == [END_CALL]
        assert rig.dialer.hung_up == []
        assert line["duration_s"] == pytest.approx(1.0, abs=0.1)
        assert line["call_sid"] == SID
        assert (line["call_id"], line["assistant_call_id"]) == (rig.call.id, "vapi-0")
        assert rig.phone.hung_up.is_set()


@pytest.mark.parametrize("way", ["lose", "close"])
async def test_the_callers_socket_ends_without_a_word(way: str, autojump_clock: MockClock) -> None:
    async with open_rig(reconnect=NO_GRACE) as rig:
        await rig.begin()
        await trio.sleep(1)
        getattr(rig.phone.peer, way)()
        await rig.ended("caller_lost")

        assert rig.assistant.told == [END_CALL]
        assert rig.event("caller.lost")["call_id"] == rig.call.id


async def test_a_caller_that_is_lost_while_the_assistant_is_paused_or_cut(autojump_clock: MockClock) -> None:
    for frames in (2, 3, 4, 6):
        async with open_rig(reconnect=NO_GRACE) as rig:
            await rig.begin()
            rig.assistant.say(numbered(0, 300))
            await trio.sleep(2)
            rig.phone.say(TONE * frames)
            await trio.sleep(0.02 * frames)
            rig.phone.peer.lose()
            await rig.ended("caller_lost")


async def test_an_assistant_that_ends_the_call_is_played_out_first(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        await rig.begin()
        await trio.sleep(1)
        rig.assistant.send(numbered(0, 150) + numbered(150, 1)[:80])
        rig.assistant.tell(type="status-update", status="ended", endedReason="assistant-ended-call")
        line = await rig.ended("assistant_ended", within_s=5)

        assert whole_and_in_order(rig.phone.heard(), 0, 150) is False, "half a frame more"
        assert heard_frames(rig.phone.heard())[-1] == (150, 40)
        assert line["duration_s"] < 5
        assert rig.dialer.hung_up == []
        assert rig.event("assistant.ended")["ended_reason"] == "assistant-ended-call"


async def test_last_words_on_a_network_that_stands_still_are_heard_before_the_call_ends(
    autojump_clock: MockClock,
) -> None:
    """By the clock they were played; by the marks they were not."""
    async with open_rig() as rig:
        await rig.begin()
        await trio.sleep(1)
        rig.assistant.send(numbered(0, 100))
        rig.assistant.tell(type="status-update", status="ended")
        await trio.sleep(1.9)
        rig.phone.peer.stop_reading()
        await trio.sleep(0.6)
        rig.phone.peer.read_again()
        await rig.ended("assistant_ended", within_s=3)

        assert whole_and_in_order(rig.phone.heard(), 0, 100)


async def test_marks_that_never_come_back_keep_no_call_that_was_played_out(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        await rig.begin()
        rig.phone.mark_delay_s = lambda: 1000.0
        await trio.sleep(1)
        rig.assistant.send(numbered(0, 50))
        rig.assistant.tell(type="status-update", status="ended")
        line = await rig.ended("assistant_ended", within_s=5)

        assert line["duration_s"] < 1 + 0.3 + 1 + LAST_MARK_S + 0.1


async def test_last_words_that_a_noise_of_the_caller_held_back_are_played_out_too(autojump_clock: MockClock) -> None:
    """All of them had been sent when the caller made the noise, so that the assistant fell silent says nothing."""
    async with open_rig() as rig:
        await rig.begin()
        await trio.sleep(1)
        rig.assistant.send(numbered(0, 250))
        await trio.sleep(1.5)
        rig.phone.say(TONE * 6)
        await trio.sleep(0.4)
        rig.assistant.tell(type="status-update", status="ended")
        await rig.ended("assistant_ended", within_s=8)

        assert whole_and_in_order(rig.phone.heard(), 0, 250, repeated_frames=1)
        assert len(rig.events("bargein.false")) == 1


async def test_playing_out_has_a_limit(autojump_clock: MockClock) -> None:
    async with open_rig(session=SessionConfig(play_out_max_s=1.0)) as rig:
        await rig.begin()
        await trio.sleep(1)
        rig.assistant.send(numbered(0, 1000))
        rig.assistant.tell(type="status-update", status="ended")
        await rig.ended("assistant_ended", within_s=1.5)


async def test_what_ends_a_call_that_plays_out_does_not_change_the_reason(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        await rig.begin()
        await trio.sleep(1)
        rig.assistant.send(numbered(0, 300))
        rig.assistant.tell(type="status-update", status="ended")
        await trio.sleep(1)
        rig.phone.stop()
        await rig.ended("assistant_ended", within_s=0.5)


async def test_a_caller_who_comes_while_the_last_words_wait_hears_them(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        rig.call = rig.ring()
        assistant = await rig.meet_assistant()
        assistant.send(numbered(0, 100))
        assistant.tell(type="status-update", status="ended")
        await trio.sleep(1)
        phone = await rig.attach(rig.call)
        await rig.ended("assistant_ended", within_s=4)

        assert whole_and_in_order(phone.heard(), 0, 100)


async def test_the_assistant_closes_its_socket_because_it_is_done(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        await rig.begin()
        await trio.sleep(1)
        rig.assistant.send(numbered(0, 100))
        rig.dialer.peers[0].close(1000)
        await rig.ended("assistant_ended", within_s=4)

        assert whole_and_in_order(rig.phone.heard(), 0, 100)
        assert rig.dialer.hung_up == []


@pytest.mark.parametrize("code", [1001, 1005, 1011, 4000, None])
async def test_the_assistants_socket_is_lost(code: int | None, autojump_clock: MockClock) -> None:
    """Its call is hung up, because nobody can tell whether it has noticed."""
    async with open_rig(reconnect=ONCE) as rig:
        await rig.begin()
        await trio.sleep(1)
        if code is None:
            rig.dialer.peers[0].lose()
        else:
            rig.dialer.peers[0].close(code)
        await rig.ended("assistant_unavailable")

        assert rig.dialer.hung_up == ["vapi-0"]
        assert rig.event("assistant.lost")["close_code"] == code
        assert rig.phone.hung_up.is_set()


@pytest.mark.parametrize("code", ["VAPI_UNAUTHORIZED", "VAPI_RATE_LIMITED", "VAPI_SERVER_ERROR", "VAPI_UNREACHABLE"])
async def test_no_call_with_the_assistant_can_be_made(code: str, autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        rig.dialer.failure = AssistantUnavailable("no", code, retriable=False)
        phone = await rig.attach(rig.ring())
        await rig.ended("assistant_unavailable")

        assert rig.event("assistant.unavailable")["code"] == code
        assert rig.dialer.hung_up == []
        assert phone.hung_up.is_set()


async def test_a_call_that_was_made_but_cannot_be_connected_is_hung_up(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        rig.dialer.failure = AssistantUnavailable("no", "VAPI_NO_SOCKET_URL", retriable=False, call_id="vapi-lost")
        await rig.attach(rig.ring())
        await rig.ended("assistant_unavailable")

        assert rig.dialer.hung_up == ["vapi-lost"]


async def test_the_assistants_handshake_fails(autojump_clock: MockClock) -> None:
    async with open_rig(reconnect=ONCE) as rig:
        rig.dialer.handshake_failure = LegLost("HTTP 404")
        await rig.attach(rig.ring())
        await rig.ended("assistant_unavailable")

        assert rig.event("assistant.unavailable")["code"] == "SOCKET_FAILED"
        assert rig.events("assistant.lost") == rig.events("assistant.ready") == []
        assert rig.dialer.hung_up == ["vapi-0"]


async def test_the_assistant_answers_no_ping(autojump_clock: MockClock) -> None:
    async with open_rig(reconnect=ONCE) as rig:
        await rig.begin()
        rig.dialer.sockets[0].dead.set()
        await rig.ended("assistant_unavailable")

        assert rig.dialer.hung_up == ["vapi-0"]


async def test_nobody_speaks(autojump_clock: MockClock) -> None:
    """The limit begins anew with every word of either side."""
    async with open_rig(session=SessionConfig(idle_timeout_s=5)) as rig:
        await rig.begin()
        await trio.sleep(4)
        rig.phone.say(TONE * 25)
        await trio.sleep(4)
        rig.assistant.say(numbered(0, 25))
        await trio.sleep(4.5)
        alive = len(rig.calls)
        await rig.ended("idle", within_s=3)

        assert alive == 1


@pytest.mark.parametrize("playing_out", [False, True])
async def test_the_maximum_length(*, playing_out: bool, autojump_clock: MockClock) -> None:
    async with open_rig(session=SessionConfig(max_duration_s=10)) as rig:
        await rig.begin()
        await trio.sleep(8)
        if playing_out:
            rig.assistant.send(numbered(0, 400))
            rig.assistant.tell(type="status-update", status="ended")
        await trio.sleep(1.95)
        alive = len(rig.calls)
        line = await rig.ended("assistant_ended" if playing_out else "max_duration")

        assert alive == 1
        assert line["duration_s"] <= 12


async def test_nobody_attaches(autojump_clock: MockClock) -> None:
    async with open_rig(twilio=TwilioConfig(token_ttl_s=10)) as rig:
        rig.ring()
        assistant = await rig.meet_assistant()
        await trio.sleep(9.9)
        alive = len(rig.calls)
        await rig.ended("caller_lost")

        assert alive == 1
        assert assistant.told == [END_CALL]


async def test_an_end_before_the_call_has_begun(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        rig.ring().finish(EndReason.ADMIN)
        await rig.ended("admin")


async def test_the_first_reason_stays(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        await rig.begin()
        rig.call.finish(EndReason.ADMIN)
        rig.call.finish(EndReason.DRAIN)
        await rig.ended("admin")


async def test_the_daemon_goes_down(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        await rig.begin()
        rig.nursery.start_soon(rig.calls.drain, 3.0)
        await trio.sleep(2.9)
        alive = len(rig.calls)
        await rig.ended("drain")

        assert alive == 1
        assert rig.assistant.told == [END_CALL]


@pytest.mark.parametrize(
    ("posting", "connecting", "hung_up"),
    [(0.5, 0.0, ["vapi-0"]), (50.0, 0.0, ["vapi-0"]), (0.0, 5.0, ["vapi-0"]), (0.0, 0.5, [])],
)
async def test_an_end_while_the_assistant_is_dialled_leaves_no_call_behind(
    posting: float, connecting: float, hung_up: list[str], autojump_clock: MockClock
) -> None:
    """A call that comes later is hung up then; one that was told goodbye on its socket needs nothing more."""
    async with open_rig() as rig:
        rig.dialer.answer_after_s, rig.dialer.connect_after_s = posting, connecting
        phone = await rig.attach(rig.ring())
        await trio.sleep(0.1)
        phone.stop()
        await rig.ended("caller_hangup")
        await trio.sleep(posting)

        assert rig.dialer.hung_up == hung_up
        assert [peer.seen[-1] for peer in rig.dialer.peers] == (['{"type":"end-call"}'] if connecting == 0.5 else [])


@pytest.mark.parametrize("hang_up_after_s", [0.1, 30.0])
async def test_an_assistant_that_reads_nothing_cannot_keep_the_call(
    hang_up_after_s: float, autojump_clock: MockClock
) -> None:
    async with open_rig() as rig:
        rig.dialer.hang_up_after_s = hang_up_after_s
        await rig.begin()
        rig.dialer.peers[0].stop_reading()
        await trio.sleep(1)
        rig.phone.stop()
        await rig.ended("caller_hangup")
        await trio.sleep(hang_up_after_s)

        assert rig.dialer.hung_up == ["vapi-0"]


@pytest.mark.parametrize("hang_up_after_s", [0.1, math.inf])
async def test_an_assistant_that_does_not_answer_the_goodbye_is_hung_up(
    hang_up_after_s: float, autojump_clock: MockClock
) -> None:
    """Its `end-call` is in the kernel's buffer, where nobody may ever read it."""
    async with open_rig() as rig:
        rig.dialer.hang_up_after_s = hang_up_after_s
        await rig.begin()
        await trio.sleep(1)
        rig.dialer.sockets[0].frozen = True
        rig.phone.stop()
        await rig.ended("caller_hangup")
        await trio.sleep(END_S)

        assert rig.assistant.told == [END_CALL]
        assert rig.dialer.hung_up == (["vapi-0"] if hang_up_after_s < 1 else [])
        failed = [(line["call_id"], line["assistant_call_id"]) for line in rig.events("assistant.hang_up_failed")]
        assert failed == ([] if hang_up_after_s < 1 else [(rig.call.id, "vapi-0")])


async def test_an_assistant_that_answers_the_goodbye_is_not_hung_up(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        await rig.begin()
        rig.phone.stop()
        await rig.ended("caller_hangup", within_s=0.1)

        assert rig.assistant.told == [END_CALL]
        assert rig.dialer.hung_up == []


async def test_an_assistant_that_reads_nothing_is_given_up(autojump_clock: MockClock) -> None:
    """Until then what the caller says is kept, up to a limit, and what is too old is counted."""
    async with open_rig(reconnect=ONCE) as rig:
        await rig.begin()
        rig.dialer.peers[0].stop_reading()
        await trio.sleep(4)
        alive = len(rig.calls)
        await rig.ended("assistant_unavailable", within_s=4)

        assert alive == 1


async def test_a_caller_that_reads_nothing_ends_the_call(autojump_clock: MockClock) -> None:
    async with open_rig(reconnect=NO_GRACE) as rig:
        await rig.begin()
        rig.assistant.say(numbered(0, 1000))
        await trio.sleep(1)
        rig.phone.peer.stop_reading()
        await rig.ended("caller_lost", within_s=8)

        assert rig.assistant.told == [END_CALL]


async def test_the_callers_socket_is_given_back_while_the_assistant_is_told_goodbye(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        await rig.begin()
        rig.dialer.peers[0].stop_reading()
        await trio.sleep(0.1)
        rig.call.finish(EndReason.ADMIN)
        await trio.sleep(0.05)

        assert rig.phone.hung_up.is_set()
        assert len(rig.calls) == 1


async def test_a_socket_lent_to_a_call_that_is_over_is_given_back_at_once(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        await rig.begin()
        call = rig.call
        rig.phone.stop()
        await rig.until_over()
        late = await rig.attach(call)
        await trio.sleep(0.1)

        assert late.hung_up.is_set()


CRASHES: dict[str, tuple[Any, str]] = {
    "receiver": (TwilioLeg, "_take"),
    "analysis": (Analysis, "_take"),
    "analysis-judge": (SpeechDetection, "take"),
    "analysis-log": (Analysis, "_push"),
    "forwarder-up": (Outgoing, "audio_sent"),
    "forwarder-down": (Intake, "push"),
    "forwarder-message": (Intake, "assistant_stopped"),
    "playback": (Intake, "expire"),
    "playback-send": (Speaker, "_entries"),
    "interruption": (Flush, "cut"),
}


@pytest.mark.parametrize("place", CRASHES)
async def test_a_crash_ends_its_own_call_and_touches_no_other(
    place: str, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    async with open_rig() as rig:
        await rig.begin()
        other = rig.ring(OTHER_SID)
        await trio.sleep(1)
        where, name = CRASHES[place]
        original = getattr(where, name)
        call = rig.call
        owners: dict[Any, Any] = {Intake: call._playback.intake, Analysis: call._analysis}
        owners[Outgoing] = call._outgoing
        owners[SpeechDetection] = call._analysis._detection
        owners[Speaker] = call._playback.speaker
        owners[Flush] = call._playback.interrupter._flush
        owners[TwilioLeg] = call._line.leg
        monkeypatch.setattr(where, name, failing_for(owners[where], original))
        rig.assistant.say(numbered(0, 200))
        rig.assistant.speech("stopped")
        await trio.sleep(1)
        rig.phone.say(TONE * 15)
        with trio.fail_after(5):
            while rig.calls.find(SID):  # noqa: ASYNC110 - a test has no event for this
                await trio.sleep(0.05)
        line, failed = rig.event("call.ended"), rig.event("call.failed")

        assert (line["reason"], line["call_id"]) == ("error", rig.call.id)
        assert failed["call_id"] == rig.call.id
        assert failed["exc_info"]
        assert rig.calls.live() == [other]
        assert rig.metric("relay_calls_total", end_reason="error") == 1
        assert rig.assistant.told[-1:] == [END_CALL] or rig.dialer.hung_up == ["vapi-0"] or "forwarder" in place


def failing_for(owner: Any, original: Callable[..., Any]) -> Callable[..., Any]:
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        if self is owner:
            raise ValueError("a bug")
        return original(self, *args, **kwargs)

    return method


async def test_a_call_leaves_nothing_behind(autojump_clock: MockClock) -> None:
    async with open_rig(
        reconnect=ReconnectConfig(max_attempts=0, reattach_grace_s=0), jitter=JitterConfig(target_ms=60)
    ) as rig:
        tasks = trio.lowlevel.current_statistics().tasks_living
        dead = [weakref.ref(await one_call(rig, number)) for number in range(20)]
        await trio.sleep(5)
        gc.collect()

        assert [ref() for ref in dead if ref() is not None] == []
        assert trio.lowlevel.current_statistics().tasks_living == tasks
        assert len(rig.calls) == 0


async def one_call(rig: Rig, number: int) -> Any:
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            own = Rig(rig.calls, rig.takeover, rig.dialer, rig.metrics, nursery, rig.logged)
            rig.dialer.connected = trio.Event()
            await own.begin()
            own.assistant.say(numbered(0, 60))
            await trio.sleep(0.5)
            own.phone.say(TONE * 10)
            await trio.sleep(0.3)
            (own.phone.stop, own.phone.peer.lose, rig.dialer.peers[-1].lose)[number % 3]()
            await own.until_over(10)
            call = own.call
            scope.cancel()
    return call


async def test_what_an_operator_sees_of_a_call_follows_both_sides(autojump_clock: MockClock) -> None:
    shown = ("state", "caller_speaking", "assistant_speaking", "caller_dbfs", "assistant_dbfs")
    seen: list[list[Any]] = []
    async with open_rig() as rig:

        def look() -> dict[str, Any]:
            summary: dict[str, Any] = rig.call.summary()
            seen.append([summary[name] for name in shown])
            return summary

        rig.call = rig.ring()
        look()
        await rig.begin()
        await trio.sleep(1)
        look()
        rig.phone.say(TONE * 50)  # first, or it would be taken for an echo of the assistant's
        await trio.sleep(0.8)
        look()
        await trio.sleep(1)
        rig.assistant.say(TONE * 50)
        await trio.sleep(0.6)
        full = look()

    assert seen == [
        [None, False, False, None, None],
        ["live", False, False, -90.0, -90.0],
        ["live", True, False, pytest.approx(-15.2, abs=0.2), -90.0],
        ["live", False, True, -90.0, pytest.approx(-15.2, abs=0.2)],
    ]
    assert (full["turn"], full["target_ms"]) == (1, 200)
    assert 0 < full["queued_ms"] <= 200
