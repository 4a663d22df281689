"""The simulated caller: Twilio's webhooks, TwiML and Media Streams, as strict as they are known to be."""
