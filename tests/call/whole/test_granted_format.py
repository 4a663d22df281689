"""The format that a call is granted, which need not be the one that was asked for: sound stays sound, both ways."""

import numpy as np
import pytest
import trio
from numpy.typing import NDArray
from trio.testing import MockClock

from relay.config import ReconnectConfig
from relay.media import g711
from relay.media.frames import Audio, AudioFormat, Encoding
from relay.media.transcode import Transcoder
from tests.support.callrig import MULAW, PCM, Assistant, open_rig

PCM_24K = AudioFormat(Encoding.PCM_S16LE, 24000)
PCM_44K = AudioFormat(Encoding.PCM_S16LE, 44100)
PITCH_UP_HZ, PITCH_DOWN_HZ = 500, 700


def tone(pitch_hz: int, seconds: float, audio_format: AudioFormat) -> bytes:
    at = np.arange(int(seconds * audio_format.rate_hz)) / audio_format.rate_hz
    samples = (9000 * np.sin(2 * np.pi * pitch_hz * at)).astype(np.int16)
    return samples.tobytes() if audio_format.encoding is Encoding.PCM_S16LE else g711.encode(samples)


def purity(sound: bytes, audio_format: AudioFormat, pitch_hz: int) -> float:
    """The part of a sound's energy at this pitch, 0 to 1: of noise, and at a wrong rate, it is next to nothing."""
    decoded = Transcoder(audio_format, AudioFormat(Encoding.PCM_S16LE, 8000)).push(Audio(audio_format, sound)).data
    samples: NDArray[np.float64] = np.frombuffer(decoded, np.int16).astype(np.float64)
    energy = np.abs(np.fft.rfft(samples)) ** 2
    pitches = np.fft.rfftfreq(len(samples), 1 / 8000)
    return float(energy[np.abs(pitches - pitch_hz) < 10].sum() / energy.sum())


@pytest.mark.parametrize(
    ("asked", "granted"), [(MULAW, PCM), (MULAW, PCM_24K), (PCM, MULAW), (PCM, PCM_24K), (PCM, PCM_44K)], ids=str
)
async def test_it_is_adopted_both_ways_and_told_once(
    asked: AudioFormat, granted: AudioFormat, autojump_clock: MockClock
) -> None:
    async with open_rig(asked) as rig:
        rig.dialer.granted = granted
        await rig.begin()
        rig.phone.say(tone(PITCH_UP_HZ, 3, MULAW))
        rig.assistant.say(tone(PITCH_DOWN_HZ, 3, granted))
        await trio.sleep(3)
        told = rig.event("assistant.format_adopted")

        assert (told["asked"], told["granted"], told["log_level"]) == (str(asked), str(granted), "info")
        assert purity(rig.assistant.heard[granted.frame_bytes * 20 :], granted, PITCH_UP_HZ) > 0.95
        assert purity(rig.phone.heard()[8000:], MULAW, PITCH_DOWN_HZ) > 0.95


async def test_it_holds_for_this_call_alone(autojump_clock: MockClock) -> None:
    async with open_rig(MULAW, reconnect=ReconnectConfig(replay_max_ms=0)) as rig:
        rig.dialer.granted = PCM
        await rig.begin()
        await trio.sleep(3)
        rig.dialer.granted = None
        rig.dialer.connected = trio.Event()
        rig.dialer.peers[0].lose()
        with trio.fail_after(10):
            await rig.dialer.connected.wait()
        assistant = Assistant(rig.dialer.peers[-1], MULAW)
        rig.nursery.start_soon(assistant.speak)
        rig.phone.say(tone(PITCH_UP_HZ, 3, MULAW))
        assistant.say(tone(PITCH_DOWN_HZ, 3, MULAW))
        heard_before = len(rig.phone.heard())
        await trio.sleep(3)

        assert len(rig.events("assistant.format_adopted")) == 1
        assert purity(assistant.heard[-160 * 100 :], MULAW, PITCH_UP_HZ) > 0.95
        assert purity(rig.phone.heard()[heard_before + 8000 :], MULAW, PITCH_DOWN_HZ) > 0.95


async def test_an_assistant_that_stands_by_gets_silence_in_its_own_format(autojump_clock: MockClock) -> None:
    async with open_rig(MULAW) as rig:
        rig.dialer.granted = PCM
        rig.dialer.max_call_s = 60
        await rig.begin()
        spare = Assistant(await rig.dialer.peer(1), PCM)
        rig.nursery.start_soon(spare.speak)
        spare.tell(type="status-update", status="in-progress")
        await trio.sleep(0.1)

        assert spare.heard
        assert set(spare.heard) == {0}
