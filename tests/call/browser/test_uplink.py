"""The time line of a browser's audio holds for messages of any length, also of less than a millisecond."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.call.browser.uplink import BrowserUplink
from relay.call.caller.leg import CallerAudio
from relay.media.frames import WIDEBAND, AudioFormat, Encoding
from relay.media.gaps import MediaClock
from relay.wire.browser import ClientAudio

SAMPLE_BYTES = 2
HELD_BACK_MAX_MS = 30.0
"""What a converter of rates keeps for the samples to come."""


def placed_ms(rate_hz: int, lengths: list[int], target: AudioFormat) -> float:
    """Send messages of so many samples; returns how much audio comes out in its place, with nothing late or missing."""
    source = AudioFormat(Encoding.PCM_S16LE, rate_hz)
    uplink = BrowserUplink(target, 80, lambda code, what: None)
    clock = MediaClock()
    came_ms, sent = 0.0, 0
    for number, length in enumerate(lengths, start=1):
        ms = sent * 1000 // rate_hz
        message = ClientAudio(source, bytes(SAMPLE_BYTES * length), number, ms)
        for event in uplink.take(message, sent / rate_hz, resent=False):
            assert isinstance(event, CallerAudio)
            duration_ms = target.duration_ms(len(event.data))
            if event.data:
                place = clock.place(event.timestamp_ms, duration_ms)
                assert (place.late, place.fill_ms) == (False, 0)
            came_ms += duration_ms
        sent += length
    return came_ms


@given(
    rate_hz=st.sampled_from([8000, 16000, 24000, 44100, 48000]),
    lengths=st.lists(st.integers(1, 60), min_size=1, max_size=300),
    target_hz=st.sampled_from([8000, 16000, 24000]),
)
def test_no_message_is_late_because_it_is_short(rate_hz: int, lengths: list[int], target_hz: int) -> None:
    came_ms = placed_ms(rate_hz, lengths, AudioFormat(Encoding.PCM_S16LE, target_hz))

    sent_ms = sum(lengths) * 1000 / rate_hz
    assert sent_ms - HELD_BACK_MAX_MS <= came_ms <= sent_ms + 1


@pytest.mark.parametrize("samples", [1, 2, 4, 7, 8, 12, 16, 17])
def test_all_of_a_second_in_tiny_messages_is_used(samples: int) -> None:
    assert placed_ms(16000, [samples] * (16000 // samples), WIDEBAND) == pytest.approx(1000, abs=samples / 16)
