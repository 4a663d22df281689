"""Vapi and Twilio as the relay meets them: a built-in assistant and a simulated caller.

They encode and parse their own side of each protocol, and share no code with `relay.wire`, so that one mistake
cannot be made on both sides.
"""
