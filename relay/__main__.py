"""`python -m relay` is the same as `relay`."""

from relay.cli import run

if __name__ == "__main__":
    run()
