"""`relay probe` measures at a real account what the vendors' documents leave open, once somebody agrees to the cost."""

import os
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

import click
import trio
from rich.console import Console

from relay.commands import WrongUse
from relay.config import AssistantConfig, Config
from relay.config_file import load
from relay.net.rest import open_rest_client
from relay.probe.budget import Budget
from relay.probe.question import Question, affordable, ask_all
from relay.probe.report import ProbeReport
from relay.probe.twilio import questions as twilio_questions
from relay.probe.twilio_account import TwilioAccount, TwilioHosts
from relay.probe.vapi import questions as vapi_questions
from relay.probe.vapi_account import VapiAccount
from relay.redaction import Redactor

A = TypeVar("A")
REQUEST_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Spending:
    """What may be spent, and whether somebody has agreed to it already."""

    max_cost_usd: float
    price_usd_per_min: float
    agreed: bool

    def budget(self, service: str, questions: Sequence[Question[A]]) -> Budget:
        """The budget, once the cost was told and agreed to. Raises WrongUse where nobody can be asked."""
        budget = Budget(self.max_cost_usd, self.price_usd_per_min)
        chosen = affordable(questions, budget)
        seconds = sum(question.paid_s for question in chosen)
        if seconds:
            self._agree(
                f"probe {service}: {len(chosen)} of {len(questions)} questions, calls of {seconds:g} s in all: "
                f"at most {budget.cost_usd(seconds):.2f} USD at {self.price_usd_per_min:g} USD a minute (--price)"
            )
        return budget

    def _agree(self, cost: str) -> None:
        if not self.agreed and not in_terminal():
            raise WrongUse(f"{cost}. Nobody is there to be asked: give --yes")
        click.echo(f"relay {cost}", err=True)
        if not self.agreed:
            click.confirm("Place these calls?", abort=True, err=True)


def in_terminal() -> bool:
    """Whether somebody can be asked."""
    return sys.stdin.isatty()


def probe_vapi(config_file: Path, name: str | None, spending: Spending, *, as_json: bool) -> int:
    """Ask the assistant of this name (None: the first one), print, and return the exit status.

    Raises ConfigError, and WrongUse when there is no such assistant or nobody agreed to the cost.
    """
    config = load(config_file, os.environ)
    assistant = _assistant(config, name)
    asked = vapi_questions(config.transfer.allow)
    budget = spending.budget("vapi", asked)
    redactor = Redactor(config.secrets.values())
    left_running: list[str] = []

    async def ask(tell: Callable[[str], None]) -> ProbeReport:
        async with open_rest_client(assistant.request_timeout_s) as rest:
            account = VapiAccount(assistant, config, rest, budget, redactor=redactor, left_running=left_running)
            findings = await ask_all(asked, account, budget, tell)
        given = {"vapi.assistant_id": assistant.assistant_id}
        is_entry = assistant.name != "vapi"
        given |= {"vapi.name": assistant.name} if is_entry else {}
        return ProbeReport("vapi", findings, given, redactor, ladder_entry=is_entry)

    return _finished(_run(ask, as_json=as_json), left_running, "Vapi's dashboard")


@dataclass(frozen=True, slots=True)
class TwilioTarget:
    """What the options of `relay probe twilio` name; "" for what is not given."""

    account_sid: str = ""
    number: str = ""
    call_to: str = ""
    api_base: str = ""


def probe_twilio(config_file: Path, target: TwilioTarget, spending: Spending, *, as_json: bool) -> int:
    """Ask the Twilio account, print, and return the exit status.

    Raises ConfigError, and WrongUse when it is not clear which account, or nobody agreed to the cost.
    """
    config = load(config_file, os.environ)
    account_sid, token = _twilio_login(config, target.account_sid)
    hosts = _twilio_hosts(target.api_base.rstrip("/"))
    asked = twilio_questions(target.call_to, dialled(config))
    budget = spending.budget("twilio", asked)
    redactor = Redactor(config.secrets.values())
    left_running: list[str] = []

    async def ask(tell: Callable[[str], None]) -> ProbeReport:
        async with open_rest_client(REQUEST_TIMEOUT_S) as rest:
            account = TwilioAccount(
                account_sid,
                token,
                config.server.public_url,
                rest,
                budget,
                hosts=hosts,
                number=target.number,
                left_running=left_running,
            )
            findings = await ask_all(asked, account, budget, tell)
        return ProbeReport("twilio", findings, {"server.public_url": config.server.public_url}, redactor)

    return _finished(_run(ask, as_json=as_json), left_running, "Twilio's console")


def dialled(config: Config) -> tuple[str, ...]:
    """Whom the relay may have Twilio dial."""
    spare = config.twilio.transfer_number
    return (*config.transfer.allow, *([spare] if spare else []))


def _twilio_login(config: Config, account_sid: str) -> tuple[str, str]:
    """The account and its newest auth token."""
    sids = (account_sid,) if account_sid else config.twilio.account_sids
    if len(sids) != 1:
        raise WrongUse(f"twilio.account_sids names {len(sids)} accounts: give one with --account")
    if not config.secrets.twilio_auth_tokens:
        raise WrongUse("TWILIO_AUTH_TOKEN is not set, and Twilio answers nothing without it")
    return sids[0], config.secrets.twilio_auth_tokens[-1]


def _twilio_hosts(api_base: str) -> TwilioHosts:
    """A region has an API of its own; a stand-in on this machine has all interfaces at one address."""
    if not api_base:
        return TwilioHosts()
    url = urlsplit(api_base)
    local = url.hostname in {"localhost", "127.0.0.1", "::1"}
    if not url.hostname or url.scheme not in ({"http", "https"} if local else {"https"}):
        raise WrongUse(
            f"--api-base {api_base}: must be https://HOST (http:// for this machine): the token is sent there"
        )
    return TwilioHosts(api_base, api_base, api_base, api_base) if local else TwilioHosts(api_base)


def _finished(status: int, left_running: Sequence[str], where: str) -> int:
    """The exit status, with a line for each call that goes on."""
    for call_id in left_running:
        click.echo(f"relay: call {call_id} could not be ended: end it in {where}", err=True)
    return status or bool(left_running)


def _assistant(config: Config, name: str | None) -> AssistantConfig:
    found = [it for it in config.assistants if name in {None, it.name}]
    if not found:
        raise WrongUse(f"--assistant {name}: must be one of {', '.join(it.name for it in config.assistants)}")
    return found[0]


def _run(ask: Callable[[Callable[[str], None]], Awaitable[ProbeReport]], *, as_json: bool) -> int:
    """The exit status: 1 for a finding that failed; 128 and its number for a signal. No call is left in either case."""
    progress = Console(stderr=True)
    result = trio.run(_until_signal, ask, lambda text: progress.print(f"asking: {text}", markup=False))
    if isinstance(result, int):
        return 128 + result
    if as_json:
        click.echo(result.as_json())
    else:
        result.show(Console())
    return 1 if result.failed else 0


async def _until_signal(
    ask: Callable[[Callable[[str], None]], Awaitable[ProbeReport]], tell: Callable[[str], None]
) -> ProbeReport | int:
    """The report, or the number of the signal that ended the asking.

    Signals are taken until all calls are ended, which is bounded: a second one does not stop that.
    """
    result: ProbeReport | int = signal.SIGINT
    async with trio.open_nursery() as nursery:
        asking = trio.CancelScope()

        async def watch(task_status: trio.TaskStatus[None]) -> None:
            nonlocal result
            with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
                task_status.started()
                async for number in signals:
                    result = number
                    asking.cancel()

        await nursery.start(watch)
        with asking:
            result = await ask(tell)
        nursery.cancel_scope.cancel()
    return result
