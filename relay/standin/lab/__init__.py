"""The lab is a bad network between a client and a server, the same each time: `open_lab`."""

from relay.standin.lab.lab import Lab, open_lab
from relay.standin.lab.profiles import PROFILES, scheduled
from relay.standin.lab.schedule import CLEAN, LinkConditions, NetworkEvent, Schedule

__all__ = ["CLEAN", "PROFILES", "Lab", "LinkConditions", "NetworkEvent", "Schedule", "open_lab", "scheduled"]
