"""The messages of a media stream are Twilio's, key by key."""

import base64
import json

from relay.standin.phone.stream import StreamMessages


def test_the_messages_are_twilios_key_by_key() -> None:
    out = StreamMessages("AC1", "CA1", "MZ1")
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
