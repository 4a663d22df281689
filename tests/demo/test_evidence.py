"""Both sides' recordings are put in one form: 8 kHz samples, and seconds since the call was placed."""

import base64
import json
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from relay.demo.child import Daemon
from relay.demo.evidence import Evidence, energy_onset_ms, gather
from relay.demo.story import AT_CUT, StoryRecord
from relay.media.comfort import comfort_frames
from relay.media.frames import TELEPHONE, WIDEBAND, AudioFormat
from relay.standin.assistant.call import AssistantCall
from relay.standin.assistant.record import SocketRecord
from relay.standin.phone import Phone, PhoneOptions
from relay.standin.phone.lips import Lips, Saying
from relay.standin.phone.media import MediaStream
from relay.standin.phone.player import Player
from relay.standin.phone.stream import StreamMessages
from relay.standin.phrases import spoken
from relay.standin.sound import Samples, mulaw_to_samples, samples_to_mulaw, tone

PLACED_S = 100.0
STREAM_S = 101.0
ONE, TWO, THREE = (bytes([code]) for code in (0x80, 0x90, 0xA0))


def sample(code: bytes) -> int:
    return int(mulaw_to_samples(code)[0])


def runs(samples: Samples) -> list[tuple[int, int]]:
    """The samples as (value, how often it comes in a row)."""
    edges = np.flatnonzero(np.diff(samples)) + 1
    pieces = np.split(samples, edges) if len(samples) else []
    return [(int(piece[0]), len(piece)) for piece in pieces]


def media(audio: bytes) -> str:
    return json.dumps({"event": "media", "streamSid": "MZ1", "media": {"payload": base64.b64encode(audio).decode()}})


CLEAR = json.dumps({"event": "clear", "streamSid": "MZ1"})


def phone_with(player: Player | None) -> Phone:
    phone = Phone(PhoneOptions(), "CA1", PLACED_S, Lips(PLACED_S), end="caller_hangup", ended_s=PLACED_S + 60)
    if player is not None:
        phone.streams.append(MediaStream(player, StreamMessages("AC1", "CA1", "MZ1"), phone.lips))
    return phone


def call_with(*events: tuple[float, bytes | dict[str, Any]], form: AudioFormat = TELEPHONE) -> AssistantCall:
    """A call of the assistant that sent these, each at its time."""
    record = SocketRecord(form, 60.0)
    for at_s, sent in events:
        if isinstance(sent, bytes):
            record.sent.add(at_s, sent)
        else:
            record.note(at_s, outgoing=True, message=sent)
    return cast(
        "AssistantCall", SimpleNamespace(record=record, sent=record.sent, received=record.received, ended_reason="x")
    )


def daemon_with(*events: str) -> Daemon:
    records = [{"event": event, "number": number} for number, event in enumerate(events)]
    return cast(
        "Daemon",
        SimpleNamespace(
            records=records,
            exit_status=0,
            record=lambda name: next((record for record in records if record["event"] == name), None),
        ),
    )


def started(role: str = "assistant") -> dict[str, Any]:
    return {"type": "speech-update", "role": role, "status": "started"}


def gathered(
    *,
    player: Player | None = None,
    calls: list[AssistantCall] | None = None,
    story: StoryRecord | None = None,
    phone: Phone | None = None,
    daemon: Daemon | None = None,
) -> Evidence:
    return gather(
        story or StoryRecord(),
        phone or phone_with(player or Player("MZ1", STREAM_S)),
        [call_with()] if calls is None else calls,
        daemon or daemon_with(),
        12.5,
    )


def test_without_a_call_only_the_reasons_are_known() -> None:
    phone = phone_with(None)
    phone.troubles.append("11200: refused")
    daemon = daemon_with("daemon.ready")

    none = gathered(phone=phone, daemon=daemon)
    assert (none.broken, none.daemon_exit, none.phone_end) == ("no call; 11200: refused", 0, None)
    told = gathered(phone=phone, daemon=daemon, story=StoryRecord(broken="the media stream did not open"))
    assert told.broken == "the media stream did not open; 11200: refused"


def test_what_the_caller_heard_is_divided_at_the_clear() -> None:
    player = Player("MZ1", STREAM_S)
    player.receive(media(ONE * 8000), STREAM_S)
    player.receive(CLEAR, STREAM_S + 0.5)
    player.receive(media(TWO * 800), STREAM_S + 1.0)
    player.advance(STREAM_S + 2.0)
    found = gathered(player=player)

    assert runs(found.heard_before) == [(sample(ONE), 4000)]
    assert runs(found.heard_after) == [(0, 4000), (sample(TWO), 800), (0, 7200)]
    assert list(found.clears_s) == [1.5]
    assert found.cleared_ms == pytest.approx(500)


def test_what_arrived_after_the_clear_counts_whether_it_was_heard_or_not() -> None:
    player = Player("MZ1", STREAM_S)
    player.receive(media(ONE * 800), STREAM_S)
    player.receive(CLEAR, STREAM_S + 0.5)
    player.receive(media(TWO * 800), STREAM_S + 0.5)
    player.receive(CLEAR, STREAM_S + 0.5)
    player.receive(media(THREE * 160), STREAM_S + 0.5)

    assert runs(gathered(player=player).arrived_after) == [(sample(TWO), 800), (sample(THREE), 160)]


def test_without_a_clear_nothing_came_after_it() -> None:
    player = Player("MZ1", STREAM_S)
    player.receive(media(ONE * 800), STREAM_S)
    player.advance(STREAM_S + 0.1)
    found = gathered(player=player)

    assert runs(found.heard_before) == [(sample(ONE), 800)]
    assert (len(found.heard_after), len(found.arrived_after), found.cleared_ms) == (0, 0, 0.0)


def test_a_hole_is_known_by_the_sample_behind_it() -> None:
    player = Player("MZ1", STREAM_S)
    player.receive(media(ONE * 160), STREAM_S)
    player.receive(media(ONE * 160), STREAM_S + 0.0625)

    assert list(gathered(player=player).underruns) == [(500, 42.5)]


def test_what_the_assistant_sent_is_divided_at_its_second_turn_and_at_the_clear() -> None:
    player = Player("MZ1", STREAM_S)
    player.receive(CLEAR, STREAM_S + 4.0)
    call = call_with(
        (STREAM_S, started()),
        (STREAM_S + 1.0, ONE * 800),
        (STREAM_S + 1.5, started("user")),
        (STREAM_S + 2.0, started()),
        (STREAM_S + 3.0, TWO * 800),
        (STREAM_S + 5.0, THREE * 400),
    )
    found = gathered(player=player, calls=[call])

    assert runs(found.greeting) == [(sample(ONE), 800)]
    assert runs(found.old_turn) == [(sample(TWO), 800), (sample(THREE), 400)]
    assert runs(found.sent_late) == [(sample(THREE), 400)]


def test_the_second_call_sent_the_new_turn_and_received_the_rest() -> None:
    first, second = call_with((STREAM_S, ONE * 80)), call_with((STREAM_S, TWO * 80))
    first.received.add(STREAM_S, ONE * 40)
    second.received.add(STREAM_S, THREE * 40)
    found = gathered(calls=[first, second])

    assert runs(found.new_turn) == [(sample(TWO), 80)]
    assert runs(found.received) == [(sample(ONE), 40)]
    assert runs(found.received_again) == [(sample(THREE), 40)]
    assert len(gathered(calls=[first]).new_turn) == len(gathered(calls=[first]).received_again) == 0


def test_audio_of_16_khz_is_compared_at_8() -> None:
    found = gathered(calls=[call_with((STREAM_S, tone(440, 0.5).astype("<i2").tobytes()), form=WIDEBAND)])

    assert len(found.greeting) == 4000
    assert np.abs(found.greeting).max() == pytest.approx(8192, rel=0.05)


def test_an_odd_last_byte_is_left_out() -> None:
    assert len(gathered(calls=[call_with((STREAM_S, bytes(1601)), form=WIDEBAND)]).greeting) == 400


def test_what_the_caller_said_is_divided_around_the_sentence_of_the_cut() -> None:
    """The frame before it and 200 ms after it belong to the sentence: so much is still on its way."""
    phone = phone_with(Player("MZ1", STREAM_S))
    phone.lips.said += ONE * 8000 * 5
    story = StoryRecord(sayings={AT_CUT: Saying(b"", PLACED_S + 1.0, PLACED_S + 2.0)})
    found = gathered(phone=phone, story=story)

    assert (len(found.said), len(found.said_at_cut), len(found.said_later)) == (7840, 9760, 22400)
    assert len(gathered(phone=phone).said) == 40_000
    assert len(gathered(phone=phone).said_at_cut) == 0


def test_the_interruption_begins_with_its_first_sound() -> None:
    story = StoryRecord(sayings={"stop": Saying(b"", PLACED_S + 7.0)})
    onset_s = gathered(story=story).onset_s

    assert onset_s == pytest.approx(7.0 + energy_onset_ms(spoken("stop", TELEPHONE)) / 1000)
    assert gathered().onset_s is None


def test_the_first_sound_of_a_recording_is_its_first_audible_frame() -> None:
    quiet, loud = b"\xff" * 800, samples_to_mulaw(tone(440, 0.5, 8000))

    assert energy_onset_ms(quiet + loud) == pytest.approx(100, abs=20)
    assert energy_onset_ms(quiet) == 0.0


def test_the_daemons_lines_and_the_ends_of_all_sides_are_there() -> None:
    daemon = daemon_with("bargein.flushed", "assistant.reconnected", "call.ended", "bargein.flushed")
    found = gathered(daemon=daemon)

    assert [record["number"] for record in found.flushes] == [0, 3]
    assert [record["number"] for record in found.reconnects] == [1]
    assert found.ended is not None
    assert found.ended["number"] == 2
    assert (found.phone_end, found.assistant_end, found.daemon_exit) == ("caller_hangup", "x", 0)
    assert found.stood_still_ms == 12.5


def test_the_sound_that_fills_the_wait_is_the_relays_own() -> None:
    assert len(gathered().comfort) == 2 * len(b"".join(comfort_frames(TELEPHONE)))
