"""The simulated caller plays Twilio's webhooks, TwiML and Media Streams, as strictly as they are known."""

from relay.standin.phone.dial import Cue, mulaw_of_wav, open_phone, place_call
from relay.standin.phone.phone import Phone, PhoneEvent, PhoneOptions
from relay.standin.phone.result import PhoneResult

__all__ = [
    "Cue",
    "Phone",
    "PhoneEvent",
    "PhoneOptions",
    "PhoneResult",
    "mulaw_of_wav",
    "open_phone",
    "place_call",
]
