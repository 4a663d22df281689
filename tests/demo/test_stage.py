"""The whole story, shortened, with a real daemon in its own process: one call, some twenty seconds."""

import json
import wave
from pathlib import Path

import numpy as np
import trio

from relay.demo import files
from relay.demo.journal import JournalLine
from relay.demo.scene import DemoScene
from relay.demo.screen import Screen
from relay.demo.stage import perform
from relay.demo.verdict import judge

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
    assert np.abs(left[clear - 2400 : clear + 4000]).max() > 1000


def _check_log(path: Path) -> None:
    """From the first line of the daemon to its last."""
    records = [json.loads(line) for line in path.read_text().splitlines()]
    events = [record["event"] for record in records]
    assert (events[0], events[-1]) == ("daemon.ready", "daemon.stopped")
    assert events.count("bargein.flushed") == 1
