"""The flight recorder: what happened in a call, in one file, and what can be read from it.

| part                          | what it does                                                          |
|-------------------------------|-----------------------------------------------------------------------|
| entries, file_format          | what is recorded, and the bytes of a file                             |
| keys, seal                    | encrypt a file, where there is a key                                  |
| call_recording, troubles      | take down what happens in a call, and notice what goes wrong          |
| recorder, backlog             | write that, and keep what waits for the disk within its bounds        |
| after_end                     | add to a recording what comes when its call is over                   |
| folder, believed_time         | keep the files within their bounds, and not too long                  |
| recorded_call, sides          | read a call, and place its two sides on one time line                 |
| latency, summary, verdict     | say what the call was like, to machines and to people                 |
| event_log, stereo             | make text and sound of it                                             |
| timeline                      | has everything that a picture of the call shows                       |
| page, page_sound, web/        | make a page of that, with its sound; web/ is its script and its style |
| picture, trace                | make an image of it, and a trace for Perfetto                         |
"""
