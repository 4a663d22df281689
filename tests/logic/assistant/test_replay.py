from collections import deque
from functools import partial
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from relay.logic.assistant.replay import BEHIND_FRAMES, EDGE_FRAMES, HELD_UP_FRAMES, NextFrame, ReplayLog, Rewind
from relay.logic.pause_rule import BEFORE_WORD_FRAMES
from tests.support.judged import append_judged


def drain(replay: ReplayLog) -> list[bytes]:
    return [frame for frame, _ in iter(replay.read, NextFrame(None)) if frame is not None]


def test_what_was_appended_is_read_once_in_order() -> None:
    replay = ReplayLog(1000)
    for name in (b"a", b"b", b"c"):
        replay.append(name)

    assert drain(replay) == [b"a", b"b", b"c"]
    assert replay.read() == (None, 0)
    assert (replay.unread_ms, replay.dropped_ms) == (0, 0)


def test_what_falls_off_unread_is_the_oldest_and_counted() -> None:
    replay = ReplayLog(60)
    assert [replay.append(bytes([n])) for n in range(5)] == [None, None, None, "overflow", "overflow"]

    assert (replay.unread_ms, replay.dropped_ms) == (60, 40)
    assert drain(replay) == [b"\x02", b"\x03", b"\x04"]


def test_what_falls_off_after_it_was_read_is_not_a_loss() -> None:
    replay = ReplayLog(60)
    for n in range(50):
        assert replay.append(bytes([n])) is None
        assert replay.read().frame == bytes([n])

    assert (replay.unread_ms, replay.dropped_ms) == (0, 0)


@pytest.mark.parametrize("max_ms", [0, 1, 19.9, 20])
def test_a_log_holds_one_frame_at_least(max_ms: float) -> None:
    replay = ReplayLog(max_ms)
    replay.append(b"a")
    replay.append(b"b")

    assert drain(replay) == [b"b"]


@given(st.integers(0, 200), st.integers(1, 50))
def test_every_frame_is_read_or_dropped_and_the_newest_are_read(count: int, size: int) -> None:
    replay = ReplayLog(size * 20)
    for n in range(count):
        replay.append(n.to_bytes(2))

    assert drain(replay) == [n.to_bytes(2) for n in range(max(0, count - size), count)]
    assert replay.dropped_ms == max(0, count - size) * 20


class LogAgainstModel(RuleBasedStateMachine):
    """Reads and appends in any order: the log is a queue whose oldest frames go when it is full.

    Once it is read there is more room in it than is tried here.
    """

    def __init__(self) -> None:
        super().__init__()
        self.replay = ReplayLog(7 * 20)
        self.unread: deque[bytes] = deque()
        self.count = self.dropped = 0
        self.is_read = False

    @rule(frames=st.integers(1, 12))
    def append(self, frames: int) -> None:
        for _ in range(frames):
            self.replay.append(self.count.to_bytes(4))
            self.unread.append(self.count.to_bytes(4))
            self.count += 1
            if len(self.unread) > 7 and not self.is_read:
                self.unread.popleft()
                self.dropped += 1

    @rule()
    def read(self) -> None:
        self.is_read = self.is_read or bool(self.unread)
        assert self.replay.read().frame == (self.unread.popleft() if self.unread else None)

    @invariant()
    def counts_agree(self) -> None:
        assert (self.replay.unread_ms, self.replay.dropped_ms) == (len(self.unread) * 20, self.dropped * 20)


TestLogAgainstModel = LogAgainstModel.TestCase


# -- after a lost connection


def numbered(n: int) -> bytes:
    return n.to_bytes(4)


def number(frame: bytes) -> int:
    return int.from_bytes(frame)


def log_of(pattern: str, *, max_ms: float = 100_000, rate: float = 1.0) -> ReplayLog:
    """One frame for each character: "s" speech, "." none."""
    replay = ReplayLog(max_ms, rate)
    for n, kind in enumerate(pattern):
        append_judged(replay, numbered(n), speech=kind == "s")
    return replay


def play(replay: ReplayLog, now: float, until: float) -> list[tuple[float, int]]:
    """All that is read from now until then, each frame at the moment that the log asks for."""
    sent: list[tuple[float, int]] = []
    while (at := replay.next_at(now)) is not None and at <= until:
        now = at
        frame = replay.read(now).frame
        assert frame is not None, "what is announced must come"
        sent.append((now, number(frame)))
    return sent


def test_the_backlog_of_pre_warming_goes_out_at_once_even_after_a_first_connection_that_read_nothing() -> None:
    replay = log_of("s" * 300)
    assert replay.rewind() == (300, 0, 0)

    assert play(replay, 5.0, 5.0) == [(5.0, n) for n in range(300)]


def test_what_was_finished_is_not_sent_again_and_all_after_it_is() -> None:
    replay = log_of("s" * 100)
    play(replay, 0.0, 0.0)
    replay.finish_sentence(40)

    assert replay.rewind() == Rewind(unread=60, again=60, dropped=0)
    assert [n for _, n in play(replay, 9.0, 99.0)] == list(range(40, 100))
    assert (replay.unread_ms, replay.dropped_ms) == (0, 0)


def test_what_was_not_sent_cannot_be_finished() -> None:
    replay = log_of("s" * 10)
    assert replay.read().frame == numbered(0)
    replay.finish_sentence(7)

    assert replay.rewind() == Rewind(unread=9, again=0, dropped=0)


@pytest.mark.parametrize("rate", [1.0, 1.5, 4.0])
def test_a_replay_is_paced_at_its_rate_until_it_has_caught_up(rate: float) -> None:
    replay = log_of("s" * 50, rate=rate)
    play(replay, 0.0, 0.0)
    replay.rewind()
    sent = play(replay, 3.0, 99.0)

    paced = 50 - EDGE_FRAMES
    assert [at for at, _ in sent[:paced]] == [pytest.approx(3.0 + n * 0.02 / rate) for n in range(paced)]
    assert [at for at, _ in sent[paced:]] == [pytest.approx(sent[paced][0])] * EDGE_FRAMES
    assert not replay.replaying


def test_a_reader_too_early_gets_nothing_and_one_held_up_for_long_sends_no_burst() -> None:
    replay = log_of("s" * 50)
    play(replay, 0.0, 0.0)
    replay.rewind()

    assert replay.read(1.0).frame == numbered(0)
    assert replay.read(1.019).frame is None
    assert replay.read(5.0).frame == numbered(1)
    assert replay.next_at(5.0) == pytest.approx(5.02), "it does not make up for four seconds"


def test_a_reader_a_little_late_makes_up_for_it() -> None:
    replay = log_of("s" * 50)
    play(replay, 0.0, 0.0)
    replay.rewind()
    replay.read(1.0)
    replay.read(1.09)

    assert replay.next_at(1.09) == pytest.approx(1.09)


@pytest.mark.parametrize(("pause", "kept"), [(14, 14), (15, 15), (16, 15), (17, 15), (400, 15)])
def test_a_pause_over_300_ms_is_shortened_to_300_ms(pause: int, kept: int) -> None:
    replay = log_of("s" * 20 + "." * pause + "s" * 40)
    play(replay, 0.0, 0.0)
    replay.rewind()
    sent = [n for _, n in play(replay, 1.0, 99.0)]

    behind = (kept + 1) // 2
    assert sent == [*range(20 + behind), *range(20 + pause - (kept - behind), 60 + pause)]


def test_what_is_left_out_of_a_pause_is_said_with_the_frame_behind_it() -> None:
    replay = log_of("s" * 20 + "." * 100 + "s" * 40)
    drain(replay)
    replay.rewind()

    assert [left_out for _, left_out in iter(replay.read, NextFrame(None)) if left_out] == [100 - 15]


def test_with_a_pause_the_replay_catches_up_with_a_caller_who_talks_on() -> None:
    """Ten seconds of outage with a pause of five in it: the caller's new words come late until the pause is spent."""
    replay = log_of("s" * 100 + "." * 250 + "s" * 150)
    play(replay, 0.0, 0.0)
    replay.rewind()
    now, sent = 20.0, 0
    for n in range(500, 1000):
        append_judged(replay, numbered(n), speech=n < 700)
        sent += len(play(replay, now, now := now + 0.02))

    assert not replay.replaying
    assert replay.unread_ms <= 40
    assert replay.dropped_ms == 0


def test_at_the_newest_frame_a_pause_is_not_skipped_to_its_end_because_speech_may_have_begun_unnoticed() -> None:
    replay = log_of("s" * 10 + "." * 100)
    play(replay, 0.0, 0.0)
    replay.rewind()

    assert [n for _, n in play(replay, 1.0, 9.0)] == [*range(18), *range(103, 110)]


def test_what_the_detector_finds_late_to_be_speech_is_no_pause() -> None:
    replay = log_of("s" * 10 + "." * 100)
    play(replay, 0.0, 0.0)
    replay.mark_speech(60)
    replay.rewind()

    assert [n for _, n in play(replay, 1.0, 9.0)] == [*range(18), *range(53, 110)]


def test_what_was_in_doubt_and_is_found_to_be_a_pause_is_left_out_and_no_loss_when_it_falls_off() -> None:
    """A detector that is behind has everything taken for speech; once it has caught up, a pause is a pause."""
    replay = log_of("s" * 110, max_ms=110 * 20)
    play(replay, 0.0, 0.0)
    replay.mark_pause(0, 10)
    replay.mark_pause(20, 105)
    for n in range(110, 115):
        replay.append(numbered(n))
    play(replay, 0.1, 0.1)
    replay.rewind()

    assert replay.dropped_ms == 0
    assert [n for _, n in play(replay, 1.0, 9.0)] == [*range(5, 28), *range(98, 115)]


def test_a_reader_that_is_held_up_now_and_then_still_catches_up() -> None:
    """A busy machine: each second the reader is 300 ms late, while the caller talks on, with a pause."""
    replay = log_of("s" * 100)
    play(replay, 0.0, 0.0)
    replay.rewind()
    now = 10.0
    for n in range(100, 700):
        now += 0.02
        append_judged(replay, numbered(n), speech=n < 300 or n >= 450)
        if n % 50 >= 15:
            play(replay, now, now)

    assert not replay.replaying
    assert replay.dropped_ms == 0


def test_live_pauses_are_sent_whole_and_a_reader_that_is_held_up_for_a_second_is_not_paced() -> None:
    replay = log_of("s")
    play(replay, 0.0, 0.0)
    for n in range(1, 1 + BEHIND_FRAMES):
        append_judged(replay, numbered(n), speech=False)

    assert play(replay, 4.0, 4.0) == [(4.0, n) for n in range(1, 1 + BEHIND_FRAMES)]
    assert not replay.replaying


def held_up(pattern: str) -> ReplayLog:
    """A log that was live, and whose reader finds all of this at once: 10 s are kept for a loss."""
    replay = ReplayLog(10_000)
    append_judged(replay, numbered(0), speech=True)
    play(replay, 0.0, 0.0)
    for n, kind in enumerate(pattern, start=1):
        assert append_judged(replay, numbered(n), speech=kind == "s") is None
    return replay


def test_a_reader_that_was_held_up_for_longer_gets_every_word_in_real_time_and_pauses_shortened() -> None:
    replay = held_up(("s" * 50 + "." * 50) * 10)
    sent = play(replay, 20.0, 99.0)
    words = [n for n in range(1, 1001) if (n - 1) % 100 < 50]

    assert [n for _, n in sent if n in set(words)] == words
    assert len(sent) == 10 * (50 + 15)
    assert sent[-EDGE_FRAMES][0] - 20.0 == pytest.approx((len(sent) - EDGE_FRAMES) * 0.02, abs=0.05)
    assert (replay.replaying, replay.dropped_ms) == (False, 0)


def read_each_as_it_comes(bursts: list[tuple[float, int]]) -> list[tuple[float, bytes]]:
    """What a reader that is always ready gets of a call, and when; so many frames come at each of these times."""
    replay, got, number = ReplayLog(10_000), list[tuple[float, bytes]](), 0
    for (begin, count), (until, _) in pairwise([*bursts, (bursts[-1][0] + 60, 0)]):
        now = begin
        for _ in range(count):
            replay.append(number.to_bytes(2))
            number += 1
            got += [(now, frame) for frame, _ in iter(partial(replay.read, now), NextFrame(None)) if frame]
        while (at := replay.next_at(now)) is not None and at < until:
            got += [(at, frame) for frame, _ in [replay.read(at)] if frame]
            now = at
    assert [frame for _, frame in got] == [n.to_bytes(2) for n in range(number)]
    return got


def test_a_reader_that_is_always_ready_gets_what_a_standstill_brought_in_real_time_too() -> None:
    got = read_each_as_it_comes([(1.0, 1), (21.0, 1000)])
    at_once = [frame for at, frame in got if at == 21.0]
    second = [frame for at, frame in got if 22.0 < at <= 23.0]

    assert len(at_once) <= BEHIND_FRAMES + EDGE_FRAMES
    assert len(second) <= 51


def test_what_a_network_holds_up_for_most_of_a_second_now_and_then_goes_out_at_once() -> None:
    bursts = [(round(n * 0.02, 2), 1) for n in range(3000)]
    bursts = [(at, count) for at, count in bursts if at % 20 >= 0.9] + [(20.88, 45), (40.88, 45)]
    got = read_each_as_it_comes(sorted(bursts))

    assert [at for at, _ in got] == [at for at, count in sorted(bursts) for _ in range(count)]


def test_a_reader_that_was_held_up_goes_on_live_once_it_has_caught_up() -> None:
    replay = held_up("s" * 100 + "." * 100)
    play(replay, 4.0, 9.0)
    for n in range(300, 320):
        append_judged(replay, numbered(n), speech=False)

    assert [n for _, n in play(replay, 9.0, 9.0)] == list(range(300, 320))


def test_what_a_standstill_brings_has_room_while_the_log_is_read_and_no_more_than_that() -> None:
    replay = held_up("s" * (500 + HELD_UP_FRAMES))
    assert replay.dropped_ms == 0

    assert replay.append(b"") == "overflow"
    replay.rewind()
    assert [replay.append(b"") for _ in range(100)] == ["overflow"] * 100
    play(replay, 60.0, 999.0)
    replay.append(b"")
    assert replay.rewind().unread <= 500, "when it has been read the log is as long as before"


def test_a_loss_during_a_replay_begins_it_again() -> None:
    replay = log_of("s" * 100)
    play(replay, 0.0, 0.0)
    replay.rewind()
    assert [n for _, n in play(replay, 1.0, 1.51)] == list(range(26))

    assert replay.rewind() == Rewind(unread=100, again=26, dropped=0)
    assert [n for _, n in play(replay, 3.0, 99.0)] == list(range(100))


def test_unfinished_speech_that_fell_off_is_a_loss_only_when_it_would_have_to_be_sent_again() -> None:
    replay = ReplayLog(1000)
    for n in range(100):
        append_judged(replay, numbered(n), speech=n >= 30)
        replay.read()
    assert replay.dropped_ms == 0
    assert replay.rewind() == Rewind(unread=50, again=70, dropped=20)
    assert replay.rewind() == Rewind(unread=50, again=0, dropped=0), "counted once"
    assert replay.dropped_ms == 20 * 20


def test_finished_speech_that_fell_off_is_no_loss() -> None:
    replay = ReplayLog(1000)
    for n in range(100):
        replay.append(numbered(n))
        replay.read()
    replay.finish_sentence(50)
    replay.rewind()

    assert replay.dropped_ms == 0


def test_silence_that_falls_off_unread_is_skipped_and_speech_is_dropped() -> None:
    replay = ReplayLog(1000)
    fell_off = [append_judged(replay, b"", speech=kind == "s") for kind in "s" * 5 + "." * 20 + "s" * 50]

    assert fell_off == [None] * 50 + ["overflow"] * 5 + ["pause"] * 20
    assert replay.dropped_ms == 100


class ReplayAgainstModel(RuleBasedStateMachine):
    """Connections come and go: each gets, in order and once, all speech from the first unfinished frame on."""

    def __init__(self) -> None:
        super().__init__()
        self.replay = ReplayLog(100_000)
        self.now = 0.0
        self.speech: list[bool] = []
        self.finished = 0
        self.got: list[int] = []
        self.began = 0
        self.connections = 1
        self.was_behind = False

    @rule(count=st.integers(1, 60), speech=st.booleans())
    def append(self, count: int, speech: bool) -> None:
        for _ in range(count):
            append_judged(self.replay, numbered(len(self.speech)), speech=speech)
            self.speech.append(speech)
        self.was_behind = self.was_behind or self.replay.unread_ms > BEHIND_FRAMES * 20

    @rule(step_ms=st.integers(0, 3000))
    def pass_time(self, step_ms: int) -> None:
        sent = play(self.replay, self.now, self.now + step_ms / 1000)
        self.now += step_ms / 1000
        self.got += [n for _, n in sent]

    @rule(part=st.floats(0, 1.2))
    def finish(self, part: float) -> None:
        upto = int(part * len(self.speech))
        self.replay.finish_sentence(upto)
        self.finished = max(self.finished, min(upto, self.replay.cursor))

    @rule()
    def lose(self) -> None:
        read_before = bool(self.got) or self.connections > 1
        assert self.replay.rewind().unread == len(self.speech) - self.finished
        self.connections += read_before
        self.began, self.got = self.finished, []

    @invariant()
    def nothing_twice_nothing_lost(self) -> None:
        assert self.got == sorted(set(self.got))
        missing = set(range(self.began, self.replay.cursor)) - set(self.got)
        assert not any(self.speech[n] for n in missing)
        assert self.connections > 1 or self.was_behind or not missing
        for n in missing:
            assert not any(self.speech[max(self.began, n - BEFORE_WORD_FRAMES) : n]), "too near to speech"
        assert self.replay.dropped_ms == 0


TestReplayAgainstModel = ReplayAgainstModel.TestCase


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("append"), st.integers(1, 60), st.booleans()),
            st.tuples(st.just("read"), st.integers(0, 100), st.just(value=False)),
            st.tuples(st.just("finish"), st.integers(0, 300), st.just(value=False)),
            st.tuples(st.just("rewind"), st.just(0), st.just(value=False)),
        ),
        max_size=40,
    )
)
def test_the_totals_add_up(steps: list[tuple[str, int, bool]]) -> None:
    """With a log that is often too small: sent = appended - unread - dropped - left out + had to be sent again."""
    replay, appended, sent, gone = ReplayLog(50 * 20), 0, 0, 0
    for step, number, speech in steps:
        match step:
            case "append":
                gone += sum(append_judged(replay, b"", speech=speech) is not None for _ in range(number))
                appended += number
            case "read":
                read = [replay.read() for _ in range(number)]
                sent += sum(frame is not None for frame, _ in read)
                gone += sum(left_out for _, left_out in read)
            case "finish":
                replay.finish_sentence(number)
            case "rewind":
                _, again, dropped = replay.rewind()
                gone += dropped - again
        assert sent == appended - replay.unread_ms // 20 - gone
