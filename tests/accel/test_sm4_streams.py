import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accel import features, sm4, sm4_streams
from accel.errors import BadParameter, DecryptionFailed
from accel.sm4_backends import GCM_STREAM
from accel.sm4_streams import CbcDecryptor, CbcEncryptor, CtrStream, GcmDecryptor, GcmEncryptor

KEY, IV, NONCE = bytes(range(16)), bytes(range(16, 32)), bytes(range(12))
LEVELS = [name for name in GCM_STREAM.available() if name in features.LEVELS]
SIZES = st.lists(st.sampled_from([0, 1, 3, 15, 16, 17, 40, 1024, 1030, 3000]), max_size=6)


def pieces(sizes):
    return [bytes((i * 31 + j) % 256 for j in range(size)) for i, size in enumerate(sizes)]


@pytest.mark.parametrize("level", LEVELS)
@given(sizes=SIZES)
@settings(max_examples=25, deadline=None)
def test_pieces_give_what_the_whole_gives(level, sizes):
    parts = pieces(sizes)
    whole = b"".join(parts)
    with features.at_level(level):
        ctr = CtrStream(KEY, b"\xff" * 16)
        assert b"".join([*map(ctr.update, parts), ctr.finalize()]) == sm4.ctr(KEY, b"\xff" * 16, whole)
        cbc = CbcEncryptor(KEY, IV)
        assert b"".join([*map(cbc.update, parts), cbc.finalize()]) == sm4.cbc_encrypt(KEY, IV, whole)
        gcm = GcmEncryptor(KEY, NONCE, b"aad")
        body = b"".join(map(gcm.update, parts))
        last, tag = gcm.finalize()
        assert body + last + tag == sm4.gcm_seal(KEY, NONCE, whole, b"aad")


@pytest.mark.parametrize("level", LEVELS)
@given(sizes=SIZES, cut=st.integers(1, 2000))
@settings(max_examples=25, deadline=None)
def test_decryption_takes_pieces_cut_anywhere(level, sizes, cut):
    whole = b"".join(pieces(sizes))
    with features.at_level(level):
        sealed = sm4.cbc_encrypt(KEY, IV, whole)
        cbc = CbcDecryptor(KEY, IV)
        parts = [cbc.update(sealed[i : i + cut]) for i in range(0, len(sealed), cut)]
        assert b"".join(parts) + cbc.finalize() == whole
        sealed = sm4.gcm_seal(KEY, NONCE, whole, b"aad")
        gcm = GcmDecryptor(KEY, NONCE, b"aad")
        for i in range(0, len(whole), cut):
            assert gcm.update(sealed[i : min(i + cut, len(whole))]) is None
        assert gcm.finalize(sealed[len(whole) :]) == whole


def test_gcm_gives_nothing_for_a_wrong_tag():
    sealed = sm4.gcm_seal(KEY, NONCE, b"secret")
    for tag in (bytes(16), sealed[-16:-1], b"", sealed[-15:] + b"\0"):
        stream = GcmDecryptor(KEY, NONCE)
        stream.update(sealed[:-16])
        with pytest.raises(DecryptionFailed):
            stream.finalize(tag)


@pytest.mark.parametrize("sealed", [b"", bytes(15), bytes(16), bytes(17), bytes(32)])
def test_cbc_refuses_bad_length_and_padding_at_the_end(sealed):
    stream = CbcDecryptor(KEY, IV)
    stream.update(sealed)
    with pytest.raises(DecryptionFailed) as caught:
        stream.finalize()
    assert caught.value.message == "the ciphertext does not decrypt"


def test_gcm_stops_before_its_counter_wraps(monkeypatch):
    monkeypatch.setattr(sm4_streams, "_MAX_GCM_BYTES", 40)
    stream = GcmEncryptor(KEY, NONCE)
    stream.update(bytes(40))
    with pytest.raises(BadParameter):
        stream.update(bytes(16))


def test_finished_stream_refuses_to_go_on():
    sealed = sm4.cbc_encrypt(KEY, IV, b"data")
    decryptor = CbcDecryptor(KEY, IV)
    decryptor.update(sealed)
    streams = [CtrStream(KEY, IV), CbcEncryptor(KEY, IV), decryptor, GcmEncryptor(KEY, NONCE)]
    for stream in streams:
        stream.finalize()
        with pytest.raises(BadParameter):
            stream.update(b"more")
        with pytest.raises(BadParameter):
            stream.finalize()


def test_keys_and_nonces_of_another_length_are_refused():
    for make in (
        lambda: CtrStream(KEY[:15], IV),
        lambda: CtrStream(KEY, IV[:12]),
        lambda: CbcEncryptor(KEY, IV[:12]),
        lambda: CbcDecryptor(KEY + b"x", IV),
        lambda: GcmEncryptor(KEY, IV),
        lambda: GcmDecryptor(KEY, b""),
        lambda: GcmDecryptor(KEY, NONCE, 5),
    ):
        with pytest.raises(BadParameter):
            make()
