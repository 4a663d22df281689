"""The watcher looks at the call fifty times a second, fills the scene, writes the journal, and has both shown."""

from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import trio

from relay.demo import event as events
from relay.demo.child import Record
from relay.demo.event import DemoEvent
from relay.demo.journal import Journal
from relay.demo.scene import DemoScene, SceneMoment
from relay.demo.screen import Screen
from relay.demo.story import StoryRecord
from relay.standin.assistant import Assistant
from relay.standin.phone import Phone, PhoneEvent
from relay.standin.phone.player import AUDIBLE_DBFS, BLOCK_BYTES
from relay.standin.phrases import texts
from relay.standin.sound import level_dbfs, mulaw_to_samples
from relay.wire.twilio import parse_mark

LOOK_EVERY_S = 0.02
_LOOKS_PER_MOMENT = 5
_TURN_PAUSE_S = 0.6
_WORDS_SHOWN = 6


@dataclass(slots=True, kw_only=True)
class Watcher:
    """Watches one call. `clock_offset_s`: what must be added to the time of day to get trio's clock.

    `stood_still_ms`: the longest time for which the machine let this process, or the daemon, do nothing.
    """

    screen: Screen
    story: StoryRecord
    phone: Phone
    assistant: Assistant
    journal: Journal
    clock_offset_s: float
    daemon_pid: int
    scene: DemoScene = field(default_factory=DemoScene)
    stood_still_ms: float = 0.0
    _starved_ms: float | None = None
    _messages_seen: dict[str, int] = field(default_factory=dict)
    _cut_seen: bool = False
    _waiting: bool = False
    _lines_seen: int = 0
    _said_seen: set[str] = field(default_factory=set)
    _heard_s: float = float("-inf")

    async def run(self) -> None:
        """Look, and show, until cancelled."""
        looks, next_s = 0, trio.current_time()
        while True:
            next_s = max(next_s + LOOK_EVERY_S, trio.current_time())  # looks that were missed are not made up for
            await trio.sleep_until(next_s)
            self.stood_still_ms = max(self.stood_still_ms, (trio.current_time() - next_s) * 1000)
            self._look(trio.current_time())
            looks += 1
            if looks % _LOOKS_PER_MOMENT == 0:
                self._show(trio.current_time())

    def log_line(self, record: Record) -> None:
        """Take an event of the daemon's log in."""
        self._note(events.from_log(record, events.wall_s(record) + self.clock_offset_s))
        self._waiting |= record["event"] == "assistant.lost"
        if record["event"] == "bargein.flushed":
            self.scene.flushed = (
                f"{record['flushed_ms']:.0f} ms, {record['onset_to_clear_ms']:.0f} ms after the caller's first sound"
            )

    def phone_event(self, happened: PhoneEvent) -> None:
        """Take an event of the telephone in."""
        self._note(events.from_phone(happened.kind, happened.detail, happened.at_s))
        if happened.kind == "clear":
            self.scene.now.cleared = True

    def finish(self) -> None:
        """Show what is still held back."""
        self._look(trio.current_time())
        for line in self.journal.due(float("inf")):
            self.screen.show(line)

    def _note(self, event: DemoEvent | None) -> None:
        if event is not None:
            self.journal.add(event)

    def _look(self, now_s: float) -> None:
        said = self.phone.lips.said[-BLOCK_BYTES:]
        caller_dbfs = level_dbfs(mulaw_to_samples(said)) if self.phone.is_streaming else -100.0
        heard_dbfs = self.phone.heard_level_dbfs
        self.scene.sound(caller_dbfs, heard_dbfs)
        if heard_dbfs > AUDIBLE_DBFS:
            if now_s - self._heard_s > _TURN_PAUSE_S:
                what = "a sound that fills the wait" if self._waiting else "the assistant"
                self._note(DemoEvent(now_s, "phone", f"playing: the caller hears {what}", "speech"))
            self._heard_s = now_s
        self._look_at_caller()
        self._look_at_marks()
        self._look_at_assistant()

    def _look_at_caller(self) -> None:
        for name, saying in self.story.sayings.items():
            if saying.began_s is not None and name not in self._said_seen:
                self._said_seen.add(name)
                self._note(DemoEvent(saying.began_s, "caller", f'says "{texts()[name]}"', "speech"))
        speaking = [name for name, saying in self.story.sayings.items() if saying.began_s and not saying.ended_s]
        self.scene.caller_says = texts()[speaking[0]] if speaking else ""

    def _look_at_marks(self) -> None:
        for player in self.phone.players[-1:]:
            for line in islice(player.log, self._lines_seen, None):
                mark = parse_mark(line.detail) if line.kind == "mark" else None
                self.scene.turn = mark[0] if mark else self.scene.turn
            self._lines_seen = len(player.log)

    def _look_at_assistant(self) -> None:
        for call in self.assistant.calls.values():
            for text in islice(call.record.events, self._messages_seen.get(call.id, 0), None):
                self._note(events.from_message(text.message, text.at_s, outgoing=text.outgoing))
                self._follow_words(text.message)
            self._messages_seen[call.id] = len(call.record.events)
        if self.story.cut_s is not None and not self._cut_seen:
            self._cut_seen = True
            self._note(DemoEvent(self.story.cut_s, "assistant", "its socket is cut: TCP reset", "trouble"))

    def _follow_words(self, message: dict[str, object]) -> None:
        match message:
            case {"type": "speech-update", "role": "assistant", "status": "started"}:
                self._waiting = False
            case {"type": "transcript", "role": "assistant", "transcriptType": "partial", "transcript": str(words)}:
                self.scene.assistant_says = " ".join(words.split()[-_WORDS_SHOWN:])
            case {"type": "speech-update", "role": "assistant", "status": "stopped"} | {"type": "user-interrupted"}:
                self.scene.assistant_says = ""

    def _look_at_machine(self) -> None:
        before_ms, self._starved_ms = self._starved_ms, starved_ms(self.daemon_pid)
        if before_ms is not None and self._starved_ms is not None:
            self.stood_still_ms = max(self.stood_still_ms, self._starved_ms - before_ms)

    def _show(self, now_s: float) -> None:
        self._look_at_machine()
        self.scene.elapsed_s = now_s - self.phone.placed_s
        for line in self.journal.due(now_s):
            self.screen.show(line)
        self.screen.draw(self.scene)
        self.scene.moments.append(SceneMoment(buffer_ms=self.scene.buffer_ms))


def starved_ms(pid: int) -> float | None:
    """For how long in all a process was ready and had no processor (Linux, /proc/PID/schedstat); None elsewhere."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text(encoding="ascii").split()[1]) / 1e6
    except (OSError, IndexError, ValueError):
        return None
