"""Frames are 20 ms. "Heard" below means: sent to the assistant on the present connection."""

import itertools
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.logic.assistant.replay import ReplayLog
from relay.logic.assistant.sentences import MAX_SEGMENTS, REACTION_FRAMES, TAIL_FRAMES, Sentences
from tests.support.judged import append_judged

UNANSWERED_S = 10.0


class Line:
    """A caller whose frames go to the assistant as they come, while there is a connection."""

    def __init__(self) -> None:
        self.replay = ReplayLog(100_000)
        self.sentences = Sentences(self.replay, UNANSWERED_S)
        self.connected = True
        self.now = 0.0
        self.end = 0
        """The number of the next frame."""

    def goes_on(self, frames: int, *, speech: bool = False) -> None:
        for _ in range(frames):
            append_judged(self.replay, self.end.to_bytes(4), speech=speech)
            self.end += 1
            self.now += 0.02
            while self.connected and (at := self.replay.next_at(self.now)) is not None and at <= self.now:
                self.replay.read(self.now)

    def says(self, frames: int, hangover: int = 13) -> int:
        """A segment, known to have ended after the hangover; returns its end."""
        self.sentences.began(self.end)
        self.goes_on(frames, speech=True)
        end = self.end
        self.goes_on(hangover)
        self.sentences.ended(end, self.now)
        return end

    def final(self) -> None:
        self.sentences.transcript(final=True, now=self.now)

    def loses(self) -> int:
        """Returns the frame with which the replay begins."""
        self.connected = False
        return self.end - self.sentences.rewind(self.now).unread

    def connects(self) -> None:
        self.connected = True


def test_a_final_transcript_finishes_the_segment_that_ended_before_it() -> None:
    line = Line()
    end = line.says(50)
    line.goes_on(20)
    line.final()

    assert line.loses() == end + TAIL_FRAMES


def test_without_a_final_transcript_the_sentence_comes_again_from_its_beginning() -> None:
    line = Line()
    line.goes_on(30)
    line.says(50)
    line.sentences.transcript(final=False, now=line.now)
    line.goes_on(1000)

    assert line.loses() == 0


def test_a_final_transcript_does_not_finish_a_segment_that_is_running() -> None:
    line = Line()
    end = line.says(50)
    line.goes_on(20)
    line.sentences.began(line.end)
    line.goes_on(100, speech=True)
    line.final()

    assert line.loses() == end + TAIL_FRAMES


def test_nor_one_that_is_running_alone() -> None:
    line = Line()
    line.sentences.began(0)
    line.goes_on(100, speech=True)
    line.final()
    line.goes_on(10, speech=True)
    line.sentences.ended(110, line.now)

    assert line.loses() == 0


def test_a_final_transcript_that_comes_before_the_detector_knows_of_the_end_finishes_the_segment() -> None:
    line = Line()
    line.sentences.began(0)
    line.goes_on(100, speech=True)
    line.goes_on(10)
    line.final()
    line.goes_on(3)
    line.sentences.ended(100, line.now)

    assert line.loses() == 100 + TAIL_FRAMES


@pytest.mark.parametrize(("after", "finished"), [(REACTION_FRAMES - 1, False), (REACTION_FRAMES, True)])
def test_so_does_one_that_finishes_the_segment_before_it_too_where_it_can_know_of_both(
    after: int, *, finished: bool
) -> None:
    """The detector is behind: what it takes for speech under way has ended long ago."""
    line = Line()
    first = line.says(50)
    line.sentences.began(line.end)
    line.goes_on(100, speech=True)
    end = line.end
    line.goes_on(after)
    line.final()
    line.goes_on(3)
    line.sentences.ended(end, line.now)

    assert line.loses() == (end if finished else first) + TAIL_FRAMES


def test_a_final_transcript_before_all_speech_finishes_nothing_that_comes_after_it() -> None:
    line = Line()
    line.goes_on(10)
    line.final()
    line.says(10, hangover=0)

    assert line.loses() == 0


@pytest.mark.parametrize(("after", "finished"), [(REACTION_FRAMES - 1, "first"), (REACTION_FRAMES, "second")])
def test_of_two_segments_a_final_transcript_means_the_last_that_it_can_know_of(after: int, finished: str) -> None:
    line = Line()
    first = line.says(50)
    line.goes_on(10)
    second = line.says(20, hangover=after)
    line.final()

    assert line.loses() == (first if finished == "first" else second) + TAIL_FRAMES


@pytest.mark.parametrize(("usual", "after", "finished"), [(60, 40, "first"), (60, 50, "second"), (16, 16, "second")])
def test_a_transcript_that_is_sooner_than_this_assistant_ever_was_is_a_late_one_of_the_segment_before(
    usual: int, after: int, finished: str
) -> None:
    """It was held up on its way, while the caller said something short."""
    line = Line()
    line.says(50, hangover=13)
    line.goes_on(usual - 13)
    line.final()
    first = line.says(50)
    line.goes_on(60)
    second = line.says(20, hangover=after)
    line.final()

    assert line.loses() == (first if finished == "first" else second) + TAIL_FRAMES


def test_the_next_segment_is_never_cut_at_its_beginning() -> None:
    line = Line()
    end = line.says(50, hangover=2)
    line.sentences.began(line.end)
    line.goes_on(40, speech=True)
    line.final()

    assert line.loses() == end + 2


def test_a_sentence_that_is_still_to_be_replayed_is_not_finished_by_the_transcript_of_the_one_before() -> None:
    line = Line()
    first = line.says(100)
    line.goes_on(20)
    second = line.says(100)
    assert line.loses() == 0
    line.goes_on(100)
    line.connects()
    while line.replay.cursor < first + 40:
        line.goes_on(1)
    line.final()

    assert line.replay.cursor < second
    assert line.loses() == first + TAIL_FRAMES


def test_without_transcripts_the_answer_of_the_assistant_finishes_the_sentence() -> None:
    line = Line()
    end = line.says(50)
    line.goes_on(30)
    line.sentences.assistant_spoke(line.now)

    assert line.loses() == end + TAIL_FRAMES


def test_what_the_assistant_says_at_once_is_no_answer() -> None:
    line = Line()
    line.says(50, hangover=REACTION_FRAMES - 1)
    line.sentences.assistant_spoke(line.now)

    assert line.loses() == 0


def test_where_there_are_transcripts_an_answer_finishes_nothing() -> None:
    line = Line()
    line.says(50)
    line.sentences.transcript(final=False, now=line.now)
    line.goes_on(30)
    line.sentences.assistant_spoke(line.now)

    assert line.loses() == 0


@pytest.mark.parametrize(("frames", "finished"), [(499, False), (501, True)])
def test_without_transcripts_and_answers_a_sentence_is_finished_after_some_time(frames: int, *, finished: bool) -> None:
    line = Line()
    end = line.says(50)
    line.goes_on(frames)

    assert line.loses() == (end + TAIL_FRAMES if finished else 0)


def test_the_time_begins_again_with_the_next_connection() -> None:
    line = Line()
    line.says(50)
    line.goes_on(100)
    assert line.loses() == 0
    line.goes_on(450)

    assert line.loses() == 0


def test_whether_there_are_transcripts_is_asked_anew_on_each_connection() -> None:
    line = Line()
    line.final()
    line.loses()
    line.connects()
    end = line.says(50)
    line.goes_on(30)
    line.sentences.assistant_spoke(line.now)

    assert line.loses() == end + TAIL_FRAMES


def test_the_end_of_a_segment_that_never_began_is_ignored() -> None:
    line = Line()
    line.sentences.ended(5, 0.0)
    end = line.says(50)
    line.sentences.ended(end + 40, line.now)
    line.goes_on(20)
    line.final()

    assert line.loses() == end + TAIL_FRAMES


def test_segments_without_number_are_bounded_and_the_last_can_still_be_finished() -> None:
    line = Line()
    end = 0
    for _ in range(2 * MAX_SEGMENTS):
        end = line.says(2, hangover=3)
    line.goes_on(20)
    line.final()

    assert line.loses() == end + TAIL_FRAMES


EVENTS = st.sampled_from(["final", "partial", "answer", "lose", "-"])


@given(st.lists(st.tuples(st.integers(1, 60), st.integers(13, 60), EVENTS), max_size=12))
def test_whatever_happens_a_replay_begins_outside_speech(steps: list[tuple[int, int, str]]) -> None:
    line = Line()
    spoken: list[tuple[int, int]] = []
    for speech, pause, event in steps:
        start = line.end
        spoken.append((start, line.says(speech)))
        line.goes_on(pause)
        match event:
            case "final" | "partial":
                line.sentences.transcript(final=event == "final", now=line.now)
            case "answer":
                line.sentences.assistant_spoke(line.now)
            case "lose":
                line.loses()
                line.connects()
    begins = line.loses()

    assert not any(start < begins < end for start, end in spoken)


class Ear:
    """An assistant that understands what it has heard once 600 ms of silence follow."""

    def __init__(self) -> None:
        self.heard: list[int] = []
        self.silent = 0

    def hears(self, number: int, *, speech: bool) -> list[int]:
        """The frames of speech that are understood now."""
        self.heard += [number] if speech else []
        self.silent = 0 if speech else self.silent + 1
        if self.silent < 30 or not self.heard:
            return []
        understood, self.heard = self.heard, []
        return understood


class Talk:
    """Frame by frame: a caller, a detector with its delays, connections that are cut and stay away for a while."""

    def __init__(self, segments: list[tuple[int, int]], cuts: list[tuple[int, int]]) -> None:
        self.speech = [kind for said, pause in segments for kind in [True] * said + [False] * pause] + [False] * 1500
        self.line, self.ear = Line(), Ear()
        self.understood: list[int] = []
        self._cut_at, self._up_at, at = set[int](), set[int](), 0
        for lasting, away in cuts:
            self._cut_at.add(at := at + lasting)
            self._up_at.add(at := at + away + 1)

    def frames(self) -> Iterator[int]:
        """The caller speaks, or not, and the detector finds out."""
        start = 0
        for n, kind in enumerate(self.speech):
            if n in self._cut_at:
                self.line.loses()
            append_judged(self.line.replay, n.to_bytes(4), speech=kind)
            self.line.now += 0.02
            start = n if kind and not (n and self.speech[n - 1]) else start
            if kind and n == start + 5:
                self.line.sentences.began(start)
            if n > 13 and self.speech[n - 14] and not self.speech[n - 13]:
                self.line.sentences.ended(n - 13, self.line.now)
            yield n

    def reconnects(self, n: int) -> None:
        """If there is a new connection now."""
        if n in self._up_at:
            self.line.connects()
            self.ear = Ear()

    def hears(self) -> int:
        """How often the assistant has understood something in what it gets now."""
        times, line = 0, self.line
        while line.connected and (due := line.replay.next_at(line.now)) is not None and due <= line.now:
            number = int.from_bytes(line.replay.read(line.now).frame or b"")
            if new := self.ear.hears(number, speech=self.speech[number]):
                self.understood += new
                times += 1
        return times


@given(
    st.lists(st.tuples(st.integers(10, 150), st.integers(31, 120)), min_size=1, max_size=6),
    st.lists(st.tuples(st.integers(1, 400), st.integers(0, 150)), max_size=4),
)
def test_wherever_connections_are_cut_every_sentence_is_understood_exactly_once(
    segments: list[tuple[int, int]], cuts: list[tuple[int, int]]
) -> None:
    talk = Talk(segments, cuts)
    for n in talk.frames():
        talk.reconnects(n)
        for _ in range(talk.hears()):
            talk.line.final()

    assert talk.understood == [n for n, kind in enumerate(talk.speech) if kind]


@given(
    st.lists(st.tuples(st.integers(36, 50), st.integers(31, 34)), min_size=2, max_size=6),
    st.lists(st.tuples(st.integers(50, 300), st.integers(0, 50)), min_size=1, max_size=4),
    st.lists(st.sampled_from([0, 30, 50]), min_size=3, max_size=10),
)
def test_transcripts_that_are_up_to_a_second_late_cost_no_word(
    segments: list[tuple[int, int]], cuts: list[tuple[int, int]], late: list[int]
) -> None:
    """Each is held up for as many frames as `late` says; one that is under way at a cut is lost with the connection."""
    talk = Talk(segments, cuts)
    delays = itertools.cycle(late)
    under_way: list[int] = []
    for n in talk.frames():
        talk.reconnects(n)
        under_way = under_way if talk.line.connected else []
        if talk.hears():
            under_way.append(max([n + next(delays), *under_way]))
        while under_way and under_way[0] <= n:
            del under_way[0]
            talk.line.final()

    assert set(talk.understood) == {n for n, kind in enumerate(talk.speech) if kind}
