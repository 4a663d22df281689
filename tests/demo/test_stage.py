"""The performance: the whole story, shortened, with a real daemon, some twenty seconds; and what can become of it."""

import json
import os
import wave
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import urlsplit

import numpy as np
import pytest
import trio

from relay.demo import files, stage
from relay.demo.child import Daemon
from relay.demo.journal import JournalLine
from relay.demo.scene import DemoScene
from relay.demo.screen import Screen
from relay.demo.stage import perform
from relay.demo.story import ScriptedCaller, StoryBroken
from relay.demo.verdict import judge
from relay.record.recorded_call import read_call
from relay.record.sides import CallSides
from relay.record.timeline import timeline
from tests.support.small_relay import listen, small_relay

# What a busy machine may spoil; everything else must hold on any.
TIMING = {"silent at once", "clear at once", "all buffers emptied", "knows what was heard", "no foreign audio"}
TIMING |= {"reconnected in time", "cut sentence came whole"}
TIMING |= {"no frame lost or invented", "the assistant heard every word", "the caller heard every word"}


class Watching(Screen):
    def __init__(self) -> None:
        self.lines: list[JournalLine] = []
        self.turns: set[int] = set()

    def show(self, line: JournalLine) -> None:
        self.lines.append(line)

    def draw(self, scene: DemoScene) -> None:
        self.turns.add(scene.turn)


async def test_the_caller_interrupts_and_hears_no_more_of_the_old_turn(tmp_path: Path) -> None:
    screen = Watching()

    performance = await perform(screen, tmp_path, listen_s=1.5)

    verdict = judge(performance.evidence)
    paths = files.write(tmp_path, performance, verdict)
    assert {promise.name for promise in verdict.broken} <= TIMING, verdict.broken
    assert verdict.bargein["stale_frames_after_clear"] == 0
    assert (verdict.reconnect["dropped_ms"], len(performance.evidence.reconnects)) == (0, 1)
    assert {1, 2} <= screen.turns
    assert len(screen.lines) == len(performance.lines)
    texts = [line.event.text for line in performance.lines]
    order = [
        next(i for i, text in enumerate(texts) if part in text)
        for part in ('"Stop', "stopped turn 2", "socket is cut", "reconnected after", 'final: "What')
    ]
    assert order == sorted(order)
    assert any("clear received" in text for text in texts[order[0] : order[2]])
    _check_recording(Path(paths["recording"]), performance.evidence.clears_s[0])
    _check_log(Path(paths["log"]))
    _check_timeline(Path(paths["call"]), Path(paths["timeline"]))
    summary = json.loads(await trio.Path(paths["summary"]).read_text(encoding="utf-8"))
    assert summary == {**verdict.as_json(), "files": paths}


def _check_recording(path: Path, clear_s: float) -> None:
    """Right is silent from the `clear` until the answer; left has the words that brought it about."""
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getframerate(), file.getsampwidth()) == (2, 8000, 2)
        left, right = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2).T
    clear = round(clear_s * 8000)
    assert np.abs(right[clear + 160 : clear + 8000]).max() == 0
    assert np.abs(right[clear - 8000 : clear]).max() > 1000
    assert np.abs(left[clear - 16000 : clear + 4000]).max() > 1000, "within two seconds, on whatever machine"


def _check_log(path: Path) -> None:
    """From the first line of the daemon to its last."""
    records = [json.loads(line) for line in path.read_text().splitlines()]
    events = [record["event"] for record in records]
    assert (events[0], events[-1]) == ("daemon.ready", "daemon.stopped")
    assert events.count("bargein.flushed") == 1


def _check_timeline(recording: Path, html: Path) -> None:
    """It has the interruption and the loss that everybody saw."""
    call = read_call([recording])
    lists = timeline(call, CallSides(call)).lists
    assert call.complete
    assert (len(lists["cuts"]), [it["leg"] for it in lists["away"]]) == (1, ["assistant"])
    assert call.header.call_id in html.read_text()


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Puts a daemon with these records in the place of the real one."""

    def put(*records: dict[str, Any], log: str = "") -> None:
        @asynccontextmanager
        async def open_daemon(*_: object) -> AsyncIterator[Daemon]:
            daemon = Daemon(cast("Any", SimpleNamespace(pid=os.getpid())), log.splitlines(), list(records), 1)
            daemon._silent = True  # its log has come to its end
            yield daemon

        monkeypatch.setattr(stage, "open_daemon", open_daemon)

    return put


async def test_a_daemon_that_does_not_start_is_quoted_and_there_is_no_call(use: Any, tmp_path: Path) -> None:
    use(log="relay: server.bogus is unknown")
    performance = await perform(Screen(), tmp_path)

    assert performance.evidence.broken == "the daemon did not start: relay: server.bogus is unknown"
    assert performance.log == ["relay: server.bogus is unknown"]
    assert performance.phone is None
    assert "127.0.0.1" in (tmp_path / "config.toml").read_text()


async def breaks(_self: object) -> None:
    raise StoryBroken("the greeting was not heard")


async def never_ends(_self: object) -> None:
    await trio.sleep_forever()


@pytest.mark.parametrize(
    ("play", "broken"),
    [(breaks, "the greeting was not heard"), (never_ends, "the call did not end within 0.2 s")],
)
async def test_a_story_that_goes_wrong_is_told_and_the_call_is_over(
    use: Any, play: Any, broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "STORY_MAX_S", 0.2)
    monkeypatch.setattr(ScriptedCaller, "play", play)
    async with small_relay(listen, voice="<Pause length='60'/>") as small:
        address = urlsplit(small.url)
        use({"event": "daemon.ready", "address": address.hostname, "port": address.port})
        performance = await perform(Screen(), tmp_path)

    assert performance.evidence.broken is not None
    assert performance.evidence.broken.startswith(broken)
    assert performance.phone is not None
    assert performance.phone.end == "caller_hangup"
