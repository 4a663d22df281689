"""How a whole call runs and ends, on the virtual clock."""
