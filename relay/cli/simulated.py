"""The commands that stand in for what a call needs: the assistant, the caller, the network between, and all at once."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from relay.cli.options import JSON, finish

if TYPE_CHECKING:
    from relay.standin.assistant.behaviour import ScriptName


@click.command(short_help="Run the built-in assistant, which speaks Vapi's protocol.")
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
    finish(lambda: work(port, script, key, audio, detect_after_ms, transfer_to=transfer_to, strict=strict))


@click.command()
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
        finish(lambda: call_by_script(url, scenario, record, seconds, options, as_json=as_json))
    finish(lambda: work(url, wav, record, seconds, options, as_json=as_json))


@click.command(short_help="Be a bad network between a client and a server.")
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

    finish(lambda: work(port, target, profile, seed, file))


@click.command(short_help="Play a whole call with an interruption, and judge it.")
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

    finish(lambda: work(out, as_json=as_json))
