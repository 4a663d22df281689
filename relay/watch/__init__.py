"""Shows in a terminal what happens in a relay, which it asks over its admin endpoints: `relay tail` and `relay top`."""
