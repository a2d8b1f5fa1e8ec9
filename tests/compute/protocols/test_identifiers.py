"""Join keys are injective, normalised as declared, and refuse what cannot be a key."""

import datetime
import unicodedata
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accel import sm3
from compute.errors import BadInput
from compute.protocols.identifiers import Normalisation, encode_key, keys_of
from compute.protocols.keyset import key_set

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


SPELLINGS = {
    ("digits", "86"): {"00-1 2.3": "00123", "１２": "12", "1a": None, "-": None},
    ("integer", "86"): {"+0012": "12", "-0": "0", "-5": "-5", "1.0": None, "1 2": None},
    ("phone", "86"): {
        "138 0013 8000": "+8613800138000",
        "（010）1234-5678": "+861012345678",
        "0755-1234567": "+867551234567",
        "+86 (0)21 12345678": "+862112345678",
        "008613800138000": "+8613800138000",
        "8613800138000": "+8613800138000",
        "+1 (415) 555-2671": "+14155552671",
        "12345678": None,  # a local number: of which area?
        "12800138000": None,  # no mobile prefix
        "+86 138": None,
        "13800138000 ext 5": None,
        "+0": None,
        "+": None,
    },
    ("phone", "44"): {"020 7946 0958": "+442079460958", "+86 13800138000": "+8613800138000"},
    ("phone", "39"): {"06 1234567": "+39061234567"},  # Italy keeps its 0
    ("phone", "1"): {
        "(415) 555-2671": "+14155552671",
        "1 415 555 2671": "+14155552671",
        "1-415-555-2671": "+14155552671",
        "415.555.2671": "+14155552671",
        "+1 (0) 415 555 2671": "+14155552671",
        "011 44 20 7946 0958": "+442079460958",
        "011 1 415 555 2671": "+14155552671",
        "0044 20 7946 0958": "+442079460958",
        "555-2671": None,  # of which area?
        "0415 555 2671": None,  # 0 is no prefix in North America
        "115 555 2671": None,  # no area code begins with 1,
        "415 155 2671": None,  # nor does an exchange
        "911 555 2671": None,  # a service
        "2 415 555 2671": None,
        "415 555 2671 x5": None,
    },
    ("cn_id", "86"): {
        "11010519491231002x": "11010519491231002X",  # the example of GB 11643-1999
        "110105491231002": "11010519491231002X",  # the same person's old number
        "11010519491231002 X": "11010519491231002X",
        "110105194912310021": None,  # wrong check character
        "110105194902300020": None,  # no such day
        "110105491231996": None,  # a centenarian of the old form: born in which century?
        "1101051949": None,
    },
    ("email", "86"): {
        "Ann@EXAMPLE.org.": "Ann@example.org",
        "ann@例子.中国": "ann@xn--fsqu00a.xn--fiqs8s",
        "a@b@c.org": None,
        '"a b"@c.org': None,
        "ann@localhost": None,
        f"{'a' * 64}@x.org": f"{'a' * 64}@x.org",
        f"{'a' * 65}@x.org": None,  # RFC 5321: 64 octets before the @
        f"{'é' * 32}@x.org": f"{'é' * 32}@x.org",
        f"{'é' * 33}@x.org": None,
        f"a@{'.'.join(['b' * 63] * 3)}.{'c' * 61}": f"a@{'.'.join(['b' * 63] * 3)}.{'c' * 61}",
        f"a@{'.'.join(['b' * 63] * 3)}.{'c' * 62}": None,
        f"a@{'中.' * 100_000}com": None,
        "ann@-x.org": None,
        # Two registries would have them as two domains (IDNA 2008), older software as one.
        "ann@fa\u00df.de": None,
        "ann@\u03bc\u03b9\u03ba\u03c1\u03cc\u03c2.gr": None,
        "ann@a\u200db.de": None,
    },
}


@pytest.mark.parametrize(("form", "country"), SPELLINGS)
def test_one_spelling_per_form(form: str, country: str) -> None:
    normalisation = Normalisation(forms=(form,), country_code=country)
    for text, expected in SPELLINGS[form, country].items():
        assert normalisation.part(text, form) == expected, text
        if expected is None:
            with pytest.raises(BadInput, match=f"does not fit the form {form}"):
                encode_key([text], normalisation)
        else:
            assert normalisation.part(expected, form) == expected, "a spelling is its own"


@pytest.mark.parametrize("form", ["text", "digits", "integer", "phone", "cn_id", "email"])
def test_a_row_of_marks_fits_no_form(form: str) -> None:
    """Python sorts such a row in quadratic time: of this one it would take half an hour."""
    normalisation = Normalisation(forms=(form,))
    hostile = "a" + "\u0300\u0316" * 500_000
    assert normalisation.part(hostile, form) is None
    table = pa.table({"id": [hostile, "中" * 40 + "e\u0301"]})
    made = key_set(table, ["id"], normalisation)
    assert made.unfit == (1 if form == "text" else 2)


def test_letters_with_many_marks_are_texts() -> None:
    vietnamese = "e\u0302\u0301" * 40
    assert Normalisation().part(vietnamese, "text") == "\u1ebf" * 40
    assert Normalisation().part("a" + "\u0300" * 30, "text") is not None
    assert Normalisation().part("a" + "\u0300" * 31, "text") is None


def test_email_folds_its_first_part_only_if_asked() -> None:
    assert Normalisation(case="fold").part("Ann@X.org", "email") == "ann@x.org"


def test_email_folded_anew_has_one_spelling() -> None:
    fold = Normalisation(case="fold")
    one, other = "\u0390@x.org", "\u03aa\u0301@x.org"  # the same letter, small and capital
    assert fold.part(one, "email") == fold.part(other, "email")


@pytest.mark.parametrize(
    ("form", "text", "expected"),
    [("digits", "\x0c12\r\n", "12"), ("cn_id", "\n11010519491231002x\x1f", "11010519491231002X")],
)
def test_white_space_around_a_form_is_dropped_by_tables_and_keywords_alike(
    form: Any, text: str, expected: str
) -> None:
    normalisation = Normalisation(forms=(form,))
    assert normalisation.part(text, form) == expected
    table = pa.table({"id": [text]})
    assert key_set(table, ["id"], normalisation).digests.tobytes() == sm3.digest(
        encode_key([expected], normalisation)
    )


@pytest.mark.parametrize(
    "values",
    [
        pa.array([1_234_567_891_234_567_891], pa.timestamp("ns")),
        pa.array([10**14], pa.timestamp("s")),
        pa.array([10**8], pa.date32()),
        pa.array([10**15], pa.timestamp("us", tz="Nowhere/X")),
    ],
)
def test_times_that_have_no_text_are_bad_input(values: pa.Array) -> None:
    for keys in (keys_of, key_set):
        with pytest.raises(BadInput, match="written as a text"):
            keys(pa.table({"id": values}), ["id"], KEEP)


def test_nfkc_is_wider_than_nfc() -> None:
    assert encode_key(["ﬁ"], KEEP) != encode_key(["fi"], KEEP)
    assert encode_key(["ﬁ"], Normalisation(unicode="nfkc")) == encode_key(["fi"], KEEP)


def test_what_does_not_fit_is_counted_apart_from_what_is_missing() -> None:
    table = pa.table(
        {"p": ["13800138000", "x", None, " ", "+8613800138000", "y"], "q": ["1", "1", "1", "1", "1", None]}
    )
    keys = keys_of(table, ["p", "q"], Normalisation(forms=("phone", "integer")))
    assert (len(keys), keys.repeated, keys.without_key, keys.unfit) == (1, 1, 3, 1)
