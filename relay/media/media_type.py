"""Tells what audio a body holds, by its media type, and by its first bytes where the type does not say.

Noise at full scale is what a listener gets if anything else is taken for PCM. So a type that names a format is
believed, one that the relay does not know is refused, and a body of no type, or of a type that tools put on anything,
is PCM unless it begins as something else does. Each such beginning is long enough, 30 bits or more of it fixed, that
PCM does not look like it by chance.
"""

import re
from collections.abc import Callable, Mapping

from relay.errors import FormatMismatch
from relay.media.riff import is_wav
from relay.media.sound import check_layout
from relay.media.wav import RawEncoding, RawFormat

HEAD_BYTES = 4096
"""So many of the first bytes are enough to judge: three frames of MP3 at the highest rate."""
PLAIN = RawFormat(RawEncoding.PCM_S16, 16_000)
"""What a body is if nothing else is said: as a session speaks, so that nothing is converted."""

_SAYS_NOTHING = {"", "application/octet-stream", "application/x-www-form-urlencoded"}
"""curl and other tools put the last on any body."""
_WAV = {"audio/wav", "audio/x-wav", "audio/wave", "audio/vnd.wave"}
_RAW = {
    "audio/pcm": PLAIN,
    "audio/basic": RawFormat(RawEncoding.MULAW, 8000),  # RFC 2046, section 4.3
    "audio/pcmu": RawFormat(RawEncoding.MULAW, 8000),  # RFC 4856
    "audio/pcma": RawFormat(RawEncoding.ALAW, 8000),
    "audio/x-mulaw": RawFormat(RawEncoding.MULAW, 8000),  # Twilio's name
    "audio/x-alaw": RawFormat(RawEncoding.ALAW, 8000),
    "audio/l16": RawFormat(RawEncoding.PCM_S16, 0, big_endian=True),  # RFC 2586 and 4856: there is no usual rate
}
_WANTED = (
    "send WAV, audio/basic, audio/PCMU, audio/PCMA, audio/L16;rate=HZ, or audio/pcm: 16-bit little-endian samples, "
    "mono, 16000 Hz if rate= does not say another"
)
_BEGINNINGS = {
    "Ogg": rb"OggS\0\x02\0{8}",
    "FLAC": rb"fLaC[\0\x80]\0\0\x22",
    "MP3": rb"ID3[\x02-\x04]\0[\0\x10\x20\x40\x80\xc0\xe0][\0-\x7f]{4}",
    "WebM or Matroska": rb"\x1a\x45\xdf\xa3.{0,60}(webm|matroska)",
    "MP4": rb"\0\0..ftyp[ -~]{4}",
    "gzip": rb"\x1f\x8b\x08[\0-\x1f].{4}[\0\x02\x04][\0-\x0d\xff]",
    "ZIP": rb"PK\x03\x04[\x0a-\x3f]\0.[\0-\x28][\0\x08\x09\x0c\x0e\x5d\x5f]\0.{16}"
    rb"[\x01-\xff]\0..[ -~\xc3-\xf4][ -~\x80-\xf4]",  # to the first two letters of a name
    "a form in parts": rb"--[!-~ ]{1,70}\r\n[!-~]+:",
    "AIFF": rb"FORM.{4}AIF[FC]",
    "AU": rb"\.snd\0\0.{6}\0\0\0[\x01-\x1b]",
    "AMR": rb"#!AMR",
    "CAF": rb"caff\0\x01\0\0",
    "big-endian WAV": rb"RIFX.{4}WAVE",
}
_NAMED = {name: re.compile(beginning, re.DOTALL) for name, beginning in _BEGINNINGS.items()}
_TEXT = re.compile(rb"[\t\r\n -~]*")
_TEXT_BYTES = 512
_MPEG_KBPS = {  # ISO/IEC 11172-3 and 13818-3, by version (1, or 2 and 2.5) and layer
    (1, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}


def judge(media_type: str, parameters: Mapping[str, str], head: bytes) -> RawFormat | None:
    """Return how the body is to be read, or None for WAV, which says so itself.

    `media_type` and `parameters` are those of Content-Type, the type "" if there is none; `head` is the body's first
    `HEAD_BYTES`, or all of it. Raises `FormatMismatch`, which says what it is and what to send instead.
    """
    media_type = media_type.strip().lower()
    if raw := _RAW.get(media_type):
        return _with(parameters, raw, media_type)
    if media_type in _WAV:
        if not is_wav(head):
            raise _refused(f"a body of the type {media_type} that does not begin as WAV does")
        return None
    if media_type not in _SAYS_NOTHING:
        raise _refused(f"a body of the type {media_type[:80]!r}")
    if is_wav(head):
        return None
    if name := _name(head):
        raise _refused(f"{name}, by its first bytes, and not the PCM of a body without a type")
    return PLAIN


def _with(parameters: Mapping[str, str], raw: RawFormat, media_type: str) -> RawFormat:
    """Return the format as its parameters change it. One that is not known might change how the samples are read."""
    if strange := sorted(parameters.keys() - {"rate", "channels"}):
        raise _refused(f"{media_type} with {strange[0][:40]!r}")
    try:
        rate_hz, channels = int(parameters.get("rate", raw.rate_hz)), int(parameters.get("channels", raw.channels))
        check_layout(rate_hz, channels)
    except (ValueError, FormatMismatch):
        shown = ";".join(f"{name}={value[:20]}" for name, value in sorted(parameters.items()))
        raise _refused(f"{media_type} with the parameters {shown!r}") from None
    return RawFormat(raw.encoding, rate_hz, channels, raw.big_endian)


def _name(head: bytes) -> str | None:
    """Return what begins so, or None if nothing is known to."""
    for name, beginning in _NAMED.items():
        if beginning.match(head):
            return name
    if _is_text(head):
        return "text"
    if _is_chain(head, _mpeg_frame_bytes):
        return "MP3"
    return "AAC" if _is_chain(head, _adts_frame_bytes) else None


def _is_text(head: bytes) -> bool:
    """Whether it is JSON, base64 and the like: printable, and not a few bytes that repeat."""
    start = head[:_TEXT_BYTES]
    return len(start) >= 16 and len(set(start)) >= 8 and _TEXT.fullmatch(start) is not None


def _is_chain(head: bytes, frame_bytes: Callable[[bytes], int | None]) -> bool:
    """Whether three frames follow each other."""
    at = 0
    for _ in range(3):
        length = frame_bytes(head[at : at + 7])
        if length is None:
            return False
        at += length
    return True


def _mpeg_frame_bytes(header: bytes) -> int | None:
    """Return the length of a frame of MPEG audio, ISO/IEC 11172-3, section 2.4.1.3; None if it is none."""
    if len(header) < 4 or header[0] != 0xFF or header[1] < 0xE0:
        return None
    version, layer = (header[1] >> 3) & 3, 4 - ((header[1] >> 1) & 3)
    bitrate, rate = header[2] >> 4, (header[2] >> 2) & 3
    if version == 1 or layer == 4 or bitrate in {0, 15} or rate == 3:
        return None
    kbps = _MPEG_KBPS[1 if version == 3 else 2, layer][bitrate - 1]
    rate_hz = (44_100, 48_000, 32_000)[rate] // {3: 1, 2: 2, 0: 4}[version]
    padding = (header[2] >> 1) & 1
    if layer == 1:
        return (12_000 * kbps // rate_hz + padding) * 4
    samples = 576 if layer == 3 and version != 3 else 1152
    return samples // 8 * 1000 * kbps // rate_hz + padding


def _adts_frame_bytes(header: bytes) -> int | None:
    """Return the length of a frame of AAC in ADTS, ISO/IEC 13818-7, section 6.2; None if it is none."""
    if len(header) < 7 or header[0] != 0xFF or header[1] & 0xF6 != 0xF0 or (header[2] >> 2) & 15 > 12:
        return None
    length = (header[3] & 3) << 11 | header[4] << 3 | header[5] >> 5
    return length if length > 7 else None


def _refused(what: str) -> FormatMismatch:
    return FormatMismatch(f"{what} is not taken for audio: {_WANTED}")
