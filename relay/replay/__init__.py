"""Recorded calls again: the real call, between sides that do what the recording says.

| part            | what it does                                                                        |
|-----------------|-------------------------------------------------------------------------------------|
| settings        | makes the configuration of the recorded call, with the changes that are asked for   |
| peers           | stand in for the caller's sockets, the assistant and the speech model               |
| exact_run       | runs the call as it was, step for step                                              |
| changed_run     | runs the call with other settings, in its own time                                  |
| decisions       | compares what was decided                                                           |
"""
