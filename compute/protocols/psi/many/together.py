"""Several parts of one role, each with a peer of its own, going forward side by side."""

from __future__ import annotations

from collections.abc import Sequence

from compute.protocols.protocol import P, Part, Receive, Reply


def together(parts: Sequence[Part[P]]) -> Part[list[P]]:
    """Run the parts in turns, each up to its next `Receive`; returns what they return, in their order.

    All have sent what they can before one waits, so every peer has work, and none waits for another peer to
    finish. Each part may only talk to a peer that no other part talks to.
    """
    results: dict[int, P] = {}
    waiting: dict[int, Receive] = {}

    def advance(index: int, reply: Reply) -> Part[None]:
        while True:
            try:
                effect = parts[index].send(reply)
            except StopIteration as stop:
                results[index] = stop.value
                return
            if isinstance(effect, Receive):
                waiting[index] = effect
                return
            reply = yield effect

    for index in range(len(parts)):
        yield from advance(index, None)
    while waiting:
        for index in sorted(waiting):
            reply = yield waiting.pop(index)
            yield from advance(index, reply)
    return [results[index] for index in range(len(parts))]
