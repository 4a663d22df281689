"""Runs `relay setup`: asks what it must know, writes config.toml, and says what to enter elsewhere.

No secret is asked for, and none is written: what is said names the variables that hold them.
"""

import json
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import click
import tomlkit
from rich.console import Console
from rich.table import Table

from relay.commands import WrongUse
from relay.config_file import load
from relay.errors import ConfigError

_NO_SECRETS = {"TWILIO_AUTH_TOKEN": "not-read-here", "VAPI_API_KEY": "not-read-here"}
"""In the place of secrets, which the file is judged without."""


@dataclass(frozen=True, slots=True)
class SetupAnswers:
    """What is to be known. `front`: who speaks TLS, and how the relay learns whose connection it is."""

    public_url: str = ""
    assistant_id: str = ""
    account_sid: str = ""
    audio_format: str = "pcm_s16le"
    front: str = "proxy"
    certificate_file: str = ""
    key_file: str = ""
    record: str = "off"
    state: str = "sqlite:"


@dataclass(frozen=True, slots=True)
class SetupQuestion:
    """One field of `SetupAnswers`, the text that asks for it, and when it matters."""

    field: str
    text: str
    choices: tuple[str, ...] = ()
    matters: Callable[[SetupAnswers], bool] = lambda _: True


QUESTIONS = (
    SetupQuestion("public_url", "The address that Twilio and browsers use, as https://relay.example.com"),
    SetupQuestion("assistant_id", "The id of the assistant at Vapi"),
    SetupQuestion("account_sid", "The SID of the Twilio account, AC...; empty: every account whose signature is valid"),
    SetupQuestion("audio_format", "The audio to the assistant: mulaw is cheapest", ("pcm_s16le", "mulaw")),
    SetupQuestion(
        "front",
        "In front of the relay: a proxy that speaks TLS, one that sends the PROXY protocol, or nothing (tls)",
        ("proxy", "proxy-protocol", "tls"),
    ),
    SetupQuestion("certificate_file", "The file of the certificate, in PEM", matters=lambda it: it.front != "proxy"),
    SetupQuestion("key_file", "The file of its private key", matters=lambda it: it.front != "proxy"),
    SetupQuestion("record", "Which calls are recorded, which is personal data", ("off", "trouble", "all")),
    SetupQuestion("state", "Where calls are kept for the next process: sqlite:, memory:, or redis://HOST[:PORT]"),
)


def config_text(answers: SetupAnswers) -> str:
    """The text of the configuration: what was answered, each key with its meaning. Other keys have their defaults."""
    lines = [
        "# Written by relay setup. A key that is left out has its default: docs/reference.md explains them all.",
        "# Secrets never stand in this file.",
        "",
        "[server]",
        *_key("public_url", answers.public_url, "The address that Twilio and browsers use."),
    ]
    if answers.front == "tls":
        lines += _key("host", "0.0.0.0", "The address to listen on: all, as no proxy stands in front.")  # noqa: S104
        lines += _key("port", 443, "The port to listen on; under relay.socket, systemd decides.")
    elif answers.front == "proxy-protocol":
        meaning = "Whether each connection of a trusted proxy begins with a header that names the client."
        lines += _key("proxy_protocol", answers.front == "proxy-protocol", meaning)
    if answers.certificate_file or answers.key_file:
        lines += ["", "[tls]", *_key("certificate_file", answers.certificate_file, "The certificate, in PEM.")]
        lines += _key("key_file", answers.key_file, "Its private key, which the relay must be able to read.")
    if answers.front != "proxy":
        meaning = "An address for operators, where no such header is expected; the public one answers them 404 then."
        lines += ["", "[admin]", *_key("listen", "127.0.0.1:8081", meaning)]
    sids = [answers.account_sid] if answers.account_sid else []
    lines += ["", "[twilio]", *_key("account_sids", sids, "The accounts that may call. Empty: every one that signs.")]
    lines += ["", "[vapi]", *_key("assistant_id", answers.assistant_id, "The assistant that takes the calls.")]
    lines += _key("audio_format", answers.audio_format, 'The audio to and from it: "pcm_s16le" or "mulaw".')
    lines += ["", "[record]", *_key("mode", answers.record, 'Which calls are recorded: "off", "trouble" or "all".')]
    lines += ["", "[state]", *_key("url", answers.state, "Where calls are kept for the next process.")]
    return "\n".join([*lines, ""])


def _key(name: str, value: str | int | list[str], meaning: str) -> Iterator[str]:
    yield f"# {meaning}"
    yield f"{name} = {tomlkit.item(value).as_string()}"


def next_steps(answers: SetupAnswers) -> dict[str, dict[str, str]]:
    """What is to be done elsewhere: at Twilio, at Vapi, and in the environment of the relay."""
    public = answers.public_url.rstrip("/")
    environment = {
        "TWILIO_AUTH_TOKEN": "the auth token of the account, from Twilio's console",
        "VAPI_API_KEY": "the private key of the organisation, from Vapi's dashboard; the public one is refused",
        "RELAY_ADMIN_TOKEN": "optional: opens /admin to you; openssl rand -hex 24",
    }
    if answers.record != "off":
        environment["RELAY_RECORD_KEY"] = "optional: encrypts recordings; openssl rand -base64 32"
    if answers.state.startswith("redis"):
        environment["RELAY_REDIS_PASSWORD"] = "if the server asks for one"  # noqa: S105
    return {
        "twilio": {
            "A call comes in": f"Webhook, {public}/twilio/voice, HTTP POST",
            "Call status changes": f"{public}/twilio/status, HTTP POST",
            "Primary handler fails": "a TwiML Bin, see docs/operate.md",
        },
        "vapi": {
            "assistant": f"{answers.assistant_id}: it needs a first message, a voice, a model and a transcriber",
            "server URL": "none: nothing has to be entered for the relay",
        },
        "environment": environment,
    }


def problem_of(answers: SetupAnswers) -> str | None:
    """What is wrong with the configuration that these answers give; None: nothing. Raises OSError."""
    if answers.front == "tls" and not answers.certificate_file:
        return 'tls.certificate_file = "" is not allowed: the path of a file, as no proxy speaks TLS'
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "config.toml")
        file.write_text(config_text(answers), encoding="utf-8")
        try:
            load(file, _NO_SECRETS)
        except ConfigError as error:
            return str(error).removeprefix(f"{file}: ")
    return None


def setup(file: Path, given: dict[str, str], *, yes: bool, overwrite: bool, as_json: bool) -> int:
    """Ask, unless `yes`, for what `given` does not answer; write the file, and say what is next.

    Raises WrongUse when an answer cannot be used, is missing where nobody is asked, or the file is there and may not be
    replaced. Nothing is written then.
    """
    try:
        answers = _written(file, given, yes=yes, overwrite=overwrite)
    except OSError as error:
        raise WrongUse(f"{file}: cannot be written: {error.strerror}") from None
    steps = next_steps(answers)
    if as_json:
        click.echo(json.dumps({"file": str(file), "answers": asdict(answers), **steps}))
    else:
        _show(file, steps)
    return 0


def _written(file: Path, given: dict[str, str], *, yes: bool, overwrite: bool) -> SetupAnswers:
    """The answers, once they are in the file. Raises WrongUse as `setup`, and OSError."""
    if file.exists() and not overwrite and (yes or not click.confirm(f"{file} is there. Replace it?", err=True)):
        raise WrongUse(f"{file} is there, and stays as it is: --overwrite replaces it, --config names another")
    answers = replace(SetupAnswers(), **given)
    if not yes:
        answers = _asked(answers, given)
    if (problem := problem_of(answers)) is not None:
        raise WrongUse(problem)
    _write(file, config_text(answers))
    return answers


def _asked(answers: SetupAnswers, given: dict[str, str]) -> SetupAnswers:
    for question in QUESTIONS:
        if question.field in given or not question.matters(answers):
            continue
        answers = _ask(question, answers)
    return answers


def _ask(question: SetupQuestion, answers: SetupAnswers) -> SetupAnswers:
    """Ask until the answer can be used. What is wrong with another key is found out by its own question."""
    kind = click.Choice(question.choices) if question.choices else str
    while True:
        default = getattr(answers, question.field)
        answer = click.prompt(question.text, default=default, type=kind, show_default=bool(default), err=True).strip()
        changed = replace(answers, **{question.field: answer})
        problem = problem_of(changed)
        if problem is None or problem.partition(" ")[0].rpartition(".")[2] != _KEYS.get(question.field, question.field):
            return changed
        click.echo(problem, err=True)


_KEYS = {"account_sid": "account_sids", "record": "mode", "state": "url"}
"""The keys of fields that have another name in the file."""


def _write(file: Path, text: str) -> None:
    """Whole or not at all: an interruption or a full disk leaves what was there. Raises OSError."""
    descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as new:
            new.write(text)
        Path(name).chmod(0o644)
        Path(name).replace(file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _show(file: Path, steps: dict[str, dict[str, str]]) -> None:
    console = Console()
    console.print(f"Wrote {file}.", highlight=False, markup=False)
    titles = {
        "twilio": "At Twilio, for the number",
        "vapi": "At Vapi",
        "environment": "In the environment of the relay, or as systemd credentials",
    }
    for part, title in titles.items():
        table = Table(title=title, title_justify="left", show_header=False, box=None, padding=(0, 2, 0, 2))
        table.add_column(no_wrap=True, style="bold")
        table.add_column(overflow="fold")
        for name, value in steps[part].items():
            table.add_row(name, value)
        console.print()
        console.print(table, highlight=False, markup=False)
    console.print(f"\nThen: relay check --config {file}; relay serve --config {file}", highlight=False, markup=False)
