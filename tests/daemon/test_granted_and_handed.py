"""What the built-in assistant grants, is told and hands over, as a real daemon and a real caller meet it."""

import trio

from relay.media.frames import TELEPHONE, AudioFormat, Encoding
from relay.standin.assistant import Behaviour, open_assistant
from relay.standin.assistant.acts import Act
from relay.standin.phone import PhoneOptions, open_phone
from relay.standin.phrases import spoken
from tests.support.daemons import AUTH_TOKEN, PUBLIC, VAPI_KEY, running_daemon, settings

OPTIONS = PhoneOptions(auth_token=AUTH_TOKEN, public_url=PUBLIC)
GRANTED = AudioFormat(Encoding.PCM_S16LE, 24000)


async def test_the_second_call_is_with_the_assistant_on_the_line_knows_the_caller_and_has_the_granted_format() -> None:
    behaviour = Behaviour(granted_format=GRANTED, acts=(Act("handoff", "billing"),), in_progress_ms=0, first_audio_ms=0)
    text = f"{settings('BASE')}[twilio]\npass_caller_number = true\n"
    async with (
        open_assistant(key=VAPI_KEY, behaviour=behaviour) as assistant,
        running_daemon(text.replace("BASE", assistant.base_url)) as daemon,
        open_phone(daemon.url, OPTIONS) as phone,
    ):
        assert await phone.wait_heard(500)
        await phone.say(spoken("request", TELEPHONE))
        first = await assistant.wait_call(1)
        with trio.fail_after(20):
            while not daemon.events_of("assistant.handed_off"):  # noqa: ASYNC110 - another process
                await trio.sleep(0.05)
        first.drop()
        second = await assistant.wait_call(2)
        with trio.fail_after(20):
            while not second.received.arrivals:  # noqa: ASYNC110 - the stand-in has no event for this
                await trio.sleep(0.05)
        await phone.hang_up()
        (handed,), adopted = daemon.events_of("assistant.handed_off"), daemon.events_of("assistant.format_adopted")

    assert handed["to"] == "billing"
    assert [line["granted"] for line in adopted] == [str(GRANTED)] * 2
    assert [call.order.assistant_id for call in (first, second)] == ["assistant-id", "billing"]
    for call in (first, second):
        assert call.order.overrides["variableValues"] == {"callerNumber": OPTIONS.from_number}
        assert {n_bytes for _, n_bytes in call.received.arrivals} == {GRANTED.frame_bytes}
