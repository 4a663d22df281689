"""What reaches the assistant of the caller's audio: every byte once, silence only where none came."""

import tracemalloc
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest
import trio
from trio.testing import MockClock

from relay.call.caller.leg import CallerAudio
from relay.call.caller.vad_engine import PENDING_MAX
from relay.config import AudioConfig, ReconnectConfig
from relay.media import g711
from relay.media.frames import TELEPHONE, WIDEBAND, Audio
from relay.media.transcode import Transcoder
from tests.support.callrig import MULAW, PCM, SILENCE, TONE, open_rig
from tests.support.numbered import heard_frames, numbered, whole_and_in_order

NOISE = np.random.default_rng(7).integers(0, 256, 60 * 8000, np.uint8).tobytes()
QUIET_NOISE = g711.encode(np.random.default_rng(8).normal(0, 60, 60 * 8000).astype(np.int16))
"""A minute of sound that no detector takes for speech: what is said must not interrupt this test."""


async def test_mu_law_passes_byte_for_byte_both_ways_for_a_minute(autojump_clock: MockClock) -> None:
    """What the caller says before the assistant is there included: it was dialled, the caller attached first."""
    async with open_rig(MULAW) as rig:
        rig.dialer.answer_after_s = 1.0
        call = rig.ring()
        phone = await rig.attach(call)
        phone.say(QUIET_NOISE)
        assistant = await rig.meet_assistant()
        assistant.say(b"".join(numbered(0, 3000)[i : i + 160] for i in range(0, 3000 * 160, 160)))
        await trio.sleep(62)

        assert QUIET_NOISE in assistant.heard
        assert whole_and_in_order(phone.heard(), 0, 3000)
        assert numbered(0, 3000) in phone.heard()
        assert call.summary()["frames_dropped"] == call.summary()["frames_invented"] == {}


async def test_an_assistant_that_is_there_first_is_heard_from_its_first_byte(autojump_clock: MockClock) -> None:
    """Pre-warming: it connects, and greets, 1 s before the caller attaches."""
    async with open_rig(MULAW) as rig:
        call = rig.ring()
        assistant = await rig.meet_assistant()
        assistant.say(numbered(0, 300))
        await trio.sleep(1)
        phone = await rig.attach(call)
        phone.say(QUIET_NOISE[: 8000 * 5])
        await trio.sleep(9)

        assert numbered(0, 300) in phone.heard()
        assert QUIET_NOISE[: 8000 * 5] in assistant.heard


async def test_a_frame_is_with_the_assistant_in_the_instant_in_which_it_came(autojump_clock: MockClock) -> None:
    """No task has to be woken for it on its way."""
    async with open_rig(MULAW) as rig:
        await rig.begin(speaking=False)
        await trio.sleep(1)
        rig.call.hear(CallerAudio(None, TONE, trio.current_time()))

        assert rig.assistant.heard.endswith(TONE)


async def test_what_came_before_the_call_runs_is_heard_first(autojump_clock: MockClock) -> None:
    async with open_rig(MULAW) as rig:
        call, spoken = rig.ring(), numbered(0, 9)
        frames = [CallerAudio(None, spoken[at : at + 160], trio.current_time()) for at in range(0, len(spoken), 160)]
        for frame in frames[:8]:
            call.hear(frame)
        assistant = await rig.meet_assistant()
        call.hear(frames[8])
        await trio.sleep(0.3)

        assert spoken in assistant.heard


async def test_pcm_is_what_the_transcoder_makes_and_not_a_sample_more(autojump_clock: MockClock) -> None:
    async with open_rig(PCM) as rig:
        await rig.begin(speaking=False)
        said = QUIET_NOISE[: 8000 * 20]
        for start in range(0, len(said), 160):
            rig.phone.media(said[start : start + 160])
            await trio.sleep(0.02)
        spoken = np.random.default_rng(9).normal(0, 3000, 16000 * 10).astype("<i2").tobytes()
        rig.assistant.say(spoken)
        await trio.sleep(14)
        up = Transcoder(TELEPHONE, WIDEBAND).push(Audio(TELEPHONE, said)).data
        down = Transcoder(WIDEBAND, TELEPHONE).push(Audio(WIDEBAND, spoken)).data

        assert rig.assistant.heard.startswith(up[: len(up) // 640 * 640])
        assert rig.call.summary()["frames_caller_up"] == 1000
        assert down[200:-200] in rig.phone.heard()


@pytest.mark.parametrize("sizes", [[1], [3, 1000, 7], [319, 321], [6401]])
async def test_the_assistants_chunks_may_have_any_length(sizes: list[int], autojump_clock: MockClock) -> None:
    async with open_rig(PCM) as rig:
        await rig.begin()
        rig.assistant.silent_when_quiet = True
        await trio.sleep(1)
        spoken = np.random.default_rng(9).normal(0, 3000, 16000).astype("<i2").tobytes()
        start = count = 0
        while start < len(spoken):
            size = sizes[count % len(sizes)]
            rig.assistant.send(spoken[start : start + size])
            start, count = start + size, count + 1
        await trio.sleep(3)
        down = Transcoder(WIDEBAND, TELEPHONE).push(Audio(WIDEBAND, spoken)).data

        assert down[200 : len(down) // 160 * 160 - 160] in rig.phone.heard()


async def test_silence_flows_once_the_assistant_listens_though_nobody_has_attached(autojump_clock: MockClock) -> None:
    """And only from then on: there is no burst of the silence that nobody missed."""
    async with open_rig() as rig:
        rig.dialer.answer_after_s = 3.0
        call = rig.ring()
        assistant = await rig.meet_assistant()
        await trio.sleep(2.01)

        assert assistant.heard == SILENCE * (len(assistant.heard) // 160)
        assert len(assistant.heard) // 160 == pytest.approx(101, abs=1)
        assert call.summary()["frames_invented"] == {"keepalive": len(assistant.heard) // 160}


async def test_silence_keeps_the_time_of_the_clock_though_every_timer_is_late(autojump_clock: MockClock) -> None:
    """Silence that comes 6 % too slow is a caller who lags behind more and more, to the assistant."""
    async with open_rig() as rig:
        await rig.begin(speaking=False)
        await speak(rig.phone.media, SILENCE * 10)
        await trio.sleep(1)
        before, began_at = len(rig.assistant.heard), trio.current_time()
        for _ in range(500):
            await trio.sleep(0.0173)
            autojump_clock.jump(0.004)
        passed_ms = (trio.current_time() - began_at) * 1000

        assert (len(rig.assistant.heard) - before) // 160 * 20 == pytest.approx(passed_ms, abs=40)


async def test_a_caller_who_sends_gets_nothing_invented(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        rig.dialer.answer_after_s = 0.5
        call = rig.ring()
        await rig.attach(call)
        await trio.sleep(10)

        assert call.summary()["frames_invented"] == {}


@pytest.mark.parametrize("before", ["pause", "word"])
@pytest.mark.parametrize(("stall_s", "invented"), [(0.06, 0), (0.2, 0), (0.36, 0), (0.6, 31), (1.0, 51)])
async def test_silence_takes_the_place_of_audio_that_is_later_than_400_ms_and_nothing_of_it_is_lost(
    before: str, stall_s: float, invented: int, autojump_clock: MockClock
) -> None:
    async with open_rig() as rig:
        await rig.begin(speaking=False)
        await speak(rig.phone.media, SILENCE * 50 + numbered(0, 50) + (SILENCE * 5 if before == "pause" else b""))
        await trio.sleep(stall_s)
        for frame in range(50, 50 + round(stall_s / 0.02)):
            rig.phone.media(numbered(frame, 1))
        await speak(rig.phone.media, numbered(200, 50))
        counted = rig.call.summary()["frames_invented"]
        await trio.sleep(0.4)  # what is more than a second ahead of real time follows at its pace

        assert whole_and_in_order(rig.assistant.heard, 200, 50) is False
        assert [number for number, _ in heard_frames(rig.assistant.heard)] == [
            *range(50 + round(stall_s / 0.02)),
            *range(200, 250),
        ]
        assert counted == ({"keepalive": pytest.approx(invented, abs=1)} if invented else {})


async def test_what_was_too_much_of_it_is_left_out_of_the_next_pauses_but_never_of_words(
    autojump_clock: MockClock,
) -> None:
    """Late by a second, in a word; then a pause of 400 ms, which keeps 300, and one of two seconds."""
    async with open_rig() as rig:
        await rig.begin(speaking=False)
        await speak(rig.phone.media, SILENCE * 50 + numbered(0, 50))
        await trio.sleep(1)
        for frame in range(50, 100):
            rig.phone.media(numbered(frame, 1))
        await speak(rig.phone.media, SILENCE * 20 + numbered(100, 50) + SILENCE * 100 + numbered(150, 50))

        sent = (50 + 100 + 20 + 50 + 100 + 50) * 160
        assert [number for number, _ in heard_frames(rig.assistant.heard)] == [*range(200)]
        assert len(rig.assistant.heard) == pytest.approx(sent, abs=2 * 160)
        assert rig.assistant.heard[(50 + 100) * 160 :].index(numbered(100, 1)) >= 15 * 160
        dropped = rig.call.summary()["frames_dropped"]
        assert dropped == {"pause": pytest.approx(49, abs=2)}


async def test_of_what_was_too_much_nothing_is_left_out_twice(autojump_clock: MockClock) -> None:
    """So much comes at once that the reader of the log catches up too, by leaving out pauses."""
    async with open_rig() as rig:
        await rig.begin(speaking=False)
        await speak(rig.phone.media, SILENCE * 50 + numbered(0, 50))
        await trio.sleep(2.5)
        for part in (numbered(50, 40), SILENCE * 45, numbered(90, 40)):
            for start in range(0, len(part), 160):
                rig.phone.media(part[start : start + 160])
        await speak(rig.phone.media, (SILENCE * 60 + numbered(200, 40)) * 6 + SILENCE * 300)

        assert len(rig.assistant.heard) // 160 == pytest.approx(50 + 50 + 125 + 600 + 300, abs=2)


async def test_a_sender_that_leaves_out_its_pauses_keeps_them(autojump_clock: MockClock) -> None:
    """Its stamps say that time has passed, so what was put in for that is no surplus."""
    async with open_rig() as rig:
        await rig.begin(speaking=False)
        now_ms = 0
        for _ in range(5):
            for frame in range(50):
                rig.phone.media(TONE if frame < 20 else SILENCE, timestamp_ms=now_ms + 20 * frame)
                await trio.sleep(0.02)
            await trio.sleep(2)
            now_ms += 3000

        assert len(rig.assistant.heard) // 160 == pytest.approx(5 * 150, abs=5)
        dropped: Any = rig.call.summary()["frames_dropped"]
        assert dropped.get("pause", 0) <= 3, "the edges of five pauses"


@pytest.mark.parametrize("silence", [False, True])
async def test_a_process_that_stood_still_puts_no_silence_before_what_has_come_meanwhile(
    autojump_clock: MockClock, *, silence: bool
) -> None:
    """A second in which nothing ran, in a word or a pause; then the caller's audio of it is read in one burst."""
    async with open_rig() as rig:
        await rig.begin(speaking=False)
        await speak(rig.phone.media, SILENCE * 50 + (b"" if silence else numbered(0, 50)))
        autojump_clock.jump(1.5)
        await trio.sleep(0.01)
        for frame in range(50, 125):
            rig.phone.media(numbered(frame, 1))
        await speak(rig.phone.media, numbered(200, 10))
        invented = rig.call.summary()["frames_invented"]
        await trio.sleep(2)

        heard = [n for n, _ in heard_frames(rig.assistant.heard)]
        assert [n for n in heard if 50 <= n < 210] == [*range(50, 125), *range(200, 210)]
        assert invented == {}


@pytest.mark.parametrize("stall_s", [0.1, 0.12, 0.14, 0.2, 0.5, 2.0])
async def test_what_came_while_the_process_stood_still_is_read_before_silence_is_invented(
    stall_s: float, autojump_clock: MockClock
) -> None:
    """It waits in the socket when the timer of the silence is late, be it by little."""
    async with open_rig() as rig:
        await rig.begin(speaking=False)
        await speak(rig.phone.media, SILENCE * 50)
        frames = round(stall_s / 0.02)
        for number in range(frames):
            rig.phone.media(numbered(number, 1))
        autojump_clock.jump(stall_s + 0.01)
        await speak(rig.phone.media, numbered(frames, 10))
        invented = rig.call.summary()["frames_invented"]
        await trio.sleep(stall_s)

        assert [number for number, _ in heard_frames(rig.assistant.heard)] == [*range(frames + 10)]
        assert invented == {}


async def speak(media: Callable[[bytes], None], audio: bytes) -> None:
    for start in range(0, len(audio), 160):
        media(audio[start : start + 160])
        await trio.sleep(0.02)


@pytest.mark.parametrize(("missing", "filled"), [(1, 0), (2, 0), (3, 3), (4, 4), (15, 15)])
async def test_missing_messages_are_filled_with_silence_once(
    missing: int, filled: int, autojump_clock: MockClock
) -> None:
    async with open_rig() as rig:
        await rig.begin(speaking=False)
        await speak(rig.phone.media, numbered(0, 20))
        rig.phone.skip(missing)
        await speak(rig.phone.media, numbered(20, 21))
        await trio.sleep(0.2)

        assert rig.assistant.heard == numbered(0, 20) + SILENCE * filled + numbered(20, 21)
        assert rig.call.summary()["frames_invented"] == ({"gap": filled} if filled else {})


@pytest.mark.parametrize("size", [80, 240, 320])
@pytest.mark.parametrize("missing", [2, 60])
async def test_messages_may_have_any_length_while_the_assistant_speaks_and_some_get_lost(
    size: int, missing: int, autojump_clock: MockClock
) -> None:
    async with open_rig() as rig:
        await rig.begin(speaking=False)
        rig.assistant.say(numbered(0, 300))
        await trio.sleep(0.5)
        for start in range(0, 16000, size):
            if start in (8000 // size * size, 12000 // size * size):
                rig.phone.skip(missing)
            rig.phone.media(QUIET_NOISE[start : start + size])
            await trio.sleep(size / 8000)
        await trio.sleep(1)

        assert rig.call.end_reason is None
        assert QUIET_NOISE[: 8000 // size * size] in rig.assistant.heard


async def test_what_keepalive_has_filled_is_not_filled_again(autojump_clock: MockClock) -> None:
    """The line was dead for 1 s, and the media time says so too."""
    async with open_rig() as rig:
        await rig.begin(speaking=False)
        await speak(rig.phone.media, numbered(0, 20))
        await trio.sleep(1)
        rig.phone.media(numbered(20, 1), timestamp_ms=1400)
        await trio.sleep(0.05)
        silence = rig.assistant.heard.count(SILENCE)

        assert silence == pytest.approx(50, abs=2)
        assert rig.assistant.heard.endswith(numbered(20, 1))


@pytest.mark.parametrize(
    "stamp",
    [
        lambda n: 100 * (n // 5),
        lambda n: 155 + 20 * n + n % 3,
        lambda n: 0,
        lambda n: 20 * n + (5000 if n == 30 else 0),
        lambda n: 10**9 - 20 * n,
    ],
    ids=["bursts", "as in traces", "still", "one that is wrong", "backwards"],
)
async def test_whatever_the_stamps_of_consecutive_messages_what_goes_out_is_what_came_in(
    stamp: Callable[[int], int], autojump_clock: MockClock
) -> None:
    async with open_rig() as rig:
        await rig.begin(speaking=False)
        for number in range(200):
            rig.phone.media(numbered(number, 1), timestamp_ms=stamp(number))
            await trio.sleep(0.02)

        assert rig.assistant.heard == numbered(0, 200)
        assert rig.call.summary()["frames_invented"] == rig.call.summary()["frames_dropped"] == {}


async def test_what_the_log_has_no_room_for_is_counted(autojump_clock: MockClock) -> None:
    """The assistant takes 5 s to come, and 2 s are kept: the last ones."""
    async with open_rig(reconnect=ReconnectConfig(replay_max_ms=2000)) as rig:
        rig.dialer.answer_after_s = 5.0
        call = rig.ring()
        phone = await rig.attach(call, speaking=False)
        await speak(phone.media, numbered(0, 240))
        assistant = await rig.meet_assistant()
        await trio.sleep(0.3)

        assert whole_and_in_order(assistant.heard, 140, 100)
        assert call.summary()["frames_dropped"] == {"overflow": 140}
        assert rig.metric("relay_frames_dropped_total", cause="overflow") == 140


async def test_a_call_keeps_what_the_telephone_sent_and_not_what_was_made_of_it(autojump_clock: MockClock) -> None:
    """Ten seconds for an assistant that takes PCM are 320 KB."""
    async with open_rig(PCM, audio=AudioConfig(echo="off")) as rig:
        await rig.begin(speaking=False)
        tracemalloc.start()
        try:
            for start in range(0, 160 * 550, 160):
                rig.phone.media(NOISE[start : start + 160])
                await rig.assistant.peer.receive()
                rig.assistant.peer.seen.clear()
            made_here = tracemalloc.Filter(inclusive=True, filename_pattern="*/relay/media/*")
            made = tracemalloc.take_snapshot().filter_traces([made_here])
        finally:
            tracemalloc.stop()

        assert sum(trace.size for trace in made.traces) < 40_000


async def test_a_detector_that_hangs_delays_no_audio(autojump_clock: MockClock) -> None:
    """Windows that it cannot take are skipped, and counted for the call and the daemon."""

    async def hang(_: Callable[[], list[float]]) -> list[float]:
        await trio.sleep_forever()
        raise AssertionError

    executor: Callable[[Callable[[], list[float]]], Awaitable[list[float]]] = hang
    async with open_rig(executor=executor) as rig:
        await rig.begin(speaking=False)
        await speak(rig.phone.media, NOISE[: 160 * 100])

        assert rig.assistant.heard == NOISE[: 160 * 100]
        assert rig.call.summary()["vad_windows_skipped"] == rig.metric("relay_vad_windows_skipped_total")
        assert rig.metric("relay_vad_windows_skipped_total") == pytest.approx(62 - PENDING_MAX - 1, abs=2)


async def test_speech_is_told_with_its_times_and_its_end(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        await rig.begin()
        await trio.sleep(1)
        rig.phone.say(TONE * 25)
        await trio.sleep(2)
        started, ended = rig.event("speech.started"), rig.event("speech.ended")

        assert started["call_id"] == ended["call_id"] == rig.call.id
        assert started["onset_ms"] == pytest.approx(1000, abs=60)
        assert started["onset_ms"] < started["likely_ms"] <= started["decided_ms"]
        assert ended["at_ms"] == pytest.approx(1500, abs=60)
        assert ended["decided_ms"] - ended["at_ms"] == pytest.approx(256, abs=32)


async def test_a_pause_that_the_detector_judges_late_is_left_out_of_a_replay(autojump_clock: MockClock) -> None:
    """The model hangs for a second in a pause of six; what was in doubt meanwhile is settled once it goes on."""
    hangs = False

    async def executor(function: Callable[[], list[float]]) -> list[float]:
        await trio.sleep(1.0 if hangs else 0.0)
        return function()

    async with open_rig(executor=executor) as rig:
        await rig.begin(speaking=False)
        await speak(rig.phone.media, SILENCE * 20)
        hangs = True
        await speak(rig.phone.media, SILENCE * 50)
        hangs = False
        await speak(rig.phone.media, SILENCE * 230 + numbered(0, 50))
        rig.dialer.peers[0].lose()
        await speak(rig.phone.media, numbered(50, 100))
        second = rig.assistant = await rig.meet_assistant()
        await speak(rig.phone.media, SILENCE * 250)

        assert [n for n, _ in heard_frames(second.heard)] == [*range(150)]
        assert second.heard.index(numbered(0, 1)) <= 20 * 160


@pytest.mark.parametrize("judged", range(48, 56))
async def test_no_word_that_the_detector_has_not_judged_yet_is_left_out_of_a_replay(
    judged: int, autojump_clock: MockClock
) -> None:
    """The model hangs as the word begins, so the word looks like more of the pause in front of it."""
    hangs = False

    async def executor(function: Callable[[], list[float]]) -> list[float]:
        await trio.sleep(3.0 if hangs else 0.0)
        return function()

    async with open_rig(executor=executor) as rig:
        await rig.begin(speaking=False)
        await speak(rig.phone.media, SILENCE * 50 + numbered(0, 50) + SILENCE * judged)
        rig.dialer.peers[0].lose()
        hangs = True
        await speak(rig.phone.media, numbered(50, 100))
        second = rig.assistant = await rig.meet_assistant()
        await speak(rig.phone.media, SILENCE * 250)

        assert [n for n, _ in heard_frames(second.heard)] == [*range(150)]
