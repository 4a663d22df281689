"""One short run of browsers: real daemon, real sockets and requests."""

import json
import subprocess
import sys
from io import StringIO
from typing import Any

import msgspec
import pytest
from rich.console import Console

from relay.bench.browser_load import TransportResult
from relay.bench.browsers import BrowserResult, show_browsers
from relay.bench.load import DelayResult

WAY = DelayResult({"p50": 1.0, "p99": 2.0}, {"p50": 1.0, "p99": 2.0}, 0.0, 100, 0)
LOST = msgspec.structs.replace(WAY, lost=1)


@pytest.fixture(scope="module")
def printed() -> BrowserResult:
    command = [sys.executable, "-m", "relay", "bench", "--browsers", "--calls", "1", "--seconds", "5", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode in (0, 1), done.stderr
    assert json.loads(done.stdout), done.stderr
    return msgspec.json.decode(done.stdout, type=BrowserResult)


def test_both_transports_were_measured_in_both_directions(printed: BrowserResult) -> None:
    assert [one.transport for one in printed.transports] == ["websocket", "polling"]
    for one in printed.transports:
        assert one.calls_lost == 0
        for way in (one.up, one.down):
            assert way.frames > 50
            assert way.lost < way.frames / 2, "most frames were found again by their content"
            assert way.added_ms.keys() == {"p50", "p99"}
            assert way.added_ms["p50"] is not None


def test_what_is_collected_is_measured_as_delay(printed: BrowserResult) -> None:
    """A client that polls collects 60 ms of what it says before it sends; so much is no matter of the machine."""
    websocket, polling = (one.up.raw_ms["p50"] for one in printed.transports)

    assert websocket is not None
    assert polling is not None
    assert polling > 20


def test_a_person_sees_them_side_by_side(printed: BrowserResult) -> None:
    console = Console(file=StringIO(), width=120)
    show_browsers(printed, console)

    assert isinstance(console.file, StringIO)
    text = console.file.getvalue()
    assert "websocket" in text
    assert f"{printed.transports[1].up.added_ms['p50']:.1f}" in text


@pytest.mark.parametrize(
    ("changes", "lost"), [({}, False), ({"calls_lost": 1}, True), ({"up": LOST}, True), ({"down": LOST}, True)]
)
def test_something_was_lost_when_one_transport_lost_a_call_or_a_frame(changes: dict[str, Any], lost: bool) -> None:
    good = TransportResult("websocket", 1.0, WAY, WAY, 0, 0.0)
    other = msgspec.structs.replace(good, transport="polling", **changes)

    assert BrowserResult(1, 5.0, "pcm", [good, other], {}).lost is lost
