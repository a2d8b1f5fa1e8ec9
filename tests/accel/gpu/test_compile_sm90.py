"""What the kernels cost on sm_90: nothing may spill, registers and multiply-adds have budgets."""

from __future__ import annotations

from tests.accel.gpu import sm90


def test_a_wide_multiply_add_counts_once() -> None:
    usage = sm90.usage("platform_test.cuh")
    # Both multiply by the width of a block to find the index.
    assert usage["square_all"].wide == 1
    assert usage["chain"].wide == 2 + 1
    assert usage["reverse_blocks"].shared == 512
    assert all(u.spilled == 0 for u in usage.values())


def test_kernels_between_moduli_and_of_the_peak_do_not_spill() -> None:
    for source, defines in (("wide.cuh", {"BLOCK_LIMBS": 32, "BLOCKS": 2}), ("peak.cuh", {})):
        usage = sm90.usage(source, **defines)
        assert all(u.spilled == 0 for u in usage.values()), source
    assert sm90.usage("peak.cuh")["carry_peak"].registers <= 128
