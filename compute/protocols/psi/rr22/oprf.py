"""The oblivious pseudorandom function of Raghuraman and Rindal (CCS 2022), bucket by bucket.

    sender → receiver   base transfers, [commitment to w_s]
    receiver → sender   base transfers, trees of the key, corrections, flips, seed of the code
    [sender → receiver  challenge;   receiver → sender  fingerprint]
    sender → receiver   masked sums of the noise trees, corrections
    [receiver → sender  point and masked combination;   sender → receiver  digest]
    receiver → sender   seed of the table, [w_r], A = a ⊕ P with P an OKVS of x ↦ H_B(x)
    [sender → receiver  w_s]

    F(y) = H_o(Decode(b ⊕ Δ·A, y) ⊕ Δ·H_B(y) [⊕ w_s ⊕ w_r], y)
         = H_o(Decode(c, x) [⊕ w_s ⊕ w_r], x)   where y = x

What stands in brackets is of the malicious mode alone. Source: Raghuraman, Rindal, "Blazing Fast PSI from
Improved OKVS and Subfield VOLE", CCS 2022 (eprint 2022/320); the malicious variant from Rindal, Schoppmann,
"VOLE-PSI", EUROCRYPT 2021, figure 4. README says what each mode guarantees.

Every bucket has a key, noise and a table of its own. The steps of all buckets of a list go side by side.
"""

from __future__ import annotations

from collections.abc import Sequence

from compute.errors import BadInput
from compute.protocols.protocol import Part, Session
from compute.protocols.psi.oprf import Items
from compute.protocols.psi.rr22.bucket import buckets_of
from compute.protocols.psi.rr22.parameters import LOW_COMMUNICATION, MALICIOUS, STANDARD
from compute.protocols.psi.rr22.receiver import run_receiver
from compute.protocols.psi.rr22.sender import run_sender


class Rr22:
    """An `Oprf` from OKVS and silent VOLE; see the module."""

    def __init__(self, *, malicious: bool = False, low_communication: bool = False) -> None:
        """``malicious``: secure against peers that deviate. ``low_communication``: tables of half the size.

        Raises BadInput for both at once: values of 64 bits do not bind a peer that deviates.
        """
        if malicious and low_communication:
            raise BadInput("rr22 has a malicious-secure or a low-communication mode, not both at once")
        self.mode = MALICIOUS if malicious else LOW_COMMUNICATION if low_communication else STANDARD
        self.name = self.mode.name

    def send(
        self,
        session: Session,
        peer: str,
        buckets: Sequence[Items],
        peer_counts: Sequence[int],
        instance: bytes,
    ) -> Part[list[Items]]:
        """See `Oprf.send`. Raises BadInput for more items than the mode is sound for."""
        listed = buckets_of(self.mode, session, buckets, peer_counts, instance, as_sender=True)
        return (yield from run_sender(session, peer, self.mode, listed))

    def receive(
        self,
        session: Session,
        peer: str,
        buckets: Sequence[Items],
        peer_counts: Sequence[int],
        instance: bytes,
    ) -> Part[list[Items]]:
        """See `Oprf.receive`. Raises BadInput for more items than the mode is sound for."""
        listed = buckets_of(self.mode, session, buckets, peer_counts, instance, as_sender=False)
        return (yield from run_receiver(session, peer, self.mode, listed))
