"""What a body is taken for: PCM is never refused by chance, and nothing else is taken for PCM."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import FormatMismatch
from relay.media.media_type import HEAD_BYTES, PLAIN, judge
from relay.media.wav import RawEncoding, RawFormat
from tests.support.recordings import NO_WAV, sine, wav

UNSAID = ["", "application/octet-stream", "Application/Octet-Stream", "application/x-www-form-urlencoded"]
MU, A, L16 = RawEncoding.MULAW, RawEncoding.ALAW, RawEncoding.PCM_S16


def noise(seed: int, level: float, n_samples: int = HEAD_BYTES // 2) -> bytes:
    return np.random.default_rng(seed).normal(0, level, n_samples).clip(-32768, 32767).astype("<i2").tobytes()


@pytest.mark.parametrize(
    ("media_type", "parameters", "form"),
    [
        ("audio/pcm", {}, PLAIN),
        ("audio/pcm", {"rate": "24000", "channels": "2"}, RawFormat(L16, 24000, 2)),
        ("audio/basic", {}, RawFormat(MU, 8000)),
        ("audio/PCMU", {}, RawFormat(MU, 8000)),
        ("audio/PCMU", {"rate": "16000"}, RawFormat(MU, 16000)),
        ("audio/PCMA", {"rate": "8000", "channels": "2"}, RawFormat(A, 8000, 2)),
        ("audio/x-mulaw", {}, RawFormat(MU, 8000)),
        ("audio/L16", {"rate": "8000"}, RawFormat(L16, 8000, 1, big_endian=True)),
        ("audio/l16", {"rate": "44100", "channels": "2"}, RawFormat(L16, 44100, 2, big_endian=True)),
    ],
)
def test_a_type_that_says_its_format_is_believed(media_type: str, parameters: dict[str, str], form: RawFormat) -> None:
    """Whatever the first bytes look like."""
    for head in (b"", noise(1, 3000), wav(sine(8000), 8000), *NO_WAV.values()):
        assert judge(media_type, parameters, head) == form


@pytest.mark.parametrize("kind", NO_WAV)
@pytest.mark.parametrize("media_type", UNSAID)
def test_what_begins_as_something_else_is_refused_where_the_type_says_nothing(media_type: str, kind: str) -> None:
    with pytest.raises(FormatMismatch, match=r"by its first bytes.* send WAV"):
        judge(media_type, {}, NO_WAV[kind] * 9 if kind in {"JSON", "base64"} else NO_WAV[kind] + noise(1, 3000))


@pytest.mark.parametrize("media_type", [*UNSAID, "audio/wav", "audio/x-wav", "Audio/Wave", "audio/vnd.wave"])
def test_wav_is_known_by_its_first_bytes(media_type: str) -> None:
    assert judge(media_type, {}, wav(sine(8000), 8000)[:HEAD_BYTES]) is None


@pytest.mark.parametrize("head", [b"", b"RIFF", noise(1, 3000), *NO_WAV.values()])
def test_what_is_called_wav_and_is_none_is_refused(head: bytes) -> None:
    with pytest.raises(FormatMismatch, match="does not begin as WAV"):
        judge("audio/wav", {}, head)


@pytest.mark.parametrize(
    "media_type",
    [
        *("audio/mpeg", "audio/ogg", "audio/webm", "video/webm", "audio/flac", "audio/mp4", "audio/aac", "audio/opus"),
        *("multipart/form-data", "application/json", "text/plain", "application/gzip", "audio", "*/*", "x" * 999),
    ],
)
def test_a_type_that_is_not_known_is_refused_whatever_the_bytes(media_type: str) -> None:
    for head in (b"", noise(1, 3000), wav(sine(8000), 8000)):
        with pytest.raises(FormatMismatch, match="is not taken for audio: send WAV") as caught:
            judge(media_type, {}, head)
        assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("media_type", "parameters"),
    [
        ("audio/L16", {}),
        ("audio/L16", {"channels": "1"}),
        ("audio/L16", {"rate": "8000", "endianness": "little-endian"}),
        ("audio/L16", {"rate": "eight"}),
        ("audio/L16", {"rate": "9" * 5000}),
        ("audio/PCMU", {"rate": "-8000"}),
        ("audio/PCMU", {"channels": "0"}),
        ("audio/pcm", {"channels": "99"}),
        ("audio/pcm", {"bits": "24"}),
    ],
)
def test_parameters_that_are_missing_strange_or_out_of_range_are_refused(
    media_type: str, parameters: dict[str, str]
) -> None:
    with pytest.raises(FormatMismatch, match=f"{media_type.lower()} with "):
        judge(media_type, parameters, noise(1, 3000))


@given(st.integers(0, 2**32), st.sampled_from([0, 1, 30, 1000, 8000, 30000]), st.integers(0, HEAD_BYTES // 2))
def test_pcm_is_never_taken_for_something_else(seed: int, level: float, n_samples: int) -> None:
    assert judge("", {}, noise(seed, level, n_samples)) == PLAIN


BEGINNINGS = [
    *(b"RIFF", b"RF64", b"OggS", b"fLaC", b"ID3\x04", b"\x1a\x45\xdf\xa3", b"\x1f\x8b", b"PK\x03\x04", b"FORM"),
    *(b".snd", b"caff", b"--", b"{", b'{"', b"\xff\xfb\x90\x64", b"\xff\xf1\x50\x80", b"\0\0\0\x1c"),
]  # fmt: skip


@pytest.mark.parametrize("level", [300, 8000])
@pytest.mark.parametrize("beginning", BEGINNINGS)
def test_pcm_that_begins_by_chance_like_something_else_is_still_pcm(beginning: bytes, level: float) -> None:
    for seed in range(200):
        assert judge("", {}, beginning + noise(seed, level, 100)) == PLAIN


@pytest.mark.parametrize("head", [b"a" * 4096, b"ab" * 2048, b"\x20\x20\x30\x30" * 1024, b"{}", b"--", b"ID3"])
def test_a_few_bytes_or_the_same_ones_over_and_over_are_pcm(head: bytes) -> None:
    assert judge("", {}, head) == PLAIN


@given(st.text(max_size=30), st.dictionaries(st.text(max_size=9), st.text(max_size=9), max_size=3), st.binary())
def test_whatever_the_type_and_the_bytes_there_is_a_format_or_a_refusal(
    media_type: str, parameters: dict[str, str], head: bytes
) -> None:
    try:
        form = judge(media_type, parameters, head)
    except FormatMismatch:
        return
    assert form is None or form.block_bytes


def mpeg(header: str, length: int) -> bytes:
    return (bytes.fromhex(header) + bytes(length - 4)) * 3


@pytest.mark.parametrize(
    "frames",
    [
        mpeg("fffb9064", 417),  # MPEG-1 layer III, 128 kbit/s, 44.1 kHz
        mpeg("fffb9264", 418),  # the same, padded
        mpeg("fffbe044", 1044),  # 320 kbit/s
        mpeg("fff384c4", 192),  # MPEG-2 layer III, 64 kbit/s, 24 kHz
        mpeg("ffe348c4", 288),  # MPEG-2.5 layer III, 32 kbit/s, 8 kHz
        mpeg("fffd8404", 384),  # MPEG-1 layer II, 128 kbit/s, 48 kHz
        mpeg("ffff8404", 256),  # MPEG-1 layer I, 256 kbit/s, 48 kHz
    ],
)
def test_mp3_without_a_tag_is_known_by_frames_that_follow_each_other(frames: bytes) -> None:
    with pytest.raises(FormatMismatch, match="MP3"):
        judge("", {}, frames)
    assert judge("", {}, frames[:4] + noise(1, 3000)) == PLAIN
