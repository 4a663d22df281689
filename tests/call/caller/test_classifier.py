"""The lane of the classifier: it answers in time or not at all, and says so."""

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock

from relay.call.caller.classifier import TELL_EVERY_S, Classifier, Opinion, load_classifier
from relay.config import BargeInConfig
from relay.media.interruption_model import AssistantActivity
from relay.media.resample import Samples
from relay.metrics import Metrics
from tests.support.onnx_files import write_classifier

ACTIVITY = AssistantActivity(1.0, 0.2, first_message=False)
AUDIO = np.zeros(100, np.int16)
BUDGET_S = 0.05


class Model:
    """Answers what it is told to, or fails."""

    def __init__(self, answer: float | Exception) -> None:
        self.answer = answer

    def probability(self, samples: Samples, rate_hz: int, activity: AssistantActivity) -> float:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Lane:
    """A classifier whose worker takes `took_s`."""

    def __init__(self, answer: float | Exception) -> None:
        self.metrics, self.model, self.took_s = Metrics(), Model(answer), 0.01
        self.classifier = Classifier(self.model, self.metrics, threshold=0.7, budget_s=BUDGET_S, run=self.run)

    async def run(self, function: Callable[[], float]) -> float:
        await trio.sleep(self.took_s)
        return function()

    async def ask(self) -> Opinion:
        return await self.classifier.ask(AUDIO, 16000, ACTIVITY)

    def count(self, result: str) -> float | None:
        return self.metrics.registry.get_sample_value("relay_classifier_answers_total", {"result": result})


@pytest.mark.parametrize(("probability", "interrupts"), [(0.0, False), (0.69, False), (0.7, True), (1.0, True)])
async def test_from_the_threshold_on_it_is_an_interruption(
    probability: float, interrupts: bool, autojump_clock: MockClock
) -> None:
    lane = Lane(probability)
    opinion = await lane.ask()

    assert (opinion.probability, opinion.interrupts) == (probability, interrupts)
    assert (lane.count("interruption"), lane.count("none")) == (interrupts, not interrupts)


async def test_one_that_is_late_leaves_the_decision_to_the_detector_in_time(autojump_clock: MockClock) -> None:
    lane, began_at = Lane(0.0), trio.current_time()
    lane.took_s = 5.0
    opinion = await lane.ask()

    assert trio.current_time() - began_at == pytest.approx(BUDGET_S)
    assert (opinion, opinion.interrupts, lane.count("late")) == (Opinion("late"), True, 1)


async def test_one_that_fails_costs_its_own_answer_only(autojump_clock: MockClock) -> None:
    lane = Lane(RuntimeError("no such node"))
    with capture_logs():
        failed = await lane.ask()
        lane.model.answer = 0.1
        answered = await lane.ask()

    assert (failed, failed.interrupts, lane.count("failed")) == (Opinion("failed"), True, 1)
    assert not answered.interrupts


async def test_the_log_says_once_a_minute_how_many_were_missed(autojump_clock: MockClock) -> None:
    lane = Lane(RuntimeError("no such node"))
    with capture_logs() as logged:
        await lane.ask()
        for _ in range(3):
            await lane.ask()
        lane.took_s = 9
        await lane.ask()
        await trio.sleep(TELL_EVERY_S)
        lane.took_s = 0
        await lane.ask()

    assert [(line["event"], line["late"], line["failed"], line["error"]) for line in logged] == [
        ("classifier.missed", 0, 1, "no such node"),
        ("classifier.missed", 1, 4, "no such node"),
    ]


async def test_a_model_that_hangs_does_not_stop_the_event_loop_and_the_next_is_late_too() -> None:
    """In real threads: only one is in use however many ask."""
    hung, entered = threading.Event(), []

    class Hanging(Model):
        def probability(self, samples: Samples, rate_hz: int, activity: AssistantActivity) -> float:
            entered.append(1)
            hung.wait(10)
            return 0.0

    classifier = Classifier(Hanging(0.0), Metrics(), threshold=0.5, budget_s=0.05)
    with capture_logs():
        try:
            with trio.fail_after(5):
                opinions = [await classifier.ask(AUDIO, 16000, ACTIVITY) for _ in range(3)]
        finally:
            hung.set()

    assert opinions == [Opinion("late")] * 3
    assert len(entered) == 1


async def test_it_is_loaded_from_the_file_that_is_configured(tmp_path: Path) -> None:
    path = write_classifier(tmp_path / "own.onnx")
    assert load_classifier(BargeInConfig(), Metrics()) is None
    classifier = load_classifier(BargeInConfig(classifier=str(path), classifier_ms=500), Metrics())
    assert classifier is not None

    assert await classifier.ask(AUDIO, 16000, ACTIVITY) == Opinion("none", 0.0)
