"""WS /client over a real server: who is let in, what each mistake is answered, and one session over many sockets."""

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import trio
import trio.testing
from structlog.testing import capture_logs
from trio_websocket import ConnectionClosed

from relay.call.browser import session as browser_session
from relay.call.caller_line import MALFORMED_BURST
from relay.call.report.assistant_events import Said
from relay.call.report.events import Speech, StateChanged
from relay.config import ClientConfig, LimitsConfig
from relay.daemon import client_socket
from relay.daemon.client_socket import ClientConnection
from relay.errors import LegLost
from tests.support.browserrig import FRAME, ORIGIN, Poller, binary, browser, refusal, start_polling
from tests.support.callrig import TONE, make_late
from tests.support.frontrig import FrontRig, front_config, open_front
from tests.support.leaks import left_to_the_collector, no_collector, resources, resources_return_to

KEY = "client-key-of-the-test"
REJECTED = "relay_auth_rejected_total"


async def assistant_hears(rig: FrontRig, sound: Callable[[int], bool], number: int = 0) -> None:
    """Wait until the bytes that the assistant had fulfil this."""
    with trio.fail_after(20):
        await rig.inner.connected.wait()
        while not sound(sum(len(one) for one in rig.inner.peers[number].seen if isinstance(one, bytes))):  # noqa: ASYNC110
            await trio.sleep(0.01)


async def test_a_browser_starts_speaks_and_is_heard() -> None:
    async with open_front() as rig, browser(rig) as page:
        ready = await page.start(sampleRate=16000)
        assert set(ready) == {"type", "sessionId", "token", "resume", "sampleRate", "next", "graceMs"}
        assert ready["sampleRate"] == 16000
        assert ready["next"] == 1
        assert ready["graceMs"] == 30_000
        assert len(bytes.fromhex(ready["sessionId"])) == 16
        assert (await page.until("state"))["status"] == "live"

        await page.speak(*range(1, 26))

        await assistant_hears(rig, lambda n: n >= 25 * 160 - 160)
        [call] = rig.calls.live()
        assert call.id == ready["sessionId"]


async def test_start_is_optional() -> None:
    async with open_front() as rig, browser(rig) as page:
        await page.speak(1)

        ready = await page.until("ready")

        assert ready["sampleRate"] == 16000
        await page.speak(2)
        await assistant_hears(rig, lambda n: n > 0)


async def test_the_assistant_is_heard_at_the_rate_that_was_asked_for() -> None:
    async with open_front() as rig, browser(rig) as page:
        assert (await page.start(sampleRate=48000, channels=2))["sampleRate"] == 48000
        await rig.inner.connected.wait()
        for _ in range(20):
            rig.inner.peers[0].send(TONE)

        frames = [await page.until("audio") for _ in range(10)]

        assert [frame["ms"] for frame in frames] == list(range(0, 200, 20))
        assert {len(pcm) for _, pcm in page.down.audio} == {48000 // 50 * 2}
        assert {frame["turn"] for frame in frames} == {1}


@pytest.mark.parametrize(
    ("rate_hz", "heard_hz"), [(8000, 8000), (11025, 16000), (22050, 22050), (44100, 44100), (96000, 96000)]
)
async def test_any_rate_from_8_to_96_khz(rate_hz: int, heard_hz: int) -> None:
    async with open_front() as rig, browser(rig) as page:
        ready = await page.start(sampleRate=rate_hz, encoding="pcm_f32le", channels=2)
        assert ready["sampleRate"] == heard_hz
        for sequence in range(1, 26):
            await page.peer.send(binary(sequence, pcm=bytes(rate_hz // 50 * 8)))
        await assistant_hears(rig, lambda n: n >= 25 * 160 - 1600)
        assert page.down.codes == []


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("nonsense", "NOT_JSON"),
        ("[1]", "NOT_OBJECT"),
        (json.dumps({"type": "shout"}), "UNKNOWN_TYPE"),
        (json.dumps({"type": "audio"}), "FIELD_MISSING"),
        (json.dumps({"type": "played", "turn": "x", "ms": 1}), "FIELD_INVALID"),
        (json.dumps({"type": "audio", "audio": "***"}), "NOT_BASE64"),
        (json.dumps({"type": "audio", "audio": ""}), "AUDIO_EMPTY"),
        (json.dumps({"type": "audio", "audio": "AAAA"}), "ODD_BYTES"),
        (json.dumps({"type": "audio", "audio": "AAA=", "sampleRate": 100}), "RATE_UNSUPPORTED"),
        (json.dumps({"type": "start"}), "START_NOT_FIRST"),
        (binary(5, pcm=b"\0\0\0"), "ODD_BYTES"),
        (binary(5, pcm=b""), "AUDIO_EMPTY"),
        (binary(0), "SEQUENCE_ZERO"),
        (b"short", "HEADER_SHORT"),
        (binary(5, pcm=bytes(40_000)), "TOO_LARGE"),
        (binary(2), "SEQUENCE_BACKWARDS"),
    ],
)
async def test_each_mistake_has_its_code_and_the_session_goes_on(message: str | bytes, code: str) -> None:
    async with open_front() as rig, browser(rig) as page:
        await page.start()
        await page.speak(1, 2, 3, 4)
        await page.peer.send(message)

        error = await page.until("error")

        assert error["code"] == code
        assert error["error"]
        await page.speak(*range(5, 10))
        await assistant_hears(rig, lambda n: n >= 8 * 160)
        assert page.down.codes == [code]


async def test_a_wrong_rate_is_told_within_two_seconds_of_audio() -> None:
    """48 kHz audio declared as 16: each header is 20 ms later, and brings 60 ms of samples."""
    async with open_front() as rig, browser(rig) as page:
        await page.start(sampleRate=16000)
        for sequence in range(1, 101):
            await page.peer.send(binary(sequence, pcm=FRAME * 3))

        error = await page.until("error")

        assert error["code"] == "WRONG_RATE"
        assert "48000" in error["error"]


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"sampleRate": 7999}, "RATE_UNSUPPORTED"),
        ({"channels": 3}, "CHANNELS_UNSUPPORTED"),
        ({"encoding": "opus"}, "ENCODING_UNSUPPORTED"),
    ],
)
async def test_a_start_that_cannot_be_is_told_and_may_be_sent_again(fields: dict[str, Any], code: str) -> None:
    async with open_front() as rig, browser(rig) as page:
        await page.say("start", **fields)
        assert (await page.until("error"))["code"] == code
        assert len(rig.calls) == 0

        assert (await page.start())["sampleRate"] == 16000


async def test_nonsense_in_place_of_a_start_is_closed_soon() -> None:
    async with open_front() as rig, browser(rig) as page:
        for _ in range(client_socket.BAD_STARTS_MAX):
            await page.peer.send("nonsense")

        assert await page.until_closed() == 1008
        assert page.down.codes == ["NOT_JSON"] * client_socket.BAD_STARTS_MAX + ["START_INVALID"]
        assert len(rig.calls) == 0


async def test_a_socket_that_says_nothing_is_closed_and_costs_no_call() -> None:
    config = front_config(client=ClientConfig(start_timeout_s=0.1))
    async with open_front(config) as rig, browser(rig) as page:
        assert await page.until_closed() == 1008
        assert page.down.codes == ["START_TIMEOUT"]
        assert len(rig.calls) == 0


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("origin", "null")],
        [("origin", "https://evil.example.com")],
        [("origin", "http://relay.example.com")],
        [("origin", "https://relay.example.com:444")],
        [("origin", "https://relay.example.com.evil.example")],
    ],
)
async def test_another_origin_is_refused_before_there_is_a_socket(headers: list[tuple[str, str]]) -> None:
    async with open_front() as rig:
        assert await refusal(rig, headers) == (403, "ORIGIN_WRONG")
        assert len(rig.calls) == 0
        assert rig.metric(REJECTED, endpoint="/client") == 1


async def test_with_require_token_the_origin_is_not_enough_and_a_token_is() -> None:
    config = front_config({"client_key": KEY}, client=ClientConfig(require_token=True))
    async with open_front(config) as rig:
        async with browser(rig) as page:
            await page.say("start")
            assert await page.until_closed() == 1008
            assert page.down.codes == ["TOKEN_MISSING"]
        answer = await rig.http.post("/client/token", headers={"Authorization": f"Bearer {KEY}"})
        token = answer.json()["token"]
        async with browser(rig, [("origin", "https://other.example.com")]) as page:
            await page.start(token=token)
        async with browser(rig) as page:
            await page.say("start", token=token)
            assert await page.until_closed() == 1008
            assert page.down.codes == ["TOKEN_INVALID"]


async def test_a_lost_socket_is_resumed_and_the_session_goes_on() -> None:
    async with open_front() as rig:
        async with browser(rig) as first:
            ready = await first.start()
            await first.until("state")
            await first.speak(1, 2, 3)
            await assistant_hears(rig, lambda n: n >= 3 * 160 - 160)
            await first.peer.lose()
        async with browser(rig, down=first.down) as second:
            again = await second.start(resume=ready["resume"], after=first.down.cursor)
            assert again["sessionId"] == ready["sessionId"]
            assert again["token"] == ready["token"]
            assert again["resume"] != ready["resume"]
            assert again["next"] == 4
            await second.speak(4, 5, 6)
            await assistant_hears(rig, lambda n: n >= 6 * 160 - 160)
        assert len(rig.calls) == 1


@pytest.mark.parametrize("which", ["used", "guessed", "ended"])
async def test_a_resume_token_is_good_once_and_for_its_session_only(which: str) -> None:
    async with open_front() as rig:
        async with browser(rig) as page:
            token = (await page.start())["resume"]
            if which == "ended":
                await page.say("stop")
                await page.until_closed()
        if which == "used":
            async with browser(rig) as page:
                await page.start(resume=token)
        elif which == "guessed":
            token = "guess"
        else:
            await rig.calls.wait_empty()
        async with browser(rig) as thief:
            await thief.say("start", resume=token)
            code = {"used": "RESUME_USED", "guessed": "RESUME_UNKNOWN"}.get(which)
            if code is None:
                assert await thief.until("ready")
                assert await thief.until_closed() == 1000
            else:
                assert await thief.until_closed() == 1008
                assert thief.down.codes == [code]


async def test_of_two_sockets_with_one_session_the_newest_has_it() -> None:
    async with open_front() as rig, browser(rig) as old:
        ready = await old.start()
        await old.until("state")
        async with browser(rig, down=old.down) as new:
            await new.start(resume=ready["resume"], after=old.down.cursor)

            old.down = type(old.down)(cursor=old.down.cursor)
            assert await old.until_closed() == 1008
            assert old.down.codes == ["SESSION_MOVED"]
            await new.speak(1, 2, 3)
            await assistant_hears(rig, lambda n: n >= 320)


async def test_a_client_that_sends_some_nonsense_is_told_so_often_and_no_more() -> None:
    async with open_front() as rig, browser(rig) as page:
        await page.start()
        for _ in range(MALFORMED_BURST):
            await page.peer.send("nonsense")
        await page.speak(1, 2, 3)
        await assistant_hears(rig, lambda n: n >= 320)
        await page.say("stop")
        await page.until_closed()

        assert page.down.codes[:25] == ["NOT_JSON"] * 25
        assert len(page.down.codes) < 60
        assert rig.metric("relay_protocol_errors_total", leg="caller", code="NOT_JSON") == MALFORMED_BURST


async def test_a_client_that_goes_on_sending_nonsense_is_told_why_its_session_ends() -> None:
    async with open_front() as rig, browser(rig) as page:
        await page.start()
        with suppress(ConnectionClosed):
            for _ in range(MALFORMED_BURST + 100):
                await page.peer.send("nonsense")
        ended = await page.until("state")
        while ended["status"] != "ended":
            ended = await page.until("state")

        assert ended["reason"] == "protocol_error"
        assert page.down.codes[-1] == "TOO_MANY_MALFORMED"
        await rig.calls.wait_empty()
        assert rig.metric("relay_calls_total", end_reason="protocol_error") == 1


async def test_what_a_browser_does_is_in_the_log() -> None:
    with capture_logs() as logs:
        async with open_front() as rig:
            async with browser(rig) as page:
                ready = await page.start()
                await page.until("state")
                await page.peer.lose()
            poller = Poller(rig, ready, page.down)
            await poller.tell("played", turn=1, ms=0)
            rig.calls.live()[0].report.tell(Speech("user", started=True))
            await poller.poll()
            await poller.tell("stop")
            await rig.calls.wait_empty()
    told = [line["event"] for line in logs if line["event"].startswith("caller.")]
    assert told == ["caller.attached", "caller.lost", "caller.reattached"]
    assert ready["token"] not in repr(logs)
    assert ready["resume"] not in repr(logs)


async def test_a_session_whose_browser_does_not_come_back_ends() -> None:
    config = front_config(client=ClientConfig(resume_grace_s=0.2))
    async with open_front(config) as rig:
        async with browser(rig) as page:
            await page.start()
            await page.peer.lose()
        with trio.fail_after(20):
            await rig.calls.wait_empty()
        assert rig.metric("relay_calls_total", end_reason="caller_lost") == 1


async def test_stop_ends_the_call_and_says_so() -> None:
    async with open_front() as rig, browser(rig) as page:
        await page.start()
        await page.say("stop")

        assert await page.until_closed() == 1000
        assert page.down.texts[-1] == {
            "type": "state",
            "status": "ended",
            "reason": "caller_hangup",
            "n": page.down.cursor,
        }
        assert rig.metric("relay_calls_total", end_reason="caller_hangup") == 1


async def test_a_stop_that_waits_behind_a_write_that_failed_still_ends_the_session(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A page that is left says `stop` and is gone, and the relay may write before it reads."""
    write_fails = trio.Event()

    async def fail(*_: object) -> None:
        await write_fails.wait()
        raise LegLost("connection lost")

    monkeypatch.setattr(ClientConnection, "_send_messages", fail)
    async with open_front() as rig, browser(rig) as page:
        await page.start()
        write_fails.set()
        await trio.testing.wait_all_tasks_blocked()
        await page.say("stop")
        with trio.fail_after(20):
            await rig.calls.wait_empty()

        assert rig.metric("relay_calls_total", end_reason="caller_hangup") == 1


async def test_what_the_call_tells_of_itself_reaches_the_browser_in_order() -> None:
    async with open_front() as rig, browser(rig) as page:
        await page.start()
        await page.until("state")
        report = rig.calls.live()[0].report
        report.tell(Said("user", "hel", final=False))
        report.tell(Said("user", "hello", final=True))
        report.tell(Speech("assistant", started=True))
        report.tell(StateChanged("reconnecting", "assistant lost"))

        assert (await page.until("partial"))["text"] == "hel"
        assert (await page.until("final"))["text"] == "hello"
        speech = await page.until("speech")
        assert (speech["role"], speech["status"]) == ("assistant", "started")
        assert (await page.until("state"))["status"] == "reconnecting"


async def test_what_the_assistant_says_that_was_said_reaches_the_browser() -> None:
    async with open_front() as rig, browser(rig) as page:
        await page.start()
        await page.until("state")
        assistant = rig.inner.peers[0]
        said = {"type": "transcript", "role": "user", "transcriptType": "partial", "transcript": "hel"}
        assistant.send(json.dumps(said))
        assistant.send(json.dumps({**said, "transcriptType": "final", "transcript": "hello"}))
        assistant.send(json.dumps({"type": "speech-update", "status": "started", "role": "assistant"}))
        assistant.lose()

        assert (await page.until("partial"))["text"] == "hel"
        assert (await page.until("final"))["text"] == "hello"
        speech = await page.until("speech")
        assert (speech["role"], speech["status"]) == ("assistant", "started")
        error = await page.until("error")
        assert (error["code"], error["leg"]) == ("ASSISTANT_LOST", "assistant")
        assert "vapi" not in error["error"]
        assert (await page.until("state"))["status"] == "reconnecting"


async def test_the_callers_own_speech_is_shown_as_the_detector_hears_it() -> None:
    async with open_front() as rig, browser(rig) as page:
        await page.start()
        await page.until("state")
        for sequence in range(1, 120):
            await page.peer.send(binary(sequence, pcm=FRAME if sequence < 60 else bytes(640)))

        statuses = [await page.until("speech") for _ in range(2)]

        assert [(one["role"], one["status"]) for one in statuses] == [("user", "started"), ("user", "stopped")]


async def test_an_interruption_tells_which_turns_to_drop_and_nothing_of_them_follows() -> None:
    async with open_front() as rig, browser(rig) as page:
        await page.start()
        await page.until("state")
        for _ in range(100):
            rig.inner.peers[0].send(TONE)
        await page.until("audio")
        rig.inner.peers[0].send(json.dumps({"type": "user-interrupted"}))

        interrupt = await page.until("interrupt")

        assert interrupt["turn"] == page.down.audio[-1][0]
        heard = len(page.down.audio)
        with trio.move_on_after(0.5):
            await page.until("never")
        assert [turn for turn, _ in page.down.audio[heard:] if turn <= interrupt["turn"]] == []
        assert rig.metric("relay_frames_stale_total") == 0


async def test_one_address_may_not_begin_too_often() -> None:
    config = front_config(limits=LimitsConfig(client_starts_per_s=0.1, client_starts_burst=2))
    async with open_front(config) as rig:
        for _ in range(2):
            async with browser(rig) as page:
                await page.start()
        assert await refusal(rig) == (429, "TOO_MANY_REQUESTS")


async def test_one_address_may_not_have_too_many_sessions() -> None:
    config = front_config(limits=LimitsConfig(sessions_per_address=1))
    async with open_front(config) as rig, browser(rig) as first:
        await first.start()
        async with browser(rig, [*ORIGIN, ("x-forwarded-for", "198.51.100.7")]) as elsewhere:
            await elsewhere.start()
        async with browser(rig) as second:
            await second.say("start")
            assert await second.until_closed() == 1008
            assert second.down.codes == ["TOO_MANY_SESSIONS"]


@pytest.mark.parametrize("why", ["full", "draining"])
async def test_a_relay_that_takes_no_calls_says_so(why: str) -> None:
    async with open_front(front_config(limits=LimitsConfig(max_calls=1))) as rig:
        await start_polling(rig)
        rig.calls.draining = why == "draining"
        async with browser(rig) as page:
            await page.say("start")
            assert await page.until_closed() == 1008
            assert page.down.codes == [why.upper()]


async def test_while_the_event_loop_is_late_no_page_begins_and_one_that_lives_comes_back() -> None:
    async with open_front() as rig:
        async with browser(rig) as page:
            resume = (await page.start())["resume"]
            make_late(rig.calls)
        async with browser(rig) as other:
            await other.say("start")
            assert await other.until_closed() == 1008
            assert other.down.codes == ["FULL"]
        async with browser(rig) as again:
            await again.start(resume=resume)


@pytest.mark.parametrize("end", ["stop", "lose", "close", "nonsense"])
async def test_twenty_sockets_leave_nothing_behind(end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(browser_session, "LINGER_S", 0.05)
    config = front_config(
        client=ClientConfig(resume_grace_s=0.1), limits=LimitsConfig(sessions_per_address=20, web_calls=20)
    )
    async with open_front(config) as rig:
        await rig.http.get("/health")
        before = await resources()
        for _ in range(20):
            async with browser(rig) as page:
                await page.start()
                match end:
                    case "stop":
                        await page.say("stop")
                    case "lose":
                        await page.peer.lose()
                    case "close":
                        await page.peer.close()
                    case _:
                        for _ in range(100):
                            await page.peer.send("nonsense")
        with trio.fail_after(10):
            await rig.calls.wait_empty()
        await resources_return_to(before)


@pytest.mark.parametrize("end", ["stop", "nonsense"])
async def test_a_session_that_is_over_leaves_nothing_to_the_garbage_collector(
    end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(browser_session, "LINGER_S", 0.05)

    async def session(rig: FrontRig) -> None:
        async with browser(rig) as page:
            await page.start()
            if end == "stop":
                await page.say("stop")
            with suppress(ConnectionClosed):
                for _ in range(MALFORMED_BURST + 100):
                    await page.peer.send("nonsense")
            await page.until_closed()
        await rig.calls.wait_empty()

    async with open_front() as rig:
        await session(rig)
        before = await resources()
        with no_collector():
            await session(rig)
            await resources_return_to(before)

            assert left_to_the_collector() == {}
