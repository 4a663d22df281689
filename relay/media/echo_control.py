"""Takes the echo of what is played to a caller out of what the caller says, on lines that have one.

The canceller is that of WebRTC (AEC3). On a line without an echo it harms: for the first seconds it takes a caller who
speaks over the assistant for one. So it runs where the estimate has found an echo, or cannot tell yet.

| state  | meaning                                | leaves when                             | deadline             |
|--------|----------------------------------------|-----------------------------------------|----------------------|
| unsure | too little was played to know;         | the caller's side gets loud while an    | `UNSURE_MS` in which |
|        | canceller off                          | echo may come -> doubt; an echo is      | an echo might have   |
|        |                                        | certain -> found; deadline -> clean     | come                 |
| doubt  | it may be an echo; canceller on, for   | an echo is certain -> found; deadline   | `DOUBT_MS` of sound  |
|        | the detector only                      | -> clean; little sound by the second    | on both sides,       |
|        |                                        | deadline -> unsure                      | `DOUBT_MAX_MS`       |
| clean  | canceller off                          | an echo is certain -> found             | none                 |
| found  | canceller on                           | deadline -> clean                       | `GONE_MS` of played  |
|        |                                        |                                         | sound without echo   |

When the canceller is turned on, it first runs over the second that was heard before: so it knows the echo, as far as
there was any.
"""

from collections import deque
from dataclasses import dataclass
from enum import Enum, auto
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pywebrtc_audio import EchoCanceller

from relay.media.echo_estimate import CERTAIN, HEARD_DBFS, HOP_MS, PLAYED_DBFS, REACH_MS, EchoEstimate
from relay.media.features import NoiseFloor, level_dbfs
from relay.media.resample import Samples

RATE_HZ = 16000
DELAY_MS = 8.0
"""So much later a sound comes out of the canceller."""
HISTORY_MS = 1000
"""So much of both sides a canceller hears before it is used."""
RISE_DB = 6.0
"""The caller's side is loud when it is so far over its noise."""
UNSURE_MS = 1000.0
DOUBT_MS = 256.0
DOUBT_MAX_MS = 2000.0
GONE_MS = 5000.0
CANCELLER_REACH_MS = 450.0
"""At 500 ms the canceller still finds an echo, at 700 ms it does not. What is later is brought nearer."""
NEAR_ENOUGH_MS = 200.0
JUMP_MS = 10.0
"""A delay that has changed by more is a new one."""
FADED_FROM_DB, FADED_BY_MAX_DB = 10.0, 18.0
"""Where the canceller takes more than so much away, the rest gets weaker by as much again."""
_BLOCK = RATE_HZ // 100
_DELAY = round(DELAY_MS * RATE_HZ / 1000)

EchoMode = Literal["auto", "on", "off"]


class EchoState(Enum):
    """What is known of the line: see the module."""

    UNSURE = auto()
    DOUBT = auto()
    CLEAN = auto()
    FOUND = auto()


@dataclass(frozen=True, slots=True)
class EchoFound:
    """An echo is certain; so much later and weaker than what was played."""

    loss_db: float
    delay_ms: float


@dataclass(frozen=True, slots=True)
class EchoGone:
    """There was an echo, and there is none any more."""


class EchoControl:
    """One for a stream of a caller, at 16 kHz.

    While the canceller is on, a sound comes out `DELAY_MS` later, in whole blocks of 10 ms: of n samples that came
    since then floor(n / 160) * 160 have come out.
    """

    def __init__(self, mode: EchoMode) -> None:
        self.mode = mode
        self.state = EchoState.UNSURE
        self.news: EchoFound | EchoGone | None = None
        """What the last `push` has found out."""
        self._estimate = EchoEstimate()
        self._near = _Recent(HISTORY_MS)
        self._far = _Recent(HISTORY_MS + REACH_MS)
        self._canceller: EchoCanceller | None = None
        self._delay_ms = 0.0
        self._shift_ms = 0.0
        self._gain = 1.0
        self._held = 0
        self._floor = NoiseFloor(20.0)
        self._waited_ms = 0.0
        self._compared_ms = 0.0
        self._since_played_ms = float(REACH_MS)

    @property
    def is_on(self) -> bool:
        """Whether what `push` returned last came out of the canceller."""
        return self._canceller is not None

    @property
    def for_assistant(self) -> bool:
        """Whether the assistant is to get what `push` returns: an echo is certain, and not only in doubt."""
        return self.mode == "on" or self.state is EchoState.FOUND

    def push(self, near: Samples, far: Samples) -> Samples:
        """Take the next samples of the caller, and what was played when they were recorded; return the cleaned ones.

        Those are the very same samples while the canceller is off. Raises ValueError if the two differ in length.
        """
        if len(near) != len(far):
            raise ValueError(f"{len(near)} samples of the caller and {len(far)} of what was played")
        self.news = None
        if self.mode == "off":
            return near
        self._near.push(near)
        self._far.push(far)
        self._follow(near, far, self._estimate.push(near, far))
        if self.mode == "auto" and self.state not in (EchoState.DOUBT, EchoState.FOUND):
            return self._stop(near)
        return self._cancel(len(near))

    def _follow(self, near: Samples, far: Samples, compared: int) -> None:
        passed_ms = len(near) * 1000 / RATE_HZ
        near_dbfs = level_dbfs(near)
        loud = self._floor.push(near_dbfs) >= RISE_DB and near_dbfs >= HEARD_DBFS
        played = level_dbfs(far) >= PLAYED_DBFS
        self._since_played_ms = 0.0 if played else self._since_played_ms + passed_ms
        certain = bool(compared) and self._estimate.is_certain
        match self.state:
            case EchoState.FOUND:
                heard = bool(compared) and self._estimate.score >= CERTAIN  # a jump must not wait until it is steady
                self._follow_echo(0.0 if heard else passed_ms if played else None)
            case _ if certain:
                self._delay_ms = self._estimate.delay_ms
                self._enter(EchoState.FOUND, EchoFound(self._estimate.loss_db, self._delay_ms))
                if self._delay_ms > CANCELLER_REACH_MS:
                    self._canceller = None
            case EchoState.UNSURE if self._since_played_ms < REACH_MS:
                self._waited_ms += passed_ms
                if loud:
                    self._enter(EchoState.DOUBT)
                elif self._waited_ms >= UNSURE_MS:
                    self._enter(EchoState.CLEAN)
            case EchoState.DOUBT:
                self._waited_ms += passed_ms
                self._compared_ms += compared * HOP_MS
                if self._compared_ms >= DOUBT_MS:
                    self._enter(EchoState.CLEAN)
                elif self._waited_ms >= DOUBT_MAX_MS:
                    self._enter(EchoState.UNSURE)

    def _follow_echo(self, unanswered_ms: float | None) -> None:
        """`unanswered_ms`: so much more was played and did not come back; 0 when it did."""
        if unanswered_ms is None:
            return
        self._waited_ms = self._waited_ms + unanswered_ms if unanswered_ms else 0.0
        if self._waited_ms >= GONE_MS:
            self._enter(EchoState.CLEAN, EchoGone())
        elif not unanswered_ms and abs(self._estimate.delay_ms - self._delay_ms) > JUMP_MS:
            self._delay_ms = self._estimate.delay_ms
            self._canceller = None  # by itself it would take seconds to find the echo again

    def _enter(self, state: EchoState, news: EchoFound | EchoGone | None = None) -> None:
        self.state, self.news = state, news
        self._waited_ms = self._compared_ms = 0.0

    def _cancel(self, new: int) -> Samples:
        waiting = self._held + new
        whole = waiting // _BLOCK * _BLOCK
        near, far = self._near.joined(), self._far.joined()
        if self._canceller is None:
            self._canceller = EchoCanceller(sample_rate=RATE_HZ, num_channels=1)
            self._shift_ms = self._delay_ms - NEAR_ENOUGH_MS if self._delay_ms > CANCELLER_REACH_MS else 0.0
            self._gain = 1.0
            known = min(len(near) - waiting, HISTORY_MS * RATE_HZ // 1000) // _BLOCK * _BLOCK
            self._process(near, far, waiting + known, known)
        cleaned = self._process(near, far, waiting, whole)
        self._held = waiting - whole
        return self._fade(near[: len(near) - waiting + whole - _DELAY], cleaned)

    def _fade(self, heard: Samples, cleaned: Samples) -> Samples:
        """Weaken what is left where nearly all was echo: it is the part that the canceller does not know.

        `heard` ends with what `cleaned` was made of.
        """
        missing = max(0, len(cleaned) - len(heard))
        near = np.concatenate((np.zeros(missing, np.int16), heard[len(heard) + missing - len(cleaned) :]))
        removed_db = _block_levels_db(near) - _block_levels_db(cleaned)
        gains = 10 ** (-(removed_db - FADED_FROM_DB).clip(0, FADED_BY_MAX_DB) / 20)
        steps = np.concatenate(([self._gain], gains))
        self._gain = float(steps[-1])
        along = np.arange(len(cleaned)) / _BLOCK
        faded: Samples = (cleaned * np.interp(along, np.arange(len(steps)), steps)).round().astype(np.int16)
        return faded

    def _process(self, near: Samples, far: Samples, back: int, count: int) -> Samples:
        """Clean `count` samples, from `back` before the end of both on."""
        shift = round(self._shift_ms * RATE_HZ / 1000)
        first, early = len(near) - back, len(far) - back - shift
        if not count:
            return near[:0]
        assert self._canceller is not None
        missing = max(0, -early)
        played = np.concatenate((np.zeros(missing, np.int16), far[early + missing : early + count]))
        cleaned: Samples = self._canceller.process(near[first : first + count], played)
        return cleaned

    def _stop(self, near: Samples) -> Samples:
        if self._canceller is None:
            return near
        held, self._held, self._canceller = self._held, 0, None
        return self._near.joined()[-(held + len(near)) :] if held else near


class _Recent:
    """The newest samples of a stream, `kept_ms` of them or up to twice as many."""

    def __init__(self, kept_ms: float) -> None:
        self._kept = round(kept_ms * RATE_HZ / 1000)
        self._chunks: deque[Samples] = deque()
        self._samples = 0

    def push(self, samples: Samples) -> None:
        self._chunks.append(samples)
        self._samples += len(samples)
        while self._samples - len(self._chunks[0]) >= self._kept:
            self._samples -= len(self._chunks.popleft())

    def joined(self) -> Samples:
        whole = np.concatenate((_NOTHING, *self._chunks))
        self._chunks = deque((whole,))  # two are joined sooner than a hundred
        return whole


def _block_levels_db(samples: Samples) -> NDArray[np.float64]:
    blocks = samples.reshape(-1, _BLOCK).astype(np.float64)
    levels: NDArray[np.float64] = 10 * np.log10(np.sum(blocks**2, axis=1) + 1.0)
    return levels


_NOTHING: Samples = np.zeros(0, np.int16)
