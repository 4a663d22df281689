"""The player plays, clears, counts marks and warns as Twilio does, and loses nothing."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.standin.phone.player import Player
from relay.standin.sound import samples_to_mulaw, tone

SID = "MZ1"


def media(data: bytes, **changes: Any) -> str:
    body = {"event": "media", "streamSid": SID, "media": {"payload": base64.b64encode(data).decode()}, **changes}
    return json.dumps(body)


def mark(name: str) -> str:
    return json.dumps({"event": "mark", "streamSid": SID, "mark": {"name": name}})


CLEAR = json.dumps({"event": "clear", "streamSid": SID})


def test_media_is_played_in_real_time_from_when_it_came() -> None:
    player = Player(SID, 10.0)
    player.receive(media(b"a" * 800), 10.05)
    player.advance(10.1)
    assert bytes(player.heard) == b"\xff" * 400 + b"a" * 400
    player.advance(10.2)
    assert bytes(player.heard) == b"\xff" * 400 + b"a" * 800 + b"\xff" * 400
    assert player.queued_ms == 0


def test_a_mark_returns_exactly_when_all_before_it_was_played() -> None:
    player = Player(SID, 10.0)
    player.receive(media(b"a" * 800), 10.0)
    assert player.receive(mark("m"), 10.0) == []
    player.receive(media(b"b" * 800), 10.0)
    assert player.next_mark_s() == pytest.approx(10.1)
    assert player.advance(10.0999) == []
    assert player.advance(10.1) == ["m"]
    assert player.next_mark_s() is None


def test_a_mark_returns_at_once_when_nothing_is_queued() -> None:
    player = Player(SID, 10.0)
    assert player.receive(mark("m"), 11.0) == ["m"]


def test_clear_empties_the_queue_and_returns_every_mark_at_once_in_order() -> None:
    player = Player(SID, 10.0)
    for name in "xyz":
        player.receive(media(b"a" * 1600), 10.0)
        player.receive(mark(name), 10.0)
    assert player.receive(CLEAR, 10.25) == ["x", "y", "z"]  # x was played meanwhile
    (clear,) = player.clears
    assert (clear.at_s, round(clear.cleared_ms), clear.marks) == (10.25, 350, 2)
    player.advance(11.0)
    assert player.heard.count(b"a") == 2000


def test_the_log_tells_what_came_after_a_clear() -> None:
    player = Player(SID, 10.0)
    player.receive(media(b"a" * 1600), 10.0)
    player.receive(mark("m"), 10.0)
    player.receive(CLEAR, 10.1)
    player.receive(media(b"b" * 160), 10.2)
    lines = [(line.kind, line.n_bytes, line.detail) for line in player.log]
    assert lines == [
        ("media", 1600, ""),
        ("mark", 0, "m"),
        ("clear", 800, ""),
        ("mark-returned", 0, "m (cleared)"),
        ("media", 160, ""),
    ]


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (b"\xff" * 160, 31950),
        ("hello", 31951),
        ("[]", 31951),
        pytest.param("[" * 100_000, 31951, id="deep"),
        ("{}", 31951),
        (json.dumps({"event": "dtmf", "streamSid": SID}), 31951),
        (media(b"a", extra=1), 31951),
        (media(b"a", streamSid="MZ2"), 31951),
        (media(b"a", media={"payload": "YQ==", "track": "outbound"}), 31951),
        (media(b"a", media={"payload": 7}), 31951),
        (media(b"a", media={"payload": "no base64!"}), 31951),
        (media(b""), 31951),
        (json.dumps({"event": "media", "media": {"payload": "YQ=="}}), 31951),
        (json.dumps({"event": "mark", "streamSid": SID, "mark": {}}), 31951),
        (json.dumps({"event": "mark", "streamSid": SID, "mark": {"name": 1}}), 31951),
        (json.dumps({"event": "clear", "streamSid": SID, "clear": {}}), 31951),
    ],
)
def test_a_message_that_twilio_would_drop_is_a_warning_and_nothing_else(message: str | bytes, code: int) -> None:
    player = Player(SID, 10.0)
    assert player.receive(message, 10.0) == []
    (warning,) = player.warnings
    assert warning.detail.startswith(str(code))
    player.advance(10.1)
    assert set(player.heard) == {0xFF}
    assert player.clears == []


@given(st.text() | st.binary())
def test_no_message_at_all_does_harm(message: str | bytes) -> None:
    player = Player(SID, 10.0)
    player.receive(message, 10.0)
    assert len(player.warnings) == 1


def test_a_hole_in_the_middle_of_audio_is_an_underrun_and_a_pause_is_not() -> None:
    player = Player(SID, 10.0)
    player.receive(media(b"a" * 160), 10.0)
    player.receive(media(b"a" * 160), 10.05)
    player.receive(media(b"a" * 160), 11.0)
    (underrun,) = player.underruns
    assert (underrun.at_s, round(underrun.gap_ms)) == (10.05, 30)


def test_what_follows_a_clear_is_no_underrun() -> None:
    player = Player(SID, 10.0)
    player.receive(media(b"a" * 800), 10.0)
    player.receive(CLEAR, 10.05)
    player.receive(media(b"a" * 160), 10.1)
    assert player.underruns == []


def test_only_audible_audio_counts_as_heard() -> None:
    player = Player(SID, 10.0)
    player.receive(media(b"\xff" * 8000 + samples_to_mulaw(tone(440, 0.5, 8000))), 10.0)
    player.advance(12.0)
    assert player.audible_ms == pytest.approx(500, abs=20)
    assert player.level_dbfs == -100


ACTIONS = st.lists(
    st.tuples(
        st.integers(0, 300), st.sampled_from(["media", "media", "mark", "clear", "advance"]), st.integers(1, 900)
    ),
    max_size=40,
)


@given(ACTIONS)
def test_every_byte_is_heard_once_or_cleared_and_every_mark_returns_once(actions: list[tuple[int, str, int]]) -> None:
    player = Player(SID, 0.0)
    now_s, sent = 0.0, 0
    names: list[str] = []
    returned: list[str] = []
    for pause_ms, action, size in actions:
        now_s += pause_ms / 1000
        match action:
            case "media":
                sent += size
                returned += player.receive(media(b"a" * size), now_s)
            case "mark":
                names.append(str(len(names)))
                returned += player.receive(mark(names[-1]), now_s)
            case "clear":
                returned += player.receive(CLEAR, now_s)
            case _:
                returned += player.advance(now_s)
        assert len(player.heard) == int(now_s * 8000 + 1e-6)
    returned += player.advance(now_s + 40 * 0.2)
    cleared = sum(round(clear.cleared_ms * 8) for clear in player.clears)
    assert player.heard.count(b"a") + cleared == sent
    assert returned == names
    assert player.warnings == []


def test_ten_minutes_of_audio_are_taken_and_more_is_refused_with_a_warning() -> None:
    player = Player("MZ1", 0.0)
    player.receive(media(bytes(600 * 8000)), 0.0)
    player.receive(media(bytes(160)), 0.0)
    assert player.queued_ms == 600_000
    assert [line.detail[:5] for line in player.warnings] == ["31931"]

    player.receive(media(bytes(160)), 0.02)
    assert player.queued_ms == 600_000
    assert len(player.warnings) == 1
