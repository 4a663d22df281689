"""Takes the echo of what is played to a caller out of what the caller says, on lines that have one.

The canceller is that of WebRTC (AEC3). On a line without an echo it harms: for the first seconds it takes a caller who
speaks over the assistant for one. So it runs where the estimate has found an echo, or cannot tell yet.

| state   | meaning                                | leaves when                             | deadline             |
|---------|----------------------------------------|-----------------------------------------|----------------------|
| unsure  | too little was played to know;         | the caller's side gets loud while an    | `UNSURE_MS` in which |
|         | canceller off; nothing is compared     | echo may come -> doubt; deadline ->     | an echo might have   |
|         |                                        | resting                                 | come                 |
| doubt   | it may be an echo; canceller on, for   | an echo is certain -> found; deadline   | `DOUBT_MS` of sound  |
|         | the detector only                      | -> clean; little sound by the second    | on both sides,       |
|         |                                        | deadline -> unsure                      | `DOUBT_MAX_MS`       |
| clean   | canceller off                          | an echo is certain -> found; deadline,  | `RESTS_AFTER_MS` of  |
|         |                                        | and no suspicion -> resting             | played sound         |
| resting | canceller off; nothing is looked at    | `wake` -> clean, past its deadline      | none                 |
| found   | canceller on; looks at few blocks      | deadline -> clean                       | `GONE_MS` of played  |
|         | where it takes out what it hears       |                                         | sound without echo   |

A line starts as unsure; with "on", where the canceller is always on, as clean, and it never rests.

When the canceller is turned on, it first runs over the second that was heard before: so it knows the echo, as far as
there was any.

Where its library is missing, a bar on the level (`relay.media.echo_bar`) takes the place of the canceller for the
detector, once an echo is certain: to set it, the delay and the loss must be known.
"""

from collections import deque
from dataclasses import dataclass
from enum import Enum, auto
from typing import Literal

import numpy as np

from relay.media.echo_bar import EchoBar
from relay.media.echo_canceller import DELAY_MS, RATE_HZ, EchoRemover, canceller_maker
from relay.media.echo_estimate import (
    CERTAIN,
    GLANCE_MS,
    HEARD_DBFS,
    HOP_MS,
    PLAYED_DBFS,
    REACH_MS,
    EchoEstimate,
)
from relay.media.echo_residue import BLOCK, EARLY_BLOCKS, LATE_BLOCKS, EchoResidue
from relay.media.features import NoiseFloor, level_dbfs
from relay.media.recent_samples import RecentSamples
from relay.media.resample import Samples

HISTORY_MS = 1000
"""So much of both sides a canceller hears before it is used."""
RISE_DB = 6.0
"""The caller's side is loud when it is so far over its noise."""
UNSURE_MS = 1000.0
DOUBT_MS = 256.0
DOUBT_MAX_MS = 2000.0
GONE_MS = 5000.0
RESTS_AFTER_MS = 256.0
SETTLED_MS = 4000.0
"""A line that is not to rest is looked at in fewer blocks from then on."""
SUSPECT = 8.0
"""With this score it does not rest. By chance it is hardly ever that high."""
THINNED = 8
"""Where nothing new is expected of a line on which the canceller is on, the estimate looks at one block in so many."""
CANCELLER_REACH_MS = 450.0
"""At 500 ms the canceller still finds an echo, at 700 ms it does not. What is later is brought nearer."""
NEAR_ENOUGH_MS = 200.0
JUMP_MS = 10.0
"""A delay that has changed by more is a new one."""
_DELAY = round(DELAY_MS * RATE_HZ / 1000)

EchoMode = Literal["auto", "on", "off"]


class EchoState(Enum):
    """What is known of the line: see the module."""

    UNSURE = auto()
    DOUBT = auto()
    CLEAN = auto()
    RESTING = auto()
    FOUND = auto()


@dataclass(frozen=True, slots=True)
class EchoFound:
    """An echo is certain; so much later and weaker than what was played."""

    loss_db: float
    delay_ms: float
    has_canceller: bool


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
        self.state = EchoState.CLEAN if mode == "on" else EchoState.UNSURE
        self.news: EchoFound | EchoGone | None = None
        """What the last `push` has found out."""
        self._forget()
        self._new_canceller = canceller_maker()
        self._canceller: EchoRemover | None = None
        self._delay_ms = 0.0
        self._shift_ms = 0.0
        self._residue = EchoResidue()
        self._held = 0
        self._came = 0
        self._lost: deque[tuple[int, int]] = deque()
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
        return (self.mode == "on" or self.state is EchoState.FOUND) and self._has_canceller

    def wake(self, near: Samples, far: Samples) -> None:
        """The end of what came of both sides while it rested may be an echo of any of `far`: compare it step by step.

        `push` goes on from there; then it rests again, unless it suspects an echo still.
        """
        look = GLANCE_MS * RATE_HZ // 1000
        self._near.push(near)
        self._far.push(far)
        self._came += len(near)
        self._estimate.remember(near[:-look], far[:-look])
        self._estimate.push(near[-look:], far[-look:])
        self._enter(EchoState.CLEAN)
        self._waited_ms = RESTS_AFTER_MS

    def push(self, near: Samples, far: Samples, *, lost: int = 0) -> Samples:
        """Take the next samples of the caller, and what was played when they were recorded; return the cleaned ones.

        Those are the very same samples while the canceller is off; while it rests, nothing is done with them. The last
        `lost` samples did not come: they keep their place in what is compared, and have none in what is returned.
        Raises ValueError if the two differ in length.
        """
        if len(near) != len(far):
            raise ValueError(f"{len(near)} samples of the caller and {len(far)} of what was played")
        self.news = None
        if self.mode == "off" or self.state is EchoState.RESTING:
            return near[: len(near) - lost] if lost else near
        self._near.push(near)
        self._far.push(far)
        self._came += len(near)
        if lost:
            self._lost.append((self._came - lost, self._came))
        self._follow(near, far, self._compare(near, far))
        if self._is_needed:
            return self._cancel(len(near))
        return self._stop(near[: len(near) - lost] if lost else near, len(near))

    def rest(self) -> Samples:
        """What came, and was not returned yet: nothing follows it."""
        return self._stop(self._near.samples[:0], 0)

    @property
    def _has_canceller(self) -> bool:
        return self._new_canceller is not None

    @property
    def _is_needed(self) -> bool:
        if self.state is EchoState.FOUND:
            return True
        return self._has_canceller and (self.mode == "on" or self.state is EchoState.DOUBT)

    @property
    def _thinned(self) -> int:
        match self.state:
            case EchoState.FOUND if self._residue.is_explained:
                return THINNED
            case EchoState.CLEAN if self._waited_ms >= SETTLED_MS and not self._is_suspect:
                return THINNED
        return 1

    @property
    def _is_suspect(self) -> bool:
        return self._estimate.score >= SUSPECT

    def _compare(self, near: Samples, far: Samples) -> int:
        """Return in how many steps there was anything to compare."""
        if self.state is EchoState.UNSURE:
            return 0
        return self._estimate.push(near, far, thinned=self._thinned)

    def _follow(self, near: Samples, far: Samples, compared: int) -> None:
        passed_ms = len(near) * 1000 / RATE_HZ
        played = level_dbfs(far) >= PLAYED_DBFS
        self._since_played_ms = 0.0 if played else self._since_played_ms + passed_ms
        certain = bool(compared) and self._estimate.is_certain
        match self.state:
            case EchoState.FOUND:
                heard = bool(compared) and self._estimate.score >= CERTAIN  # a jump must not wait until it is steady
                self._follow_echo(0.0 if heard else passed_ms if played else None)
            case _ if certain:
                self._delay_ms = self._estimate.delay_ms
                self._enter(EchoState.FOUND, EchoFound(self._estimate.loss_db, self._delay_ms, self._has_canceller))
                self._residue = EchoResidue(self._estimate.loss_db)
                if self._delay_ms > CANCELLER_REACH_MS or not self._has_canceller:
                    self._canceller = None
            case EchoState.UNSURE if self._since_played_ms < REACH_MS:
                self._waited_ms += passed_ms
                if self._is_loud(near):
                    self._doubt(near, far)
                elif self._waited_ms >= UNSURE_MS:
                    self._go_to_rest()
            case EchoState.UNSURE:
                self._is_loud(near)
            case EchoState.CLEAN:
                self._waited_ms += passed_ms if played else 0.0
                if self.mode == "auto" and self._waited_ms >= RESTS_AFTER_MS and not self._is_suspect:
                    self._go_to_rest()
            case EchoState.DOUBT:
                self._waited_ms += passed_ms
                self._compared_ms += compared * HOP_MS
                if self._compared_ms >= DOUBT_MS:
                    self._enter(EchoState.CLEAN)
                elif self._waited_ms >= DOUBT_MAX_MS:
                    self._enter(EchoState.UNSURE)

    def _doubt(self, near: Samples, far: Samples) -> None:
        """Begin to compare with these, which are the last that have come. They may be an echo of any before them."""
        self._enter(EchoState.DOUBT)
        self._estimate = EchoEstimate()
        self._estimate.remember(self._near.samples[: -len(near)], self._far.samples[: -len(far)])
        self._estimate.push(near, far)

    def _go_to_rest(self) -> None:
        self._enter(EchoState.RESTING)
        self._forget()

    def _is_loud(self, near: Samples) -> bool:
        near_dbfs = level_dbfs(near)
        return self._floor.push(near_dbfs) >= RISE_DB and near_dbfs >= HEARD_DBFS

    def _follow_echo(self, unanswered_ms: float | None) -> None:
        """`unanswered_ms`: so much more was played and did not come back; 0 when it did."""
        if unanswered_ms is None:
            return
        self._waited_ms = self._waited_ms + unanswered_ms if unanswered_ms else 0.0
        if self._waited_ms >= GONE_MS:
            self._enter(EchoState.CLEAN, EchoGone())
            self._estimate = EchoEstimate()  # the old one still has what it found, if the caller was silent since
        elif not unanswered_ms and abs(self._estimate.delay_ms - self._delay_ms) > JUMP_MS:
            self._delay_ms = self._estimate.delay_ms
            self._canceller = None  # by itself it would take seconds to find the echo again

    def _forget(self) -> None:
        self._estimate = EchoEstimate()
        self._near = RecentSamples(HISTORY_MS * RATE_HZ // 1000)
        self._far = RecentSamples((HISTORY_MS + REACH_MS) * RATE_HZ // 1000)

    def _enter(self, state: EchoState, news: EchoFound | EchoGone | None = None) -> None:
        self.state, self.news = state, news
        self._waited_ms = self._compared_ms = 0.0

    def _cancel(self, new: int) -> Samples:
        waiting = self._held + new
        whole = waiting // BLOCK * BLOCK
        near, far = self._near.samples, self._far.samples
        if self._canceller is None:
            if self._new_canceller is None:
                self._canceller = EchoBar(self._delay_ms, self._estimate.loss_db, delayed=_DELAY)
            else:
                self._canceller = self._new_canceller()
            is_far = self._has_canceller and self._delay_ms > CANCELLER_REACH_MS
            self._shift_ms = self._delay_ms - NEAR_ENOUGH_MS if is_far else 0.0
            self._residue = EchoResidue(self._estimate.loss_db if self.state is EchoState.FOUND else None)
            known = min(len(near) - waiting, HISTORY_MS * RATE_HZ // 1000) // BLOCK * BLOCK
            self._process(near, far, waiting + known, known)
        cleaned = self._process(near, far, waiting, whole)
        self._held = waiting - whole
        end = whole - waiting - _DELAY  # where that lies which has come out, from the end of what has come
        delay = round(self._delay_ms * RATE_HZ / 1000)
        played = _part(far, end - whole - delay - LATE_BLOCKS * BLOCK, end - delay + EARLY_BLOCKS * BLOCK)
        used = self._residue.push(_part(near, end - whole, end), cleaned, played)
        return self._without_lost(used, self._came + end - whole)

    def _without_lost(self, samples: Samples, start: int) -> Samples:
        """`start`: how many came before the first of these."""
        while self._lost and self._lost[0][1] <= start:
            self._lost.popleft()
        for first, end in reversed(self._lost):
            left_out = slice(max(0, first - start), max(0, end - start))
            samples = np.delete(samples, left_out)
        return samples

    def _process(self, near: Samples, far: Samples, back: int, count: int) -> Samples:
        """Clean `count` samples, from `back` before the end of both on."""
        shift = round(self._shift_ms * RATE_HZ / 1000)
        first, early = len(near) - back, len(far) - back - shift
        if not count:
            return near[:0]
        assert self._canceller is not None
        missing = max(0, -early)
        played = np.concatenate((np.zeros(missing, np.int16), far[early + missing : early + count]))
        return self._canceller.process(near[first : first + count], played)

    def _stop(self, near: Samples, new: int) -> Samples:
        """`near` is what may be used of the `new` samples that have come."""
        if self._canceller is None:
            self._lost.clear()
            return near
        held, self._held, self._canceller = self._held, 0, None
        if not held:
            return near
        waited = self._near.samples[len(self._near.samples) - held - new : len(self._near.samples) - new]
        return np.concatenate((self._without_lost(waited, self._came - held - new), near))


def _part(samples: Samples, start: int, end: int) -> Samples:
    """A part by its distances from the end of these, with silence for what lies outside."""
    first, last = len(samples) + start, len(samples) + end
    part = samples[max(0, first) : max(0, last)]
    if len(part) == end - start:
        return part
    before = min(max(0, -first), end - start)
    return np.concatenate((np.zeros(before, np.int16), part, np.zeros(end - start - before - len(part), np.int16)))
