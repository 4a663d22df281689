"""After a loss the assistant hears what was converted for the first one, sample for sample, though it is not kept."""

from collections.abc import Awaitable, Callable
from itertools import pairwise

import numpy as np
import pytest
import trio
from trio.testing import MockClock

from relay.config import AudioConfig
from relay.logic.assistant.kept_frames import KeptFrames, Remake
from relay.media import g711
from relay.media.frames import TELEPHONE, WIDEBAND
from relay.media.remake import FrameMaker
from relay.standin.echo import EchoPath
from relay.standin.phrases import spoken
from tests.support.callrig import FRAME_S, PCM, Assistant, Rig, open_rig
from tests.support.echoing import call_with

WORDS = np.random.default_rng(7).integers(0, 256, 160 * 200, np.uint8).tobytes()
HUSH = g711.encode(np.random.default_rng(9).normal(0, 12, 160 * 100).astype(np.int16))
"""A pause, no two frames of which are the same."""


class WitnessedFrames(KeptFrames):
    """Notes each frame as it was converted, and which of them are read."""

    def __init__(self, remake: Remake | None = None) -> None:

        def counted(before: bytes, original: bytes) -> bytes:
            self._made += 1
            assert remake is not None
            return remake(before, original)

        super().__init__(counted if remake else None)
        self._made = 0
        self.appended: list[tuple[bytes, bytes | None]] = []
        self.read: list[tuple[bytes, bool]] = []
        """As it was converted, and whether it was made again."""
        self._popped = 0

    def append(self, frame: bytes, original: bytes | None = None) -> None:
        self.appended.append((frame, original))
        super().append(frame, original)

    def popleft(self) -> None:
        self._popped += 1
        super().popleft()

    def __getitem__(self, place: int) -> bytes:
        converted = self.appended[self._popped + place][0]
        made_before = self._made
        frame = super().__getitem__(place)
        self.read.append((converted, self._made > made_before))
        return frame


@pytest.fixture
def logs(monkeypatch: pytest.MonkeyPatch) -> list[WitnessedFrames]:
    """What the calls of the test keep of their callers, in the order of the calls."""
    made: list[WitnessedFrames] = []

    def witnessed(remake: Remake | None = None) -> KeptFrames:
        made.append(WitnessedFrames(remake))
        return made[-1]

    monkeypatch.setattr("relay.logic.assistant.replay.KeptFrames", witnessed)
    return made


async def say(rig: Rig, audio: bytes) -> None:
    for start in range(0, len(audio), 160):
        rig.phone.media(audio[start : start + 160])
        await trio.sleep(FRAME_S)


async def one_long_sentence(rig: Rig) -> None:
    await say(rig, WORDS)


async def held_up_by_the_network(rig: Rig) -> None:
    """A second comes late, and parts of the pause behind it are left out before they reach the log."""
    await say(rig, HUSH[: 160 * 50] + WORDS[: 160 * 20])
    await trio.sleep(1)
    for start in range(160 * 20, 160 * 70, 160):
        rig.phone.media(WORDS[start : start + 160])
    await say(rig, HUSH[160 * 50 :] + WORDS[160 * 70 :])
    assert rig.call.summary()["frames_dropped"] == {"pause": pytest.approx(33, abs=20)}


async def on_two_sockets(rig: Rig) -> None:
    """Messages are lost, few and many; then the caller's socket is, and the stream goes on over another one."""
    await say(rig, WORDS[: 160 * 50])
    rig.phone.skip(2)
    await say(rig, WORDS[160 * 50 : 160 * 80])
    rig.phone.skip(5)
    await say(rig, WORDS[160 * 80 : 160 * 110])
    rig.phone.peer.lose()
    await trio.sleep(0.1)
    rig.phone = await rig.attach(rig.call, speaking=False)
    await say(rig, WORDS[160 * 110 :])


async def replayed(rig: Rig) -> list[bytes]:
    """What the assistant of the next connection hears until it has caught up."""
    first = len(rig.dialer.peers)
    rig.dialer.peers[-1].lose()
    second = Assistant(await rig.dialer.peer(first, within_s=30), rig.dialer.format)
    rig.nursery.start_soon(second.speak)
    await trio.sleep(12.01)
    return [second.heard[at : at + PCM.frame_bytes] for at in range(0, len(second.heard), PCM.frame_bytes)]


def check(log: WitnessedFrames, heard: list[bytes], *, has_original: set[bool]) -> None:
    """`has_original`: whether frames had originals, or both at times."""
    maker = FrameMaker(TELEPHONE, WIDEBAND)
    for (_, before), (frame, original) in pairwise(log.appended):
        assert before is None or original is None or maker(before, original) == frame

    read = log.read[-len(heard) :]
    assert heard == [converted for converted, _ in read]
    assert {original is not None for _, original in log.appended} == has_original
    assert (sum(was_made for _, was_made in read) > 100) == (True in has_original)


@pytest.mark.parametrize(
    ("audio", "caller", "has_original"),
    [
        (AudioConfig(), one_long_sentence, {True}),
        (AudioConfig(), held_up_by_the_network, {True, False}),
        (AudioConfig(), on_two_sockets, {True}),
        (AudioConfig(noise_reduction="webrtc"), held_up_by_the_network, {False}),
        (AudioConfig(echo="on"), held_up_by_the_network, {False}),
    ],
)
async def test_what_is_sent_again_is_what_was_converted_of_the_stream(
    audio: AudioConfig,
    caller: Callable[[Rig], Awaitable[None]],
    has_original: set[bool],
    logs: list[WitnessedFrames],
    autojump_clock: MockClock,
) -> None:
    async with open_rig(PCM, audio=audio) as rig:
        await rig.begin(speaking=False)
        await caller(rig)
        heard = await replayed(rig)

    check(logs[0], heard, has_original=has_original)


async def test_also_where_an_echo_was_taken_out_for_a_part_of_it(
    logs: list[WitnessedFrames], autojump_clock: MockClock
) -> None:
    async with call_with(EchoPath(8000, delay_ms=180, loss_db=15), audio_format=PCM) as (rig, line):
        rig.assistant.say(spoken("description", WIDEBAND)[: 15 * 32000])
        await trio.sleep(3)
        line.path = EchoPath(8000, delay_ms=180, loss_db=200)
        await trio.sleep(7)
        rig.phone.say(spoken("question", TELEPHONE)[: 113 * 160])
        await trio.sleep(4)
        assert len(rig.events("echo.found")) == len(rig.events("echo.gone")) == 1
        heard = await replayed(rig)

    check(logs[0], heard, has_original={True, False})
