"""A script is read as it is written, or refused in one line that says where, what and what is allowed."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.scenario.script import FORMS, BadScenario, parse_scenario, read_scenario
from relay.scenario.sounds import made_up_cough, sound_named
from relay.scenario.step import (
    AnswerWithin,
    CallerStep,
    DropStep,
    EchoOffStep,
    EchoStep,
    EndWithin,
    Expectation,
    HangUpStep,
    NoCutFor,
    PressStep,
    RestWithin,
    SayStep,
    SilenceFor,
    SilenceWithin,
    SpeechFor,
    TransferWithin,
    WaitStep,
)
from relay.standin.sound import tone, write_wav
from tests.support.scenarios import SCENARIOS

STOP, QUESTION = sound_named("stop", Path()), sound_named("question", Path())
STEPS: dict[str, CallerStep | Expectation] = {
    "say stop": SayStep(STOP),
    "interrupt with stop": SayStep(STOP, interrupts=True),
    "cough": SayStep(made_up_cough()),
    "cough with stop": SayStep(STOP),
    "echo loss 20 dB delay 180 ms": EchoStep(20.0, 0.18),
    "echo loss 0dB delay 1s": EchoStep(0.0, 1.0),
    "echo off": EchoOffStep(),
    "wait 2.5 s": WaitStep(2.5),
    "press 12#*": PressStep("12#*"),
    'press "#1"': PressStep("#1"),
    "drop": DropStep(),
    "hang up": HangUpStep(),
    "expect silence within 400ms": SilenceWithin(0.4),
    "expect silence for 3 s": SilenceFor(3.0),
    "expect silence for 1 s within 10 s": SilenceFor(1.0, 10.0),
    "expect speech for 4 s within 15 s": SpeechFor(4.0, 15.0),
    "expect answer within 10 s": AnswerWithin(10.0),
    "expect answer within 10 s instead of stop": AnswerWithin(10.0, STOP),
    "expect rest of question within 700 ms": RestWithin(QUESTION, 0.7),
    "expect no cut for 3 s": NoCutFor(3.0),
    "expect no cut for 3 s in question": NoCutFor(3.0, QUESTION),
    "expect end within 10 s": EndWithin(10.0),
    "expect transfer to sip:desk@pbx.example.com within 10 s": TransferWithin("sip:desk@pbx.example.com", 10.0),
}
WRONG = {
    "sya stop": '"sya" is no step; did you mean "say"?',
    "jump": '"jump" is no step; allowed: say, interrupt, cough, echo, wait, press, drop, hang, expect',
    "expect peace within 1 s": '"expect peace within 1 s" must be one of: expect silence within',
    "say": "the end where SOUND is expected; the step is: say SOUND",
    "say stop now": '"now" is too much; the step is: say SOUND',
    "say hello": 'SOUND "hello" must be a file that ends in .wav, or one of agreement,',
    "say no-such.wav": 'SOUND "no-such.wav" cannot be read: No such file or directory',
    'say "stop': "a quotation mark is not closed",
    "interrupt stop": '"interrupt stop" must be interrupt with SOUND',
    "wait 2": '"2" must be as 400 ms or 2.5 s',
    "wait 2 m": '"2 m" must be as 400 ms or 2.5 s',
    "wait 0 s": '"0 s" must be',
    "wait -1 s": '"-1" must be',
    "wait 601 s": '"601 s" must be as 400 ms or 2.5 s, at most 600 s',
    "wait nan s": '"nan" must be',
    "wait 1e3 s": '"1e3" must be',
    "echo loss 20 delay 1 s": '"20 delay" must be as 20 dB',
    "echo loss 20 dB": "the end where delay is expected",
    "press": "the end where KEYS is expected",
    "press 5x": 'KEYS "5x" must be at most 32 of 0 to 9, * and #',
    "expect silence": '"expect silence" must be one of: expect silence within TIME; expect silence for TIME',
    "expect answer within 1 s instead stop": '"stop" where of is expected',
    "expect answer": '"expect answer" must be expect answer within TIME [instead of SOUND]',
    "expect no cut for 1 s in stop twice": '"twice" is too much',
}


def steps(script: str, path: Path = Path("x.scenario")) -> list[CallerStep | Expectation]:
    return [line.step for line in parse_scenario(script, path).lines]


def refusal(script: str) -> str:
    """Why it is refused; "" if it is not."""
    try:
        parse_scenario(script, Path("x"))
    except BadScenario as refused:
        return str(refused)
    return ""


@pytest.mark.parametrize("line", STEPS)
def test_a_step_means_what_it_says(line: str) -> None:
    assert steps(line) == [STEPS[line]]


def test_there_is_an_example_of_every_form() -> None:
    assert {type(step) for step in STEPS.values()} == {type(steps(line)[0]) for line in STEPS}
    for form in FORMS:
        fixed = " ".join(word for word in form.split("[")[0].split() if word.islower())
        assert any(line.split()[0] == fixed.split()[0] for line in STEPS), form


@pytest.mark.parametrize("line", WRONG)
def test_a_wrong_step_is_refused_in_one_line_with_its_place_and_what_is_allowed(line: str) -> None:
    with pytest.raises(BadScenario) as refused:
        parse_scenario(f"# A title\n\nsay stop\n{line}\n", Path("calls/x.scenario"))

    assert str(refused.value).startswith(f"calls/x.scenario: line 4: {WRONG[line]}")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("line", ["hang up", "expect end within 1 s"])
def test_nothing_can_follow_the_end_of_the_call(line: str) -> None:
    with pytest.raises(BadScenario, match=f'line 2: the call is over after "{line}"'):
        steps(f"{line}\nsay stop")


def test_a_script_without_steps_is_refused_with_all_forms() -> None:
    with pytest.raises(BadScenario, match="has no steps") as refused:
        steps("# Nothing\n\n")

    assert all(form in str(refused.value) for form in FORMS)


def test_comments_blank_lines_and_spaces_change_nothing_but_the_numbers() -> None:
    scenario = parse_scenario("# The title\n\n  say   stop  # it isn't said twice\n#say stop\n\tdrop\n", Path("x"))

    assert scenario.title == "The title"
    assert [(line.number, line.text, line.step) for line in scenario.lines] == [
        (3, "say stop", SayStep(STOP)),
        (5, "drop", DropStep()),
    ]


def test_recordings_are_looked_for_beside_the_script(tmp_path: Path) -> None:
    write_wav(tmp_path / "my words.wav", 16000, tone(440, 0.5))
    (tmp_path / "a.scenario").write_text('say "my words.wav"\n')
    (line,) = read_scenario(tmp_path / "a.scenario").lines

    assert isinstance(line.step, SayStep)
    assert len(line.step.sound.mulaw) == 4000
    assert line.text == 'say "my words.wav"'


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "cannot be read: No such file or directory"), (b"say stop\n\xff\n", "line 2 is not UTF-8 text")],
)
def test_a_file_that_is_no_text_is_refused(tmp_path: Path, content: bytes | None, said: str) -> None:
    path = tmp_path / "a.scenario"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(BadScenario) as refused:
        read_scenario(path)

    assert str(refused.value) == f"{path}: {said}"


def test_a_byte_order_mark_is_no_part_of_the_script(tmp_path: Path) -> None:
    path = tmp_path / "a.scenario"
    path.write_bytes("\ufeff# Title\nsay stop\n".encode())

    assert read_scenario(path).title == "Title"


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused_in_one_line(script: str) -> None:
    assert refusal(script).isprintable()


WORDS = sorted({word.strip("[]") for form in FORMS for word in form.split()} | {"stop", "400 ms", "2.5s", "20 dB", "5"})


@given(st.lists(st.sampled_from(WORDS), max_size=9).map(" ".join))
def test_any_words_of_the_language_are_read_or_refused_with_their_line(script: str) -> None:
    assert (refusal(script) or "x: line 1: ").startswith(("x: line 1: ", "x: has no steps"))


@given(st.integers(1, 600_000))
def test_milliseconds_and_seconds_mean_the_same(ms: int) -> None:
    (one,), (other,) = steps(f"wait {ms} ms"), steps(f"wait {ms / 1000:.3f}s")

    assert isinstance(one, WaitStep)
    assert isinstance(other, WaitStep)
    assert one.seconds == pytest.approx(ms / 1000)
    assert other.seconds == pytest.approx(ms / 1000)


@pytest.mark.parametrize("file", sorted(SCENARIOS.glob("*.scenario")), ids=lambda it: it.stem)
def test_the_scenarios_of_the_repository_have_titles_and_can_be_played(file: Path) -> None:
    assert read_scenario(file).title.endswith(".")
