"""The caller's audio for the assistant and for the detector at once."""

import numpy as np
import pytest

from relay.media.frames import TELEPHONE, WIDEBAND, Audio, AudioFormat, Encoding
from relay.media.transcode import Transcoder
from relay.media.uplink import Uplink

SPEECH = np.random.default_rng(7).integers(0, 256, 160 * 50, dtype=np.uint8).tobytes()


def push_all(uplink: Uplink) -> tuple[bytes, bytes]:
    pairs = [uplink.push(Audio(TELEPHONE, SPEECH[i : i + 160])) for i in range(0, len(SPEECH), 160)]
    return b"".join(data for data, _ in pairs), b"".join(samples.tobytes() for _, samples in pairs)


def test_equal_formats_pass_untouched() -> None:
    """The assistant that takes mu-law gets the caller's own bytes; only the detector's copy is decoded."""
    for_assistant, for_detector = push_all(Uplink(TELEPHONE, TELEPHONE, 16000))

    assert for_assistant == SPEECH
    assert len(for_detector) == 4 * len(SPEECH)


@pytest.mark.parametrize("detector_rate_hz", [8000, 16000])
@pytest.mark.parametrize("target", [WIDEBAND, AudioFormat(Encoding.PCM_S16LE, 24000)])
def test_the_assistant_gets_what_a_transcoder_alone_would_make(target: AudioFormat, detector_rate_hz: int) -> None:
    """Whatever the detector takes, and whether or not the work is shared."""
    for_assistant, for_detector = push_all(Uplink(TELEPHONE, target, detector_rate_hz))

    alone = Transcoder(TELEPHONE, target)
    assert for_assistant == b"".join(
        alone.push(Audio(TELEPHONE, SPEECH[i : i + 160])).data for i in range(0, len(SPEECH), 160)
    )
    assert len(for_detector) == len(SPEECH) * 2 * detector_rate_hz // 8000
