"""`relay demo` plays a whole call on this machine, shows it as it happens, and judges it by both sides' own records.

The daemon is the real one, in a process of its own; the telephone and the assistant are the stand-ins.
"""
