"""A classifier of the operator's own decides in a whole call, as long as it answers in time."""

from collections.abc import Callable
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from relay.call.caller.classifier import Classifier
from relay.config import BargeInConfig, VadConfig
from relay.media.interruption_model import AssistantActivity, InterruptionModel
from relay.media.resample import Samples
from relay.metrics import Metrics
from tests.support.callrig import TONE, Rig, open_rig
from tests.support.numbered import heard_frames, numbered, whole_and_in_order
from tests.support.onnx_files import write_classifier

CONFIG = BargeInConfig(classifier="own.onnx")


class Asked:
    """A model that answers `probability` after `took_s`, or fails. `questions` are what it was asked."""

    def __init__(self, answer: float | Exception, took_s: float = 0.01) -> None:
        self._answer, self._took_s = answer, took_s
        self.questions: list[tuple[int, int, AssistantActivity]] = []

    def probability(self, samples: Samples, rate_hz: int, activity: AssistantActivity) -> float:
        self.questions.append((len(samples), rate_hz, activity))
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer

    async def run(self, function: Callable[[], float]) -> float:
        await trio.sleep(self._took_s)
        return function()

    def lane(self, metrics: Metrics) -> Classifier:
        return Classifier(self, metrics, threshold=0.5, budget_s=0.05, run=self.run)


async def interrupt(rig: Rig, *, sentence: int = 300) -> None:
    await rig.begin()
    rig.assistant.say(numbered(0, sentence))
    await trio.sleep(2)
    rig.phone.say(TONE * 15)
    await trio.sleep(1)


async def test_what_it_takes_for_no_interruption_costs_a_pause_and_nothing_of_the_sentence(
    autojump_clock: MockClock,
) -> None:
    asked = Asked(0.2)
    async with open_rig(classifier=asked.lane, barge_in=CONFIG) as rig:
        await interrupt(rig)
        await trio.sleep(7)

        assert rig.phone.player.clears == []
        assert whole_and_in_order(rig.phone.heard(), 0, 300)
        assert rig.event("bargein.resumed")["paused_ms"] <= 200
        line = rig.event("bargein.classified")
        assert (line["probability"], line["interrupts"]) == (0.2, False)
        assert rig.metric("relay_classifier_answers_total", result="none") == 1


@pytest.mark.parametrize(
    ("asked", "result"),
    [(Asked(0.9), "interruption"), (Asked(0.2, took_s=9), "late"), (Asked(RuntimeError("broken")), "failed")],
)
async def test_what_it_agrees_with_or_does_not_answer_in_time_is_cut(
    asked: Asked, result: str, autojump_clock: MockClock
) -> None:
    """By what the detector says alone, and no later than the budget allows."""
    async with open_rig(classifier=asked.lane, barge_in=CONFIG) as rig:
        await interrupt(rig)
        rig.assistant.interrupted()
        rig.assistant.stop()
        await trio.sleep(4)

        assert len(rig.phone.player.clears) == 1
        assert heard_frames(rig.phone.heard_after_clear()) == []
        assert rig.event("bargein.flushed")["onset_to_clear_ms"] <= 200
        assert rig.metric("relay_classifier_answers_total", result=result) == 1
        assert rig.metric("relay_frames_stale_total") == 0


@pytest.mark.parametrize("rate_hz", [8000, 16000])
async def test_it_is_asked_once_for_each_beginning_of_speech_with_the_last_two_seconds(
    rate_hz: int, autojump_clock: MockClock
) -> None:
    asked = Asked(0.0)
    vad = VadConfig(model_rate_hz=8000 if rate_hz == 8000 else 16000)
    async with open_rig(classifier=asked.lane, barge_in=CONFIG, vad=vad) as rig:
        await interrupt(rig)
        rig.phone.say(TONE * 100)
        await trio.sleep(5)

        assert [(round(count / rate, 1), rate) for count, rate, _ in asked.questions] == [(2.0, rate_hz)] * 2
        first = asked.questions[0][2]
        assert first.first_message
        assert first.heard_s == pytest.approx(1.8, abs=0.15)
        assert 0.1 <= first.left_s <= 0.5


async def test_a_word_that_is_taken_for_an_interruption_may_still_be_an_agreement(autojump_clock: MockClock) -> None:
    async with open_rig(classifier=Asked(1.0).lane, barge_in=CONFIG) as rig:
        await rig.begin()
        rig.assistant.say(numbered(0, 300))
        await trio.sleep(2)
        rig.phone.say(TONE * 15)
        await trio.sleep(0.5)
        rig.assistant.transcript("Uh-huh.")
        await trio.sleep(1)

        assert rig.event("bargein.false")["by"] == "agreement"


async def test_speech_that_ends_while_the_model_is_asked_may_still_be_an_agreement(autojump_clock: MockClock) -> None:
    """It answers as late as it may."""

    def lane(metrics: Metrics) -> Classifier:
        asked = Asked(1.0, took_s=0.49)
        return Classifier(asked, metrics, threshold=0.5, budget_s=0.5, run=asked.run)

    barge_in = BargeInConfig(classifier="own.onnx", classifier_ms=500, agreement="silence")
    async with open_rig(classifier=lane, barge_in=barge_in) as rig:
        await rig.begin()
        rig.assistant.say(numbered(0, 300))
        await trio.sleep(2)
        rig.phone.say(TONE * 8)
        await trio.sleep(1.2)

        assert rig.event("bargein.flushed")["onset_to_clear_ms"] > 8 * 20 + VadConfig().hangover_ms + 64
        assert rig.event("bargein.false")["by"] == "agreement"


async def test_a_real_model_in_a_thread_of_its_own(tmp_path: Path) -> None:
    """The loudest sample is the probability: a tone at a quarter of full scale is none at 0.5."""
    model = InterruptionModel.load(write_classifier(tmp_path / "own.onnx"))

    def lane(metrics: Metrics) -> Classifier:
        return Classifier(model, metrics, threshold=0.5, budget_s=5.0)

    async with open_rig(classifier=lane, barge_in=BargeInConfig(classifier="own.onnx", classifier_ms=500)) as rig:
        await rig.begin()
        rig.assistant.say(numbered(0, 100))
        await trio.sleep(0.5)
        rig.phone.say(TONE * 15)
        with trio.fail_after(5):
            while not rig.events("bargein.classified"):  # noqa: ASYNC110 - the test looks for the moment
                await trio.sleep(0.02)

        assert rig.event("bargein.classified")["probability"] == pytest.approx(0.25, abs=0.05)
        assert not rig.events("bargein.flushed")
