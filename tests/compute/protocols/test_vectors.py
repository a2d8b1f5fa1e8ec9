"""Recorded vectors replay: a change of any message, hash or mask shows here first."""

import json
import math
import statistics

import pytest

from tests.compute.protocols import vectors

FILES = vectors.files()


def approximately(found: object, expected: object) -> bool:
    if isinstance(expected, dict):
        assert isinstance(found, dict)
        assert set(found) == set(expected)
        return all(approximately(found[name], expected[name]) for name in expected)
    if isinstance(expected, float):
        assert isinstance(found, float)
        return math.isclose(found, expected, rel_tol=1e-9, abs_tol=1e-12)
    return found == expected


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(vectors.ROOT)))
def test_a_vector_replays(path: object) -> None:
    expected = json.loads(path.read_text(encoding="utf-8"))
    found = json.loads(json.dumps(FILES[path]))
    result, wanted = found.pop("result", None), expected.pop("result", None)
    assert found == expected
    assert approximately(result, wanted)


def test_the_statistics_vectors_are_plain_statistics() -> None:
    result = FILES[vectors.ROOT / "stats/vertical/vectors/basic.json"]["result"]
    values = [1.5, -2.5, 4.0]
    assert result == {
        "groups": {
            "x": {"count": 3, "sum": 3.0, "mean": 1.0, "variance": statistics.variance(values)},
        },
        "suppressed": 1,
    }
    result = FILES[vectors.ROOT / "stats/horizontal/vectors/basic.json"]["result"]
    assert result["groups"]["all"] == {"count": 5, "sum": 18.0, "mean": 3.6, "variance": 7.3}


def test_the_masks_of_a_pair_cancel() -> None:
    document = FILES[vectors.ROOT / "fl/logistic/vectors/masks.json"]
    one, other = (bytes.fromhex(document[role]) for role in ("p1", "p2"))
    for index, value in enumerate(document["vector"]):
        total = sum(int.from_bytes(words[32 * index : 32 * index + 32], "little") for words in (one, other))
        assert total % (1 << 256) == (2 * value) % (1 << 256)
