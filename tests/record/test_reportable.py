"""Of what is found fit for a report, each form of one can be made; of anything else one line says why not."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from relay.errors import NotARecording
from relay.record.entries import (
    BufferTarget,
    ClearSent,
    FromAssistant,
    FromCaller,
    MarkReturned,
    PingAnswered,
    SpeechScore,
    Timed,
    ToAssistant,
    ToCaller,
    Told,
)
from relay.record.event_log import event_log
from relay.record.page import page
from relay.record.page_sound import page_sound
from relay.record.recorded_call import RecordedCall
from relay.record.reportable import _SHAPES, check_reportable
from relay.record.sides import CallSides
from relay.record.summary import summarise
from relay.record.timeline import timeline
from relay.record.trace import trace
from relay.record.verdict import verdict
from tests.support.recordings_of_calls import attached, call_of, ended, header, told

AT_S = st.floats(0, 3)
WHOLE = st.integers(0, 3) | st.integers(-(2**63), 2**63)
NUMBERS = st.integers(0, 500) | st.floats(0, 500) | WHOLE | st.floats()
SOUND = st.binary(max_size=4) | st.sampled_from([b"\x10" * 160, b"\xff" * 160])
ANYTHING = (
    st.none() | st.booleans() | NUMBERS | st.text(max_size=3) | st.binary(max_size=2) | st.lists(WHOLE, max_size=1)
)
KEYS = sorted({field for shape in _SHAPES.values() for field in shape.__struct_fields__} | {"away_ms", "transport"})
NAMES = sorted({*_SHAPES, *("caller.attached", "caller.lost", "caller.reattached", "assistant.lost", "any.other")})
WORDS = ("turn", "attempt", "attempts", "frames_stale")
TEXTS = ("by", "code", "error", "reason", "role", "text", "granted", "assistant_call_id", "ended_reason", "transport")
GOOD = {
    **{key: st.floats(0, 500) for key in KEYS},
    **{key: st.integers(0, 3) for key in WORDS},
    **{key: st.sampled_from(["caller", "agreement", "mulaw 8000 Hz x1"]) for key in TEXTS},
    "granted": st.just("mulaw 8000 Hz x1"),
}
VALUES = st.fixed_dictionaries(GOOD) | st.dictionaries(st.sampled_from(KEYS), ANYTHING, max_size=8)
EVENTS = st.builds(Told, AT_S, st.sampled_from(NAMES), VALUES)
ENTRIES = st.one_of(
    st.builds(FromCaller, AT_S, st.none() | st.floats(0, 3000) | st.just(math.nan), st.integers(0, 3), SOUND),
    st.builds(ToCaller, AT_S, st.integers(0, 3), WHOLE, st.booleans(), WHOLE, SOUND),
    st.builds(FromAssistant, AT_S, st.booleans(), SOUND),
    st.builds(ToAssistant, AT_S, WHOLE, WHOLE),
    st.builds(SpeechScore, AT_S, st.floats(), st.floats(0, 1) | st.floats()),
    st.builds(PingAnswered, AT_S, WHOLE, st.floats(0, 100) | st.floats()),
    st.builds(BufferTarget, AT_S, WHOLE),
    st.builds(MarkReturned, AT_S, st.integers(0, 3), WHOLE),
    st.builds(ClearSent, AT_S),
    EVENTS,
)


def every_form(call: RecordedCall) -> None:
    sides = CallSides(call)
    shown = timeline(call, sides)
    assert page(shown, page_sound(sides)).startswith("<!doctype html>")
    json.dumps([trace(shown), verdict(call, summarise(call, sides)), list(event_log(call))])


@given(st.lists(ENTRIES, max_size=12), st.lists(EVENTS, max_size=2), st.sampled_from([8000, 16_000]))
def test_of_all_that_is_found_fit_each_form_of_a_report_can_be_made(
    entries: list[Timed], after_end: list[Told], rate_hz: int
) -> None:
    call = call_of(attached(), *entries, rate_hz=rate_hz)
    call.after_end[:] = after_end
    try:
        check_reportable(call)
    except NotARecording:
        return

    every_form(call)


@pytest.mark.parametrize("name", [*_SHAPES, "caller.reattached"])
def test_an_event_without_what_belongs_to_it_is_refused_and_named(name: str) -> None:
    values: dict[str, Any] = {key: [] for key in KEYS}

    with pytest.raises(NotARecording, match=f"a recording with {name} as no call has it: "):
        check_reportable(call_of(attached(), Told(1.0, name, values)))


DEEP: list[Any] = []
for _ in range(5000):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    "entry",
    [
        *(FromCaller(1.0, math.nan, 0, b"xx"), FromCaller(1.0, math.inf, 0, b"xx"), FromCaller(1.0, 0.0, 0, b"x")),
        *(ToCaller(1.0, 1, 20, True, 0, b"x"), ToCaller(1.0, 1, 20, True, -1, b"xx")),
        *(SpeechScore(1.0, 32.0, 1.5), SpeechScore(1.0, 32.0, math.nan), PingAnswered(1.0, 1, math.nan)),
        *(BufferTarget(1.0, -1), BufferTarget(1.0, 10**9)),
        *(told(1.0, "any.event", data=b"bytes"), told(1.0, "any.event", data=DEEP)),
    ],
)
def test_an_entry_that_no_call_has_is_refused(entry: Timed) -> None:
    with pytest.raises(NotARecording, match=r"that no call has|as no call has it"):
        check_reportable(call_of(attached(), entry, rate_hz=16_000))


def test_stamps_that_would_make_the_call_last_for_years_are_refused() -> None:
    with pytest.raises(NotARecording, match="too far apart"):
        check_reportable(call_of(*(FromCaller(1.0, stamp_ms, 0, b"x") for stamp_ms in (0.0, 1e12))))


@pytest.mark.parametrize("settings", [{"jitter": []}, {"jitter": {"target_ms": "long"}}, {"any": {"key": b"bytes"}}])
def test_settings_that_no_relay_has_are_refused(settings: dict[str, Any]) -> None:
    call = call_of(attached(), ended(2.0))

    with pytest.raises(NotARecording, match="with settings as no call has it"):
        check_reportable(RecordedCall(replace(call.header, settings=settings), call.entries, True))


def test_audio_that_no_caller_hears_is_refused() -> None:
    with pytest.raises(NotARecording, match="no caller hears"):
        check_reportable(RecordedCall(replace(header(), caller_encoding="pcm_f32le"), [], True))
