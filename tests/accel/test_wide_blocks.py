import os
import subprocess
import sys
from pathlib import Path

import pytest

from accel import features


@pytest.mark.skipif(features.lacks("aes", "pclmul", "avx2") is not None, reason="needs AES and PCLMULQDQ")
def test_kernels_on_four_blocks_a_vector_agree_with_the_portable_path(tmp_path):
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(root)}
    run = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("wide_blocks.py"))],
        env=environment,
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout == "equal\n"
