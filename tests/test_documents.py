"""The documents lead a reader to what is there."""

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from relay.cli import main
from relay.config_file import load
from relay.scenario.script import parse_scenario
from relay.standin.sound import tone, write_wav
from tests.support.reference import SCENARIOS

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]


def links(document: Path) -> Iterator[str]:
    """The targets of a document's links within this repository."""
    for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text()):
        if "://" not in target:
            yield target


def anchors(document: Path) -> set[str]:
    """The names that the headings of a document have in links: as GitHub makes them."""
    text = re.sub(r"^```.*?^```", "", document.read_text(), flags=re.DOTALL | re.MULTILINE)
    found: list[str] = []
    for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE):
        name = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        found.append(f"{name}-{found.count(name)}" if name in found else name)
    return set(found)


def commands(document: Path) -> Iterator[tuple[click.Command, str]]:
    """Every command of `relay` that a document gives, with what follows it."""
    for words in re.findall(r"(?:^|[`\s/])relay ((?:[a-z]+|--[a-z])[^`|\n]*)", document.read_text(), re.MULTILINE):
        name, _, rest = words.partition(" ")
        command: click.Command | None = main.commands.get(name)
        if isinstance(command, click.Group):
            inner, _, rest = rest.partition(" ")
            command = command.commands.get(inner)
        if command is not None:
            yield command, rest


def leads_somewhere(document: Path, target: str) -> bool:
    path, _, anchor = target.partition("#")
    file = (document.parent / path).resolve() if path else document
    return file.exists() and (not anchor or anchor in anchors(file))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_leads_somewhere(document: Path) -> None:
    assert [target for target in links(document) if not leads_somewhere(document, target)] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_option_that_is_given_is_one_of_its_command(document: Path) -> None:
    wrong = [
        f"{command.name} {option}"
        for command, rest in commands(document)
        for option in re.findall(r"--[a-z][a-z-]*", rest)
        if option not in {"--help", *(name for parameter in command.params for name in parameter.opts)}
    ]

    assert wrong == []


def test_the_commands_in_a_document_are_found() -> None:
    given = [f"{command.name} {rest}" for command, rest in commands(ROOT / "docs" / "first-call.md")]

    assert "check --config first.toml" in given
    assert "twilio --config first.toml" in given
    assert "call https://relay.example.com --seconds 20 --record call.wav" in given


def test_the_configuration_of_the_first_call_is_one_that_is_read(tmp_path: Path) -> None:
    blocks = re.findall(r"^```toml\n(.*?)^```", (ROOT / "docs" / "first-call.md").read_text(), re.DOTALL | re.MULTILINE)
    (tmp_path / "first.toml").write_text(*blocks)
    config = load(tmp_path / "first.toml", {"TWILIO_AUTH_TOKEN": "t", "VAPI_API_KEY": "k"})

    assert config.server.public_url == "https://relay.example.com"
    assert len(config.twilio.account_sids) == len(config.assistants) == 1


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_file_that_is_named_is_there(document: Path) -> None:
    named = re.findall(r"`((?:relay|tests|docs|deploy|scripts|requirements)/[\w./-]+)`", document.read_text())

    assert [path for path in named if not (ROOT / path).exists()] == []


def test_the_tree_in_the_readme_has_every_folder_of_the_program() -> None:
    tree = re.search(r"^relay/\n((?:  .+\n)+)", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert tree
    shown, parent = set(), ""
    for indent, folder in re.findall(r"^( +)(\w+)/", tree[1], re.MULTILINE):
        parent = folder if len(indent) == 2 else parent
        shown.add(folder if len(indent) == 2 else f"{parent}/{folder}")

    folders = {path.parent.relative_to(ROOT / "relay").as_posix() for path in (ROOT / "relay").rglob("__init__.py")}
    wings = {folder for folder in folders if folder.partition("/")[0] in {"call", "logic"} or "/" not in folder}

    assert shown == wings - {"."}


def test_the_examples_of_scenarios_are_read(tmp_path: Path) -> None:
    blocks = re.findall(r"^```scenario\n(.*?)^```", SCENARIOS.read_text(), re.DOTALL | re.MULTILINE)
    (tmp_path / "recordings").mkdir()
    for name in ("tell me more", "cough"):
        write_wav(tmp_path / "recordings" / f"{name}.wav", 8000, tone(440, 0.5, 8000))

    assert blocks
    for block in blocks:
        assert parse_scenario(block, tmp_path / "x.scenario").lines


def test_the_configuration_of_the_scenarios_is_one_that_is_read() -> None:
    config = load(ROOT / "scenarios" / "relay.toml", {"VAPI_API_KEY": "key", "TWILIO_AUTH_TOKEN": "token"})

    assert config.assistants[0].assistant_id == "demo"
