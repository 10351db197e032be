"""OSMP: each rule as a case, both ways; and bytes of any kind."""

import re
from datetime import date, datetime
from typing import Any
from urllib.parse import parse_qsl, quote_from_bytes
from xml.parsers import expat

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from popolni.core.number import read_number
from popolni.protocols.osmp import (
    COMMENT_MAX,
    NOTE_MAX,
    PARAMETERS_MAX,
    QUERY_BYTES_MAX,
    RESPONSE_BYTES_MAX,
    Command,
    Dialect,
    Field,
    Malformed,
    Payment,
    Request,
    Response,
    Result,
    read_request,
    read_response,
    read_sum,
    read_time,
    write_request,
    write_response,
    write_sum,
    write_time,
)

COMMON = Dialect()
EVERY = Dialect(commands=frozenset(Command))
NUMBER = 79161234567
TWENTY = "12345678901234567890"
AT = datetime.fromisoformat("2026-06-01T12:01:33")
DAY = date(2026, 6, 1)


def of(command: Command, account: str = "", **values: Any) -> Request:
    return Request(command, account=account, number=read_number(account), **values)


def check(account: str = "9161234567", **values: Any) -> Request:
    return of(Command.CHECK, account, **values)


def pay(account: str = "9161234567", **values: Any) -> Request:
    return of(Command.PAY, account, **({"txn_id": "7", "amount_minor": 1050} | values))


# As our own side writes them: read, and written, to the byte.
CANONICAL = {
    "command=check&account=9161234567": check(),
    "command=check&txn_id=0&account=9161234567": check(txn_id="0"),
    f"command=check&txn_id={TWENTY}&account=9161234567&sum=200.00": check(
        txn_id=TWENTY, amount_minor=20000
    ),
    "command=getInfo&txn_id=7&account=9161234567&sum=0.01": of(
        Command.GET_INFO, "9161234567", txn_id="7", amount_minor=1
    ),
    "command=pay&txn_id=7&account=9161234567&sum=10.50": pay(),
    "command=pay&txn_id=007&account=9161234567&sum=10.50": pay(txn_id="007"),
    f"command=pay&txn_id={TWENTY}&account=9161234567&sum=10.50": pay(txn_id=TWENTY),
    "command=pay&txn_id=7&account=%2B79161234567&sum=10.50": pay("+79161234567"),
    "command=pay&txn_id=7&account=8%20%28916%29%20123-45-67&sum=10.50": pay("8 (916) 123-45-67"),
    "command=pay&txn_id=7&account=79161234567&sum=999999999999.99": pay(
        "79161234567", amount_minor=10**14 - 1
    ),
    "command=pay&txn_id=7&account=%2B8613800138000&sum=10.50": pay("+8613800138000"),
    "command=pay&txn_id=7&txn_date=20260601120133&account=9161234567&sum=10.50"
    "&ccy=RUB&trm_id=4151200&pay_type=1": pay(
        txn_date=AT, currency="RUB", terminal="4151200", pay_type="1"
    ),
    "command=pay&txn_id=7&account=9161234567&sum=10.50&ccy=CNY": pay(currency="CNY"),
    "command=pay&txn_id=7&account=9161234567&sum=10.50"
    "&trm_id=%D0%9C%D0%BE%D1%81%D0%BA%D0%B2%D0%B0%20%265%3D": pay(terminal="Москва &5="),
    "command=cancel&txn_id=7": of(Command.CANCEL, txn_id="7"),
    "command=cancel&prv_txn=99": of(Command.CANCEL, prv_txn="99"),
    "command=cancel&txn_id=7&sum=10.50": of(Command.CANCEL, txn_id="7", amount_minor=1050),
    "command=status&txn_id=7": of(Command.STATUS, txn_id="7"),
    "command=verify&date=20260601": of(Command.VERIFY, day=DAY),
}  # fmt: skip

PAY = "command=pay&txn_id=7&account=9161234567&sum=10.50"

# What others write, which means the same.
TOLERATED: list[tuple[str | bytes, Request]] = [
    # the order, what we do not know, empty pairs
    ("sum=10.50&account=9161234567&txn_id=7&command=pay", pay()),
    (f"{PAY}&prv_id=5&data1=%ff&Command=check&x", pay()),
    (f"&{PAY}&&", pay()),
    (f"{PAY}&ccy=&trm_id=&pay_type=&prv_txn=&txn_date=&date=", pay()),
    ("%63ommand=p%61y&txn%5Fid=7&account=9161234567&sum=10%2E50", pay()),
    # sums
    ("command=pay&txn_id=7&account=9161234567&sum=10", pay(amount_minor=1000)),
    ("command=pay&txn_id=7&account=9161234567&sum=10.5", pay()),
    ("command=pay&txn_id=7&account=9161234567&sum=10,50", pay()),
    ("command=pay&txn_id=7&account=9161234567&sum=+10.50%20", pay()),
    ("command=pay&txn_id=7&account=9161234567&sum=010.50", pay()),
    ("command=pay&txn_id=7&account=9161234567&sum=0.01", pay(amount_minor=1)),
    ("command=check&txn_id=0&account=9161234567&sum=0.00", check(txn_id="0")),
    ("command=check&txn_id=&account=9161234567&sum=0", check()),
    ("command=check&account=9161234567&sum=", check()),
    ("command=cancel&txn_id=7&sum=0", of(Command.CANCEL, txn_id="7")),
    # accounts
    ("command=check&account=79161234567", check("79161234567")),
    ("command=check&account=89161234567", check("89161234567")),
    ("command=check&account=+79161234567", check("+79161234567")),
    ("command=check&account=++79161234567", check("+79161234567")),
    ("command=check&account=+%2B79161234567", check("+79161234567")),
    ("command=check&account=+7+(916)+123-45-67", check("+7 (916) 123-45-67")),
    ("command=check&account=%2079161234567+", check("79161234567")),
    ("command=check&account=916 123 45 67", check("916 123 45 67")),
    ("command=check&account=916%C2%A01234567", check("916\u00a01234567")),
    ("command=check&account=916%A01234567", check("916\u00a01234567")),
    ("command=check&account=+84912345678", check("+84912345678")),
    # repeats that say the same, or say nothing about money
    (f"{PAY}&sum=10.50&account=9161234567+&txn_id=7&command=pay", pay()),
    (f"{PAY}&trm_id=1&trm_id=2&pay_type=3&pay_type=4", pay(terminal="1", pay_type="3")),
    (f"{PAY}&txn_date=20260601120133&txn_date=x", pay(txn_date=AT)),
    # currencies
    *((f"{PAY}&ccy={ccy}", pay(currency="RUB")) for ccy in ("RUB", "RUR", "643", "810")),
    # what a terminal says of itself: in any encoding, or left out
    (f"{PAY}&trm_id=%CC%EE%F1%EA%E2%E0+5", pay(terminal="Москва 5")),
    (PAY.encode() + "&trm_id=Москва".encode("cp1251"), pay(terminal="Москва")),
    (PAY.encode() + "&trm_id=Москва".encode(), pay(terminal="Москва")),
    (f"{PAY}&comment=%CF%EB%E0%F2%E5%E6", pay()),
    (f"{PAY}&trm_id=%98", pay(terminal="\ufffd")),
    (f"{PAY}&trm_id=100%&pay_type=%zz", pay(terminal="100%", pay_type="%zz")),
    (f"{PAY}&trm_id={'x' * NOTE_MAX}", pay(terminal="x" * NOTE_MAX)),
    (f"{PAY}&trm_id={'x' * (NOTE_MAX + 1)}&pay_type=1%00", pay()),
    (f"{PAY}&trm_id=1%0A&pay_type=%E2%80%AE", pay()),
    # what the command has no use for
    ("command=check&account=9161234567&txn_date=yesterday&date=x", check()),
    (f"{PAY}&prv_txn=x", pay()),
    ("command=status&txn_id=7&account=x&sum=x&ccy=x&prv_txn=x", of(Command.STATUS, txn_id="7")),
    ("command=cancel&txn_id=0&prv_txn=99&account=x", of(Command.CANCEL, txn_id="0", prv_txn="99")),
    ("command=verify&date=20260601&txn_id=7", of(Command.VERIFY, txn_id="7", day=DAY)),
    # as much as there may be
    (PAY + "&x" * (PARAMETERS_MAX - 4), pay()),
    (f"{PAY}&x=".ljust(QUERY_BYTES_MAX, "x"), pay()),
]

NO_SUM = "sum is not written as 10.50"
NO_TXN_ID = "txn_id is not 1 to 20 digits"
NO_TIME = "txn_date is no time written as YYYYMMDDHHMMSS"
NO_DAY = "date is no day written as YYYYMMDD"
NO_NUMBER = "account is no phone number"
NO_COMMAND = "command is none that is served here"

# The query, the comment and the txn_id that are answered, under the result.
REFUSED: dict[Result, list[tuple[str | bytes, str, str]]] = {
    Result.OTHER: [
        ("", "command is missing", ""),
        ("command=&txn_id=7", "command is missing", "7"),
        ("command=PAY&txn_id=7", NO_COMMAND, "7"),
        ("command=refund&txn_id=7", NO_COMMAND, "7"),
        ("command=pay%00&txn_id=7", NO_COMMAND, "7"),
        # bounds
        (PAY + "&x" * (PARAMETERS_MAX - 3), "there are more than 64 parameters", ""),
        (f"{PAY}&x=".ljust(QUERY_BYTES_MAX + 1, "x"), "the request is longer than 16384 bytes", ""),
        # repeats that differ
        ("command=check&command=pay&txn_id=7", "differs from itself: command", "7"),
        (f"{PAY}&sum=10.5", "differs from itself: sum", "7"),
        (f"{PAY}&sum=", "differs from itself: sum", "7"),
        (f"account=79161234567&{PAY}", "differs from itself: account", "7"),
        (f"{PAY}&%61ccount=9161234568", "differs from itself: account", "7"),
        (f"{PAY}&txn_id=8", "differs from itself: txn_id", ""),
        (f"{PAY}&prv_txn=1&prv_txn=2&sum=1&sum=2", "differs from itself: prv_txn, sum", "7"),
        # identifiers
        ("command=pay&account=9161234567&sum=10.50", "txn_id is missing", ""),
        (PAY.replace("=7", "="), "txn_id is missing", ""),
        (PAY.replace("=7", "=0"), "txn_id is missing", "0"),
        (PAY.replace("=7", "=000"), "txn_id is missing", "000"),
        (PAY.replace("=7", "=-7"), NO_TXN_ID, ""),
        (PAY.replace("=7", "=7x"), NO_TXN_ID, ""),
        (PAY.replace("=7", "=7%00"), NO_TXN_ID, ""),
        (PAY.replace("=7", "=7%0A"), NO_TXN_ID, ""),
        (PAY.replace("=7", "=%D9%A7"), NO_TXN_ID, ""),
        (PAY.replace("=7", f"={TWENTY}1"), NO_TXN_ID, ""),
        ("command=check&account=9161234567&txn_id=x", NO_TXN_ID, ""),
        ("command=cancel&txn_id=7&prv_txn=x", "prv_txn is not 1 to 20 digits", "7"),
        ("command=cancel", "txn_id and prv_txn are missing", ""),
        ("command=cancel&txn_id=0&prv_txn=", "txn_id and prv_txn are missing", "0"),
        ("command=status", "txn_id is missing", ""),
        ("command=status&prv_txn=99&txn_id=00", "txn_id is missing", "00"),
        # sums
        ("command=pay&txn_id=7&account=9161234567", "sum is missing", "7"),
        ("command=pay&txn_id=7&account=9161234567&sum=+", "sum is missing", "7"),
        *(
            (f"command={command}&txn_id=7&account=9161234567&sum={text}", NO_SUM, "7")
            for command in ("check", "getInfo", "pay", "cancel")
            for text in (
                "10.505", "10.500", "1e3", "-1", "%2B1", "0x10", "10.", ".5", "1.000,50", "1 000",
                "10%00", "10%0A", "%C2%A010", "%D9%A1%D9%A0", "1_000", "1000000000000", "nan",
            )
        ),
        # times
        *(
            (f"{PAY}&txn_date={text}", NO_TIME, "7")
            for text in (
                "20260601", "2026060112013", "202606011201330", "20260601T12013", "yesterday",
                "20260631120133", "20261301120133", "20260601240000", "20260601246000",
                "20260601126000", "20260601120060", "19991231235959", "22000101000000",
                "00000000000000", "%D9%A20260601120133", "2026-6-1 12:01",
            )
        ),
        *(
            (f"command=verify&date={text}", NO_DAY, "")
            for text in ("", "2026061", "20260631", "202606011", "19991231", "22000101", "2026-6-1")
        ),
        ("command=verify", NO_DAY, ""),
        # currencies
        *(
            (f"{PAY}&ccy={text}", "ccy is no currency", "7")
            for text in ("rub", "840", "RU", "RUBL", "%D0%A0%D0%A3%D0%91", "R1B", "RU%00")
        ),
        # what can't be read comes before the account, and that before a sum that is too small
        ("command=pay&txn_id=7&account=x&sum=x", NO_SUM, "7"),
    ],
    Result.FORMAT: [
        ("command=check", "account is missing", ""),
        ("command=check&txn_id=0&account=+", NO_NUMBER, "0"),
        ("command=check&account=%20", "account is missing", ""),
        *(
            (f"command={command}&txn_id=7&sum=10&account={text}", NO_NUMBER, "7")
            for command in ("check", "getInfo", "pay")
            for text in (
                "x", "916123456", "7916123456789", "9161234567%00", "9161234567%0A", "%00",
                "8613800138000", "%2B%2B79161234567", "%D9%A9161234567", "%CC%EE%F1%EA%E2%E0",
                "1" * 201, " " * 41 + "9" + " " * 41 + "161234567",
            )
        ),
        ("command=pay&txn_id=7&account=x&sum=0", NO_NUMBER, "7"),
    ],
    Result.TOO_SMALL: [
        (f"command=pay&txn_id=7&account=9161234567&sum={text}", "sum is zero", "7")
        for text in ("0", "0.00", "0,0", "000")
    ],
}  # fmt: skip


def to_bytes(query: str | bytes) -> bytes:
    return query if isinstance(query, bytes) else query.encode()


def attempt(query: bytes, dialect: Dialect) -> Request | Malformed:
    try:
        return read_request(query, dialect)
    except Malformed as malformed:
        return malformed


def refusal(query: bytes, dialect: Dialect) -> tuple[Result, str, str] | None:
    read = attempt(query, dialect)
    return (read.result, read.comment, read.txn_id) if isinstance(read, Malformed) else None


@pytest.mark.parametrize(("query", "request_"), CANONICAL.items())
def test_a_request_both_ways(query: str, request_: Request) -> None:
    assert read_request(query.encode(), EVERY) == request_
    assert write_request(request_) == query.encode()


@pytest.mark.parametrize(("query", "request_"), TOLERATED)
def test_a_request_written_otherwise(query: str | bytes, request_: Request) -> None:
    assert read_request(to_bytes(query), EVERY) == request_
    assert read_request(write_request(request_), EVERY) == request_


@pytest.mark.parametrize(
    ("query", "result", "comment", "txn_id"),
    [(query, result, *said) for result, cases in REFUSED.items() for query, *said in cases],
)
def test_a_request_that_is_refused(
    query: str | bytes, result: Result, comment: str, txn_id: str
) -> None:
    assert refusal(to_bytes(query), EVERY) == (result, comment, txn_id)


@pytest.mark.parametrize(("query", "request_"), CANONICAL.items())
def test_the_dialect_says_which_commands_there_are(query: str, request_: Request) -> None:
    common = request_.command in {Command.CHECK, Command.GET_INFO, Command.PAY}
    expected = None if common else (Result.OTHER, NO_COMMAND, request_.txn_id)
    assert refusal(query.encode(), COMMON) == expected
    others = Dialect(commands=frozenset(Command) - {request_.command})
    assert refusal(query.encode(), others) == (Result.OTHER, NO_COMMAND, request_.txn_id)


def encoded(values: list[tuple[bytes, bytes]]) -> bytes:
    return "&".join(
        f"{quote_from_bytes(name)}={quote_from_bytes(value)}" for name, value in values
    ).encode()


NAMES = [b"command", b"txn_id", b"account", b"sum", b"txn_date", b"trm_id", b"prv_txn", b"ccy",
         b"date", b"pay_type", b"x"]  # fmt: skip
LIKELY = st.sampled_from(
    [b"pay", b"check", b"verify", b"cancel", b"7", b"0", b"9161234567", b"10.50", b"20260601",
     b"20260601120133", b"RUB", b"", b" ", b"%", b"+", b"\xcc\xee", "Ж".encode()]
)  # fmt: skip
QUERIES = st.one_of(
    st.binary(max_size=300),
    st.lists(st.tuples(st.sampled_from(NAMES), LIKELY | st.binary(max_size=30))).map(encoded),
    st.text("&=%+0123456789abcdefACcommandpytxn_idsu.;", max_size=200).map(str.encode),
    st.binary(max_size=30).map(lambda tail: PAY.encode() + tail),
)


@given(QUERIES, st.sampled_from([COMMON, EVERY]))
@example(b"&" * QUERY_BYTES_MAX, EVERY)
@example(b"%" * QUERY_BYTES_MAX, EVERY)
@example(b"sum=" + b"9" * (QUERY_BYTES_MAX - 4), EVERY)
def test_whatever_the_bytes_they_are_read_or_malformed(query: bytes, dialect: Dialect) -> None:
    read = attempt(query, dialect)
    if isinstance(read, Malformed):
        assert type(read.result) is Result
        assert read.result.is_fatal
        assert 0 < len(read.comment) <= COMMENT_MAX
        assert re.fullmatch(r"[0-9]{0,20}", read.txn_id)
        return
    assert read_request(write_request(read), dialect) == read
    assert (read.number is None) == (not read.account)
    if read.command is Command.PAY:
        assert read.txn_id.strip("0")
        assert read.amount_minor
        assert read.number


ACCOUNTS = st.tuples(
    st.sampled_from(["", "7", "8", "+7", "+7 ", "8 ("]), st.integers(10**9, 10**10 - 1)
).map(lambda parts: f"{parts[0]}{parts[1]}")
TXN_IDS = st.from_regex(r"[0-9]{0,19}[1-9]", fullmatch=True)
NOTES = st.none() | st.text(min_size=1, max_size=NOTE_MAX).filter(
    lambda text: text.isprintable() and text == text.strip(" ")
)
AMOUNTS = st.integers(1, 10**14 - 1)
TIMES = st.datetimes(datetime.fromisoformat("2000-01-01"), datetime.fromisoformat("2199-12-31"))
SECONDS = TIMES.map(lambda time: time.replace(microsecond=0))
PAYS = st.builds(
    pay,
    ACCOUNTS,
    txn_id=TXN_IDS,
    amount_minor=AMOUNTS,
    txn_date=st.none() | SECONDS,
    terminal=NOTES,
    pay_type=NOTES,
    currency=st.sampled_from([None, "RUB", "CNY", "USD"]),
)


@given(PAYS)
def test_a_pay_comes_back_as_it_was_written(request_: Request) -> None:
    query = write_request(request_)
    assert read_request(query, COMMON) == request_
    said = dict(parse_qsl(query.decode(), strict_parsing=True))  # another reader's view
    assert said["account"] == request_.account
    assert said.get("trm_id") == request_.terminal


# Responses

XML = '<?xml version="1.0" encoding="UTF-8"?>\n'
PAYMENT = Payment("7", "99", "9161234567", 1050, AT)
RESPONSES = {
    "<osmp_txn_id>7</osmp_txn_id><result>0</result>": Response("7", Result.DONE),
    "<osmp_txn_id></osmp_txn_id><result>300</result><comment>command is missing</comment>":
        Response("", Result.OTHER, "command is missing"),
    "<osmp_txn_id>007</osmp_txn_id><prv_txn>99</prv_txn><sum>10.50</sum><result>0</result>":
        Response("007", Result.DONE, prv_txn="99", amount_minor=1050),
    f"<osmp_txn_id>{TWENTY}</osmp_txn_id><prv_txn>99</prv_txn><sum>0.00</sum><result>0</result>"
    "<comment>Оплачено &lt;5&gt; &amp; &quot;да&quot;</comment>":
        Response(TWENTY, Result.DONE, 'Оплачено <5> & "да"', prv_txn="99", amount_minor=0),
    "<osmp_txn_id>0</osmp_txn_id><result>0</result><fields>"
    '<field1 name="balance" type="disp">123.45 ₽</field1>'
    '<field2 name="&lt;&quot;&amp;&gt;" type="prt">&lt;/field2&gt;</field2></fields>':
        Response("0", Result.DONE,
                 fields=(Field("balance", "123.45 ₽"), Field('<"&>', "</field2>", "prt"))),
    "<osmp_txn_id></osmp_txn_id><result>0</result>"
    '<payment txn_id="7" prv_txn="99" account="9161234567" amount="10.50" date="20260601120133"/>'
    '<payment txn_id="8" prv_txn="99" account="9161234567" amount="10.50" date="20260601120133"/>':
        Response("", Result.DONE, payments=(PAYMENT, PAYMENT._replace(txn_id="8"))),
} | {
    f"<osmp_txn_id>7</osmp_txn_id><result>{result.value}</result>": Response("7", result)
    for result in Result
}  # fmt: skip


@pytest.mark.parametrize(("xml", "response"), RESPONSES.items())
def test_a_response_both_ways(xml: str, response: Response) -> None:
    data = f"{XML}<response>{xml}</response>".encode()
    assert write_response(response) == data
    assert read_response(data) == response


@pytest.mark.parametrize(
    ("data", "response"),
    [
        (b"<response><result>5</result></response>", Response("", Result.NOT_FOUND)),
        (
            b"\xef\xbb\xbf<?xml version='1.0'?>\r\n<response>\r\n"
            b" <osmp_txn_id> 7 </osmp_txn_id>\r\n"
            b" <prv_txn/><sum/>\r\n <result> 1\r\n</result><comment/><x>1</x>\r\n</response>\r\n",
            Response("7", Result.TEMPORARY),
        ),
        (
            '<?xml version="1.0" encoding="windows-1251"?><response><result>0</result>'
            "<comment>Готово</comment><sum>10,5</sum></response>".encode("cp1251"),
            Response("", Result.DONE, "Готово", amount_minor=1050),
        ),
        (
            b"<response><result>0</result><fields><field1>a</field1><b/></fields></response>",
            Response("", Result.DONE, fields=(Field("", "a"), Field("", ""))),
        ),
    ],
)
def test_a_response_written_otherwise(data: bytes, response: Response) -> None:
    assert read_response(data) == response


ROW = '<payment txn_id="7" prv_txn="9" account="1" amount="1.00" date="20260601120133"/>'


@pytest.mark.parametrize(
    "data",
    [
        "",
        "OK",
        "<response>",
        "<response/>",
        "<answer><result>0</result></answer>",
        "<response><result></result></response>",
        "<response><result>2</result></response>",
        "<response><result>00</result></response>",
        "<response><result>٠</result></response>",
        "<response><result>0</result><result>0</result></response>",
        "<response><result>0</result><prv_txn>1</prv_txn><prv_txn>2</prv_txn></response>",
        "<response><result>0</result><sum>ten</sum></response>",
        "<response><result>0</result><sum>-1</sum></response>",
        "<response><result>&zero;</result></response>",
        f"<response><result>0</result>{ROW.replace('1.00', '')}</response>",
        f"<response><result>0</result>{ROW.replace('2026', '1026')}</response>",
        '<?xml version="1.0" encoding="unheard-of"?><response><result>0</result></response>',
        '<?xml version="1.0" encoding="gb18030"?><response><result>0</result></response>',
        "<!DOCTYPE response><response><result>0</result></response>",
        '<!DOCTYPE r [<!ENTITY z "0">]><response><result>&z;</result></response>',
        "<response><result>0</result></response>".ljust(RESPONSE_BYTES_MAX + 1),
    ],
)
def test_a_response_that_is_none(data: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_response(data.encode())


def test_a_document_type_is_refused_in_any_encoding() -> None:
    data = '<!DOCTYPE r [<!ENTITY z "0">]><response><result>&z;</result></response>'
    with pytest.raises(ValueError, match="no document type"):
        read_response(data.encode("utf-16"))


BYTES = [xml.encode() for xml in RESPONSES] + [b"<!DOCTYPE r [", b"<response>", b"</response>"]


@given(st.binary(max_size=300) | st.lists(st.sampled_from(BYTES)).map(b"".join))
def test_whatever_the_bytes_they_are_a_response_or_a_value_error(data: bytes) -> None:
    try:
        response = read_response(data)
    except ValueError:
        return
    assert type(response.result) is Result


def on_one_line(text: str) -> str:
    """What is written of any text, said in another way."""
    return "".join(
        " " if (ord(char) < 32 or 127 <= ord(char) < 160 or 0xD800 <= ord(char) < 0xE000
                or char in "\ufffe\uffff") else char
        for char in text
    )  # fmt: skip


TEXTS = st.text(st.characters(), max_size=30) | st.text(
    "<>&'\"]!/ \n\r\t\0\x7f\x85\ud800\udfff\ufffe\uffff\U0001ffffaЖ", max_size=30
)


@given(
    st.builds(
        Response,
        txn_id=TXN_IDS,
        result=st.sampled_from(Result),
        comment=TEXTS,
        prv_txn=st.none() | TXN_IDS,
        amount_minor=st.none() | st.just(0) | AMOUNTS,
        fields=st.lists(st.builds(Field, TEXTS, TEXTS, TEXTS), max_size=3).map(tuple),
        payments=st.lists(
            st.builds(Payment, TEXTS, TEXTS, TEXTS, AMOUNTS, SECONDS), max_size=3
        ).map(tuple),
    )
)
def test_a_response_comes_back_as_it_was_written(response: Response) -> None:
    data = write_response(response)
    assert read_response(data) == response._replace(
        comment=on_one_line(response.comment),
        fields=tuple(Field(*map(on_one_line, field)) for field in response.fields),
        payments=tuple(
            payment._replace(
                txn_id=on_one_line(payment.txn_id),
                prv_txn=on_one_line(payment.prv_txn),
                account=on_one_line(payment.account),
            )
            for payment in response.payments
        ),
    )


@given(TEXTS, TEXTS)
def test_another_parser_finds_the_elements_and_the_texts(comment: str, value: str) -> None:
    seen: list[tuple[str, str]] = []
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = lambda name, _: seen.append((name, ""))
    parser.CharacterDataHandler = lambda text: seen.append((seen.pop()[0], text))
    field = Field("<name>", value)
    is_all = True
    parser.Parse(write_response(Response("7", Result.DONE, comment, fields=(field,))), is_all)
    assert seen == [
        ("response", ""),
        ("osmp_txn_id", "7"),
        ("result", "0"),
        *([("comment", on_one_line(comment))] if comment else []),
        ("fields", ""),
        ("field1", on_one_line(value)),
    ]


def test_a_long_comment_is_cut() -> None:
    comment = "&" * (COMMENT_MAX + 1)
    written = write_response(Response("7", Result.OTHER, comment))
    assert read_response(written).comment == "&" * COMMENT_MAX


def test_the_results_that_end_a_payment() -> None:
    assert {result.value: result.is_fatal for result in Result} == {
        0: False, 1: False, 4: True, 5: True, 7: True, 8: True, 79: True, 90: False, 241: True,
        242: True, 243: True, 251: True, 300: True,
    }  # fmt: skip


@given(st.integers(0, 10**14 - 1))
def test_a_sum_both_ways(amount_minor: int) -> None:
    text = write_sum(amount_minor)
    assert re.fullmatch(r"[0-9]{1,12}\.[0-9]{2}", text)
    assert read_sum(text) == amount_minor


@pytest.mark.parametrize("amount_minor", [-1, 10**14])
def test_a_sum_that_cannot_be_written(amount_minor: int) -> None:
    with pytest.raises(ValueError, match="no sum that the protocol can write"):
        write_sum(amount_minor)


@given(SECONDS)
def test_a_time_both_ways(time: datetime) -> None:
    assert read_time(write_time(time)) == time
