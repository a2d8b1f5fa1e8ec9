"""Turns an honest role into one that deviates at chosen messages."""

from collections.abc import Callable, Iterable

from compute.protocols.protocol import Message, Reply, Send, Steps

Change = Callable[[int, Message], Iterable[Message]]


def replacing(steps: Steps, change: Change) -> Steps:
    """An honest role whose n-th message goes through ``change(n, message)``."""
    count = 0
    reply: Reply = None
    while True:
        try:
            effect = steps.send(reply)
        except StopIteration as stop:
            return stop.value
        reply = None
        if isinstance(effect, Send):
            for message in change(count, effect.message):
                yield Send(effect.role, message)
            count += 1
        else:
            reply = yield effect
