"""The record of a socket keeps the first of everything, with its times, and no more than it was asked to."""

import wave
from pathlib import Path

import numpy as np
import pytest

from relay.media.frames import TELEPHONE, WIDEBAND, AudioFormat, Encoding
from relay.standin.assistant.record import SocketRecord, Track

PCM_8_KHZ = AudioFormat(Encoding.PCM_S16LE, 8000)


def pcm(*values: int) -> bytes:
    return np.array(values, "<i2").tobytes()


def test_a_track_keeps_whole_messages_up_to_its_limit() -> None:
    track = Track(limit_bytes=10)
    for at_s, data in ((1.0, b"aaaa"), (2.0, b"bbbbb"), (3.0, b"cc"), (4.0, b"d")):
        track.add(at_s, data)

    assert bytes(track.audio) == b"aaaabbbbbd"
    assert track.arrivals == [(1.0, 4), (2.0, 5), (4.0, 1)]


def test_the_samples_lie_where_their_messages_came() -> None:
    track = Track(limit_bytes=100)
    track.add(5.001, pcm(1, 2, 3))
    track.add(5.002, pcm(4))

    assert track.samples(PCM_8_KHZ, 5.0).tolist() == [0] * 8 + [1, 2, 3] + [0] * 5 + [4]


def test_a_message_may_end_within_a_sample_and_an_odd_last_byte_is_left_out() -> None:
    track, data = Track(limit_bytes=100), pcm(1, 2, 3, 4)
    track.add(5.0, data[:3])
    track.add(5.0, data[3:7])

    assert track.samples(PCM_8_KHZ, 5.0).tolist() == [1, 2, 3]


@pytest.mark.parametrize(("form", "limit_bytes"), [(TELEPHONE, 16_000), (WIDEBAND, 64_000)])
def test_both_directions_are_kept_for_as_many_seconds_as_were_asked_for(form: AudioFormat, limit_bytes: int) -> None:
    record = SocketRecord(form, seconds=2.0)

    assert record.received.limit_bytes == record.sent.limit_bytes == limit_bytes


def test_asked_for_nothing_it_keeps_nothing() -> None:
    record = SocketRecord(TELEPHONE, seconds=0)
    record.received.add(1.0, b"audio")
    record.note(1.0, outgoing=True, message={"type": "hang"})

    assert (bytes(record.received.audio), record.events) == (b"", [])


def test_the_first_messages_are_kept_and_the_sent_ones_found_by_their_type() -> None:
    record = SocketRecord(TELEPHONE, seconds=0.1)
    for number, (outgoing, kind) in enumerate([(True, "hang"), (False, "hang"), (True, "transcript"), (True, "hang")]):
        record.note(float(number), outgoing=outgoing, message={"type": kind})
    for _ in range(10):
        record.note(9.0, outgoing=True, message={"type": "hang"})

    assert len(record.events) == 5
    assert [event.at_s for event in record.sent_messages("hang")] == [0.0, 3.0, 9.0]


def test_the_wav_has_what_was_received_on_the_left_and_what_was_sent_on_the_right(tmp_path: Path) -> None:
    record = SocketRecord(PCM_8_KHZ, seconds=1.0)
    record.received.add(10.0, pcm(1, 2))
    record.sent.add(10.001, pcm(3))
    record.write_wav(tmp_path / "call.wav", 10.0)
    with wave.open(str(tmp_path / "call.wav")) as file:
        left, right = np.frombuffer(file.readframes(100), "<i2").reshape(-1, 2).T.tolist()

    assert file.getframerate() == 8000
    assert left == [1, 2] + [0] * 7
    assert right == [0] * 8 + [3]
