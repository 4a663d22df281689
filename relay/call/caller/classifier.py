"""The lane of the operator's own classifier of interruptions: one question at a time, in a worker thread.

An answer that is late, or none, leaves the decision to the detector. It is counted, and the log says so once a minute.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import structlog
import trio

from relay.config import BargeInConfig
from relay.media.interruption_model import AssistantActivity, InterruptionModel
from relay.media.resample import Samples
from relay.metrics import Metrics

TELL_EVERY_S = 60.0

Runner = Callable[[Callable[[], float]], Awaitable[float]]
Result = Literal["interruption", "none", "late", "failed"]

log = structlog.get_logger(__name__)


class ProbabilityModel(Protocol):
    """The part of `relay.media.interruption_model.InterruptionModel` that the lane needs."""

    def probability(self, samples: Samples, rate_hz: int, activity: AssistantActivity) -> float: ...


@dataclass(frozen=True, slots=True)
class Opinion:
    """What the classifier thinks. `probability` is None if it was late or failed; then `interrupts` is true."""

    result: Result
    probability: float | None = None

    @property
    def interrupts(self) -> bool:
        return self.result != "none"


class Classifier:
    """One for the daemon. `budget_s` bounds each question, the wait for those before it included."""

    def __init__(
        self,
        model: ProbabilityModel,
        metrics: Metrics,
        *,
        threshold: float,
        budget_s: float,
        run: Runner | None = None,
    ) -> None:
        self._model = model
        self._answers = metrics.classifier_answers
        self._threshold = threshold
        self._budget_s = budget_s
        self._run = run or self._run_in_worker
        self._one_at_a_time = trio.CapacityLimiter(1)
        self._missed: dict[Result, int] = {"late": 0, "failed": 0}
        self._tell_at = 0.0

    async def ask(self, samples: Samples, rate_hz: int, activity: AssistantActivity) -> Opinion:
        """Whether the caller interrupts. Takes `budget_s` at most; a model that fails costs this answer only."""
        opinion, error = Opinion("late"), ""
        with trio.move_on_after(self._budget_s):
            try:
                probability = await self._run(lambda: self._model.probability(samples, rate_hz, activity))
                opinion = Opinion("interruption" if probability >= self._threshold else "none", probability)
            except Exception as caught:  # noqa: BLE001 - the model is not ours, and may raise anything
                opinion, error = Opinion("failed"), str(caught)
        self._answers.labels(opinion.result).inc()
        if opinion.probability is None:
            self._miss(opinion.result, error)
        return opinion

    async def _run_in_worker(self, function: Callable[[], float]) -> float:
        return await trio.to_thread.run_sync(function, abandon_on_cancel=True, limiter=self._one_at_a_time)

    def _miss(self, result: Result, error: str) -> None:
        self._missed[result] += 1
        now = trio.current_time()
        if now >= self._tell_at:
            log.warning("classifier.missed", late=self._missed["late"], failed=self._missed["failed"], error=error)
            self._missed = {"late": 0, "failed": 0}
            self._tell_at = now + TELL_EVERY_S


def load_classifier(config: BargeInConfig, metrics: Metrics) -> Classifier | None:
    """The classifier that [barge_in] names, if any. Reads the file: not on the event loop.

    Raises ConfigError if it cannot be used.
    """
    if not config.classifier:
        return None
    model = InterruptionModel.load(Path(config.classifier))
    return Classifier(model, metrics, threshold=config.classifier_threshold, budget_s=config.classifier_ms / 1000)
