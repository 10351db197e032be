"""What an SMSC brings is read, whatever it is."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popolni.notices import wire
from popolni.notices.wire import Receipt, asked_of, forms, normal, read_deliver, receipt_of

PHONE = b"79160000001"


def body(  # noqa: PLR0917
    content: bytes = b"",
    esm_class: int = 4,
    data_coding: int = 0,
    options: bytes = b"",
    service_type: bytes = b"",
    source: bytes = PHONE,
    destination: bytes = b"Popolni",
) -> bytes:
    return b"".join(
        (
            service_type, b"\0\x01\x01", source, b"\0\x05\x00", destination, b"\0",
            bytes([esm_class, 0, 0]), b"\0\0\0\0", bytes([data_coding, 0, len(content)]),
            content, options,
        )
    )  # fmt: skip


def option(tag: int, value: bytes) -> bytes:
    return struct.pack("!HH", tag, len(value)) + value


TEXT = b"id:0A1B sub:001 dlvrd:001 submit date:2601011200 done date:2601011200 stat:%s err:%s text:"


@pytest.mark.parametrize(
    ("content", "options", "message_id", "status", "error"),
    [
        (TEXT % (b"DELIVRD", b"000"), b"", "0A1B", "DELIVRD", "000"),
        (TEXT % (b"UNDELIV", b"0x1F"), b"", "0A1B", "UNDELIV", "0x1F"),
        (b"id:7 stat:EXPIRED", b"", "7", "EXPIRED", ""),
        (b"id: 7 done date:20260101120000 Stat: Rejectd Err:1", b"", "7", "REJECTD", "1"),
        (b"ID:a-b.c STAT:DELIVRD submit date:yesterday", b"", "a-b.c", "DELIVRD", ""),
        (b"", option(0x1E, b"77\0") + option(0x427, b"\x02"), "77", "DELIVRD", ""),
        (b"", option(0x1E, b"77") + option(0x427, b"\x05"), "77", "UNDELIV", ""),
        (b"id:1 stat:ENROUTE", option(0x1E, b"77\0"), "77", "ENROUTE", ""),
        (b"id:1 stat:X", option(0x1E, b""), "1", "X", ""),
        (TEXT % (b"DELIVRD", b"000"), option(0x1401, b"\xff" * 3), "0A1B", "DELIVRD", "000"),
        ("id:9 stat:DELIVRD".encode("utf-16-be"), b"", "9", "DELIVRD", ""),
        (b"id:\0abc\x7f stat:DELIVRD\xe9 err:\xe9\xdf1", b"", "abc", "DELIVRD", "1"),
        (b"id:1 stat:\xdf", option(0x1E, b"\xff\xfe") + option(0x427, b"\x02"), "1", "DELIVRD", ""),
    ],
)
def test_receipts(content: bytes, options: bytes, message_id: str, status: str, error: str) -> None:
    data_coding = 8 if content.startswith(b"\0") else 0
    deliver = read_deliver(1, body(content, data_coding=data_coding, options=options))
    assert receipt_of(deliver) == Receipt(79160000001, message_id, status, error)
    assert asked_of(deliver) is None


@pytest.mark.parametrize("content", [b"", b"hello", b"id: stat:", b"id:5", b"stat:DELIVRD"])
def test_a_receipt_that_says_nothing(content: bytes) -> None:
    assert receipt_of(read_deliver(1, body(content))) is None


def test_a_receipt_whose_addresses_are_the_wrong_way_round() -> None:
    swapped = body(b"id:5 stat:DELIVRD", source=b"Popolni", destination=PHONE)
    assert receipt_of(read_deliver(1, swapped)) == Receipt(79160000001, "5", "DELIVRD", "")


@pytest.mark.parametrize(
    ("content", "data_coding", "esm_class", "text"),
    [
        (b"balance", 0, 0, "balance"),
        (b"\x1b\x65 \x00", 0, 0, "€ @"),
        ("баланс".encode("utf-16-be"), 8, 0, "баланс"),
        ("余额".encode("utf-16-be"), 8, 0, "余额"),
        (b"\xf6", 3, 0, "ö"),
        (b"balance", 1, 0, "balance"),
        ("баланс".encode("iso8859-5"), 6, 0, "баланс"),
        (b"\x05\0\x03\x01\x02\x01balance", 0, 0x40, "balance"),
        (b"balance", 4, 0, ""),
        (b"balance", 0xF5, 0, ""),
        (b"\x80\xff", 0, 0, "??"),
        (b"\xd8", 8, 0, "\ufffd"),
    ],
)
def test_what_a_subscriber_writes(
    content: bytes, data_coding: int, esm_class: int, text: str
) -> None:
    asked = asked_of(read_deliver(1, body(content, esm_class, data_coding, destination=b"100")))
    assert asked is not None
    assert (asked.number, asked.text) == (79160000001, text)
    assert asked.reply == ("100", 5, 0, False, "")


def test_over_ussd() -> None:
    options = option(0x501, b"\x01") + option(0x1383, b"\x2a\x80")
    ask = body(b"*100#", 0, options=options, service_type=b"USSD", destination=b"*100#")
    asked = asked_of(read_deliver(1, ask))
    assert asked is not None
    assert asked.reply == ("*100#", 5, 0, True, "2a80")
    end = body(b"", 0, options=option(0x501, b"\x03"), service_type=b"USSD")
    assert asked_of(read_deliver(1, end)) is None


@pytest.mark.parametrize("source", [b"", b"Bank", b"100", b"+", b"1234567890123456"])
def test_who_has_no_number_asks_nothing(source: bytes) -> None:
    assert asked_of(read_deliver(1, body(b"balance", 0, source=source))) is None


def test_a_long_one_is_in_the_payload() -> None:
    deliver = read_deliver(1, body(b"", 0, options=option(0x424, b"balance")))
    assert wire.text_of(deliver) == "balance"


@given(st.binary(max_size=200))
def test_whatever_it_is_it_is_read_or_refused(junk: bytes) -> None:
    for bytes_ in (junk, body(b"id:1", options=junk), body(b"balance", 0) + junk):
        try:
            deliver = read_deliver(1, bytes_)
        except ValueError:
            continue
        receipt_of(deliver)
        asked_of(deliver)


@given(st.binary(max_size=120), st.integers(0, 255), st.integers(0, 255))
def test_whatever_it_says_is_a_text(content: bytes, esm_class: int, data_coding: int) -> None:
    deliver = read_deliver(1, body(content, esm_class, data_coding))
    assert isinstance(wire.text_of(deliver), str)
    receipt_of(deliver)


@pytest.mark.parametrize(
    ("taken_as", "receipt"),
    [
        ("7B", "123"), ("123", "7B"), ("0000007b", "123"), ("123", "0000000123"),
        ("ABCDEF-1", "abcdef-1"), ("0", "000"), ("10", "16"), ("16", "10"),
    ],
)  # fmt: skip
def test_an_id_is_found_in_whichever_form(taken_as: str, receipt: str) -> None:
    assert normal(taken_as) in forms(receipt)


def test_others_are_not() -> None:
    assert forms("123") == ["123", "7b", "291"]
    assert forms("7B") == ["7b", "123"]
    assert forms("x-1") == ["x-1"]
    assert forms("x²-1") == ["x-1"]
    assert forms("f" * 40) == ["f" * 40]


def test_answers_to_what_we_do_not_know() -> None:
    assert wire.response(0x103, 7).hex() == "00000010" + "80000000" + "00000003" + "00000007"
    assert wire.response(0x05, 7, 0x64).hex() == "00000011800000050000006400000007" + "00"


def test_names_of_statuses() -> None:
    assert wire.status_name(0x58) == "ESME_RTHROTTLED"
    assert wire.status_name(0x4A1) == "status 0x4a1"
