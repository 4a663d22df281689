"""Recordings that are decoded, whatever tool wrote them, and those that are refused by name."""

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.errors import FormatMismatch, RecordingBroken
from relay.media import g711
from relay.media.riff import mended
from relay.media.wav import RawEncoding, RawFormat, decode_raw, decode_wav, read_wav
from tests.support.recordings import KINDS, NO_WAV, STREAMED, Floats, alaw, alaw_levels, chunk, layout, riff, sine, wav

FORM = chunk(b"fmt ", layout(1, 1, 8000, 16))
DS64 = chunk(b"ds64", struct.pack("<QQQI", 64, 20, 10, 0))
TEN = np.arange(10, dtype="<i2").tobytes()
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


@pytest.mark.parametrize(
    "content",
    [
        riff(FORM, chunk(b"data", TEN, 0), size=36),
        riff(FORM, LIST, chunk(b"data", TEN, 0xFFFFFFFF), size=0xFFFFFFFF) + b"x",
        riff(FORM, chunk(b"data", TEN), LIST),
        riff(FORM, chunk(b"data", TEN), LIST, size=0),
        riff(chunk(b"JUNK", bytes(27)), FORM, chunk(b"data", TEN)),
        riff(FORM, chunk(b"data", TEN)) + b"\0",
        riff(DS64, FORM, chunk(b"data", TEN, 0xFFFFFFFF), LIST, name=b"RF64"),
        riff(chunk(b"ds64", bytes(28)), FORM, chunk(b"data", TEN), LIST),
        riff(chunk(b"fmt ", layout(1, 1, 8000, 16) + b"\0\0"), chunk(b"data", TEN)),
        riff(chunk(b"fmt ", layout(1, 1, 8000, 16) + b"\0"), chunk(b"data", TEN)),
    ],
    ids=[
        "killed recorder",
        "pipe",
        "list behind",
        "unfinished",
        "junk before",
        "padded",
        "RF64",
        "no RF64",
        "18",
        "17",
    ],
)
def test_samples_are_found_and_nothing_else_is_taken_for_samples(content: bytes) -> None:
    assert decode_wav(content).samples.tolist() == list(range(10))


def test_a_finished_file_without_a_sample_is_empty_even_if_a_chunk_follows() -> None:
    assert len(decode_wav(riff(FORM, chunk(b"data", b""), LIST)).samples) == 0


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (riff(FORM, chunk(b"data", TEN, 40)), "cut short, 10 of 20 samples are there"),
        (riff(FORM, chunk(b"data", TEN))[:-6], "cut short, 7 of 10"),
        (riff(FORM, LIST)[:-3], "ends within its header"),
        (riff(FORM), "ends within its header"),
        (riff(FORM, chunk(b"LIST", b"", 0xFFFFFFF0), chunk(b"data", TEN)), "ends within its header"),
        (riff(FORM, *[chunk(b"junk", b"")] * 2000, chunk(b"data", TEN)), "ends within its header"),
        (riff(chunk(b"data", TEN)), "does not say its format"),
        (riff(chunk(b"fmt ", layout(1, 1, 8000, 16)[:14]), chunk(b"data", TEN)), "does not say its format"),
        (riff(chunk(b"fmt ", layout(1, 1, 8000, 16, block=4)), chunk(b"data", TEN)), "1 x 16 bits in 4 bytes"),
        (riff(chunk(b"fmt ", layout(1, 1, 8000, 16, block=0)), chunk(b"data", TEN)), "contradicts itself"),
        (riff(chunk(b"fmt ", layout(3, 1, 8000, 16)), chunk(b"data", TEN)), "contradicts itself"),
        (riff(chunk(b"fmt ", layout(1, 1, 8000, 64)), chunk(b"data", TEN)), "contradicts itself"),
        (riff(chunk(b"fmt ", layout(6, 1, 8000, 16)), chunk(b"data", TEN)), "contradicts itself"),
    ],
)
def test_a_file_that_is_broken_says_how(content: bytes, said: str) -> None:
    with pytest.raises(RecordingBroken, match=said):
        decode_wav(content)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no WAV file"),
        (b"RIFF", "no WAV file"),
        (b"RIFF\x24\0\0\0AVI LIST", "no WAV file"),
        *((content, "no WAV file") for content in NO_WAV.values()),
        (riff(chunk(b"fmt ", layout(2, 1, 8000, 4)), chunk(b"data", TEN)), "samples are ADPCM"),
        (riff(chunk(b"fmt ", layout(0x11, 1, 8000, 4)), chunk(b"data", TEN)), "samples are IMA ADPCM"),
        (riff(chunk(b"fmt ", layout(0x31, 1, 8000, 0)), chunk(b"data", TEN)), "samples are GSM"),
        (riff(chunk(b"fmt ", layout(0x55, 1, 8000, 0)), chunk(b"data", TEN)), "samples are MP3"),
        (riff(chunk(b"fmt ", layout(0x1234, 1, 8000, 16)), chunk(b"data", TEN)), "unknown kind, 0x1234"),
        (riff(chunk(b"fmt ", layout(1, 1, 0, 16)), chunk(b"data", TEN)), "0 Hz, wanted 4000 to 192000"),
        (riff(chunk(b"fmt ", layout(1, 1, 3999, 16)), chunk(b"data", TEN)), "3999 Hz, wanted"),
        (riff(chunk(b"fmt ", layout(1, 1, 2**31, 16)), chunk(b"data", TEN)), "2147483648 Hz, wanted"),
        (riff(chunk(b"fmt ", layout(1, 0, 8000, 16)), chunk(b"data", TEN)), "0 channels, wanted 1 to 8"),
        (riff(chunk(b"fmt ", layout(1, 9, 8000, 16)), chunk(b"data", bytes(180))), "9 channels, wanted 1 to 8"),
    ],
)
def test_another_format_is_refused_by_its_name(content: bytes, said: str) -> None:
    with pytest.raises(FormatMismatch, match=said):
        decode_wav(content)


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


HEADERS = st.builds(
    layout,
    st.sampled_from([1, 3, 6, 7, 2, 0x11, 0x55, 0xFFFE]) | st.integers(0, 0xFFFF),
    st.integers(0, 9) | st.integers(0, 0xFFFF),
    st.sampled_from([8000, 44100]) | st.integers(0, 2**32 - 1),
    st.sampled_from([0, 8, 12, 16, 20, 24, 32, 64]),
    extensible=st.booleans(),
    block=st.integers(0, 9) | st.just(-1),
)
CHUNKS = st.builds(
    chunk,
    st.sampled_from([b"fmt ", b"data", b"LIST", b"ds64", b"fact"]),
    st.binary(max_size=60) | HEADERS,
    st.none() | st.sampled_from(STREAMED) | st.integers(0, 2**32 - 1),
)


@settings(max_examples=300)
@given(st.binary(max_size=100) | st.lists(CHUNKS, max_size=6).map(lambda chunks: riff(*chunks)))
def test_whatever_the_bytes_there_is_a_sound_or_a_refusal_in_one_line(content: bytes) -> None:
    told, samples = "", np.zeros(0, np.int16)
    try:
        samples = decode_wav(content).samples
    except FormatMismatch as error:
        told = str(error)

    assert told.isprintable()
    assert (samples.dtype.name, len(samples) <= len(content)) == ("int16", True)


@given(st.lists(CHUNKS, max_size=6).map(lambda chunks: riff(FORM, *chunks)))
def test_a_file_that_was_mended_needs_no_mending(content: bytes) -> None:
    try:
        once = mended(content)
    except FormatMismatch:
        return
    assert mended(once) == once


def test_the_encoder_of_these_tests_is_the_standards() -> None:
    """Guards the guard: values of ITU-T G.711, table 1a, in 16 bits, at both ends."""
    assert alaw(np.array([0.0, 32256 / 32768, -32256 / 32768])) in {b"\xd5\xaa\x2a", b"\x55\xaa\x2a"}
