"""`relay demo`: a whole call on this machine, shown as it happens and judged from both sides' own records.

The daemon is the real one, in a process of its own; the telephone and the assistant are the stand-ins.
"""
