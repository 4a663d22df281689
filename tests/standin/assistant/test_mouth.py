"""The mouth speaks in real time, whole and in order, and stops where it is cut."""

from hypothesis import given
from hypothesis import strategies as st

from relay.media.frames import TELEPHONE, WIDEBAND, AudioFormat
from relay.standin.assistant.chunks import Chunks
from relay.standin.assistant.mouth import Mouth

SPEECH = bytes(range(1, 201)) * 40  # 1 s of mu-law, no silent byte in it


def make(form: AudioFormat = TELEPHONE, *, silence: bool = True, burst: bool = False, opened_s: float = 100.0) -> Mouth:
    mouth = Mouth(form, Chunks(form, "irregular", seed=3), silence=silence, burst=burst)
    mouth.open(opened_s)
    return mouth


def run(mouth: Mouth, begin_s: float, end_s: float, step_s: float = 0.05) -> bytes:
    out = b""
    now_s = begin_s
    while now_s <= end_s:
        out += b"".join(mouth.due(now_s))
        now_s += step_s
    return out


def test_nothing_is_due_before_it_is_open() -> None:
    mouth = Mouth(TELEPHONE, Chunks(TELEPHONE, "even", seed=1))
    assert mouth.due(1000.0) == []


@given(st.floats(0.001, 0.2), st.sampled_from([TELEPHONE, WIDEBAND]))
def test_it_never_runs_ahead_of_real_time_and_lags_by_one_chunk_at_most(step_s: float, form: AudioFormat) -> None:
    mouth = make(form)
    mouth.say(0, "words", SPEECH * form.block_bytes, 100.0)
    sent = 0
    for tick in range(60):
        now_s = 100.0 + tick * step_s
        sent += sum(map(len, mouth.due(now_s)))
        clock = mouth.clock_bytes(now_s)
        assert clock - 743 * 4 - 2 < sent <= clock


@given(st.floats(0.01, 0.3), st.floats(0.0, 1.5))
def test_speech_goes_out_whole_and_in_order_with_silence_around(step_s: float, begins_s: float) -> None:
    mouth = make()
    before = run(mouth, 100.0, 100.0 + begins_s, step_s)
    mouth.say(0, "words", SPEECH, 100.0 + begins_s)
    after = run(mouth, 100.0 + begins_s, 104.0, step_s)
    assert set(before) <= {0xFF}
    assert after.strip(b"\xff") == SPEECH


def test_without_silence_only_speech_goes_out() -> None:
    mouth = make(WIDEBAND, silence=False)
    assert run(mouth, 100.0, 100.5) == b""
    mouth.say(0, "words", SPEECH, 100.5)
    assert run(mouth, 100.5, 103.0) == SPEECH


def test_a_cut_leaves_what_the_lag_allows_and_forgets_the_rest() -> None:
    mouth = make()
    utterance = mouth.say(0, "one two three four", SPEECH, 100.0)
    mouth.say(0, "never said", SPEECH, 100.0)
    begun = run(mouth, 100.0, 100.4)
    mouth.cut(100.4, lag_ms=200)
    whole = begun + run(mouth, 100.45, 103.0)
    assert whole.strip(b"\xff") == SPEECH[: int(0.6 * 8000)]
    assert utterance.words_by(1e9) == "one two"


def test_a_cut_without_lag_takes_back_nothing_that_has_left() -> None:
    mouth = make()
    mouth.say(0, "words", SPEECH, 100.0)
    begun = run(mouth, 100.0, 100.4)
    mouth.cut(100.4, lag_ms=0)
    rest = run(mouth, 100.45, 102.0).rstrip(b"\xff")
    assert len(rest) <= 743
    assert SPEECH.startswith(begun + rest)


def test_a_burst_leaves_at_once_and_the_stream_then_rests() -> None:
    mouth = make(burst=True)
    mouth.say(0, "words", SPEECH, 100.0)
    assert b"".join(mouth.due(100.0)).startswith(SPEECH)
    assert run(mouth, 100.05, 100.9) == b""
    assert mouth.utterance is not None
    assert mouth.finished(100.99) is None
    assert mouth.finished(101.01) is not None
    assert set(run(mouth, 101.0, 101.5)) == {0xFF}


def test_after_a_cut_burst_real_time_goes_on_from_now() -> None:
    mouth = make(burst=True)
    mouth.say(0, "words", SPEECH, 100.0)
    mouth.due(100.0)
    mouth.cut(100.2, lag_ms=0)
    assert mouth.finished(100.2) is not None
    assert 0 < len(run(mouth, 100.25, 100.5)) <= 8000 * 0.5


def test_utterances_follow_each_other_without_a_gap() -> None:
    mouth = make()
    mouth.say(0, "one", SPEECH, 100.0)
    mouth.say(1, "two", SPEECH[::-1], 100.0)
    assert run(mouth, 100.0, 103.0).strip(b"\xff") == SPEECH + SPEECH[::-1]


def test_a_muted_mouth_keeps_time_in_silence() -> None:
    mouth = make()
    mouth.say(0, "words", SPEECH, 100.0)
    mouth.muted = True
    assert set(run(mouth, 100.0, 100.5)) == {0xFF}


def test_words_are_counted_by_the_clock() -> None:
    mouth = make()
    utterance = mouth.say(0, "one two three four", SPEECH, 100.0)
    assert [utterance.words_by(8000 * share) for share in (0, 0.24, 0.25, 0.8, 1, 9)] == [
        "",
        "",
        "one",
        "one two three",
        "one two three four",
        "one two three four",
    ]
