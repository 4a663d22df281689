"""The commands that look at calls: at those that run now, and at recorded ones."""

import os
from pathlib import Path

import click

from relay.cli.options import CONFIG, JSON, URL, finish


@click.command(short_help="Follow a live call, a line for each event.")
@click.argument("call")
@URL
@click.option("--json", "as_json", is_flag=True, help="Print the events as they came, one JSON object a line.")
def tail(call: str, url: str, *, as_json: bool) -> None:
    """Follow the live call with the id CALL, a line for each event, until it ends.

    Some letters of the id are enough, or the CallSid. RELAY_ADMIN_TOKEN must be set.
    """
    from relay.commands.watch import tail as work

    finish(lambda: work(call, url, os.environ.get("RELAY_ADMIN_TOKEN"), as_json=as_json))


@click.command(short_help="Show the calls that run now, every second.")
@URL
@JSON
def top(url: str, *, as_json: bool) -> None:
    """Show the calls that run now, every second; once, where the output is no terminal.

    RELAY_ADMIN_TOKEN must be set.
    """
    from relay.commands.watch import top as work

    finish(lambda: work(url, os.environ.get("RELAY_ADMIN_TOKEN"), as_json=as_json))


@click.command()
@click.argument("files", nargs=-1, type=click.Path(path_type=Path), metavar="FILE...")
@click.option("--text", "as_text", is_flag=True, help="Print the event log, with the milliseconds between.")
@click.option(
    "--wav",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="F",
    help="Write stereo sound: left the caller as it came, right what they really heard.",
)
@click.option(
    "--html",
    type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    metavar="F",
    help="Write the timeline as one page that needs nothing else. -: to standard output.",
)
@click.option(
    "--png",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="F",
    help="Draw the timeline as a picture, for a ticket.",
)
@click.option(
    "--trace",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="F",
    help="Write a trace for Perfetto (ui.perfetto.dev) or Chrome.",
)
@click.option("--live", is_flag=True, hidden=True, help="The call still goes on.")
@click.option("--erase", "call_id", metavar="CALL_ID", help="Remove all recordings of this call.")
@CONFIG
@JSON
def report(
    files: tuple[Path, ...],
    wav: Path | None,
    html: Path | None,
    png: Path | None,
    trace: Path | None,
    call_id: str | None,
    config_file: Path,
    *,
    as_text: bool,
    live: bool,
    as_json: bool,
) -> None:
    """Say in plain words what a recorded call was like. All FILEs are of one call.

    --config is read for the folder of the recordings with --erase, and for the key of a FILE that is encrypted.
    """
    from relay.commands.report import STANDARD_OUTPUT, ReportFiles, erase_call
    from relay.commands.report import report as work

    wanted = ReportFiles(wav, html, png, trace)
    if bool(files) + (call_id is not None) != 1:
        raise click.UsageError("give the FILEs of one call, or --erase CALL_ID")
    if as_text and as_json:
        raise click.UsageError("give --text or --json")
    if html == STANDARD_OUTPUT and (as_text or as_json):
        raise click.UsageError("give --html -, --text or --json: each goes to standard output")
    if call_id is not None:
        if as_text or as_json or wanted != ReportFiles():
            raise click.UsageError("--erase goes alone")
        finish(lambda: erase_call(call_id, config_file))
    finish(lambda: work(files, wanted, config_file, as_json=as_json, as_text=as_text, is_live=live))


@click.command(short_help="Run recorded calls again, and compare every decision.")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE...")
@click.option(
    "--set", "changes", multiple=True, metavar="KEY=VALUE", help="As in the configuration: vad.threshold=0.6."
)
@CONFIG
@JSON
def replay(files: tuple[Path, ...], changes: tuple[str, ...], config_file: Path, *, as_json: bool) -> None:
    """Run recorded calls again: does every decision come out the same? With --set: what would have been otherwise?"""
    from relay.commands.replay import replay as work

    finish(lambda: work(files, changes, config_file, as_json=as_json))
