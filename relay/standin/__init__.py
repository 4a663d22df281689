"""The stand-ins play everybody whom the relay talks to: Vapi's assistant, Twilio's telephone, a browser, a bad network.

They encode and parse their own side of each protocol, and share no code with `relay.wire`, so that one mistake
cannot be made on both sides.
"""
