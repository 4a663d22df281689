"""A bad network between a client and a server, the same each time: `open_lab`."""

from relay.standin.lab.lab import Lab, open_lab
from relay.standin.lab.profiles import PROFILES, scheduled
from relay.standin.lab.schedule import CLEAN, Event, Link, Schedule

__all__ = ["CLEAN", "PROFILES", "Event", "Lab", "Link", "Schedule", "open_lab", "scheduled"]
