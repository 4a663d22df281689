"""The messages of a media stream are Twilio's, key by key."""

import base64
import json

import pytest

from relay.standin.phone.stream import Clock, StreamMessages


def test_the_messages_are_twilios_key_by_key() -> None:
    out = StreamMessages("AC1", "CA1", "MZ1", "exact")
    messages = [
        json.loads(text)
        for text in (
            out.connected(),
            out.start({"token": "t"}),
            out.media(b"\xff" * 160),
            out.media(b"\x00" * 160),
            out.dtmf("5"),
            out.mark("m"),
            out.stop(),
        )
    ]
    quiet, loud = (base64.b64encode(byte * 160).decode() for byte in (b"\xff", b"\x00"))
    assert messages == [
        {"event": "connected", "protocol": "Call", "version": "1.0.0"},
        {
            "event": "start",
            "sequenceNumber": "1",
            "streamSid": "MZ1",
            "start": {
                "accountSid": "AC1",
                "streamSid": "MZ1",
                "callSid": "CA1",
                "tracks": ["inbound"],
                "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
                "customParameters": {"token": "t"},
            },
        },
        {
            "event": "media",
            "sequenceNumber": "2",
            "streamSid": "MZ1",
            "media": {"track": "inbound", "chunk": "1", "timestamp": "0", "payload": quiet},
        },
        {
            "event": "media",
            "sequenceNumber": "3",
            "streamSid": "MZ1",
            "media": {"track": "inbound", "chunk": "2", "timestamp": "20", "payload": loud},
        },
        {
            "event": "dtmf",
            "sequenceNumber": "4",
            "streamSid": "MZ1",
            "dtmf": {"track": "inbound_track", "digit": "5"},
        },
        {"event": "mark", "sequenceNumber": "5", "streamSid": "MZ1", "mark": {"name": "m"}},
        {"event": "stop", "sequenceNumber": "6", "streamSid": "MZ1", "stop": {"accountSid": "AC1", "callSid": "CA1"}},
    ]


def stamps(out: StreamMessages, n_frames: int) -> list[int]:
    return [int(json.loads(out.media(b"\xff" * 160))["media"]["timestamp"]) for _ in range(n_frames)]


def test_live_time_stamps_begin_late_and_stray_from_the_step_of_20() -> None:
    stamped = stamps(StreamMessages("AC1", "CA1", "MZ1"), 1000)
    strays = [stamp - 20 * frame - 155 for frame, stamp in enumerate(stamped)]

    assert stamped[0] == 155
    assert sorted(stamped) == stamped
    assert any(stamp % 20 for stamp in stamped)
    assert max(map(abs, strays)) < 10
    assert abs(sum(strays)) / len(strays) < 1


@pytest.mark.parametrize("clock", ["live", "exact"])
def test_audio_that_was_discarded_shows_in_the_time_stamps_alone(clock: Clock) -> None:
    out, whole = StreamMessages("AC1", "CA1", "MZ1", clock), StreamMessages("AC1", "CA1", "MZ1", clock)
    out.media(b"\xff" * 160)
    for _ in range(50):
        out.discard()
    after = json.loads(out.media(b"\xff" * 160))

    assert (after["sequenceNumber"], after["media"]["chunk"]) == ("2", "2")
    assert int(after["media"]["timestamp"]) == stamps(whole, 52)[-1]
