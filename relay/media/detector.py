"""Finds speech in two stages: a quick guess that costs little when wrong, and a decision that may interrupt somebody.

The guess (`Likely`) is one window over the threshold. The decision (`Confirmed`) adds up evidence: the log-odds of each
window's probability against the threshold, forgotten slowly (a leaky form of Page's cumulative sum test, Biometrika
1954). Clear speech is settled in two or three windows, doubtful sound takes as long as its doubt. The level adds what
the model does not weigh:

- Coughs, laughs, slams and clicks burst and die away; speech that begins keeps its level or rises. A window well under
  the loudest of the last half second proves nothing.
- Speech that hardly rises over a steady noise gets poor probabilities, and nothing so quiet is a cough or a door: it
  needs less evidence.

A confirmation has to pass the cough probe (`relay.media.cough_probe`) too: the same evidence is added up a second time,
in which no window counts for more than the probe allows, and both sums must suffice. So the probe takes interruptions
away or delays them, and never causes one. A guess does not ask it.
"""

from collections import deque
from dataclasses import dataclass
from enum import Enum, auto
from math import inf, log

from relay.media.features import NoiseFloor

WINDOW_MS = 32.0
HYSTERESIS = 0.15
"""Speech, and a guess, go on down to this much under the threshold, as in silero-vad's own segmentation."""
LEAST_PROBABILITY = 1e-4
"""Probabilities are kept so far from 0 and 1, whose log-odds are infinite."""
SOUND_PROBABILITY = 0.1
"""From here on the model hears something; speech begins with the first window of an unbroken row of these."""
MODEL_LAG_MS = 16.0
"""The model rises about half a window after the sound does: with this the estimated onset is right in the median."""
LONGEST_RISE_MS = 256.0
"""The onset lies no further than this before the guess, however long such a row is."""


@dataclass(frozen=True, slots=True)
class DetectorSettings:
    """The bounds at which the detector guesses, confirms, rejects and ends. All but `threshold` seldom need a change.

    Evidence is in natural log-odds (nats).
    """

    ignore_coughs: bool = True
    """Whether the bounds of the cough probe count."""
    threshold: float = 0.5
    """Probability at which a window speaks for speech. Lower hears more and sooner, higher is less easily fooled."""
    model_gain_db: float = 6.0
    """Amplification of what the model gets, and only that: it misses speakers under -40 dBFS. 12 dB hears no more."""
    evidence_kept: float = 0.8
    """Part of the evidence that outlives a window: a time constant of about 140 ms, less than a syllable."""
    evidence_per_window: float = 4.0
    """The most that one window adds (probability 0.98 at threshold 0.5), so that none decides a loud case alone."""
    clear_evidence: float = 5.0
    """Needed to confirm a sound 10 dB or more over the noise floor: two sure windows."""
    buried_evidence: float = 3.0
    """Needed within 5 dB of the noise floor; in between, in proportion."""
    buried_db: float = 5.0
    clear_db: float = 10.0
    fading_db: float = 12.0
    """This far under the loudest recent window a sound is dying away, and adds no evidence."""
    fading_memory_ms: float = 480.0
    """How long a burst is remembered: from the bark of a cough to its tail."""
    doubt_ms: float = 96.0
    """So long under the threshold (less the hysteresis), and a guess was wrong. Shorter flutters, longer mutes."""
    longest_guess_ms: float = 512.0
    """After this a guess that was not confirmed is wrong, even if the sound goes on."""
    hangover_ms: float = 256.0
    """So long under the threshold (less the hysteresis), and speech has ended: pauses within words are shorter."""

    def __post_init__(self) -> None:
        if not HYSTERESIS < self.threshold < 1:
            raise ValueError(f"threshold {self.threshold} is not between {HYSTERESIS} and 1")


@dataclass(frozen=True, slots=True)
class Likely:
    """Speech seems to have begun: pause the assistant.

    `Confirmed` or `Rejected` follows within `longest_guess_ms`.
    """

    onset_ms: float
    decided_ms: float


@dataclass(frozen=True, slots=True)
class Confirmed:
    """Speech began at `onset_ms`: interrupt the assistant. The guess was made at `likely_ms`. `Ended` follows."""

    onset_ms: float
    likely_ms: float
    decided_ms: float


@dataclass(frozen=True, slots=True)
class Rejected:
    """The guess, made at `likely_ms`, was wrong: let the assistant go on."""

    likely_ms: float
    decided_ms: float


@dataclass(frozen=True, slots=True)
class Ended:
    """Confirmed speech ended at `at_ms`."""

    at_ms: float
    decided_ms: float


Decision = Likely | Confirmed | Rejected | Ended


class State(Enum):
    """The detector's opinion of the caller between two windows."""

    QUIET = auto()
    GUESSING = auto()
    SPEAKING = auto()


class Detector:
    """Decides window by window, from the model's probabilities and the levels of one stream.

    Windows are 32 ms, at whatever rate the model runs. All times are starts and ends of windows in ms of the caller's
    audio, as given; `decided_ms` is the end of the last window that was used. The order of decisions is always
    (Likely Rejected)* Likely Confirmed Ended, and again.
    """

    def __init__(self, settings: DetectorSettings | None = None) -> None:
        self._settings = settings or DetectorSettings()
        threshold = self._settings.threshold
        self._bias = log(threshold / (1 - threshold))
        self._release = threshold - HYSTERESIS
        self._nothing = min(self._release, SOUND_PROBABILITY)
        self.state = State.QUIET
        self.level_dbfs = 0.0
        self.over_floor_db = 0.0
        self._evidence = 0.0
        self._bounded_evidence = 0.0
        self._had_enough = False  # a doubted sound may have enough of the first for long: it must not guess on and on
        self._floor = NoiseFloor(WINDOW_MS)
        memory_windows = round(self._settings.fading_memory_ms / WINDOW_MS)
        self._recent_dbfs: deque[float] = deque(maxlen=memory_windows + 1)
        self._loudest_db = 0.0
        self._armed = True  # not after a rejected guess, until its sound has ended: it must not guess on and on
        self._low_windows = 0
        self._rise_ms: float | None = None
        self._onset_ms = 0.0
        self._likely_ms = 0.0

    def push(
        self, level_dbfs: float, probability: float, window_end_ms: float, voice_bound: float = inf
    ) -> Decision | None:
        """Take the level of the next window, not amplified, and the probability that the model gave it; return what it
        decides.

        `voice_bound` is the cough probe's bound on the log-odds of that probability.
        """
        self.level_dbfs = level_dbfs
        self.over_floor_db = self._floor.push(level_dbfs)
        self._low_windows = self._low_windows + 1 if probability < self._release else 0
        if self.state is State.SPEAKING:
            return self._speaking(window_end_ms)
        if probability < self._nothing and not self._evidence and self.state is State.QUIET:
            self._hear_nothing()  # as nearly always: the rest would come to the same
            return None
        self._follow_rise(probability, window_end_ms)
        fading = self._fading()
        self._weigh(probability, voice_bound if self._settings.ignore_coughs else inf, fading=fading)
        enough = self._enough(self._evidence)
        risen, self._had_enough = enough and not self._had_enough, enough
        confirmed = enough and self._enough(self._bounded_evidence)
        if self._low_windows:
            self._armed = True
        if self.state is State.GUESSING:
            return self._guessing(window_end_ms, confirmed=confirmed)
        triggered = self._armed and probability >= self._settings.threshold and not fading
        return self._guess(window_end_ms) if triggered or risen or confirmed else None

    def _hear_nothing(self) -> None:
        self._recent_dbfs.append(self.level_dbfs)
        self._rise_ms = None
        self._loudest_db = 0.0
        self._had_enough = False
        self._armed = True

    def _speaking(self, now_ms: float) -> Ended | None:
        if self._low_windows * WINDOW_MS < self._settings.hangover_ms:
            return None
        at_ms = now_ms - self._low_windows * WINDOW_MS
        self.state = State.QUIET
        self._evidence = self._bounded_evidence = 0.0
        self._had_enough = False
        self._armed = True
        self._rise_ms = None
        self._recent_dbfs.clear()
        return Ended(at_ms, now_ms)

    def _guess(self, now_ms: float) -> Likely:
        assert self._rise_ms is not None  # a window over the threshold is part of a rise
        self.state = State.GUESSING
        self._likely_ms = now_ms
        self._onset_ms = max(0.0, now_ms - LONGEST_RISE_MS, self._rise_ms - MODEL_LAG_MS)
        return Likely(self._onset_ms, now_ms)

    def _guessing(self, now_ms: float, *, confirmed: bool) -> Confirmed | Rejected | None:
        if confirmed:
            self.state = State.SPEAKING
            return Confirmed(self._onset_ms, self._likely_ms, now_ms)
        over = now_ms - self._likely_ms >= self._settings.longest_guess_ms
        if not over and self._low_windows * WINDOW_MS < self._settings.doubt_ms:
            return None
        self.state = State.QUIET
        self._armed = self._low_windows > 0
        return Rejected(self._likely_ms, now_ms)

    def _follow_rise(self, probability: float, now_ms: float) -> None:
        if probability < SOUND_PROBABILITY:
            self._rise_ms = None
        elif self._rise_ms is None:
            self._rise_ms = now_ms - WINDOW_MS

    def _fading(self) -> bool:
        self._recent_dbfs.append(self.level_dbfs)
        return self.level_dbfs < max(self._recent_dbfs) - self._settings.fading_db

    def _weigh(self, probability: float, voice_bound: float, *, fading: bool) -> None:
        sure = min(max(probability, LEAST_PROBABILITY), 1 - LEAST_PROBABILITY)
        log_odds = log(sure / (1 - sure))
        self._evidence = self._added(self._evidence, log_odds, fading=fading)
        self._bounded_evidence = self._added(self._bounded_evidence, min(log_odds, voice_bound), fading=fading)
        self._loudest_db = max(self._loudest_db, self.over_floor_db) if self._evidence else 0.0

    def _added(self, evidence: float, log_odds: float, *, fading: bool) -> float:
        limit = 0.0 if fading else self._settings.evidence_per_window
        added = min(max(log_odds - self._bias, -self._settings.evidence_per_window), limit)
        return max(0.0, self._settings.evidence_kept * evidence + added)

    def _enough(self, evidence: float) -> bool:
        """True if that much evidence suffices for a sound as far over the noise as this one has been."""
        settings = self._settings
        span_db = settings.clear_db - settings.buried_db
        clear = min(1.0, max(0.0, (self._loudest_db - settings.buried_db) / span_db))
        return evidence >= settings.buried_evidence + clear * (settings.clear_evidence - settings.buried_evidence)
