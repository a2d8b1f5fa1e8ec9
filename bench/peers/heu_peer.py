"""Rates of sf-heu on one core: ``heu_peer.py SECONDS BATCH`` prints {scheme: {operation: 1/s}} as JSON.

Needs nothing but sf-heu and numpy. Its worker pool takes one thread because the process is bound to one core.
"""

import json
import os
import statistics
import sys
import time

os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

import numpy as np  # noqa: E402 - the libraries count cores when they load
from heu import numpy as hnp  # noqa: E402
from heu import phe  # noqa: E402

SECONDS, BATCH = float(sys.argv[1]), int(sys.argv[2])
MODULUS_BITS = 2048


def rate(work):
    """The same clock and statistic as ours: the median after one warm-up."""
    work()
    rates = []
    end = time.perf_counter() + SECONDS
    while time.perf_counter() < end or len(rates) < 3:
        start = time.perf_counter()
        work()
        rates.append(BATCH / (time.perf_counter() - start))
    return statistics.median(rates)


def measured(scheme):
    kit = hnp.setup(getattr(phe.SchemaType, scheme), MODULUS_BITS)
    encryptor, decryptor, evaluator = kit.encryptor(), kit.decryptor(), kit.evaluator()
    rng = np.random.default_rng(1)
    numbers = kit.array(rng.integers(0, 1 << 40, BATCH))
    factors = kit.array(rng.integers(1 << 62, (1 << 63) - 1, BATCH))
    sealed = encryptor.encrypt(numbers)
    return {
        "encrypt": rate(lambda: encryptor.encrypt(numbers)),
        "decrypt": rate(lambda: decryptor.decrypt(sealed)),
        "add": rate(lambda: evaluator.add(sealed, sealed)),
        "multiply by 64-bit": rate(lambda: evaluator.mul(sealed, factors)),
    }


print(json.dumps({scheme: measured(scheme) for scheme in ("ZPaillier", "IPCL", "OU")}))
