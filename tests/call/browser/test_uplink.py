"""What a browser sends: order, counts and stamps under any loss, any format, and what the client is told."""

import struct
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.call.browser.uplink import BrowserUplink
from relay.call.caller.leg import CallerAudio, Dropped
from relay.media.frames import WIDEBAND, AudioFormat, Encoding
from relay.media.gaps import MediaClock
from relay.wire.browser import ClientAudio

REORDER_MS = 80


def numbered(sequence: int, ms: int | None = None) -> ClientAudio:
    """20 ms whose samples are its number."""
    pcm = struct.pack("<h", sequence) * 320
    return ClientAudio(WIDEBAND, pcm, sequence, (sequence - 1) * 20 if ms is None else ms)


def number_of(audio: CallerAudio) -> int:
    values = np.frombuffer(audio.data, "<i2")
    assert len(set(values)) == 1
    return int(values[0])


class Taken:
    """An uplink with everything that came out of it."""

    def __init__(self, target: AudioFormat = WIDEBAND) -> None:
        self.codes: list[str] = []
        self.uplink = BrowserUplink(target, REORDER_MS, lambda code, what: self.codes.append(code))
        self.audio: list[CallerAudio] = []
        self.dropped: Counter[str] = Counter()

    def note(self, events: list[Any]) -> None:
        for event in events:
            if isinstance(event, Dropped):
                self.dropped[event.cause] += 1
            else:
                self.audio.append(event)

    def take(self, audio: ClientAudio, now: float, *, resent: bool = False) -> None:
        while (deadline := self.uplink.deadline) is not None and deadline <= now:
            self.note(self.uplink.expire(deadline))
        self.note(self.uplink.take(audio, now, resent=resent))

    def rest(self) -> None:
        while (deadline := self.uplink.deadline) is not None:
            self.note(self.uplink.expire(deadline))


journey = st.lists(
    st.tuples(st.sampled_from(["once", "once", "once", "lost", "twice"]), st.floats(0, 0.2), st.floats(0, 0.2)),
    max_size=60,
)


@given(journey, st.booleans())
def test_whatever_the_network_does_the_order_is_right_and_every_message_is_accounted_for(
    fates: list[tuple[str, float, float]], resent: bool
) -> None:
    """Over either transport: each message that was sent is heard once in its place, or counted as what became of it."""
    arrivals = []
    for index, (fate, late_s, later_s) in enumerate(fates):
        sent_at = index * 0.02
        copies = {"once": [late_s], "lost": [], "twice": [late_s, later_s]}[fate]
        arrivals += [(sent_at + delay, index + 1) for delay in copies]
    taken = Taken()
    for at, sequence in sorted(arrivals):
        taken.take(numbered(sequence), at, resent=resent)
    taken.rest()

    heard = [number_of(audio) for audio in taken.audio]
    assert heard == sorted(set(heard))
    assert len(arrivals) == len(heard) + taken.dropped["late"] + taken.dropped["duplicate"]
    lost_for_good = len({sequence for _, sequence in arrivals}) - len(heard)
    assert taken.dropped["late"] == lost_for_good
    highest = max(heard, default=0)
    assert taken.uplink.statistics().missing == highest - len(heard)
    assert taken.uplink.next == highest + 1
    if resent:
        assert taken.codes == []


@given(st.permutations(range(1, 9)))
def test_messages_that_are_late_by_less_than_the_bound_are_all_put_in_order(order: list[int]) -> None:
    taken = Taken()
    for index, sequence in enumerate(order):
        taken.take(numbered(sequence), index * 0.005)
    taken.rest()

    assert [number_of(audio) for audio in taken.audio] == list(range(1, 9))
    assert not taken.dropped


def test_a_sequence_that_goes_back_is_told_once_a_second_over_a_socket_and_never_when_polling() -> None:
    taken = Taken()
    for now, sequence in [(0.0, 1), (0.02, 2), (0.04, 1), (0.5, 2), (1.2, 1)]:
        taken.take(numbered(sequence), now)
    assert taken.codes == ["SEQUENCE_BACKWARDS"] * 2
    assert taken.dropped == {"duplicate": 3}

    polled = Taken()
    for sequence in (1, 2, 1, 2):
        polled.take(numbered(sequence), 0.0, resent=True)
    assert polled.codes == []


def test_audio_without_a_number_goes_through_as_it_comes() -> None:
    taken = Taken()
    for index in range(3):
        taken.take(ClientAudio(WIDEBAND, b"\1\0" * 320), index * 0.02)

    assert [(audio.stamp_ms, audio.missing) for audio in taken.audio] == [(None, 0)] * 3


def test_stamps_are_passed_on_as_they_came() -> None:
    """What to believe of them is for the call's own clock to say."""
    taken = Taken()
    stamps = [0, 21, 39, 61, 500, 520, 520, 520]
    for index, ms in enumerate(stamps):
        taken.take(numbered(index + 1, ms), index * 0.02)

    assert [audio.stamp_ms for audio in taken.audio] == stamps


def test_messages_that_never_came_are_counted_where_they_are_missing() -> None:
    taken = Taken()
    for sequence in (1, 2, 6, 7):
        taken.take(numbered(sequence), sequence * 0.02)
    taken.rest()

    assert [audio.missing for audio in taken.audio] == [0, 0, 3, 0]


def test_any_format_comes_out_in_the_calls_own() -> None:
    source = AudioFormat(Encoding.PCM_F32LE, 48_000, 2)
    taken = Taken()
    for sequence in range(1, 51):
        taken.take(ClientAudio(source, np.full(1920, 0.5, "<f4").tobytes(), sequence, (sequence - 1) * 20), 0.0)

    samples = np.frombuffer(b"".join(audio.data for audio in taken.audio), "<i2")
    assert 16_000 - 40 <= len(samples) <= 16_000
    assert set(samples[200:]) == {16384}


def test_a_format_that_changes_in_the_middle_is_followed() -> None:
    taken = Taken()
    for index, rate_hz in enumerate([16_000, 48_000, 8_000, 16_000]):
        audio_format = AudioFormat(Encoding.PCM_S16LE, rate_hz)
        taken.take(ClientAudio(audio_format, bytes(rate_hz // 50 * 2), index + 1, index * 20), index * 0.02)

    assert [len(audio.data) for audio in taken.audio] == pytest.approx([640] * 4, abs=80)
    assert taken.codes == []


def test_a_wrong_rate_is_told_once_for_each_declared_format() -> None:
    taken = Taken()
    for sequence in range(1, 201):
        data = b"\0\0" * 960
        taken.take(ClientAudio(WIDEBAND, data, sequence, (sequence - 1) * 20), sequence * 0.02)

    assert taken.codes == ["WRONG_RATE"]


def test_a_backlog_may_come_at_once_and_a_flood_is_dropped() -> None:
    taken = Taken()
    for sequence in range(1, 501):
        taken.take(numbered(sequence), 0.0, resent=True)
    assert taken.codes == []

    for sequence in range(501, 3001):
        taken.take(numbered(sequence), 0.0, resent=True)
    assert set(taken.codes) == {"TOO_FAST"}
    assert taken.dropped["overflow"] == 3000 - 1500


def test_audio_that_comes_beside_the_microphone_follows_what_came_before_without_a_stamp() -> None:
    taken = Taken(AudioFormat(Encoding.PCM_S16LE, 48_000))
    taken.take(numbered(1), 0.0)
    spoken = taken.uplink.speak(b"\1\0" * 1600, 0.5)
    taken.take(numbered(2), 0.6)

    assert (spoken.stamp_ms, spoken.arrived_at) == (None, 0.5)
    assert abs(len(spoken.data) - 100 * 96) < 200


HELD_BACK_MAX_MS = 30.0
"""What a converter of rates keeps for the samples to come."""


def used_ms(rate_hz: int, lengths: list[int], target: AudioFormat) -> float:
    """Send messages of so many samples, with stamps in whole milliseconds; returns how much audio comes out."""
    source = AudioFormat(Encoding.PCM_S16LE, rate_hz)
    taken = Taken(target)
    clock = MediaClock()
    sent = 0
    for number, length in enumerate(lengths, start=1):
        taken.take(ClientAudio(source, bytes(2 * length), number, sent * 1000 // rate_hz), sent / rate_hz)
        sent += length
    durations_ms = [target.duration_ms(len(audio.data)) for audio in taken.audio]
    for audio, duration_ms in zip(taken.audio, durations_ms, strict=True):
        assert audio.stamp_ms is not None
        assert clock.place(audio.stamp_ms, duration_ms, audio.missing) == 0
    assert not taken.dropped
    return sum(durations_ms)


@given(
    rate_hz=st.sampled_from([8000, 16000, 24000, 44100, 48000]),
    lengths=st.lists(st.integers(1, 60), min_size=1, max_size=300),
    target_hz=st.sampled_from([8000, 16000, 24000]),
)
def test_no_message_is_late_because_it_is_short(rate_hz: int, lengths: list[int], target_hz: int) -> None:
    came_ms = used_ms(rate_hz, lengths, AudioFormat(Encoding.PCM_S16LE, target_hz))

    sent_ms = sum(lengths) * 1000 / rate_hz
    assert sent_ms - HELD_BACK_MAX_MS <= came_ms <= sent_ms + 1


@pytest.mark.parametrize("samples", [1, 2, 4, 7, 8, 12, 16, 17])
def test_all_of_a_second_in_tiny_messages_is_used(samples: int) -> None:
    assert used_ms(16000, [samples] * (16000 // samples), WIDEBAND) == pytest.approx(1000, abs=samples / 16)
