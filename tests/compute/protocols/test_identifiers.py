"""Join keys are injective, normalised as declared, and refuse what cannot be a key."""

import datetime
import unicodedata

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compute.errors import BadInput
from compute.protocols.identifiers import Normalisation, encode_key, keys_of

KEEP = Normalisation()
parts = st.text(min_size=1, max_size=6).filter(lambda s: s.strip() and "\0" not in s)
RAW = Normalisation(trim=False)


@given(st.lists(parts, min_size=1, max_size=4), st.lists(parts, min_size=1, max_size=4))
def test_encoding_is_injective(one: list[str], other: list[str]) -> None:
    def nfc(texts: list[str]) -> list[str]:
        return [unicodedata.normalize("NFC", text) for text in texts]

    same = nfc(one) == nfc(other)
    assert (encode_key(one, RAW) == encode_key(other, RAW)) is same


def test_parts_do_not_run_together() -> None:
    assert encode_key(["ab", "c"], KEEP) != encode_key(["a", "bc"], KEEP)


def test_unicode_forms_meet_and_case_folds_only_if_asked() -> None:
    assert encode_key(["é"], KEEP) == encode_key(["e\u0301"], KEEP)
    assert encode_key(["Straße"], KEEP) != encode_key(["STRASSE"], KEEP)
    fold = Normalisation(case="fold")
    assert encode_key(["Straße"], fold) == encode_key(["STRASSE"], fold)
    assert encode_key([" 张伟 "], KEEP) == encode_key(["张伟"], KEEP)
    assert encode_key([" a"], RAW) != encode_key(["a"], RAW)


def test_keys_meet_across_column_types() -> None:
    for values in ([7], pa.array([7], type=pa.int16()), ["7"]):
        keys = keys_of(pa.table({"id": values}), ["id"], KEEP)
        assert keys.encoded == (encode_key(["7"], KEEP),)
    day = datetime.date(2026, 1, 2)
    assert keys_of(pa.table({"id": [day]}), ["id"], KEEP).encoded == (encode_key(["2026-01-02"], KEEP),)
    assert keys_of(pa.table({"id": [True]}), ["id"], KEEP).encoded == (encode_key(["true"], KEEP),)


def test_repeats_nulls_and_empty_texts_are_counted() -> None:
    table = pa.table({"id": ["a", "b", "a", None, "  ", "a "], "part": [1, 1, 1, 1, 1, 1]})
    keys = keys_of(table, ["id", "part"], KEEP)
    assert len(keys) == 2
    assert keys.rows == ((0, 2, 5), (1,))
    assert (keys.repeated, keys.without_key) == (2, 2)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (["ok", "a\0b"], "NUL"),
        (["ok", "x" * 100_000], "longer"),
        ([1.0, 2.0], "a key is text"),
        ([["a"], ["b"]], "a key is text"),
    ],
)
def test_what_cannot_be_a_key_names_the_column(values: list[object], reason: str) -> None:
    with pytest.raises(BadInput, match=reason) as caught:
        keys_of(pa.table({"id": values}), ["id"], KEEP)
    assert "'id'" in str(caught.value)


def test_unknown_column_and_empty_keyword_are_refused() -> None:
    with pytest.raises(BadInput, match="no column 'pid'"):
        keys_of(pa.table({"id": ["a"]}), ["pid"], KEEP)
    for texts in ([], [""], ["a", "  "]):
        with pytest.raises(BadInput, match="empty"):
            encode_key(texts, KEEP)
    with pytest.raises(BadInput, match="Unicode"):
        encode_key(["\ud800"], KEEP)
