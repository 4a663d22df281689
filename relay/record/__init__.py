"""The flight recorder: what happened in a call, in one file, and what can be read from it.

| part                          | what it does                                                          |
|-------------------------------|-----------------------------------------------------------------------|
| entries, file_format          | what is recorded, and the bytes of a file                             |
| keys, seal                    | encrypt a file, where there is a key                                  |
| call_recording, troubles      | take down what happens in a call, and notice what goes wrong          |
| recorder, backlog             | write that, and keep what waits for the disk within its bounds        |
| folder, believed_time         | keep the files within their bounds, and not too long                  |
| recorded_call, sides          | read a call, and place its two sides on one time line                 |
| summary, verdict              | say what the call was like, to machines and to people                 |
| event_log, stereo             | make text and sound of it                                             |
"""
