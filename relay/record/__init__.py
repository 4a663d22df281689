"""The flight recorder: what happened in a call, in one file, and what can be read from it.

| part        | what it does                                                                       |
|-------------|------------------------------------------------------------------------------------|
| entries     | what is recorded, as values                                                        |
| file_format | makes the bytes of a file from them, and the other way round                       |
"""
