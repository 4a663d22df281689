"""The messages of every protocol, decoded into events and written as text or bytes. No I/O."""
