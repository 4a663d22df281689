"""`relay bench` puts a load of simulated calls on a relay in a process of its own; the two meet through sockets only.

`run` starts both and reads the relay's log; `load` (the other process) plays Twilio and Vapi for every call and records
what a few calls sent and got; `match` finds by the content of the audio when each frame came out.
"""
