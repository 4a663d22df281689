"""Recordings that are decoded, whatever tool wrote them, and those that are refused by name."""

import struct
from pathlib import Path

import numpy as np
import pytest

from relay.errors import FormatMismatch, RecordingBroken
from relay.media import g711
from relay.media.wav import RawEncoding, RawFormat, decode_raw, decode_wav, read_wav
from tests.support.recordings import KINDS, STREAMED, Floats, alaw, alaw_levels, chunk, layout, riff, sine, wav

FORM = chunk(b"fmt ", layout(1, 1, 8000, 16))
LIST = chunk(b"LIST", b"INFOISFT\x0e\0\0\0Lavf61.1.100\0\0")


def off_by(found: object, wanted: Floats) -> float:
    """The largest error, in 16-bit units."""
    return float(np.abs(np.asarray(found, float) - wanted * 32768).max())


@pytest.mark.parametrize("extensible", [False, True])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_samples_comes_back_within_its_quantisation(kind: str, channels: int, *, extensible: bool) -> None:
    tone = sine(8000)
    both = tone if channels == 1 else np.stack((tone, tone), axis=1)

    sound = decode_wav(wav(both, 8000, kind, extensible=extensible))

    assert (sound.rate_hz, len(sound.samples), sound.samples.dtype.name) == (8000, 4000, "int16")
    assert off_by(sound.samples, tone) <= KINDS[kind].step / 2 + 2


@pytest.mark.parametrize("rate_hz", [4000, 8000, 11025, 16000, 22050, 24000, 32000, 44100, 48000, 96000, 192000])
def test_every_rate_is_kept(rate_hz: int) -> None:
    assert decode_wav(wav(sine(rate_hz, 0.1), rate_hz)).rate_hz == rate_hz


def test_channels_are_averaged() -> None:
    content = riff(chunk(b"fmt ", layout(1, 2, 8000, 16)), chunk(b"data", struct.pack("<4h", 100, 300, -50, 50)))

    assert decode_wav(content).samples.tolist() == [200, 0]


@pytest.mark.parametrize("size", STREAMED)
@pytest.mark.parametrize("kind", KINDS)
def test_a_size_that_was_left_open_means_to_the_end(kind: str, size: int) -> None:
    assert decode_wav(wav(sine(8000), 8000, kind, size=size)).samples.tolist() == (
        decode_wav(wav(sine(8000), 8000, kind)).samples.tolist()
    )


def test_a_finished_file_without_a_sample_is_empty_even_if_a_chunk_follows() -> None:
    assert len(decode_wav(riff(FORM, chunk(b"data", b""), LIST)).samples) == 0


def test_floats_saturate_and_one_that_is_no_number_is_silence() -> None:
    content = riff(chunk(b"fmt ", layout(3, 1, 8000, 32)), chunk(b"data", np.array([2, -2, np.nan], "<f4").tobytes()))

    assert decode_wav(content).samples.tolist() == [32767, -32768, 0]


def test_every_code_of_both_laws_decodes_as_in_the_standard() -> None:
    codes = bytes(range(256))
    laws = (RawFormat(RawEncoding.ALAW, 8000), RawFormat(RawEncoding.MULAW, 8000))
    a_law, mu_law = (decode_raw(codes, law).samples.tolist() for law in laws)

    assert a_law == alaw_levels().tolist()
    assert mu_law == g711.decode(codes).tolist()


def test_samples_without_a_header_are_read_in_the_order_of_their_bytes() -> None:
    big, little = (RawFormat(RawEncoding.PCM_S16, 8000, 2, big_endian=big) for big in (True, False))

    assert decode_raw(b"\x01\x00\x03\x00", big).samples.tolist() == [512]
    assert decode_raw(b"\x00\x01\x00\x03", little).samples.tolist() == [512]
    assert decode_raw(b"", little).samples.tolist() == []


@pytest.mark.parametrize(
    ("form", "said"),
    [
        (RawFormat(RawEncoding.PCM_S16, 8000, 2), "6 bytes are no whole number of samples of 4 bytes"),
        (RawFormat(RawEncoding.MULAW, 10**12), "Hz, wanted"),
        (RawFormat(RawEncoding.MULAW, 8000, 0), "0 channels, wanted"),
    ],
)
def test_samples_that_cannot_be_are_refused(form: RawFormat, said: str) -> None:
    with pytest.raises(FormatMismatch, match=said):
        decode_raw(bytes(6), form)


def test_a_path_that_is_refused_is_named_once(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(wav(sine(8000), 8000)[:-100])

    with pytest.raises(RecordingBroken) as caught:
        read_wav(path)
    assert str(caught.value) == f"{path}: cut short, 3950 of 4000 samples are there"


def test_a_file_without_a_sample_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "empty.wav"
    path.write_bytes(riff(FORM, chunk(b"data", b"")))

    with pytest.raises(RecordingBroken, match=r"empty\.wav: no sample in it"):
        read_wav(path)


def test_the_encoder_of_these_tests_is_the_standards() -> None:
    """Guards the guard: values of ITU-T G.711, table 1a, in 16 bits, at both ends."""
    assert alaw(np.array([0.0, 32256 / 32768, -32256 / 32768])) in {b"\xd5\xaa\x2a", b"\x55\xaa\x2a"}
