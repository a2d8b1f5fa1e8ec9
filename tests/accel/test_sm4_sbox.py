"""The algebra that lets instructions made for AES compute SM4, proved over all bytes."""

from gmssl.sm4 import SM4_BOXES_TABLE

from accel.cpu import sm4_sbox
from accel.cpu.sm4_sbox import ENTER, FROM_AES, KEY, LEAVE, SUBSTITUTE, Q, R
from accel.reference.sm4 import SBOX

BYTES = range(256)


def rotate(word, bits):
    return (word << bits | word >> (32 - bits)) & 0xFFFFFFFF


def each_byte(word, function):
    return int.from_bytes(bytes(function(byte) for byte in word.to_bytes(4, "little")), "little")


def test_table_of_the_reference_is_that_of_gmssl():
    assert bytes(SM4_BOXES_TABLE) == SBOX
    assert sorted(SBOX) == list(BYTES)


def test_inversions_invert_in_both_fields():
    for field in (0x11B, 0x1F5):
        for x in range(1, 256):
            assert sm4_sbox.multiply(x, sm4_sbox.invert(x, field), field) == 1
        assert sm4_sbox.invert(0, field) == 0


def test_affine_maps_around_the_aes_inversion_give_the_s_box():
    assert bytes(SUBSTITUTE(sm4_sbox.invert(KEY(x))) for x in BYTES) == SBOX


def test_leaving_undoes_entering():
    assert [LEAVE(ENTER(x)) for x in BYTES] == list(BYTES)


def test_output_map_of_aes_is_undone():
    # The S-box of AES at 0x00, 0x01, 0x53 (FIPS 197), whose inverses are 0x00, 0x01, 0xCA.
    assert [FROM_AES(y) for y in (0x63, 0x7C, 0xED)] == [0x00, 0x01, 0xCA]


def test_a_round_in_the_changed_form_is_the_round_of_the_standard():
    for x in BYTES:
        for position in range(4):
            word = x << 8 * position
            b = each_byte(word, SBOX.__getitem__)
            expected = b ^ rotate(b, 2) ^ rotate(b, 10) ^ rotate(b, 18) ^ rotate(b, 24)
            y = each_byte(each_byte(word, KEY), sm4_sbox.invert)
            q, r = each_byte(y, Q), each_byte(y, R)
            got = q ^ r ^ rotate(q, 8) ^ rotate(q, 16) ^ rotate(r, 24)
            assert got == each_byte(expected, ENTER)


def test_register_tables_and_bit_matrices_are_the_maps():
    for maps in (ENTER, LEAVE, KEY, SUBSTITUTE, Q, R, FROM_AES):
        low, high = maps.nibbles
        rows = maps.gfni.to_bytes(8, "little")
        for x in BYTES:
            assert low[x & 15] ^ high[x >> 4] == maps(x)
            product = sum((rows[7 - i] & x).bit_count() % 2 << i for i in range(8))
            assert product ^ maps.constant == maps(x)
