"""The work of each command of `relay`: functions that return the exit status."""

from urllib.parse import urlsplit


class WrongUse(Exception):
    """A command was given something it cannot work with; the text is the one line shown."""


def check_address(url: str, what: str = "URL") -> None:
    """Raises WrongUse when `url` is no address of a relay; `what` says where it was given."""
    try:
        parts = urlsplit(url)
        if parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0:
            return
    except ValueError:
        pass
    raise WrongUse(f"{what} {url}: must be http://HOST[:PORT] or https://HOST[:PORT]")
