"""The rules of interruptions, as [barge_in] configures them."""

from relay.config import BargeInConfig
from relay.logic.barge_in import BargeInRules
from relay.logic.fence import FenceRules


def barge_in_rules(config: BargeInConfig) -> BargeInRules:
    """Who decides, as [barge_in] configures it."""
    return BargeInRules(
        enabled=config.enabled,
        policy=config.policy,
        min_words=config.min_words,
        agree_s=config.agree_ms / 1000,
        debounce_s=config.debounce_ms / 1000,
    )


def fence_rules(config: BargeInConfig) -> FenceRules:
    """What an interrupted assistant does, as [barge_in] configures it."""
    return FenceRules(
        old_turn_s=config.old_turn_ms / 1000,
        false_alarm_s=config.false_alarm_ms / 1000,
        new_turn_pause_s=config.pause_ms / 1000,
    )
