"""The encryption service by itself: right results, keys bound to grant and consumer, typed refusals."""

from __future__ import annotations

import base64
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from accel import paillier
from compute.eaas.encoding import from_units, to_units
from compute.eaas.service import CallFailed, Eaas
from compute.eaas.vault import KeyLimit, KeyUnknown, Vault
from compute.errors import BadInput, ComputeError, KeyStoreLocked
from compute.wire.eaas import (
    AddCall,
    DecryptCall,
    EaasKeyRequest,
    EncryptCall,
    MultiplyCall,
    SignCall,
    VerifyCall,
)

GRANT, OTHER_GRANT, ALICE, BOB = ("0x" + pair * 32 for pair in ("11", "22", "aa", "bb"))
SECRET = b"correct horse battery staple"


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def vault_at(path: Path, most: int = 8) -> Vault:
    return Vault(path, SECRET, max_keys_per_grant=most, clock=lambda: 1000, cipher="sm4-gcm")


class Counter:
    """Counts charges; refuses once they are used up."""

    def __init__(self, calls: int = 1000) -> None:
        self.left = calls

    def __call__(self) -> int:
        if not self.left:
            raise ComputeError("no calls left")
        self.left -= 1
        return self.left


@pytest.fixture(scope="module")
def eaas(tmp_path_factory: pytest.TempPathFactory) -> Eaas:
    return Eaas(vault_at(tmp_path_factory.mktemp("vault") / "eaas.sealed", 20), max_items=10)


@pytest.fixture(scope="module")
def paillier_key(eaas: Eaas) -> str:
    return eaas.vault.create(GRANT, ALICE, EaasKeyRequest(algorithm="paillier", bits=2048)).key


@pytest.fixture(scope="module")
def sm2_key(eaas: Eaas) -> str:
    return eaas.vault.create(GRANT, ALICE, EaasKeyRequest(algorithm="sm2")).key


@pytest.fixture(scope="module")
def sm4_key(eaas: Eaas) -> str:
    return eaas.vault.create(GRANT, ALICE, EaasKeyRequest(algorithm="sm4")).key


def test_sums_and_products_under_encryption_are_exact_decimals(eaas: Eaas, paillier_key: str) -> None:
    count = Counter()

    def encrypt(*values: str) -> tuple[str, ...]:
        return eaas.perform(GRANT, ALICE, EncryptCall(key=paillier_key, values=values), count).ciphertexts

    left, right = (
        encrypt("0.1", "-12.5", "999999999999999999999999999999"),
        encrypt("0.2", "3", "-0.000000000001"),
    )
    total = eaas.perform(GRANT, ALICE, AddCall(key=paillier_key, left=left, right=right), count)
    product = eaas.perform(
        GRANT,
        ALICE,
        MultiplyCall(key=paillier_key, ciphertexts=total.ciphertexts, factors=("3", "-2", "0")),
        count,
    )
    assert set(total.ciphertexts).isdisjoint(left + right)
    decrypt = DecryptCall(key=paillier_key, ciphertexts=total.ciphertexts + product.ciphertexts)
    answer = eaas.perform(GRANT, ALICE, decrypt, count)
    assert answer.values == (
        "0.3",
        "-9.5",
        "999999999999999999999999999998.999999999999",
        "0.9",
        "19",
        "0",
    )
    assert answer.calls_left == 1000 - 5


def test_anyone_with_the_public_key_encrypts_for_the_service(eaas: Eaas, paillier_key: str) -> None:
    document = next(key for key in eaas.vault.list(GRANT, ALICE) if key.key == paillier_key)
    public = paillier.PublicKey.from_bytes(base64.b64decode(document.public))
    own = paillier.encrypt_ints(public, [to_units("7.25")]).to_bytes()
    answer = eaas.perform(GRANT, ALICE, DecryptCall(key=paillier_key, ciphertexts=(text(own),)), Counter())
    assert answer.values == ("7.25",)


@pytest.mark.parametrize("algorithm", ["sm2", "sm4"])
def test_bytes_come_back_as_they_went_in(eaas: Eaas, algorithm: str, sm2_key: str, sm4_key: str) -> None:
    key = sm2_key if algorithm == "sm2" else sm4_key
    plain = (text(b"a"), text("病历 42".encode()), text(bytes(range(256))))
    sealed = eaas.perform(GRANT, ALICE, EncryptCall(key=key, plaintexts=plain), Counter())
    again = eaas.perform(GRANT, ALICE, EncryptCall(key=key, plaintexts=plain), Counter())
    assert set(sealed.ciphertexts).isdisjoint(again.ciphertexts)
    opened = eaas.perform(GRANT, ALICE, DecryptCall(key=key, ciphertexts=sealed.ciphertexts), Counter())
    assert opened.plaintexts == plain


def test_signatures_verify_and_changed_ones_do_not(eaas: Eaas, sm2_key: str) -> None:
    messages = (text(b"pay 1"), text(b"pay 2"))
    signed = eaas.perform(GRANT, ALICE, SignCall(key=sm2_key, messages=messages), Counter())
    swapped = signed.signatures[::-1]
    for signatures, expected in ((signed.signatures, (True, True)), (swapped, (False, False))):
        call = VerifyCall(key=sm2_key, messages=messages, signatures=signatures)
        assert eaas.perform(GRANT, ALICE, call, Counter()).valid == expected
    short = VerifyCall(key=sm2_key, messages=messages, signatures=(text(b""), text(bytes(64))))
    assert eaas.perform(GRANT, ALICE, short, Counter()).valid == (False, False)


@pytest.mark.parametrize(("grant", "consumer"), [(OTHER_GRANT, ALICE), (GRANT, BOB)])
def test_a_key_exists_only_under_its_grant_and_for_its_consumer(
    eaas: Eaas, sm4_key: str, grant: str, consumer: str
) -> None:
    call, count = EncryptCall(key=sm4_key, plaintexts=(text(b"x"),)), Counter()
    with pytest.raises(KeyUnknown):
        eaas.perform(grant, consumer, call, count)
    assert count.left == 1000


def test_a_ciphertext_of_another_key_does_not_decrypt_and_says_no_more(eaas: Eaas, sm4_key: str) -> None:
    other = eaas.vault.create(GRANT, ALICE, EaasKeyRequest(algorithm="sm4")).key
    sealed = eaas.perform(GRANT, ALICE, EncryptCall(key=other, plaintexts=(text(b"x"),)), Counter())
    count = Counter()
    for bad in (sealed.ciphertexts[0], text(b""), text(bytes(40))):
        with pytest.raises(CallFailed) as caught:
            eaas.perform(GRANT, ALICE, DecryptCall(key=sm4_key, ciphertexts=(bad,)), count)
        assert caught.value.message == "an item cannot be processed under this key"
    assert count.left == 1000 - 3


BAD: list[tuple[str, Callable[[str, str, str], object]]] = [
    ("no items", lambda p, s2, s4: EncryptCall(key=p)),
    ("too many items", lambda p, s2, s4: EncryptCall(key=p, values=("1",) * 11)),
    ("bytes for Paillier", lambda p, s2, s4: EncryptCall(key=p, values=("1",), plaintexts=("AA==",))),
    ("numbers for SM4", lambda p, s2, s4: EncryptCall(key=s4, values=("1",), plaintexts=("AA==",))),
    ("no base64", lambda p, s2, s4: EncryptCall(key=s4, plaintexts=("A",))),
    ("base64 with spare bits", lambda p, s2, s4: EncryptCall(key=s4, plaintexts=("AB==",))),
    ("unequal lists", lambda p, s2, s4: AddCall(key=p, left=("AA==", "AA=="), right=("AA==",))),
    ("sum under SM4", lambda p, s2, s4: AddCall(key=s4, left=("AA==",), right=("AA==",))),
    ("signature under SM4", lambda p, s2, s4: SignCall(key=s4, messages=("AA==",))),
    ("product under SM2", lambda p, s2, s4: MultiplyCall(key=s2, ciphertexts=("AA==",), factors=("1",))),
]


@pytest.mark.parametrize(("why", "make"), BAD, ids=[why for why, _ in BAD])
def test_malformed_calls_are_typed_and_free(
    eaas: Eaas, paillier_key: str, sm2_key: str, sm4_key: str, why: str, make: Callable[..., object]
) -> None:
    count = Counter()
    with pytest.raises(BadInput):
        eaas.perform(GRANT, ALICE, make(paillier_key, sm2_key, sm4_key), count)  # type: ignore[arg-type]
    assert count.left == 1000


def test_garbage_where_a_paillier_ciphertext_belongs_is_charged_and_typed(
    eaas: Eaas, paillier_key: str
) -> None:
    good = eaas.perform(GRANT, ALICE, EncryptCall(key=paillier_key, values=("1",)), Counter()).ciphertexts[0]
    flipped = bytearray(base64.b64decode(good))
    flipped[10] ^= 1
    for bad in (text(b"garbage"), text(bytes(flipped)), text(base64.b64decode(good)[:-1])):
        with pytest.raises(CallFailed):
            eaas.perform(GRANT, ALICE, DecryptCall(key=paillier_key, ciphertexts=(bad,)), Counter())


def test_nothing_is_computed_without_a_call_left(eaas: Eaas, sm4_key: str) -> None:
    with pytest.raises(ComputeError, match="no calls left"):
        eaas.perform(GRANT, ALICE, EncryptCall(key=sm4_key, plaintexts=(text(b"x"),)), Counter(0))


def test_keys_survive_a_restart_and_the_store_stays_sealed(tmp_path: Path) -> None:
    path = tmp_path / "eaas.sealed"
    key = vault_at(path).create(GRANT, ALICE, EaasKeyRequest(algorithm="sm4"))
    again = vault_at(path).find(GRANT, ALICE, key.key)
    assert again.secret == key.secret
    assert isinstance(key.secret, bytes)
    assert key.secret not in path.read_bytes()
    with pytest.raises(KeyStoreLocked):
        Vault(path, b"another passphrase", max_keys_per_grant=1, clock=lambda: 0, cipher="sm4-gcm")


def test_a_grant_has_a_limited_number_of_keys(tmp_path: Path) -> None:
    vault = vault_at(tmp_path / "eaas.sealed", most=1)
    vault.create(GRANT, ALICE, EaasKeyRequest(algorithm="sm4"))
    vault.create(OTHER_GRANT, ALICE, EaasKeyRequest(algorithm="sm4"))
    with pytest.raises(KeyLimit):
        vault.create(GRANT, ALICE, EaasKeyRequest(algorithm="sm4"))


@pytest.mark.parametrize("value", ["0", "-0.5", "1.000000000001", "123456789012345678901234567890.5"])
def test_decimals_are_kept_exactly(value: str) -> None:
    assert Decimal(from_units(to_units(value))) == Decimal(value)
