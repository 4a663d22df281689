"""The commands that ask at a real account."""

from pathlib import Path

import click

from relay.cli.options import CONFIG, JSON, finish


@click.group(short_help="Measure at a real account what the documents leave open.")
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

    finish(lambda: work(config_file, name, Spending(max_cost_usd, price_usd_per_min, agreed=yes), as_json=as_json))


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
    finish(lambda: work(config_file, target, Spending(max_cost_usd, price_usd_per_min, agreed=yes), as_json=as_json))
