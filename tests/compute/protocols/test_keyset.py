"""Keys at array speed are the keys of the plain specification, row by row and count by count."""

import datetime
import decimal
import random
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accel import sm3
from compute.errors import BadInput
from compute.protocols import keyset
from compute.protocols.identifiers import Normalisation, keys_of
from compute.protocols.keyset import KeySet, grouped, key_set

PLAIN = Normalisation()
ALPHABET = "aBz Zß\t\u3000\u00a0é\u0301İſ张ﬁ０9-+.@\x1c"


def same(table: pa.Table, columns: list[str], normalisation: Normalisation = PLAIN) -> KeySet:
    """The key set, after it was compared with the specification."""
    expected = keys_of(table, columns, normalisation)
    found = key_set(table, columns, normalisation)
    digests = [sm3.digest(encoded) for encoded in expected.encoded]
    by_digest = dict(zip(digests, expected.rows, strict=True))
    assert [digest.tobytes() for digest in found.digests] == sorted(digests)
    for index, digest in enumerate(sorted(digests)):
        assert tuple(found.rows[found.offsets[index] : found.offsets[index + 1]]) == by_digest[digest]
    assert (found.repeated, found.without_key, found.unfit) == (
        expected.repeated,
        expected.without_key,
        expected.unfit,
    )
    assert found.repeated + found.without_key + found.unfit + len(found) == table.num_rows
    return found


texts = st.lists(st.none() | st.text(ALPHABET, max_size=5) | st.text(max_size=4), max_size=30)


def without_nul(values: list[str | None]) -> list[str | None]:
    return [None if text is None else text.replace("\0", "0") for text in values]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(texts, st.booleans(), st.sampled_from(["keep", "fold"]), st.sampled_from(["nfc", "nfkc"]))
def test_texts_under_every_setting(values: list[str | None], trim: bool, case: Any, form: Any) -> None:
    table = pa.table({"id": pa.array(without_nul(values), pa.string())})
    same(table, ["id"], Normalisation(trim, case, form))


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.none() | st.text("ab ", max_size=2), st.none() | st.integers(-3, 3)), max_size=30)
)
def test_several_columns(rows: list[tuple[str | None, int | None]]) -> None:
    table = pa.table(
        {
            "a": pa.array([row[0] for row in rows], pa.string()),
            "b": pa.array([row[1] for row in rows], pa.int16()),
        }
    )
    same(table, ["a", "b"])
    same(table, ["b", "a"], Normalisation(forms=("integer", "text")))


KINDS = {
    "int8": pa.array([1, -1, None, 7, 1], pa.int8()),
    "uint64": pa.array([2**64 - 1, 0, None, 5, 5], pa.uint64()),
    "bool": pa.array([True, False, None, True, True]),
    "date": pa.array([datetime.date(2026, 1, 2), datetime.date(1, 1, 1), None] + [datetime.date.max] * 2),
    "timestamp": pa.array([1_767_323_045_000_678, None, 5, None, 5], pa.timestamp("us")),
    "zoned": pa.array([1_700_000_000, 5, None, 5, 0], pa.timestamp("s", "Asia/Shanghai")),
    "time": pa.array([datetime.time(1, 2, 3), None] * 2 + [datetime.time()]),
    "decimal": pa.array([decimal.Decimal("1.50"), decimal.Decimal("-0.02"), None, decimal.Decimal(0), None]),
    "dictionary": pa.array(["x", "y ", None, "x", "张"]).dictionary_encode(),
    "numbers": pa.array([5, 6, None, 5, 5]).dictionary_encode(),
    "large_string": pa.array(["x", " x", None, "", "y"], pa.large_string()),
    "string_view": pa.array(["x", " x", None, "", "a text too long to be inline"], pa.string_view()),
    "binary": pa.array([b"x", b"", None, b"\xff", b"x"]),
    "null": pa.nulls(5),
}


@pytest.mark.parametrize("kind", KINDS)
def test_column_types(kind: str) -> None:
    table = pa.table({"id": KINDS[kind]})
    same(table, ["id"])
    same(table.slice(1, 3), ["id"])


FORMS = {
    "digits": ["007", " 0 07", "1-2", "", None, "x1", "１２", "1\u00b2", "7"],
    "integer": ["007", "+7", "-0", "-07", " 7 ", "7.0", "--7", "", None, "0", "00"],
    "phone": [
        "13800138000",
        "+86 138-0013-8000",
        "0086 13800138000",
        "8613800138000",
        "12345678901",
        "010-12345678",
        "(010) 12345678",
        "12345678",
        "+1 415 555 2671",
        "+44 (0)20 7946 0958",
        "",
        None,
        "x",
        "13800138000 ",
    ],
    "cn_id": [
        "11010519491231002X",
        "11010519491231002x",
        "110105491231002",
        "110105194912310021",
        " ",
        None,
        "440524188001010014",
        "110105194902300029",
        "11010519491231002 X",
        "44052418800101001",
        "010105194912310021",
    ],
    "email": [
        "Ann@Example.ORG",
        "ann@example.org",
        "a b@c.d",
        "张@例子.中国",
        "@x.y",
        "x@y",
        "a@b.c.",
        None,
        "",
    ],
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("case", ["keep", "fold"])
def test_forms(form: Any, case: Any) -> None:
    table = pa.table({"id": pa.array(FORMS[form], pa.string())})
    for country in ("86", "39", "1", "44"):
        same(table, ["id"], Normalisation(case=case, forms=(form,), country_code=country))


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.from_regex(r"[ +]?(86|0086|0)?1?[0-9]{10}[ 0]?", fullmatch=True)
        | st.from_regex(r"[1-4][0-9]{5}(18|19|20)[0-9]{2}[01][0-9][0-3][0-9]{4}[0-9Xx]", fullmatch=True)
        | st.text("0123456789 -+xX", max_size=19),
        max_size=12,
    ),
    st.sampled_from(["digits", "integer", "phone", "cn_id", "email"]),
)
def test_any_text_in_any_form(values: list[str], form: Any) -> None:
    same(pa.table({"id": pa.array(values, pa.string())}), ["id"], Normalisation(forms=(form,)))


def test_resident_numbers_with_a_right_check_character_are_keys() -> None:
    weights = [pow(2, 17 - i, 11) for i in range(17)]
    rng = random.Random(4)
    numbers = []
    for _ in range(500):
        day = datetime.date(1900, 1, 1) + datetime.timedelta(rng.randrange(45_000))
        body = f"{rng.randrange(110_000, 660_000)}{day:%Y%m%d}{rng.randrange(1000):03}"
        # ISO 7064 MOD 11-2: weighted sum with the check character is 1 modulo 11.
        total = sum(weight * int(digit) for weight, digit in zip(weights, body, strict=True))
        numbers.append(body + "0123456789X"[(1 - total) % 11])
    found = same(pa.table({"id": numbers}), ["id"], Normalisation(forms=("cn_id",)))
    assert found.unfit == 0
    assert len(found) == len(set(numbers))


def test_many_rows_in_chunks_and_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyset, "BATCH_ROWS", 100)
    rng = random.Random(1)
    values = [rng.choice([None, "", f"k{rng.randrange(400)}", f"é{rng.randrange(40)} "]) for _ in range(1501)]
    chunks = [pa.array(values[at : at + 70], pa.string()) for at in range(0, 1501, 70)]
    table = pa.table({"id": pa.chunked_array(chunks)})
    same(table, ["id"])
    same(table.slice(33, 777), ["id"])


@pytest.mark.parametrize("rows", [0, 1])
def test_small_tables(rows: int) -> None:
    found = same(pa.table({"id": pa.array(["x"] * rows, pa.string())}), ["id"])
    assert len(found) == rows


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (["ok", "a\0b"], "row 1 .* NUL"),
        (["ok", "é\0b"], "row 1 .* NUL"),
        (["ok", "x" * 70_000, "\0"], "row 1 .* longer"),
        ([1.0, 2.0], "a key is text"),
        ([["a"], ["b"]], "a key is text"),
    ],
)
def test_what_cannot_be_a_key_names_row_and_column(values: list[object], reason: str) -> None:
    table = pa.table({"id": values})
    for keys in (keys_of, key_set):
        with pytest.raises(BadInput, match=reason) as caught:
            keys(table, ["id"], PLAIN)
        assert "'id'" in str(caught.value)


def test_bytes_that_are_no_unicode_are_refused() -> None:
    for octets in (b"\xff", "\ud800".encode("utf-8", "surrogatepass")):
        array = pa.Array.from_buffers(
            pa.string(), 1, [None, pa.py_buffer(np.array([0, len(octets)], np.int32)), pa.py_buffer(octets)]
        )
        for keys in (keys_of, key_set):
            with pytest.raises(BadInput, match=r"row 0 .* not valid Unicode"):
                keys(pa.table({"id": array}), ["id"], PLAIN)


def test_rows_that_take_no_part_may_hold_anything() -> None:
    found = same(pa.table({"a": [None, "x", "y"], "b": ["\0", "b", "b"]}), ["a", "b"])
    assert (len(found), found.without_key) == (2, 1)


def test_forms_belong_to_columns() -> None:
    table = pa.table({"a": ["1"], "b": ["2"]})
    for keys in (keys_of, key_set):
        with pytest.raises(BadInput, match="1 forms for 2 key columns"):
            keys(table, ["a", "b"], Normalisation(forms=("digits",)))


def test_digests_that_begin_alike_are_different_keys() -> None:
    digests = np.zeros((6, 32), np.uint8)
    digests[[0, 3], 31] = 9
    digests[[1, 5], 20] = 7
    found = grouped(digests, np.arange(6))
    assert [found.rows[a:b].tolist() for a, b in zip(found.offsets, found.offsets[1:], strict=False)] == [
        [2, 4],
        [0, 3],
        [1, 5],
    ]
    assert found.repeated == 3


def test_rows_of_keys_and_slices() -> None:
    found = key_set(pa.table({"id": ["a", "b", "a", "c", "b", "a"]}), ["id"], PLAIN)
    rows, owners = found.rows_of(np.array([2, 0]))
    for row, owner in zip(rows, owners, strict=True):
        key = [2, 0][owner]
        assert row in found.rows[found.offsets[key] : found.offsets[key + 1]]
    assert len(rows) == sum(found.offsets[key + 1] - found.offsets[key] for key in (2, 0))
    part = found.between(1, 3)
    assert (part.digests == found.digests[1:]).all()
    assert sorted(part.rows.tolist()) == sorted(found.rows[found.offsets[1] :].tolist())
    assert len(found.between(2, 2)) == 0
