"""A promise of the demo says what became of it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Promise:
    """One promise: `name` is what was promised, in a few words, `figure` what was measured.

    `kept` is None when it cannot be judged: the machine kept a process from doing its part in time.
    """

    name: str
    kept: bool | None
    figure: str
