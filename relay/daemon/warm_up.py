"""Has made-up sound take the way of a call's audio before anybody calls, so that the first caller does not pay for it.

What is done for the first time takes memory and time once for the whole process: libraries are loaded that are loaded
when they are needed, the echo canceller's among them, code and tables become resident, and what multiplies matrices
sets up its buffers. That is part of the start, as it is no part of a call.
"""

from random import Random

import numpy as np

from relay.config import Config
from relay.media import g711
from relay.media.cough_probe import CoughProbe
from relay.media.downlink import Downlink
from relay.media.features import levels_dbfs
from relay.media.frames import TELEPHONE, Audio, AudioFormat, Encoding
from relay.media.silero import SileroModel
from relay.media.silero_numpy import BATCH_MAX
from relay.media.uplink import Uplink

ECHO_FRAMES = 3
"""So much later the sound comes back."""
FRAMES = 16
"""With the eighth the echo is certain, and is taken out for detector and assistant from then on."""


def warm_up(config: Config, model: SileroModel, probe: CoughProbe | None) -> None:
    """Blocks for some 20 ms of CPU time. To be called in the thread of the event loop, which audio passes later.

    A telephone's line is heard whose echo is found, if echoes are looked for, the assistant is heard, and the model
    judges as many windows at once as it can.
    """
    assistant = config.assistants[0]
    target = AudioFormat(Encoding(assistant.audio_format), assistant.sample_rate_hz)
    uplink = Uplink(TELEPHONE, target, model.rate_hz, echo=config.audio.echo)
    noise = Random(0)
    played = [noise.randbytes(TELEPHONE.frame_bytes) for _ in range(FRAMES)]
    echo = [g711.encode(g711.decode(frame) // 4) for frame in played]
    for near, far in zip([TELEPHONE.silent_frame] * ECHO_FRAMES + echo, played, strict=False):
        uplink.push(Audio(TELEPHONE, near), Audio(TELEPHONE, far))
    Downlink(target, TELEPHONE).push(target.silent_frame)
    windows = [np.zeros(model.window_samples, np.int16)] * BATCH_MAX
    states = [model.new_state() for _ in windows]
    model.run(windows, states)
    levels_dbfs(windows)
    if probe is not None:
        probe.bounds(states)
