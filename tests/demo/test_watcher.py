"""The watcher fills the scene and writes the journal from what it sees, and knows whether the machine stood still."""

import base64
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest
import trio
from trio.testing import MockClock

from relay.demo.journal import Journal, JournalLine
from relay.demo.scene import DemoScene
from relay.demo.screen import Screen
from relay.demo.story import StoryRecord
from relay.demo.watcher import Watcher, starved_ms
from relay.media.frames import TELEPHONE
from relay.standin.assistant import Assistant
from relay.standin.assistant.record import SocketRecord
from relay.standin.phone import Phone, PhoneEvent, PhoneOptions
from relay.standin.phone.lips import Lips, Saying
from relay.standin.phone.media import MediaStream
from relay.standin.phone.player import Player
from relay.standin.phone.stream import StreamMessages
from relay.standin.phrases import texts
from relay.standin.sound import samples_to_mulaw, tone
from relay.wire.twilio import mark_name

GONE = 2**22 + 1
"""No process has this number."""
LOUD = samples_to_mulaw(tone(440, 1.0, 8000))


class Watched(Screen):
    """Keeps what it is shown."""

    def __init__(self) -> None:
        self.lines: list[JournalLine] = []
        self.drawn = 0

    def show(self, line: JournalLine) -> None:
        self.lines.append(line)

    def draw(self, scene: DemoScene) -> None:
        self.drawn += 1

    @property
    def texts(self) -> list[str]:
        return [f"{line.event.who}: {line.event.text}" for line in self.lines]


class Show:
    """A watcher on a virtual clock, with a telephone in a stream and an assistant whose records the test fills."""

    def __init__(self) -> None:
        now_s = trio.current_time()
        self.screen = Watched()
        self.phone = Phone(PhoneOptions(), "CA1", now_s, Lips(now_s))
        self.player = Player("MZ1", now_s)
        stream = MediaStream(self.player, StreamMessages("AC1", "CA1", "MZ1"), self.phone.lips)
        self.phone.streams.append(stream)
        self.phone.begin_stream(stream)
        self.record = SocketRecord(TELEPHONE, 60.0)
        self.watcher = Watcher(
            screen=self.screen,
            story=StoryRecord(),
            phone=self.phone,
            assistant=cast("Assistant", SimpleNamespace(calls={"1": SimpleNamespace(id="1", record=self.record)})),
            journal=Journal(now_s),
            clock_offset_s=now_s,
            daemon_pid=GONE,
        )

    @property
    def scene(self) -> DemoScene:
        return self.watcher.scene

    def hear(self, audio: bytes) -> None:
        message = {"event": "media", "streamSid": "MZ1", "media": {"payload": base64.b64encode(audio).decode()}}
        self.player.receive(json.dumps(message), trio.current_time())

    def sent(self, **message: Any) -> None:
        self.record.note(trio.current_time(), outgoing=True, message=message)

    async def go_on(self, seconds: float) -> None:
        """Let time pass, the telephone's with it."""
        for _ in range(round(seconds / 0.02)):
            self.phone.lips.next_frame(trio.current_time())
            self.player.advance(trio.current_time())
            await trio.sleep(0.02)


@asynccontextmanager
async def watching() -> AsyncIterator[Show]:
    show = Show()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(show.watcher.run)
        yield show
        nursery.cancel_scope.cancel()
    show.watcher.finish()


async def test_both_sides_are_as_loud_as_they_sound(autojump_clock: MockClock) -> None:
    async with watching() as show:
        show.hear(LOUD)
        show.phone.start_saying(LOUD)
        await show.go_on(0.5)

        moment = show.scene.moments[-2]
        assert moment.caller_dbfs == pytest.approx(-15, abs=1)
        assert moment.heard_dbfs == pytest.approx(-15, abs=1)


async def test_the_picture_is_drawn_ten_times_a_second_with_a_moment_each_time(autojump_clock: MockClock) -> None:
    async with watching() as show:
        await show.go_on(2.0)

        assert show.screen.drawn == pytest.approx(20, abs=1)
        assert len(show.scene.moments) == show.screen.drawn + 1
        assert show.scene.elapsed_s == pytest.approx(2.0, abs=0.1)


async def test_a_turn_is_told_when_it_is_heard_again_after_a_silence(autojump_clock: MockClock) -> None:
    async with watching() as show:
        for pause_s in (0.3, 1.0, 0.1):
            show.hear(LOUD)
            await show.go_on(1.0 + pause_s)

    told = "phone: playing: the caller hears the assistant"
    assert show.screen.texts.count(told) == 2


async def test_while_the_assistant_is_away_another_sound_fills_the_wait(autojump_clock: MockClock) -> None:
    async with watching() as show:
        show.watcher.log_line({"event": "assistant.lost", "timestamp": "1970-01-01T00:00:00.000Z", "error": "reset"})
        show.hear(LOUD)
        await show.go_on(2.0)
        show.sent(type="speech-update", role="assistant", status="started", turn=2)
        await show.go_on(0.1)
        show.hear(LOUD)
        await show.go_on(1.0)

    heard = [text for text in show.screen.texts if "the caller hears" in text]
    assert heard == [
        "phone: playing: the caller hears a sound that fills the wait",
        "phone: playing: the caller hears the assistant",
    ]


async def test_a_line_of_the_log_has_its_place_by_its_own_time(autojump_clock: MockClock) -> None:
    async with watching() as show:
        await show.go_on(0.1)
        show.watcher.phone_event(PhoneEvent(trio.current_time(), "stream.ended", {"how": "hung-up"}))
        show.watcher.log_line({"event": "call.started", "timestamp": "1970-01-01T00:00:00.050Z"})
        await show.go_on(1.0)

    assert show.screen.texts == ["relay: the phone rings: a call slot is taken", "phone: media stream hung-up"]
    assert [line.at_ms for line in show.screen.lines] == [pytest.approx(50), pytest.approx(100)]


async def test_a_clear_is_marked_and_what_was_flushed_stands_in_the_scene(autojump_clock: MockClock) -> None:
    flushed = {"turn": 2, "flushed_ms": 214.4, "onset_to_clear_ms": 96.2}
    async with watching() as show:
        show.watcher.phone_event(PhoneEvent(trio.current_time(), "clear", {"n_bytes": 800, "detail": ""}))
        show.watcher.log_line({"event": "bargein.flushed", "timestamp": "1970-01-01T00:00:00.000Z", **flushed})

        assert show.scene.now.cleared
        assert show.scene.flushed == "214 ms, 96 ms after the caller's first sound"


async def test_the_caller_is_quoted_while_it_speaks_and_told_once(autojump_clock: MockClock) -> None:
    async with watching() as show:
        saying = show.watcher.story.sayings["stop"] = Saying(b"")
        await show.go_on(0.1)
        silent = show.scene.caller_says
        saying.began_s = trio.current_time()
        await show.go_on(0.5)
        speaking = show.scene.caller_says
        saying.ended_s = trio.current_time()
        await show.go_on(0.1)

        assert [silent, speaking, show.scene.caller_says] == ["", texts()["stop"], ""]
    assert show.screen.texts == [f'caller: says "{texts()["stop"]}"']


async def test_the_assistants_last_words_are_shown_until_it_stops(autojump_clock: MockClock) -> None:
    words = "one two three four five six seven eight"
    async with watching() as show:
        show.sent(type="transcript", role="assistant", transcriptType="partial", transcript=words)
        await show.go_on(0.1)
        spoken = show.scene.assistant_says
        show.sent(type="user-interrupted")
        await show.go_on(0.1)

        assert [spoken, show.scene.assistant_says] == ["three four five six seven eight", ""]


async def test_each_message_of_the_assistant_is_told_once(autojump_clock: MockClock) -> None:
    async with watching() as show:
        for _ in range(2):
            show.sent(type="user-interrupted")
            await show.go_on(0.5)

    assert show.screen.texts == ["assistant: noticed it as well: user-interrupted"] * 2


async def test_the_turn_is_that_of_the_last_mark(autojump_clock: MockClock) -> None:
    async with watching() as show:
        for turn in (1, 2):
            mark = {"event": "mark", "streamSid": "MZ1", "mark": {"name": mark_name(turn, 200)}}
            show.player.receive(json.dumps(mark), trio.current_time())
            await show.go_on(0.1)

        assert show.scene.turn == 2


async def test_the_cut_of_the_assistants_socket_is_told_once(autojump_clock: MockClock) -> None:
    async with watching() as show:
        show.watcher.story.cut_s = trio.current_time()
        await show.go_on(1.0)

    assert show.screen.texts == ["assistant: its socket is cut: TCP reset"]


async def test_what_is_held_back_is_shown_at_the_end(autojump_clock: MockClock) -> None:
    async with watching() as show:
        await show.go_on(0.1)
        show.sent(type="user-interrupted")
        assert show.screen.texts == []

    assert show.screen.texts == ["assistant: noticed it as well: user-interrupted"]


async def test_a_machine_that_stood_still_is_found_out(autojump_clock: MockClock) -> None:
    async with watching() as show:
        await show.go_on(0.1)
        before_ms = show.watcher.stood_still_ms
        autojump_clock.jump(0.3)
        await show.go_on(0.1)

        assert before_ms == pytest.approx(0, abs=1)
        assert show.watcher.stood_still_ms == pytest.approx(280, abs=21)


def test_the_time_without_a_processor_is_known_and_never_falls() -> None:
    before, after = starved_ms(os.getpid()), starved_ms(os.getpid())

    assert before is not None
    assert after is not None
    assert 0 <= before <= after


def test_a_process_that_is_gone_has_none() -> None:
    assert starved_ms(GONE) is None
