"""Headers of WAV files as tools write them: the samples are found, and what is broken or no PCM is refused by name."""

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.errors import FormatMismatch, RecordingBroken
from relay.media.riff import mended
from relay.media.wav import decode_wav
from tests.support.recordings import NO_WAV, STREAMED, chunk, layout, riff

FORM = chunk(b"fmt ", layout(1, 1, 8000, 16))
DS64 = chunk(b"ds64", struct.pack("<QQQI", 64, 20, 10, 0))
TEN = np.arange(10, dtype="<i2").tobytes()
LIST = chunk(b"LIST", b"INFOISFT\x0e\0\0\0Lavf61.1.100\0\0")


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
        mended(content)


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
        mended(content)


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
