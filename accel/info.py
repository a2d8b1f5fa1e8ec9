"""`python -m accel.info`: what this machine offers, what runs where, and the self-test of every backend."""

from __future__ import annotations

import platform
import sys
from time import perf_counter

from accel import features, selftest, thresholds
from accel.cpu import threads
from accel.errors import AccelError
from accel.registry import Op, operations

_SHOWN = (
    *("avx2", "avx512f", "avx512ifma", "avx512vnni", "avx512vbmi"),
    *("gfni", "vaes", "vpclmulqdq", "aes", "pclmul", "sha"),
)


def main() -> int:
    print(f"Python {platform.python_version()} on {platform.machine()}, {platform.system()}")
    here = [name for name in _SHOWN if name in features.processor()]
    print(f"processor       {', '.join(here) or 'no vector instructions known'}")
    print(
        f"CPU level       {features.level()} (of {', '.join(features.LEVELS)}; {features.SWITCH} forces one)"
    )
    print(f"threads         {threads.count()} ({threads.SWITCH} sets another number)")
    print(f"GPU             {_gpu()}")
    source = thresholds.path()
    kept = (
        f"measured, in {source}"
        if thresholds.measured()
        else "as shipped (python -m accel.bench --calibrate)"
    )
    print(f"thresholds      {kept}\n")
    failed = sum([not _tested(op) for op in operations()])
    for facade in selftest.facades():
        start = perf_counter()
        try:
            selftest.ensure(facade)
        except AccelError as error:
            failed += 1
            print(f"self-test {facade:22} FAILED: {error}")
        else:
            print(f"self-test {facade:22} passed in {1000 * (perf_counter() - start):.1f} ms")
    return 1 if failed else 0


def _tested(op: Op[..., object]) -> bool:
    """Print one line for an operation after asking every backend for its known answer."""
    shown = []
    passed = True
    for name in op.available():
        start = perf_counter()
        try:
            op.select(name, batch=1)
        except AccelError as error:
            passed = False
            shown.append(f"{name} FAILED: {error}")
        else:
            shown.append(f"{name} ({1000 * (perf_counter() - start):.0f} ms)")
    print(f"{op.name:32} {', '.join(shown) or 'not on this machine'}")
    return passed


def _gpu() -> str:
    missing = features.gpu_missing()
    if missing is not None:
        return f"none: {missing}"
    import cupy

    found = cupy.cuda.runtime.getDeviceProperties(0)
    return f"{found['name'].decode()}, {found['totalGlobalMem'] / 2**30:.0f} GiB"


if __name__ == "__main__":
    sys.exit(main())
