"""A scenario is a call by a script: what the caller does, and what the caller must hear. `relay call` plays it."""
