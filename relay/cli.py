"""Defines the commands of `relay`: each reads its arguments and calls the function that does the work."""

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from relay import __version__
from relay.commands import WrongUse
from relay.errors import ConfigError

if TYPE_CHECKING:
    from relay.standin.assistant.behaviour import ScriptName

CONFIG = click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path),
    default=Path("config.toml"),
    show_default=True,
    metavar="FILE",
    help="The configuration.",
)
URL = click.option(
    "--url", default="http://127.0.0.1:8080", show_default=True, metavar="URL", help="The relay's address."
)
JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="relay")
def main() -> None:
    """Relay live calls between telephones or browsers and a voice assistant."""


@main.command()
@CONFIG
def serve(config_file: Path) -> None:
    """Run the daemon until SIGTERM or SIGINT."""
    from relay.daemon.process import shielded_process

    with shielded_process():
        from relay.commands.serve import serve as work

        _finish(lambda: work(config_file))


@main.command(short_help="Validate the configuration, and print the one in force.")
@CONFIG
@JSON
def check(config_file: Path, *, as_json: bool) -> None:
    """Validate the configuration and print the effective one, secrets masked."""
    from relay.commands.check import check as work

    _finish(lambda: work(config_file, as_json=as_json))


@main.command(short_help="Ask what it must know, and write the configuration.")
@CONFIG
@click.option("--public-url", metavar="URL", help="The address that Twilio and browsers use.")
@click.option("--assistant-id", metavar="ID", help="The assistant at Vapi.")
@click.option("--account", "account_sid", metavar="SID", help="The only Twilio account that may call.")
@click.option("--format", "audio_format", type=click.Choice(["pcm_s16le", "mulaw"]), help="To the assistant.")
@click.option("--front", type=click.Choice(["proxy", "proxy-protocol", "tls"]), help="What stands before the relay.")
@click.option("--certificate", "certificate_file", metavar="FILE", help="For TLS in the relay itself.")
@click.option("--key", "key_file", metavar="FILE", help="The certificate's private key.")
@click.option("--record", type=click.Choice(["off", "trouble", "all"]), help="Which calls are recorded.")
@click.option("--state", metavar="URL", help="Where calls are kept for the next process.")
@click.option("--yes", is_flag=True, help="Ask nothing: what no option says has its default.")
@click.option("--overwrite", is_flag=True, help="Replace a configuration that is there.")
@JSON
def setup(config_file: Path, *, yes: bool, overwrite: bool, as_json: bool, **options: str | None) -> None:
    """Ask what it must know, write the configuration, and say what to enter at Twilio and Vapi."""
    from relay.commands.setup import setup as work

    given = {name: value for name, value in options.items() if value is not None}
    _finish(lambda: work(config_file, given, yes=yes, overwrite=overwrite, as_json=as_json))


@main.command(short_help="Run the built-in assistant, which speaks Vapi's protocol.")
@click.option("--port", type=click.IntRange(0, 65535), default=8090, show_default=True, help="0 takes any free port.")
@click.option(
    "--script",
    type=click.Choice(["demo", "echo", "tone", "file", "silent"]),
    default="demo",
    show_default=True,
    help="What it says.",
)
@click.option("--audio", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="WAV for --script file.")
@click.option(
    "--detect-after",
    "detect_after_ms",
    type=click.FloatRange(20, 10000),
    default=300,
    show_default=True,
    metavar="MS",
    help="How long the caller speaks before it counts as speech, and interrupts. 700 leaves coughs and uh-huhs alone.",
)
@click.option(
    "--transfer-to",
    metavar="DESTINATION",
    help="In the place of its first answer it transfers the caller to this number or SIP address.",
)
@click.option("--key", envvar="VAPI_API_KEY", default="builtin", help="The private key it asks for [$VAPI_API_KEY].")
@click.option("--strict", is_flag=True, help="Take Vapi's documents at their word wherever they leave a doubt.")
def assistant(
    port: int,
    script: "ScriptName",
    audio: Path | None,
    detect_after_ms: float,
    transfer_to: str | None,
    key: str,
    *,
    strict: bool,
) -> None:
    """Run the built-in assistant, which speaks Vapi's protocol, until Ctrl-C."""
    from relay.commands.assistant import assistant as work

    if (script == "file") != (audio is not None):
        raise click.UsageError("--audio and --script file go together")
    _finish(lambda: work(port, script, key, audio, detect_after_ms, transfer_to=transfer_to, strict=strict))


@main.command()
@click.argument("url")
@click.option("--wav", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="What the caller says.")
@click.option(
    "--scenario",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Play this script, and judge each step.",
)
@click.option("--record", type=click.Path(dir_okay=False, path_type=Path), help="Stereo WAV: said left, heard right.")
@click.option("--seconds", type=click.FloatRange(0.1, 86400), help="Hang up so long after dialling.")
@click.option("--public-url", help="What the relay calls itself, if not URL: this is signed.")
@click.option("--auth-token", envvar="TWILIO_AUTH_TOKEN", help="Signs as Twilio does [$TWILIO_AUTH_TOKEN].")
@click.option(
    "--account",
    envvar="TWILIO_ACCOUNT_SID",
    metavar="SID",
    help="Whose call it is, for a relay with twilio.account_sids [$TWILIO_ACCOUNT_SID].",
)
@JSON
def call(
    url: str,
    wav: Path | None,
    scenario: Path | None,
    record: Path | None,
    seconds: float | None,
    public_url: str | None,
    auth_token: str | None,
    account: str | None,
    *,
    as_json: bool,
) -> None:
    """Call the relay at URL as Twilio would, without Twilio."""
    from relay.commands.call import call as work
    from relay.commands.call import call_by_script
    from relay.standin.phone import PhoneOptions

    if wav is not None and scenario is not None:
        raise click.UsageError("give --wav or --scenario")

    options = PhoneOptions(auth_token=auth_token, public_url=public_url)
    if account is not None:
        options = replace(options, account_sid=account)
    if scenario is not None:
        _finish(lambda: call_by_script(url, scenario, record, seconds, options, as_json=as_json))
    _finish(lambda: work(url, wav, record, seconds, options, as_json=as_json))


@main.command(short_help="Be a bad network between a client and a server.")
@click.option("--listen", "port", type=click.IntRange(0, 65535), default=8091, show_default=True, help="0: any.")
@click.option("--target", required=True, metavar="HOST:PORT", help="Where everything is passed on to.")
@click.option("--profile", default="mobile", show_default=True, metavar="NAME", help="What kind of network it is.")
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed does the same at the same times.")
@click.option(
    "--schedule",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Replay this schedule; if there is no such file, write what --profile and --seed make.",
)
def lab(port: int, target: str, profile: str, seed: int, file: Path | None) -> None:
    """Be a bad network between a client and the server at --target, until Ctrl-C.

    \b
    clean    nothing happens
    home     15 ms, steady
    cafe     25 ms, stalls under a second, slow at times
    mobile   50 ms, stalls, slow at times, dropped every 30 to 90 s
    train    70 ms, long stalls, drops with no network after them, half-open connections
    tangled  30 ms, one in ten WebSocket messages comes late, after others
    """
    from relay.commands.lab import lab as work

    _finish(lambda: work(port, target, profile, seed, file))


@main.command(short_help="Play a whole call with an interruption, and judge it.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("demo-out"),
    show_default=True,
    metavar="DIR",
    help="Where the recording and the logs are left.",
)
@JSON
def demo(out: Path, *, as_json: bool) -> None:
    """Play a whole call with an interruption on this machine, without accounts, and judge it."""
    from relay.commands.demo import demo as work

    _finish(lambda: work(out, as_json=as_json))


@main.command(short_help="Put a load of simulated calls on a relay, and measure it.")
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
        _finish(lambda: bench_browsers(calls, seconds, audio, as_json=as_json))
    if vad_cost:
        _finish(lambda: bench_vad(seconds, as_json=as_json))
    _finish(
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


@main.group(short_help="Measure at a real account what the documents leave open.")
def probe() -> None:
    """Measure at a real account what the vendors' documents leave open, and say which settings follow."""


MAX_COST = click.option(
    "--max-cost",
    "max_cost_usd",
    type=click.FloatRange(0, 100),
    default=2.0,
    show_default=True,
    metavar="USD",
    help="Questions whose calls may cost more together are left out.",
)
PRICE = click.option(
    "--price",
    "price_usd_per_min",
    type=click.FloatRange(0, 10),
    default=0.3,
    show_default=True,
    metavar="USD",
    help="What a minute of a call costs at most.",
)
YES = click.option("--yes", is_flag=True, help="Agree to the cost.")


@probe.command("vapi")
@CONFIG
@click.option("--assistant", "name", metavar="NAME", help="The entry of [[assistants]]; the first if not given.")
@MAX_COST
@PRICE
@YES
@JSON
def probe_vapi(
    config_file: Path, name: str | None, max_cost_usd: float, price_usd_per_min: float, *, yes: bool, as_json: bool
) -> None:
    """Place short calls with the assistant, and end each of them."""
    from relay.commands.probe import Spending
    from relay.commands.probe import probe_vapi as work

    _finish(lambda: work(config_file, name, Spending(max_cost_usd, price_usd_per_min, agreed=yes), as_json=as_json))


@probe.command("twilio", short_help="Look at the account and its number, and call nobody.")
@CONFIG
@click.option(
    "--account",
    envvar="TWILIO_ACCOUNT_SID",
    default="",
    metavar="SID",
    help="If it is not the one of twilio.account_sids [$TWILIO_ACCOUNT_SID].",
)
@click.option("--number", default="", metavar="NUMBER", help="The number to look at, where the account has several.")
@click.option("--call", "call_to", default="", metavar="NUMBER", help="Call this number for a question that needs it.")
@click.option("--api-base", default="", metavar="URL", help="Twilio's API in another region, or a stand-in's.")
@MAX_COST
@PRICE
@YES
@JSON
def probe_twilio(
    config_file: Path,
    account: str,
    number: str,
    call_to: str,
    api_base: str,
    max_cost_usd: float,
    price_usd_per_min: float,
    *,
    yes: bool,
    as_json: bool,
) -> None:
    """Look at the account, its number and the relay behind it; place no call without --call."""
    from relay.commands.probe import Spending, TwilioTarget
    from relay.commands.probe import probe_twilio as work

    target = TwilioTarget(account, number, call_to, api_base)
    _finish(lambda: work(config_file, target, Spending(max_cost_usd, price_usd_per_min, agreed=yes), as_json=as_json))


@main.command()
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
        _finish(lambda: erase_call(call_id, config_file))
    _finish(lambda: work(files, wanted, config_file, as_json=as_json, as_text=as_text, is_live=live))


@main.command(short_help="Follow a live call, a line for each event.")
@click.argument("call")
@URL
@click.option("--json", "as_json", is_flag=True, help="Print the events as they came, one JSON object a line.")
def tail(call: str, url: str, *, as_json: bool) -> None:
    """Follow the live call with the id CALL, a line for each event, until it ends.

    Some letters of the id are enough, or the CallSid. RELAY_ADMIN_TOKEN must be set.
    """
    from relay.commands.watch import tail as work

    _finish(lambda: work(call, url, os.environ.get("RELAY_ADMIN_TOKEN"), as_json=as_json))


@main.command(short_help="Show the calls that run now, every second.")
@URL
@JSON
def top(url: str, *, as_json: bool) -> None:
    """Show the calls that run now, every second; once, where the output is no terminal.

    RELAY_ADMIN_TOKEN must be set.
    """
    from relay.commands.watch import top as work

    _finish(lambda: work(url, os.environ.get("RELAY_ADMIN_TOKEN"), as_json=as_json))


@main.command(short_help="Run recorded calls again, and compare every decision.")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE...")
@click.option(
    "--set", "changes", multiple=True, metavar="KEY=VALUE", help="As in the configuration: vad.threshold=0.6."
)
@CONFIG
@JSON
def replay(files: tuple[Path, ...], changes: tuple[str, ...], config_file: Path, *, as_json: bool) -> None:
    """Run recorded calls again: does every decision come out the same? With --set: what would have been otherwise?"""
    from relay.commands.replay import replay as work

    _finish(lambda: work(files, changes, config_file, as_json=as_json))


@main.command()
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
        _finish(lambda: calibrate_room(room, detector, as_json=as_json))
    if target is not None:
        _finish(lambda: write_cases(files, sources, target, echo=echo))
    if evaluate:
        _finish(lambda: evaluate_folders(files, sources, decisions or detector, echo=echo, as_json=as_json))
    _finish(lambda: analyse_files(files, detector, png, as_json=as_json))


def _finish(work: Callable[[], int]) -> NoReturn:
    """End the process as `relay` promises: 0 done, 1 a failure was found, 2 wrong use or configuration."""
    try:
        status = work()
    except (ConfigError, WrongUse) as error:
        click.echo(f"relay: {error}", err=True)
        status = 2
    except BaseExceptionGroup as group:
        if group.split(KeyboardInterrupt)[1] is not None:
            raise
        raise click.Abort from None
    sys.exit(status)
