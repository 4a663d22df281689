"""Runs `relay vad`: prints and draws what the speech detector makes of recordings."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import click
from rich.console import Console
from rich.progress import Progress, TimeElapsedColumn

from relay import vad
from relay.commands import WrongUse
from relay.errors import FormatMismatch
from relay.extras import extra
from relay.media.detector import DetectorSettings
from relay.media.silero import SileroModel
from relay.vad import Calibration, Collection, RecordingAnalysis

T = TypeVar("T")
TABLE_COLUMNS = 132
"""How wide a table may get where there is no terminal to fit."""


@dataclass(frozen=True, slots=True)
class DetectorChoice:
    """What the options choose of the relay's detector. A threshold of None is the one of `DetectorSettings`."""

    threshold: float | None
    model_rate_hz: int
    reduce_noise: bool

    def settings(self) -> DetectorSettings:
        return DetectorSettings() if self.threshold is None else DetectorSettings(threshold=self.threshold)

    def model(self) -> SileroModel:
        return SileroModel.load(self.model_rate_hz)


def analyse_files(files: Sequence[str], detector: DetectorChoice, png: Path | None, *, as_json: bool) -> int:
    """Print the speech of each file, in order; draw each if `png` is given.

    Raises WrongUse for a file that is none, ConfigError if nothing here can draw.
    """
    if png is not None:
        _plot()  # what is missing is told before a long analysis, not after it
    settings, model = detector.settings(), detector.model()
    analyses = [
        # The name as it was given: a Path would have lost a leading "./".
        replace(
            _read(file, lambda path: vad.analyse(path, settings, model, reduce_noise=detector.reduce_noise)), file=file
        )
        for file in files
    ]
    pictures = _draw(analyses, png) if png is not None else []
    if as_json:
        click.echo(json.dumps(vad.as_json(analyses)))
    else:
        for analysis in analyses:
            click.echo(_told(analysis))
        for picture in pictures:
            click.echo(f"drawn: {picture}")
    return 0


def calibrate_room(room: Path, detector: DetectorChoice, *, as_json: bool) -> int:
    """Print what a quiet room needs; 1 if no threshold keeps it quiet. Raises WrongUse when it cannot be read."""
    calibration = _read(str(room), lambda path: vad.calibrate(path, detector.settings(), detector.model()))
    if as_json:
        click.echo(json.dumps(calibration.as_json()))
    else:
        _console().print(calibration.table())
        click.echo(_advice(calibration))
    return 0 if calibration.quiet_threshold is not None else 1


def evaluate_folders(
    folders: Sequence[str], sources: Sequence[str], detector: DetectorChoice | Path, *, echo: bool, as_json: bool
) -> int:
    """Print how well the relay's detector does, or another one, whose decisions are in the file.

    Raises ConfigError for labels, a source or decisions that are no good, WrongUse for such a recording.
    """
    collection = _collect(folders, sources, echo=echo)
    if isinstance(detector, Path):
        evaluation = vad.evaluate_decisions(collection, vad.read_decisions(detector))
    else:
        with _progress() as shown:
            task = shown.add_task("listening", total=len(collection.cases))
            evaluation = vad.evaluate(
                collection,
                detector.settings(),
                detector.model(),
                reduce_noise=detector.reduce_noise,
                progress=lambda done, _of: shown.update(task, completed=done),
            )
    if as_json:
        click.echo(json.dumps(evaluation.as_json()))
    else:
        console = _console()
        for table in vad.tables(evaluation):
            console.print(table, "")
    return 0


def write_cases(folders: Sequence[str], sources: Sequence[str], target: Path, *, echo: bool) -> int:
    """Write the sounds that a detector is evaluated on. Raises as `evaluate_folders` does."""
    cases = _collect(folders, sources, echo=echo).cases
    try:
        with _progress() as shown:
            for _ in shown.track(vad.write_cases(cases, target), total=len(cases), description="writing"):
                pass
    except OSError as error:
        raise WrongUse(f"--write-cases {target}: cannot be written: {error.strerror}") from None
    click.echo(f"written: {len(cases)} files in {target}")
    return 0


def _collect(folders: Sequence[str], sources: Sequence[str], *, echo: bool) -> Collection:
    return _read(folders[0], lambda _: vad.collect([Path(folder) for folder in folders], sources, echo=echo))


def _progress() -> Progress:
    """Return a bar that is shown on a terminal only, away from the results, and is gone at the end."""
    console = Console(stderr=True)
    columns = (*Progress.get_default_columns(), TimeElapsedColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def _read(name: str, work: Callable[[Path], T]) -> T:
    try:
        return work(Path(name))
    except FormatMismatch as error:
        raise WrongUse(f"{error} (allowed: WAV files)") from None
    except OSError as error:
        raise WrongUse(f"{error.filename or name}: cannot be read: {error.strerror}") from None


def _plot() -> Callable[[RecordingAnalysis, Path], None]:
    with extra("plot", "--plot"):
        from relay.vad.plot import plot  # noqa: PLC0415 - 75 MB that only --plot needs
    return plot


def _draw(analyses: Sequence[RecordingAnalysis], png: Path) -> list[Path]:
    pictures = [png] if len(analyses) == 1 else _picture_names(analyses, png)
    plot = _plot()
    for analysis, picture in zip(analyses, pictures, strict=True):
        try:
            plot(analysis, picture)
        except OSError as error:
            raise WrongUse(f"--plot {picture}: cannot be written: {error.strerror}") from None
    return pictures


def _picture_names(analyses: Sequence[RecordingAnalysis], png: Path) -> list[Path]:
    """Return `png` with the name of each recording before its suffix; a second one of the same name gets a number."""
    names: list[Path] = []
    for analysis in analyses:
        stem, number = f"{png.stem}-{Path(analysis.file).stem}", 1
        wanted = png.parent / f"{stem}{png.suffix}"
        while wanted in names:
            number += 1
            wanted = png.parent / f"{stem}-{number}{png.suffix}"
        names.append(wanted)
    return names


def _told(analysis: RecordingAnalysis) -> str:
    lines = [f"{analysis.file}: {analysis.sound.duration_s:.3f} s, {analysis.sound.rate_hz} Hz"]
    for (start_s, end_s), start in zip(analysis.segments_s(), analysis.starts(), strict=True):
        ducked, decided = (at_ms - start.onset_ms for at_ms in (start.likely_ms, start.decided_ms))
        lines.append(
            f"  {start_s:9.3f} to {end_s:9.3f} s   ducked after {ducked:3.0f} ms, confirmed after {decided:3.0f}"
        )
    if len(lines) == 1:
        lines.append("  no speech")
    return "\n".join(lines)


def _advice(calibration: Calibration) -> str:
    room = (
        f"Noise floor {calibration.noise_floor_dbfs:.1f} dBFS, loud {calibration.loud_dbfs:.1f} dBFS; "
        f"highest probability of speech {calibration.highest_probability:.2f}."
    )
    if calibration.quiet_threshold is None:
        return f"{room}\nNo threshold keeps this room quiet: something in it sounds like speech to the model."
    return f"{room}\nThis room needs [vad] threshold = {calibration.quiet_threshold:g}"


def _console() -> Console:
    console = Console()
    return console if console.is_terminal else Console(width=TABLE_COLUMNS)
