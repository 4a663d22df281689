"""The account's other program uses a live call for a moment: then the caller goes on with the assistant."""

import trio

from relay.media.frames import TELEPHONE
from relay.standin.assistant import open_assistant
from relay.standin.phone import PhoneOptions, open_phone
from relay.standin.phrases import spoken
from tests.support.daemons import AUTH_TOKEN, PUBLIC, VAPI_KEY, running_daemon, settings

OPTIONS = PhoneOptions(auth_token=AUTH_TOKEN, public_url=PUBLIC)


async def test_the_caller_goes_on_with_the_conversation_and_a_hang_up_is_still_one() -> None:
    async with open_assistant(key=VAPI_KEY) as assistant, running_daemon(settings(assistant.base_url)) as daemon:
        async with open_phone(daemon.url, OPTIONS) as phone:
            assert await phone.wait_heard(1000)
            phone.leave_stream()
            second = await assistant.wait_call(2)
            with trio.fail_after(20):
                while second.conversation is None or not second.conversation.context:  # noqa: ASYNC110
                    await trio.sleep(0.02)
            await phone.say(spoken("request", TELEPHONE))
            assert await phone.wait_heard(1000)
            await phone.hang_up()
            result = phone.result()
        with trio.fail_after(20):
            while len(daemon.events_of("call.ended")) < 2:  # noqa: ASYNC110 - another process
                await trio.sleep(0.02)
        ended, taken_over = daemon.events_of("call.ended"), daemon.events_of("call.taken_over")

    assert (result.end, result.streams, result.warnings) == ("caller_hangup", 2, [])
    assert [line["reason"] for line in ended] == ["caller_hangup", "caller_hangup"]
    assert [line["call_id"] for line in taken_over] == [ended[0]["call_id"]] == [ended[1]["call_id"]]
    assert second.order.overrides["firstMessageMode"] == "assistant-waits-for-user"
