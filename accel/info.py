"""`python -m accel.info`: what this machine offers, and the self-test of every facade."""

from __future__ import annotations

import importlib
import platform
import sys
from time import perf_counter

from accel import selftest
from accel.errors import AccelError
from accel.registry import Op

FACADES = ("curve25519", "paillier", "sm2", "sm3", "sm4", "lwe")


def operations() -> list[Op[..., object]]:
    """Every operation with a choice of backends, by name."""
    found: dict[str, Op[..., object]] = {}
    for module in (*FACADES, "paillier_backends"):
        for value in vars(importlib.import_module(f"accel.{module}")).values():
            if isinstance(value, Op):
                found[value.name] = value
    return [found[name] for name in sorted(found)]


def main() -> int:
    print(f"Python {platform.python_version()} on {platform.machine()}, {platform.system()}")
    for op in operations():
        print(f"{op.name:28} {', '.join(op.available())}")
    failed = 0
    for facade in FACADES:
        start = perf_counter()
        try:
            selftest.ensure(facade)
            outcome = f"passed in {1000 * (perf_counter() - start):.1f} ms"
        except AccelError as error:
            failed += 1
            outcome = f"FAILED: {error}"
        print(f"self-test {facade:18} {outcome}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
