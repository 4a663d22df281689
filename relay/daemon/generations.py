"""Lets one configuration after the other hold, each in the place of the one before, while calls run.

| what                             | has, once a new generation holds                                 |
|----------------------------------|------------------------------------------------------------------|
| a call or a session that begins  | the new generation, to its end                                   |
| a call or a session that lives   | the one that it began with, the key to its assistant included    |
| a request that is being answered | the old or the new value of each key, by when the key is needed  |
| what limits hold or count        | its place and its count, under the new bounds                    |
| an assistant with the same keys  | the connections to it, and what is known of its failures         |
| a token that was issued          | the time that it was given                                       |
| the log                          | the new level; it hides the secrets of every generation          |
| a key of READ_AT_START           | the value of the start, until the daemon starts again            |
"""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial

import trio

from relay.call.assistant.dialer import VapiDialer
from relay.call.assistant.watched_dialer import WatchedDialer, WatchedDialers
from relay.call.caller.classifier import Classifier, load_classifier
from relay.config import AssistantConfig, Config
from relay.config_changes import ConfigChange, compare
from relay.daemon.apology import load_apology
from relay.daemon.endpoint_context import EndpointContext
from relay.media.frames import Audio
from relay.metrics import Metrics
from relay.net.rest import open_rest_client
from relay.record.recorder import Recorder
from relay.redaction import Redactor


class DialerSet:
    """Makes the dialers of each generation. One that was made for the same keys is used again.

    Their connections stay open as long as `stack`: a call may need the dialer of a generation that has passed.
    """

    def __init__(self, redactor: Redactor, stack: AsyncExitStack) -> None:
        self._redactor = redactor
        self._stack = stack
        self._made: dict[object, WatchedDialer] = {}

    async def of(self, config: Config) -> list[WatchedDialer]:
        """The dialers of the assistants of `config`, in their order."""
        return [await self._one(assistant, config) for assistant in config.assistants]

    async def _one(self, assistant: AssistantConfig, config: Config) -> WatchedDialer:
        key = config.secrets.vapi_api_keys[assistant.name]
        made_from = (assistant, key, config.session, config.barge_in.protect_first_message)
        if made_from not in self._made:
            rest = await self._stack.enter_async_context(open_rest_client(assistant.request_timeout_s))
            self._made[made_from] = WatchedDialer(VapiDialer(assistant, config, rest), self._redactor)
        return self._made[made_from]


class Generations:
    """One for the daemon. The first generation is the one that everything in `context` was made with."""

    def __init__(self, context: EndpointContext, dialers: DialerSet, recorder: Recorder, redactor: Redactor) -> None:
        self._context = context
        self._dialers = dialers
        self._recorder = recorder
        self._redactor = redactor

    @property
    def config(self) -> Config:
        """What holds now."""
        return self._context.config

    @property
    def number(self) -> int:
        """Of the generation that holds now."""
        return self._context.generation

    async def renew(self, config: Config) -> ConfigChange:
        """Let `config` hold from now on, but for what needs a restart. Not to be called while it runs.

        Raises ConfigError when a file that it names cannot be used. Then, and when it is cancelled, nothing changes.
        """
        change = compare(self.config, config)
        load_files = partial(_load_files, change.config, self._context.metrics)
        classifier, apology = await trio.to_thread.run_sync(load_files, abandon_on_cancel=True)
        dialers = await self._dialers.of(change.config)
        self._go_over(change.config, dialers, classifier, apology)
        return change

    def _go_over(
        self, config: Config, dialers: Sequence[WatchedDialer], classifier: Classifier | None, apology: Audio
    ) -> None:
        context = self._context
        for value in config.secrets.values():
            if not self._redactor.knows(value):
                self._redactor.add(value)
        context.generation += 1
        context.config, context.dialer = config, WatchedDialers(dialers)
        self._recorder.renew(config, context.generation)
        services = replace(
            context.calls.services,
            config=config,
            classifier=classifier,
            apology=apology,
            recorder=self._recorder if config.record.mode != "off" else None,
            generation=context.generation,
        )
        context.calls.renew(services, dialers)
        context.sessions.renew(config)
        context.gate.renew(config)
        context.limits.renew(config)


def _load_files(config: Config, metrics: Metrics) -> tuple[Classifier | None, Audio]:
    return load_classifier(config.barge_in, metrics), load_apology(config.reconnect)
