"""Signed notes, verifier keys and checkpoints: one spelling each, and no line of a known key may lie."""

import base64
from hashlib import sha256

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from audit_ledger.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from audit_ledger.cosignature import WitnessKey, parse_witness_key
from audit_ledger.errors import BadSignature, MalformedCheckpoint, MalformedNote, UnknownLog
from audit_ledger.note import MAX_SIGNATURES, LogKey, Note, SignatureLine, VerifierKey
from audit_ledger.strict import base64_line, decimal, unbase64
from audit_ledger.tree import EMPTY_ROOT
from tests.audit_ledger import known

CHECKPOINT = known.PROOF.partition(b"\n\n")[2]
LINE = b"\xe2\x80\x94 a.example/x AQIDBAU=\n"

# The example at the end of C2SP signed-note.
EXAMPLE_VKEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
EXAMPLE_NOTE = """This is an example message.

— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=
"""


def test_vkeys_are_the_known_ones_both_ways() -> None:
    assert known.LOG_KEY.vkey.encode() == known.LOG_VKEY
    assert known.WITNESS_KEY.vkey.encode() == known.WITNESS_VKEY
    assert LogKey.parse(known.LOG_VKEY) == known.LOG_KEY
    assert parse_witness_key(known.WITNESS_VKEY) == known.WITNESS_KEY


def test_the_key_id_of_a_key_whose_base64_holds_plus_signs_is_found() -> None:
    material = bytes([0x01]) + b"\xef\xbe\xfb" * 10 + b"\xef\xbe"
    key = VerifierKey("a.example", material[0], material[1:])
    assert key.encode().count("+") > 2
    assert VerifierKey.parse(key.encode()) == key


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda text: text.replace("+2e9da06b+", "+2e9da06c+"), "key ID is not that of the key"),
        (lambda text: text.replace("+2e9da06b+", "+2E9DA06B+"), "key ID is not that of the key"),
        (lambda text: text.replace("+2e9da06b+", ""), r"name\+id\+base64"),
        (lambda text: text.replace("ledger.example", "ledger example"), "key name"),
        (lambda text: text[:-2], r"name\+id\+base64"),
        (lambda text: "+" + text, "name"),
        (lambda text: "a+00000000+", "no type byte"),
        (lambda text: "a+00000000+AQ==", "no type byte or no key"),
    ],
)
def test_a_vkey_with_another_spelling_is_refused(change, why: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(MalformedNote, match=why):
        VerifierKey.parse(change(known.LOG_VKEY))


def test_a_key_is_good_for_one_role_only() -> None:
    with pytest.raises(MalformedNote, match="log key"):
        LogKey.parse(known.WITNESS_VKEY)
    with pytest.raises(MalformedNote, match="witness key"):
        parse_witness_key(known.LOG_VKEY)
    with pytest.raises(MalformedNote, match="ML-DSA-44"):
        parse_witness_key(VerifierKey("w.example", 6, bytes(1312)).encode())


def test_the_checkpoint_of_the_vector_is_what_we_sign_ourselves() -> None:
    checkpoint = Checkpoint(known.ORIGIN, 8, bytes.fromhex(known.ROOTS[8]))
    note = sign_checkpoint(checkpoint, known.LOG_KEY, known.LOG_SIGNER)
    cosigned = Note(note.text, (*note.signatures, known.WITNESS_KEY.cosign(note.text, known.TIME, known.WITNESS_SIGNER)))
    assert cosigned.encode() == CHECKPOINT
    assert len(CHECKPOINT) == 325
    assert sha256(CHECKPOINT).hexdigest() == known.CHECKPOINT_SHA256


def test_the_note_splits_at_the_last_empty_line() -> None:
    note = Note.parse(b"first\n\n\nsecond\n\n" + LINE)
    assert note.text == b"first\n\n\nsecond\n"
    assert note.encode() == b"first\n\n\nsecond\n\n" + LINE


def test_line_ends_of_unicode_do_not_end_a_line() -> None:
    text = "one\u2028two\u0085three\n"
    assert Note.parse(text.encode() + b"\n" + LINE).text == text.encode()


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\n",
        b"text\n",
        b"text\n\n",
        b"text\n\n\n",
        b"text\n" + LINE,
        b"text\n\n" + LINE[:-1],
        b"text\n\n" + LINE + b"\n",
        b"text\n\n" + LINE + b"junk\n",
        b"text\r\n\n" + LINE,
        b"te\tt\n\n" + LINE,
        b"te\x00t\n\n" + LINE,
        b"te\xfft\n\n" + LINE,
        b"text\n\n" + LINE.replace(b"\xe2\x80\x94", b"\xe2\x80\x93"),  # an en dash
        b"text\n\n" + LINE.replace(b" a.ex", b"  a.ex"),
        b"text\n\n" + LINE.replace(b" a.ex", b" a\xc2\xa0ex"),  # a no-break space
        b"text\n\n" + LINE.replace(b" a.ex", b" a+ex"),
        b"text\n\n" + LINE.replace(b"AQIDBAU=", b"AQIDBAU"),
        b"text\n\n" + LINE.replace(b"AQIDBAU=", b"AQIDBAV="),  # trailing bits
        b"text\n\n" + LINE.replace(b"AQIDBAU=", b"AQID BAU="),
        b"text\n\n" + LINE.replace(b"AQIDBAU=", b"AQIDBA=="),  # a key ID and no signature
        b"text\n\n" + LINE * (MAX_SIGNATURES + 1),
        b"x" * (1 << 20) + b"\n\n" + LINE,
    ],
)
def test_what_is_not_a_note_is_refused(raw: bytes) -> None:
    with pytest.raises(MalformedNote, match=r"note|signature line|key name"):
        Note.parse(raw)


def test_a_note_may_have_as_many_signatures_as_the_cap() -> None:
    assert len(Note.parse(b"text\n\n" + LINE * MAX_SIGNATURES).signatures) == MAX_SIGNATURES


@given(st.binary(max_size=120) | st.builds(lambda t, s: t + b"\n\n" + LINE + s, st.binary(max_size=40), st.binary(max_size=9)))
@example(b"a\n\n" + LINE)
def test_any_bytes_are_malformed_or_have_one_spelling(raw: bytes) -> None:
    try:
        note = Note.parse(raw)
    except MalformedNote:
        return
    assert note.encode() == raw


def test_a_line_of_an_unknown_key_is_ignored_even_if_it_shares_name_or_id() -> None:
    note = Note.parse(CHECKPOINT)
    same_name = SignatureLine(known.ORIGIN, b"\x00\x00\x00\x00", bytes(64))
    same_id = SignatureLine("other.example", known.LOG_KEY.vkey.key_id, bytes(64))
    assert open_checkpoint(Note(note.text, (same_name, same_id, *note.signatures)), [known.LOG_KEY]).size == 8


def test_a_lying_line_of_a_known_key_spoils_the_note_beside_a_good_one() -> None:
    note = Note.parse(CHECKPOINT)
    lie = SignatureLine(known.ORIGIN, known.LOG_KEY.vkey.key_id, bytes(64))
    with pytest.raises(BadSignature, match="does not verify"):
        open_checkpoint(Note(note.text, (*note.signatures, lie)), [known.LOG_KEY])


def test_a_checkpoint_nobody_we_know_signed_is_refused() -> None:
    note = Note.parse(CHECKPOINT)
    with pytest.raises(UnknownLog, match="no signature of a key trusted"):
        open_checkpoint(Note(note.text, note.signatures[1:]), [known.LOG_KEY])
    with pytest.raises(UnknownLog, match="no signature of a key trusted"):
        open_checkpoint(note, [LogKey.of("other.example", known.LOG_SIGNER.public_key())])


def test_a_trusted_log_cannot_sign_for_another_origin() -> None:
    other = LogKey.of("other.example", known.WITNESS_SIGNER.public_key())
    text = Note.parse(CHECKPOINT).text
    with pytest.raises(UnknownLog, match="no signature of a key trusted"):
        open_checkpoint(Note(text, (other.sign(text, known.WITNESS_SIGNER),)), [known.LOG_KEY, other])


def test_a_cosignature_is_not_taken_for_a_log_signature_nor_the_reverse() -> None:
    plain = known.WITNESS_SIGNER.sign(Note.parse(CHECKPOINT).text)
    note = Note.parse(CHECKPOINT)
    as_log = VerifierKey(known.WITNESS_KEY.name, 1, known.WITNESS_KEY.vkey.material)
    assert known.WITNESS_KEY.cosigned_at(Note(note.text, (SignatureLine(as_log.name, as_log.key_id, plain),))) is None
    with pytest.raises(BadSignature, match="not a time and 64 bytes"):
        known.WITNESS_KEY.cosigned_at(
            Note(note.text, (SignatureLine(known.WITNESS_KEY.name, known.WITNESS_KEY.vkey.key_id, plain),))
        )


def test_a_cosignature_holds_for_its_own_time_only() -> None:
    note = Note.parse(CHECKPOINT)
    line = note.signatures[1]
    later = SignatureLine(line.name, line.key_id, (known.TIME + 1).to_bytes(8, "big") + line.signature[8:])
    assert known.WITNESS_KEY.cosigned_at(note) == known.TIME
    with pytest.raises(BadSignature, match="does not verify"):
        known.WITNESS_KEY.cosigned_at(Note(note.text, (later,)))


def test_the_newest_of_several_cosignatures_counts() -> None:
    text = Note.parse(CHECKPOINT).text
    lines = tuple(known.WITNESS_KEY.cosign(text, time, known.WITNESS_SIGNER) for time in (5, 9, 7))
    assert known.WITNESS_KEY.cosigned_at(Note(text, lines)) == 9


def test_a_signer_with_another_key_cannot_sign() -> None:
    with pytest.raises(BadSignature, match="does not verify"):
        sign_checkpoint(Checkpoint(known.ORIGIN, 0, EMPTY_ROOT), known.LOG_KEY, known.WITNESS_SIGNER)
    with pytest.raises(BadSignature, match="does not verify"):
        known.WITNESS_KEY.cosign(b"text\n", 1, known.LOG_SIGNER)
    with pytest.raises(ValueError, match="no POSIX time"):
        known.WITNESS_KEY.cosign(b"text\n", 2**63, known.WITNESS_SIGNER)
    with pytest.raises(ValueError, match="cannot be signed as"):
        sign_checkpoint(Checkpoint("other.example", 0, EMPTY_ROOT), known.LOG_KEY, known.LOG_SIGNER)


def test_a_key_that_is_no_point_verifies_nothing() -> None:
    key = WitnessKey(VerifierKey("w.example", 4, b"\x02" + bytes(31)))
    note = Note(b"text\n", (SignatureLine("w.example", key.vkey.key_id, bytes(72)),))
    with pytest.raises(BadSignature, match="does not verify"):
        key.cosigned_at(note)


ROOT = base64.b64encode(EMPTY_ROOT)


@pytest.mark.parametrize(
    "text",
    [
        b"o\n8\n" + ROOT,
        b"o\n8\n" + ROOT + b"\nextension\n",
        b"o\n8\n\n",
        b"o\n08\n" + ROOT + b"\n",
        b"o\n+8\n" + ROOT + b"\n",
        b"o\n8 \n" + ROOT + b"\n",
        b"o\n-1\n" + ROOT + b"\n",
        b"o\n\xd9\xa3\n" + ROOT + b"\n",  # an Arabic three
        b"o\n9223372036854775808\n" + ROOT + b"\n",
        b"o\n8\n" + ROOT[:-1] + b"\n",
        b"o\n8\n" + base64.b64encode(bytes(31)) + b"\n",
        b"o o\n8\n" + ROOT + b"\n",
        b"\n8\n" + ROOT + b"\n",
        b"o\xff\n8\n" + ROOT + b"\n",
    ],
)
def test_what_is_not_a_checkpoint_is_refused(text: bytes) -> None:
    with pytest.raises(MalformedCheckpoint, match="checkpoint"):
        Checkpoint.parse(text)


@given(st.integers(0, 2**63 - 1), st.binary(min_size=32, max_size=32))
def test_a_checkpoint_reads_back_as_written(size: int, root: bytes) -> None:
    checkpoint = Checkpoint(known.ORIGIN, size, root)
    assert Checkpoint.parse(checkpoint.text()) == checkpoint


@given(st.text(alphabet="0123456789+-_ \n٣", max_size=22))
def test_a_decimal_has_one_spelling(text: str) -> None:
    try:
        number = decimal(text.encode())
    except ValueError:
        return
    assert str(number) == text


@given(st.binary(max_size=40))
def test_base64_has_one_spelling(raw: bytes) -> None:
    assert unbase64(base64_line(raw)[:-1]) == raw
    for wrong in (base64_line(raw), b" " + base64_line(raw)[:-1], base64_line(raw)[:-1] + b"="):
        with pytest.raises(ValueError, match="base64"):
            unbase64(wrong)


def test_the_example_of_the_specification_verifies() -> None:
    assert Note.parse(EXAMPLE_NOTE.encode()).signed_by(LogKey.parse(EXAMPLE_VKEY))
