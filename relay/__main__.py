"""`python -m relay` is the same as `relay`."""

from relay.cli import main

if __name__ == "__main__":
    main()
