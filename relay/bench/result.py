"""A result holds what one run of the benchmark has measured."""

from typing import Any

import msgspec


class BenchResult(msgspec.Struct, omit_defaults=True):
    """The JSON of `relay bench --json`, where the two limits are missing unless they were looked for, and what is said
    of echoes or refused calls unless there were some. Of several rounds the figures are medians, with the least and the
    most of some in `spread`. `not_judged` says why the figures are no judgement of the relay.

    Times are in milliseconds. docs/measurements.md says how each figure is measured.
    """

    calls: int
    seconds: float
    audio: str
    cpu_ms_per_call_second: float
    added_delay_ms: dict[str, dict[str, float | None]]
    raw_delay_ms: dict[str, dict[str, float | None]]
    resampler_ms: dict[str, float | None]
    loop_lag_ms: dict[str, float | None]
    frames_lost: int
    frames_dropped: dict[str, float]
    frames_invented: dict[str, float]
    calls_lost: int
    rss_mb: float
    rss_mb_per_call: float
    bargein_ms: dict[str, float | None]
    onset_to_clear_ms: dict[str, float | None]
    decide_to_clear_ms: dict[str, float | None]
    bargeins: int
    bargeins_missed: int
    vad_delay_ms: dict[str, float | None]
    load: dict[str, float]
    machine: dict[str, Any]
    limit_calls: int | None = None
    limited_by: str | None = None
    echo_loss_db: float | None = None
    echoes_found: int | None = None
    recorded: int | None = None
    refused: int | None = None
    rounds: int = 1
    spread: dict[str, list[float]] | None = None
    not_judged: str | None = None
