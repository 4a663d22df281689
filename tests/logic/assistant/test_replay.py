from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from relay.logic.assistant.replay import EDGE_FRAMES, KEEP_FRAMES, ReplayLog, ReplayStatistics


def drain(replay: ReplayLog) -> list[bytes]:
    return list(iter(replay.read, None))


def test_what_was_appended_is_read_once_in_order() -> None:
    replay = ReplayLog(1000)
    for name in (b"a", b"b", b"c"):
        replay.append(name)

    assert drain(replay) == [b"a", b"b", b"c"]
    assert replay.read() is None
    assert replay.statistics() == ReplayStatistics(kept_ms=60, unread_ms=0, dropped_ms=0)


def test_what_falls_off_unread_is_the_oldest_and_counted() -> None:
    replay = ReplayLog(60)
    for n in range(5):
        replay.append(bytes([n]))

    assert replay.statistics() == ReplayStatistics(kept_ms=60, unread_ms=60, dropped_ms=40)
    assert drain(replay) == [b"\x02", b"\x03", b"\x04"]


def test_what_falls_off_after_it_was_read_is_not_a_loss() -> None:
    replay = ReplayLog(60)
    for n in range(50):
        replay.append(bytes([n]))
        assert replay.read() == bytes([n])

    assert replay.statistics() == ReplayStatistics(kept_ms=60, unread_ms=0, dropped_ms=0)


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
    assert replay.statistics().dropped_ms == max(0, count - size) * 20


class LogAgainstModel(RuleBasedStateMachine):
    """Reads and appends in any order: the log is a queue whose oldest frames go when it is full."""

    def __init__(self) -> None:
        super().__init__()
        self.replay = ReplayLog(7 * 20)
        self.unread: deque[bytes] = deque()
        self.count = self.dropped = 0

    @rule(frames=st.integers(1, 12))
    def append(self, frames: int) -> None:
        for _ in range(frames):
            self.replay.append(self.count.to_bytes(4))
            self.unread.append(self.count.to_bytes(4))
            self.count += 1
            if len(self.unread) > 7:
                self.unread.popleft()
                self.dropped += 1

    @rule()
    def read(self) -> None:
        assert self.replay.read() == (self.unread.popleft() if self.unread else None)

    @invariant()
    def counts_agree(self) -> None:
        assert self.replay.statistics() == ReplayStatistics(
            min(self.count, 7) * 20, len(self.unread) * 20, self.dropped * 20
        )


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
        replay.append(numbered(n), speech=kind == "s")
    return replay


def play(replay: ReplayLog, now: float, until: float) -> list[tuple[float, int]]:
    """All that is read from now until then, each frame at the moment that the log asks for."""
    sent: list[tuple[float, int]] = []
    while (at := replay.next_at(now)) is not None and at <= until:
        now = at
        frame = replay.read(now)
        assert frame is not None, "what is announced must come"
        sent.append((now, number(frame)))
    return sent


def test_the_backlog_of_pre_warming_goes_out_at_once_even_after_a_first_connection_that_read_nothing() -> None:
    replay = log_of("s" * 300)
    assert replay.rewind() == 300

    assert play(replay, 5.0, 5.0) == [(5.0, n) for n in range(300)]


def test_what_was_finished_is_not_sent_again_and_all_after_it_is() -> None:
    replay = log_of("s" * 100)
    play(replay, 0.0, 0.0)
    replay.finish_sentence(40)

    assert replay.rewind() == 60
    assert [n for _, n in play(replay, 9.0, 99.0)] == list(range(40, 100))
    assert replay.statistics() == ReplayStatistics(
        kept_ms=1200,
        unread_ms=0,
        dropped_ms=0,
        replayed_ms=(60 - EDGE_FRAMES) * 20,
        skipped_silence_ms=0,
        again_ms=1200,
    )


def test_what_was_not_sent_cannot_be_finished() -> None:
    replay = log_of("s" * 10)
    assert replay.read() == numbered(0)
    replay.finish_sentence(7)

    assert replay.rewind() == 9


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

    assert replay.read(1.0) == numbered(0)
    assert replay.read(1.019) is None
    assert replay.read(5.0) == numbered(1)
    assert replay.next_at(5.0) == pytest.approx(5.02), "it does not make up for four seconds"


def test_a_reader_a_little_late_makes_up_for_it() -> None:
    replay = log_of("s" * 50)
    play(replay, 0.0, 0.0)
    replay.rewind()
    replay.read(1.0)
    replay.read(1.09)

    assert replay.next_at(1.09) == pytest.approx(1.09)


@pytest.mark.parametrize(("pause", "kept"), [(14, 14), (16, 16), (17, 16), (400, 16)])
def test_of_a_long_pause_160_ms_stay_on_each_side(pause: int, kept: int) -> None:
    replay = log_of("s" * 20 + "." * pause + "s" * 40)
    play(replay, 0.0, 0.0)
    replay.rewind()
    sent = [n for _, n in play(replay, 1.0, 99.0)]

    assert sent == [*range(20 + kept // 2), *range(20 + pause - kept // 2, 60 + pause)]
    assert replay.statistics().skipped_silence_ms == (pause - kept) * 20


def test_with_a_pause_the_replay_catches_up_with_a_caller_who_talks_on() -> None:
    """Ten seconds of outage with a pause of five in it: the caller's new words come late until the pause is spent."""
    replay = log_of("s" * 100 + "." * 250 + "s" * 150)
    play(replay, 0.0, 0.0)
    replay.rewind()
    now, sent = 20.0, 0
    for n in range(500, 1000):
        replay.append(numbered(n), speech=n < 700)
        sent += len(play(replay, now, now := now + 0.02))

    assert not replay.replaying
    assert replay.statistics().unread_ms <= 40
    assert replay.statistics().dropped_ms == 0


def test_at_the_newest_frame_a_pause_is_not_skipped_to_its_end_because_speech_may_have_begun_unnoticed() -> None:
    replay = log_of("s" * 10 + "." * 100)
    play(replay, 0.0, 0.0)
    replay.rewind()

    assert [n for _, n in play(replay, 1.0, 9.0)] == [*range(18), *range(102, 110)]


def test_what_the_detector_finds_late_to_be_speech_is_no_pause() -> None:
    replay = log_of("s" * 10 + "." * 100)
    play(replay, 0.0, 0.0)
    replay.mark_speech(60)
    replay.rewind()

    assert [n for _, n in play(replay, 1.0, 9.0)] == [*range(18), *range(52, 110)]


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

    assert replay.statistics().dropped_ms == 0
    assert [n for _, n in play(replay, 1.0, 9.0)] == [*range(5, 28), *range(97, 115)]


def test_a_reader_that_is_held_up_now_and_then_still_catches_up() -> None:
    """A busy machine: each second the reader is 300 ms late, while the caller talks on, with a pause."""
    replay = log_of("s" * 100)
    play(replay, 0.0, 0.0)
    replay.rewind()
    now = 10.0
    for n in range(100, 700):
        now += 0.02
        replay.append(numbered(n), speech=n < 300 or n >= 450)
        if n % 50 >= 15:
            play(replay, now, now)

    assert not replay.replaying
    assert replay.statistics().dropped_ms == 0


def test_live_pauses_are_sent_whole_and_a_stalled_reader_is_not_paced() -> None:
    replay = log_of("s")
    play(replay, 0.0, 0.0)
    for n in range(1, 200):
        replay.append(numbered(n), speech=False)

    assert play(replay, 4.0, 4.0) == [(4.0, n) for n in range(1, 200)]


def test_a_loss_during_a_replay_begins_it_again() -> None:
    replay = log_of("s" * 100)
    play(replay, 0.0, 0.0)
    replay.rewind()
    assert [n for _, n in play(replay, 1.0, 1.51)] == list(range(26))

    assert replay.rewind() == 100
    assert [n for _, n in play(replay, 3.0, 99.0)] == list(range(100))


def test_unfinished_speech_that_fell_off_is_a_loss_only_when_it_would_have_to_be_sent_again() -> None:
    replay = ReplayLog(1000)
    for n in range(100):
        replay.append(numbered(n), speech=n >= 30)
        replay.read()
    assert replay.statistics().dropped_ms == 0
    replay.rewind()
    assert replay.statistics().dropped_ms == 20 * 20
    replay.rewind()
    assert replay.statistics().dropped_ms == 20 * 20, "counted once"


def test_finished_speech_that_fell_off_is_no_loss() -> None:
    replay = ReplayLog(1000)
    for n in range(100):
        replay.append(numbered(n))
        replay.read()
    replay.finish_sentence(50)
    replay.rewind()

    assert replay.statistics().dropped_ms == 0


def test_silence_that_falls_off_unread_is_skipped_and_speech_is_dropped() -> None:
    replay = log_of("s" * 5 + "." * 20 + "s" * 50, max_ms=1000)

    assert (replay.statistics().dropped_ms, replay.statistics().skipped_silence_ms) == (100, 400)


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

    @rule(count=st.integers(1, 60), speech=st.booleans())
    def append(self, count: int, speech: bool) -> None:
        for _ in range(count):
            self.replay.append(numbered(len(self.speech)), speech=speech)
            self.speech.append(speech)

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
        assert self.replay.rewind() == len(self.speech) - self.finished
        self.connections += read_before
        self.began, self.got = self.finished, []

    @invariant()
    def nothing_twice_nothing_lost(self) -> None:
        assert self.got == sorted(set(self.got))
        missing = set(range(self.began, self.replay.cursor)) - set(self.got)
        assert not any(self.speech[n] for n in missing)
        assert self.connections > 1 or not missing
        for n in missing:
            assert not any(self.speech[max(self.began, n - KEEP_FRAMES) : n]), "too near to speech"
        assert self.replay.statistics().dropped_ms == 0


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
    """With a log that is often too small: sent = appended - unread - dropped - skipped + had to be sent again."""
    replay, sent = ReplayLog(50 * 20), 0
    for step, number, speech in steps:
        match step:
            case "append":
                for _ in range(number):
                    replay.append(b"", speech=speech)
            case "read":
                sent += sum(replay.read() is not None for _ in range(number))
            case "finish":
                replay.finish_sentence(number)
            case "rewind":
                replay.rewind()
        had = replay.statistics()
        accounted_ms = replay.end * 20 - had.unread_ms - had.dropped_ms - had.skipped_silence_ms + had.again_ms
        assert sent * 20 == accounted_ms
