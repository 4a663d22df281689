"""A browser's audio is put on the clock of the assistants, and a load that fails leaves an empty list."""

import math
import sys
import time
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest
import trio
from trio.testing import MockClock

from relay.bench import browser_load
from relay.bench.assistant import LoadAssistant
from relay.bench.browser_load import Browser, BrowserPosition, TransportResult
from relay.bench.load import DelayResult, LoadSpec
from relay.bench.sounds import caller_track
from relay.errors import LegLost
from relay.standin.browser import BrowserClient, BrowserRefused
from relay.standin.browser.record import BrowserRecord, HeardFrame

SPEC = LoadSpec(1, 5.0, "pcm", 1, 2, 3, 200, 100)


def browser(record: BrowserRecord | None = None, *, transport: str | None = "polling", lost: bool = False) -> Browser:
    client = SimpleNamespace(record=record or BrowserRecord(), transport=transport)
    assistant = SimpleNamespace(lost=lost)
    position = BrowserPosition(caller_track(), 0)
    return Browser(cast("BrowserClient", client), position, cast("LoadAssistant", assistant))


def test_a_browser_goes_round_the_track_from_its_offset() -> None:
    track = caller_track()
    position = BrowserPosition(track, len(track.frames) - 1)
    before = position.place
    position.frames_sent += 1

    assert (before, position.place) == (len(track.frames) - 1, 0)


@pytest.mark.parametrize(
    ("transport", "assistant_lost", "lost"),
    [("websocket", False, False), ("polling", True, True), (None, False, True)],
)
def test_a_call_is_lost_with_either_side(transport: str | None, assistant_lost: bool, lost: bool) -> None:
    assert browser(transport=transport, lost=assistant_lost).lost is lost


async def test_what_it_heard_is_had_on_the_monotonic_clock_and_without_what_came_too_late(
    autojump_clock: MockClock,
) -> None:
    now_s, now = trio.current_time(), time.monotonic()
    frames = [HeardFrame(1, 1, b"heard", now_s, late=False), HeardFrame(2, 1, b"late", now_s + 1, late=True)]
    heard = browser(BrowserRecord(frames=frames, interrupted_at_s={1: now_s + 0.5})).heard()

    ((at, audio),) = heard.received
    (clear,) = heard.clears
    assert audio == b"heard"
    assert math.isclose(at, now, abs_tol=1.0)
    assert clear - at == pytest.approx(0.5)


@pytest.fixture(autouse=True)
def asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["load", msgspec.json.encode(SPEC).decode()])


def use(monkeypatch: pytest.MonkeyPatch, outcome: Any) -> None:
    """Puts a load with this outcome in the place of the real one."""

    async def run(_self: object) -> list[TransportResult]:
        if isinstance(outcome, Exception):
            raise outcome
        return cast("list[TransportResult]", outcome)

    monkeypatch.setattr(browser_load.BrowserLoad, "run", run)


def test_both_results_are_printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    way = DelayResult({"p50": 1.0, "p99": 2.0}, {"p50": 1.0, "p99": 2.0}, 0.0, 100, 0)
    results = [TransportResult(transport, 1.0, way, way, 0, 0.0) for transport in ("websocket", "polling")]
    use(monkeypatch, results)

    assert browser_load.main() == 0
    assert msgspec.json.decode(capsys.readouterr().out, type=list[TransportResult]) == results


@pytest.mark.parametrize(
    "failed", [BrowserRefused("FULL", "no room"), LegLost("gone"), trio.TooSlowError(), ConnectionRefusedError()]
)
def test_a_relay_that_did_not_take_the_browsers_is_status_1_and_a_line(
    failed: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    use(monkeypatch, failed)

    assert browser_load.main() == 1
    out, err = capsys.readouterr()
    assert out == "[]\n"
    assert type(failed).__name__ in err
    assert err.startswith("load: ")
