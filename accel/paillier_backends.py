"""The three Paillier operations and who runs them. `accel.paillier` and `accel.encrypted` call them.

Integers in, integers out: residues modulo n, ciphertexts modulo n^2. Callers have validated both. Backends
agree on what decrypts, not on the ciphertext: each has its own way to make randomness.
"""

from __future__ import annotations

from collections.abc import Sequence

from accel.cpu import paillier as _cpu
from accel.randomness import Rng
from accel.reference import paillier as _reference
from accel.registry import Op

ENCRYPT: Op[[int, Sequence[int], Rng], list[int]] = Op("paillier.encrypt")
ENCRYPT.backend("reference")(_reference.encrypt)
ENCRYPT.backend("portable", needs="gmpy2")(_cpu.encrypt)

RERANDOMIZE: Op[[int, Sequence[int], Rng], list[int]] = Op("paillier.rerandomize")
RERANDOMIZE.backend("reference")(_reference.rerandomize)
RERANDOMIZE.backend("portable", needs="gmpy2")(_cpu.rerandomize)

DECRYPT: Op[[int, int, Sequence[int]], list[int]] = Op("paillier.decrypt")
DECRYPT.backend("reference")(_reference.decrypt)
DECRYPT.backend("portable", needs="gmpy2")(_cpu.decrypt)
