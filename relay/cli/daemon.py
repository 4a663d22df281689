"""The commands that prepare, check and run the daemon."""

from pathlib import Path

import click

from relay.cli.options import CONFIG, JSON, finish


@click.command()
@CONFIG
def serve(config_file: Path) -> None:
    """Run the daemon until SIGTERM or SIGINT."""
    from relay.daemon.process import shielded_process

    with shielded_process():
        from relay.commands.serve import serve as work

        finish(lambda: work(config_file))


@click.command(short_help="Validate the configuration, and print the one in force.")
@CONFIG
@JSON
def check(config_file: Path, *, as_json: bool) -> None:
    """Validate the configuration and print the effective one, secrets masked."""
    from relay.commands.check import check as work

    finish(lambda: work(config_file, as_json=as_json))


@click.command(short_help="Ask what it must know, and write the configuration.")
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
    finish(lambda: work(config_file, given, yes=yes, overwrite=overwrite, as_json=as_json))
