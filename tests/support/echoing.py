"""A call with an echo on its line, on the virtual clock, and the real speech model to hear it."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import numpy as np
import trio

from relay.config import AudioConfig
from relay.media import g711
from relay.media.frames import AudioFormat
from relay.media.resample import Samples
from relay.media.silero import SileroModel
from relay.standin.echo import EchoPath, mix
from relay.wakeup import sleep_until
from tests.support.callrig import MULAW, SILENCE, Rig, open_rig


def hiss(n: int) -> Samples:
    noise: Samples = np.random.default_rng(n).normal(0, 10, 160).astype(np.int16)
    return noise


class EchoingLine:
    """Speaks for the phone: what it has heard comes back after `path`, with what the caller says."""

    def __init__(self, rig: Rig, path: EchoPath) -> None:
        self.rig = rig
        self.path = path
        self.lost: Callable[[int], bool] = lambda n: False
        self.drift_ppm = 0.0
        self.sent: list[bytes] = []

    async def run(self) -> None:
        """In real time, `drift_ppm` too slowly, until the caller has another phone."""
        frame_s = 0.02 * (1 + self.drift_ppm / 1e6)
        phone = self.rig.phone
        start, heard, n = trio.current_time(), len(phone.heard()), 0
        while phone is self.rig.phone:
            await sleep_until(start + (n + 1) * frame_s)
            played = phone.heard()[heard : heard + 160].ljust(160, b"\xff")
            heard += 160
            said = phone.saying.pop(0) if phone.saying else SILENCE
            near = mix(mix(g711.decode(said), hiss(n)), self.path.push(g711.decode(played)))
            if self.lost(n):
                phone.skip(1)
            else:
                self.sent.append(g711.encode(near))
                phone.media(self.sent[-1])
            n += 1


@asynccontextmanager
async def call_with(
    path: EchoPath, audio: AudioConfig | None = None, *, drift_ppm: float = 0.0, audio_format: AudioFormat = MULAW
) -> AsyncIterator[tuple[Rig, EchoingLine]]:
    async with open_rig(audio_format, model=SileroModel.load(16000), audio=audio or AudioConfig()) as rig:
        await rig.begin(speaking=False)
        line = EchoingLine(rig, path)
        line.drift_ppm = drift_ppm
        rig.nursery.start_soon(line.run)
        await trio.sleep(0.5)
        yield rig, line
