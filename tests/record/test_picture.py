"""The picture of a call for a ticket."""

from pathlib import Path

import pytest

from relay.record.entries import SpeechScore, Timed
from relay.record.picture import draw
from relay.record.sides import CallSides
from relay.record.timeline import timeline
from tests.support.recordings_of_calls import attached, call_of, ended, sent, spoken, told

BAD: list[Timed] = [
    told(0.9, "transcript.final", role="user", text="costs $5 $x_^"),
    told(1.0, "assistant.lost", error="no $pong", close_code=None),
    told(2.5, "assistant.reconnected", gap_ms=1500.0, replayed_ms=400, dropped_ms=20, attempt=1),
]


@pytest.mark.parametrize(
    "entries",
    [
        [attached(), *spoken(0.0, 200), *sent(1.0, 10), SpeechScore(0.5, 500.0, 0.75), *BAD, ended(4.0)],
        [told(0.0, "call.started"), ended(2.5)],
    ],
    ids=["trouble", "no caller"],
)
def test_a_picture_is_written_whatever_the_call_was(entries: list[Timed], tmp_path: Path) -> None:
    call = call_of(*entries)
    draw(timeline(call, CallSides(call)), tmp_path / "call.png")
    head = (tmp_path / "call.png").read_bytes()[:24]

    assert head.startswith(b"\x89PNG\r\n")
    assert (int.from_bytes(head[16:20]), int.from_bytes(head[20:24])) == (1760, 1045)


def test_a_picture_that_cannot_be_written_is_an_os_error(tmp_path: Path) -> None:
    call = call_of(attached(), ended(1.0))
    with pytest.raises(OSError, match="no"):
        draw(timeline(call, CallSides(call)), tmp_path / "no" / "call.png")
