"""The commands that measure on this machine: what a load costs, and what the speech detector hears."""

from pathlib import Path

import click

from relay.cli.options import JSON, finish


@click.command(short_help="Put a load of simulated calls on a relay, and measure it.")
@click.option("--calls", type=click.IntRange(1, 2000), default=10, show_default=True, help="Calls at a time.")
@click.option("--seconds", type=click.FloatRange(4, 3600), default=10.0, show_default=True, help="What is measured.")
@click.option(
    "--audio", type=click.Choice(["pcm", "mulaw"]), default="pcm", show_default=True, help="To the assistant."
)
@click.option(
    "--echo-loss-db",
    type=click.FloatRange(0, 60),
    metavar="DB",
    help="The callers' lines have an echo of the assistant, so much weaker and 180 ms late.",
)
@click.option("--record", is_flag=True, help="The relay records all calls, as with record.mode all.")
@click.option("--find-limit", "limit", is_flag=True, help="Search how many calls a core carries, from --calls on.")
@click.option(
    "--write",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Set limits.max_calls of this configuration file to the limit that was found.",
)
@click.option(
    "--rounds", type=click.IntRange(1, 20), default=1, show_default=True, help="How often; the figures are medians."
)
@click.option("--ring", is_flag=True, help="Callers ring without end: how many are taken, and what those feel.")
@click.option("--browsers", is_flag=True, help="Browsers instead: over a WebSocket, then as many by HTTP polling.")
@click.option("--vad-cost", is_flag=True, help="Instead: what the speech detector costs 1, 20 and 50 calls.")
@JSON
def bench(
    calls: int,
    seconds: float,
    audio: str,
    echo_loss_db: float | None,
    write: Path | None,
    rounds: int,
    *,
    record: bool,
    limit: bool,
    ring: bool,
    browsers: bool,
    vad_cost: bool,
    as_json: bool,
) -> None:
    """Put a load of simulated calls on a relay in a process of its own, and measure."""
    from relay.commands.bench import bench as work
    from relay.commands.bench import bench_browsers, bench_vad

    if limit + ring + browsers + vad_cost > 1:
        raise click.UsageError("give one of --find-limit, --ring, --browsers and --vad-cost")
    if echo_loss_db is not None and (browsers or vad_cost):
        raise click.UsageError("--echo-loss-db is for calls by telephone")
    if record and (browsers or vad_cost):
        raise click.UsageError("--record is for calls by telephone")
    if write is not None and not limit:
        raise click.UsageError("--write needs --find-limit")
    if rounds > 1 and (browsers or vad_cost):
        raise click.UsageError("--rounds is for calls by telephone")
    if browsers:
        finish(lambda: bench_browsers(calls, seconds, audio, as_json=as_json))
    if vad_cost:
        finish(lambda: bench_vad(seconds, as_json=as_json))
    finish(
        lambda: work(
            calls,
            seconds,
            audio,
            rounds=rounds,
            echo_loss_db=echo_loss_db,
            record=record,
            ringing=ring,
            limit=limit,
            write=write,
            as_json=as_json,
        )
    )


@click.command()
@click.argument("files", nargs=-1, type=click.Path(), metavar="FILE...")
@click.option("--threshold", type=click.FloatRange(0.3, 0.9), help="As [vad] threshold; 0.5 if not given.")
@click.option(
    "--model-rate",
    "model_rate_hz",
    type=click.Choice(["8000", "16000"]),
    help="As [vad] model_rate_hz; 16000 if not given.",
)
@click.option(
    "--plot",
    "png",
    type=click.Path(path_type=Path),
    metavar="PNG",
    help="Draw waveform, probability and decisions. Of several FILEs, each has its picture: NAME-FILE.png.",
)
@click.option(
    "--calibrate",
    "room",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A quiet room, nobody speaking: which threshold it needs, and what that costs in delay.",
)
@click.option(
    "--evaluate",
    is_flag=True,
    help="Each FILE is a folder of recordings with a labels.json: how often, how soon and how wrongly they interrupt.",
)
@click.option(
    "--source",
    "sources",
    multiple=True,
    metavar="NAME",
    help="Evaluate on this kind of sound, or this recording, only; may be given several times.",
)
@click.option("--echo", is_flag=True, help="Evaluate on echoes of the assistant too, made from the recordings.")
@click.option(
    "--write-cases",
    "target",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Instead of evaluating, write what a detector hears as WAV files, for another detector.",
)
@click.option(
    "--decisions",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Evaluate what another detector decided about the files of --write-cases: see docs/evaluation.md.",
)
@click.option("--noise-reduction", "reduce_noise", is_flag=True, help="Clean the audio first, as [audio] can.")
@JSON
def vad(
    files: tuple[str, ...],
    threshold: float | None,
    model_rate_hz: str | None,
    png: Path | None,
    room: Path | None,
    sources: tuple[str, ...],
    target: Path | None,
    decisions: Path | None,
    *,
    evaluate: bool,
    echo: bool,
    reduce_noise: bool,
    as_json: bool,
) -> None:
    """Find the speech in recordings, which are WAV files."""
    from relay.commands.vad import DetectorChoice, analyse_files, calibrate_room, evaluate_folders, write_cases

    if bool(files) + (room is not None) != 1 or (evaluate and not files):
        raise click.UsageError("give one or more FILEs, or --calibrate FILE, or --evaluate DIR...")
    if png is not None and (evaluate or not files):
        raise click.UsageError("--plot goes with FILEs")
    if reduce_noise and room is not None:
        raise click.UsageError("--noise-reduction goes with FILEs or --evaluate")
    if (sources or echo or target or decisions) and not evaluate:
        raise click.UsageError("--source, --echo, --write-cases and --decisions go with --evaluate")
    if (target or decisions) and (threshold or model_rate_hz or reduce_noise or (target and decisions)):
        raise click.UsageError("--write-cases and --decisions go with --source and --echo only")
    detector = DetectorChoice(threshold, int(model_rate_hz or 16000), reduce_noise)
    if room is not None:
        finish(lambda: calibrate_room(room, detector, as_json=as_json))
    if target is not None:
        finish(lambda: write_cases(files, sources, target, echo=echo))
    if evaluate:
        finish(lambda: evaluate_folders(files, sources, decisions or detector, echo=echo, as_json=as_json))
    finish(lambda: analyse_files(files, detector, png, as_json=as_json))
