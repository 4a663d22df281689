"""The commands. No logic here: each command reads its arguments and calls the part that does the work."""

import click

from relay import __version__


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="relay")
def main() -> None:
    """Relay live calls between telephones or browsers and a voice assistant."""
