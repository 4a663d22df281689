"""What the assistant has to get: in which order, in which format, when it is worth asking, and how late it went."""

from collections.abc import Callable

import numpy as np
import pytest
import trio
from trio.testing import MockClock

from relay.call.assistant.outgoing import NOTES_MAX, Outgoing
from relay.call.report.events import NotesDropped
from relay.logic.assistant.replay import EDGE_FRAMES
from relay.media.frames import TELEPHONE, WIDEBAND
from tests.support.assistant_parts import assistant_parts
from tests.support.judged import append_judged
from tests.support.numbered import numbered

FRAMES = [numbered(number, 1) for number in range(60)]


@pytest.fixture
async def outgoing() -> Outgoing:
    return assistant_parts().outgoing


def taken(outgoing: Outgoing) -> list[str | bytes]:
    """Everything there is to send now, which is sent."""
    messages: list[str | bytes] = []
    while (message := outgoing.take()) is not None:
        messages.append(message)
        outgoing.note_sent()
    return messages


async def test_text_goes_before_all_audio_that_waits_and_each_keeps_its_order(outgoing: Outgoing) -> None:
    for frame in FRAMES[:2]:
        outgoing.replay.append(frame)
    outgoing.send_note("one")
    outgoing.send_note("two")

    assert taken(outgoing) == ["one", "two", *FRAMES[:2]]


async def test_only_so_many_texts_wait_and_the_oldest_make_room_which_is_counted_and_told_once() -> None:
    parts = assistant_parts()
    for number in range(NOTES_MAX + 3):
        parts.outgoing.send_note(str(number))

    assert taken(parts.outgoing) == [str(number) for number in range(3, NOTES_MAX + 3)]
    assert parts.report.counts.totals()["notes_dropped"] == {"NOTES_FULL": 3}
    assert parts.metrics.registry.get_sample_value("relay_notes_dropped_total", {"code": "NOTES_FULL"}) == 3
    (told,) = parts.told(NotesDropped)
    assert told.log_values()["code"] == "NOTES_FULL"


async def test_texts_that_no_assistant_answers_to_are_bounded_and_counted_when_they_cannot_be_told_again() -> None:
    parts = assistant_parts()
    for number in range(NOTES_MAX + 3):
        parts.outgoing.send_note(str(number))
        assert taken(parts.outgoing) == [str(number)]
    assert not parts.told(NotesDropped), "each was told"
    parts.outgoing.send_note("waits")
    parts.outgoing.rewind()

    assert taken(parts.outgoing) == [*(str(number) for number in range(4, NOTES_MAX + 3)), "waits"]
    assert parts.report.counts.totals()["notes_dropped"] == {"NOTES_FULL": 4}
    assert len(parts.told(NotesDropped)) == 1


async def test_of_texts_that_were_answered_none_is_missed_after_a_loss() -> None:
    parts = assistant_parts()
    for number in range(NOTES_MAX + 3):
        parts.outgoing.send_note(str(number))
        taken(parts.outgoing)
    parts.outgoing.answered()
    parts.outgoing.rewind()

    assert taken(parts.outgoing) == []
    assert parts.report.counts.totals()["notes_dropped"] == {}


async def test_what_waits_and_what_was_not_answered_is_known_in_its_order(outgoing: Outgoing) -> None:
    for text in ("one", "two", "three"):
        outgoing.send_note(text)
    outgoing.take()
    outgoing.note_sent()
    outgoing.take()

    assert list(outgoing.untold) == ["one", "two", "three"]
    outgoing.answered()
    assert list(outgoing.untold) == ["two", "three"]


async def test_a_text_that_is_not_written_yet_is_not_answered_to(outgoing: Outgoing) -> None:
    """The socket takes nothing, the assistant begins to speak about something else, and is lost."""
    outgoing.send_note("one")
    assert outgoing.take() == "one"
    outgoing.answered()
    outgoing.rewind()
    assert outgoing.take() == "one"
    outgoing.note_sent()
    outgoing.answered()
    outgoing.rewind()

    assert outgoing.take() is None


async def test_texts_that_were_not_answered_are_there_again_after_a_loss_before_those_that_wait(
    outgoing: Outgoing,
) -> None:
    for text in ("answered", "one", "two"):
        outgoing.send_note(text)
    assert outgoing.take() == "answered"
    outgoing.note_sent()
    outgoing.answered()
    assert outgoing.take() == "one"
    outgoing.rewind()
    assert taken(outgoing) == ["one", "two"]
    outgoing.rewind()
    assert taken(outgoing) == ["one", "two"]
    for number in range(NOTES_MAX):
        outgoing.send_note(str(number))
    outgoing.rewind()

    assert taken(outgoing) == [str(number) for number in range(NOTES_MAX)]


async def test_audio_is_brought_to_the_format_of_the_connection_that_takes_it() -> None:
    outgoing = assistant_parts(TELEPHONE).outgoing
    for frame in FRAMES:
        outgoing.replay.append(frame)
    outgoing.speak_to(WIDEBAND)
    converted = [outgoing.take() for _ in range(30)]
    outgoing.speak_to(TELEPHONE)

    pcm = b"".join(frame for frame in converted if isinstance(frame, bytes))
    assert len(pcm) == pytest.approx(30 * WIDEBAND.frame_bytes, abs=100)
    assert np.abs(np.frombuffer(pcm, "<i2")).max() > 1000
    assert taken(outgoing) == FRAMES[30:]


async def woken(outgoing: Outgoing, act: Callable[[], None]) -> bool:
    """Whether a task that waits is woken by this, and by nothing before."""
    done = trio.Event()

    async def wait() -> None:
        await outgoing.wait()
        done.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        assert not done.is_set()
        act()
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    return done.is_set()


async def test_a_waiting_writer_is_woken_by_audio_by_text_and_by_name(outgoing: Outgoing) -> None:
    assert await woken(outgoing, lambda: outgoing.audio_logged(0.0))
    assert await woken(outgoing, lambda: outgoing.send_note("text"))
    assert await woken(outgoing, outgoing.wake)
    assert not await woken(outgoing, lambda: None)


async def test_a_replay_is_worth_asking_again_when_its_next_frame_is_due(
    outgoing: Outgoing, autojump_clock: MockClock
) -> None:
    for frame in FRAMES:
        outgoing.replay.append(frame)
    taken(outgoing)
    outgoing.replay.rewind()
    sent_at: list[float] = []
    while outgoing.replay.replaying:
        if outgoing.take() is None:
            await outgoing.wait()
        else:
            sent_at.append(trio.current_time())

    replayed = len(FRAMES) - EDGE_FRAMES
    assert sent_at[:replayed] == pytest.approx([sent_at[0] + 0.02 * number for number in range(replayed)])
    assert len(sent_at) == replayed + 1


async def test_what_is_left_out_of_a_pause_is_counted(autojump_clock: MockClock) -> None:
    parts = assistant_parts()
    outgoing, pause = parts.outgoing, FRAMES[5:45]
    for frame in FRAMES:
        append_judged(outgoing.replay, frame, speech=frame not in pause)
    taken(outgoing)
    outgoing.replay.rewind()
    again = []
    with trio.move_on_after(3):
        while True:
            again += taken(outgoing)
            await outgoing.wait()

    left_out = [frame for frame in FRAMES if frame not in again]
    assert left_out
    assert set(left_out) < set(pause)
    assert parts.report.counts.totals()["frames_dropped"] == {"pause": len(left_out)}


async def test_a_delay_is_that_of_the_oldest_new_audio_and_told_once(
    outgoing: Outgoing, autojump_clock: MockClock
) -> None:
    assert outgoing.audio_sent() is None
    outgoing.audio_logged(trio.current_time())
    await trio.sleep(0.3)
    outgoing.audio_logged(trio.current_time())
    await trio.sleep(0.2)

    assert outgoing.audio_sent() == pytest.approx(0.5)
    assert outgoing.audio_sent() is None


async def test_old_audio_says_nothing_about_the_delay(outgoing: Outgoing) -> None:
    for frame in FRAMES:
        outgoing.replay.append(frame)
    taken(outgoing)
    outgoing.replay.rewind()
    outgoing.audio_logged(trio.current_time())

    assert outgoing.audio_sent() is None
