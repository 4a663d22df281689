"""A whole call on the virtual clock."""

import trio
from trio.testing import MockClock

from tests.support.callrig import SILENCE, TONE, Rig, with_rig


async def test_interruption_silences_the_assistant_at_once(autojump_clock: MockClock) -> None:
    async def talk(rig: Rig) -> None:
        call = rig.ring()
        assistant = await rig.assistant()
        phone = await rig.attach(call)
        assistant.say(TONE * 400)
        await trio.sleep(2)
        phone.say(TONE * 25)
        await trio.sleep(1)
        assistant.stop()
        await trio.sleep(2)
        phone.heard()
        print(phone.player.clears, phone.player.warnings, len(phone.player.log), phone.player.underruns)
        print(phone.player.audible_ms, len(assistant.heard), assistant.told)
        phone.send({"event": "stop", "stop": {"accountSid": "AC1", "callSid": "CA1"}})
        await rig.until_over()
        print(assistant.told)

    await with_rig(talk)
