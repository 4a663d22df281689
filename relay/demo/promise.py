"""One promise of the demo, and what became of it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Promise:
    """`name` is the promise in a few words, `figure` what was measured.

    `kept` is None when it cannot be judged: the machine kept a process from doing its part in time.
    """

    name: str
    kept: bool | None
    figure: str
