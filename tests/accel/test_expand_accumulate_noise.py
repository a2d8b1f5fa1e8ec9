"""Regular noise that is compressed without being written out gives what the written noise gives."""

import numpy as np
import pytest

from accel import expand_accumulate
from accel.errors import BadParameter

SEED = bytes(range(16))


def regular(trees: int, block: int, words: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(trees * block + words)
    points = random.integers(0, block, trees)
    points[0], points[-1] = 0, block - 1
    noise = random.integers(0, 1 << 64, (trees, words), dtype=np.uint64)
    written = np.zeros((trees * block, words), np.uint64)
    written[points + np.arange(trees) * block] = noise
    return points, noise, written


@pytest.mark.parametrize("backend", expand_accumulate.COMPRESS_NOISE.available())
@pytest.mark.parametrize("words", [1, 2])
@pytest.mark.parametrize(("trees", "block", "outputs"), [(1, 1, 3), (2, 7, 0), (9, 8, 14), (848, 13, 301)])
def test_noise_gives_what_the_written_vector_gives(
    trees: int, block: int, outputs: int, words: int, backend: str
) -> None:
    points, noise, written = regular(trees, block, words)
    wanted = expand_accumulate.compress(
        written if words == 2 else written.reshape(-1), outputs, SEED, backend="reference"
    )
    found = expand_accumulate.compress_noise(points, noise, block, outputs, SEED, backend=backend)
    assert np.array_equal(found, wanted.reshape(outputs, words))


def test_bad_noise_is_refused() -> None:
    points, noise, _ = regular(3, 8, 2)
    with pytest.raises(BadParameter, match="below 8"):
        expand_accumulate.compress_noise(points + 8, noise, 8, 5, SEED)
    with pytest.raises(BadParameter, match="one row"):
        expand_accumulate.compress_noise(points, noise[:2], 8, 5, SEED)
    with pytest.raises(BadParameter, match="int64"):
        expand_accumulate.compress_noise(points.astype(np.uint64), noise, 8, 5, SEED)
    with pytest.raises(BadParameter, match="seed"):
        expand_accumulate.compress_noise(points, noise, 8, 5, b"short")
