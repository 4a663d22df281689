"""Whole calls by a plan, and by hand."""

import base64
import json
from pathlib import Path

import numpy as np
import pytest
import trio

from relay.media.wav import read_wav
from relay.standin.phone import Cue, dial, mulaw_of_wav, open_phone, place_call
from relay.standin.sound import mulaw_to_samples, tone, write_wav
from tests.support.recordings import KINDS, fit_sine, sine, wav
from tests.support.small_relay import BEEP, OPTIONS, STREAM, MediaLeg, listen, small_relay


async def test_a_plan_is_carried_out_and_recorded(tmp_path: Path) -> None:
    async def converse(leg: MediaLeg) -> None:
        await leg.started()
        await leg.media(BEEP * 10)
        await listen(leg)

    plan = [Cue(BEEP, at_s=0.1), Cue(BEEP, after_heard_ms=300)]
    async with small_relay(converse) as small:
        recording = tmp_path / "call.wav"
        result = await place_call(small.url, plan, options=OPTIONS, seconds=1.2, record=recording)
    assert result.end == "caller_hangup"
    assert result.ok
    assert result.duration_s == pytest.approx(1.2, abs=0.7)
    assert 500 < result.heard_ms < 2000
    said = b"".join(base64.b64decode(m["media"]["payload"]) for m in small.legs[0].messages if m["event"] == "media")
    assert said.count(BEEP) == 2
    sound = read_wav(recording)
    assert sound.rate_hz == 8000
    assert sound.duration_s == pytest.approx(result.duration_s, abs=0.3)
    assert json.dumps(result.as_json())


def test_a_wav_of_any_rate_becomes_telephone_audio(tmp_path: Path) -> None:
    write_wav(tmp_path / "a.wav", 48000, tone(440, 0.5, 48000))
    assert len(mulaw_of_wav(tmp_path / "a.wav")) == 4000


@pytest.mark.parametrize("kind", KINDS)
def test_a_wav_of_any_kind_becomes_telephone_audio(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(wav(np.stack([sine(44100)] * 2, axis=1), 44100, kind, size=0))
    fit = fit_sine(mulaw_to_samples(mulaw_of_wav(path)), 8000)

    assert fit.peak == pytest.approx(16384, rel=0.02)
    assert fit.rest < 400


async def test_without_a_time_the_caller_hangs_up_3_s_after_the_last_word(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three tenths of a second here."""
    assert dial._LISTEN_S == 3.0
    monkeypatch.setattr(dial, "_LISTEN_S", 0.3)
    async with small_relay(listen) as small:
        result = await place_call(small.url, [Cue(BEEP)], options=OPTIONS)
        messages = small.legs[0].messages

    media = [base64.b64decode(m["media"]["payload"]) for m in messages if m["event"] == "media"]
    after = len(media) - 1 - max(number for number, frame in enumerate(media) if frame != b"\xff" * 160)
    assert result.end == "caller_hangup"
    assert after * 20 == pytest.approx(300, abs=100)


async def test_a_call_that_the_relay_ends_is_over_before_its_time() -> None:
    async with small_relay(listen, voice="<Hangup/>") as small:
        with trio.fail_after(10):
            result = await place_call(small.url, options=OPTIONS, seconds=60)

    assert result.end == "twiml_hangup"


async def test_leaving_hangs_up() -> None:
    async with small_relay(listen) as small:
        async with open_phone(small.url, OPTIONS) as phone:
            assert await phone.wait_streaming()
            assert phone.result().end == "in-progress"

        assert phone.end == "caller_hangup"
        assert small.legs[0].messages[-1]["event"] == "stop"


async def test_each_call_has_a_number_of_its_own_and_each_request_a_connection() -> None:
    async def leave(leg: MediaLeg) -> None:
        await leg.started()

    async with small_relay(leave, voice=STREAM + "<Redirect>/resume</Redirect>", resume=["<Hangup/>"]) as small:
        results = [await place_call(small.url, options=OPTIONS) for _ in range(2)]

    assert len({result.call_sid for result in results}) == 2
    assert small.connections == len(small.requests) + len(small.legs) == 6
