"""Cost of a federated logistic regression; see `compute.protocols.cost`."""

from __future__ import annotations

from compute.protocols.cost import Cost, message_bytes
from compute.protocols.fl.logistic.masking import WORD_BYTES, MaskKey
from compute.protocols.fl.logistic.model import sums_length
from compute.protocols.fl.logistic.protocol import COORDINATOR, Masked, Model, Scaling


def cost(parties: int, features: int, rounds: int) -> Cost:
    """Independent of the number of rows; ``rounds`` is known only afterwards (5 to 12 are usual)."""

    def masked(number: int, length: int) -> int:
        return message_bytes(Masked(number, bytes(length * WORD_BYTES)))

    each = (
        (parties - 1) * message_bytes(MaskKey(bytes(32)))
        + masked(0, features + 2)
        + masked(1, features)
        + rounds * masked(2, sums_length(features))
    )
    vector = (0.5,) * features
    models = sum(message_bytes(Model(number, (0.5, *vector), False)) for number in range(rounds + 1))
    sent = {f"p{number}": each for number in range(1, parties + 1)}
    sent[COORDINATOR] = parties * (2 * message_bytes(Scaling(vector, vector)) + models)
    words = 2 * features + 2 + rounds * sums_length(features)
    return Cost(sent, {"mask_words": parties * (parties - 1) * words, "linear_solves": rounds})
