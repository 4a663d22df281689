"""Recorded calls again: the real call, between sides that do what the recording says.

| part            | what it does                                                                        |
|-----------------|-------------------------------------------------------------------------------------|
| settings        | makes the configuration of the recorded call, with the changes that are asked for   |
| peers           | stand in for the caller's sockets, the speech model and the classifier              |
| assistants      | stand in for the assistants                                                         |
| stage           | sets the real call up between them                                                  |
| exact_run       | runs the call as it was, step for step                                              |
| changed_run     | runs the call with other settings, in its own time                                  |
| decisions       | compares what was decided                                                           |
"""
