"""The one decision, as case tables: what is refused and why first, what a repeat gets."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import combinations
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popolni.agents.rules import ContractTerms, OutletTerms
from popolni.catalog.operators.rules import Identity, NumberStatus, Profile
from popolni.core.channel import Channel
from popolni.core.identifiers import transfer_id
from popolni.core.language import Language
from popolni.core.method import Method
from popolni.core.outcome import Outcome
from popolni.core.refusal import AmountRange, Refusal
from popolni.ledger.chart import SUBJECT_MAX, Code, Kind
from popolni.ledger.codec import encode_batch
from popolni.ledger.model import REFERENCE_MAX, LogEntry, Posted, Transfer
from popolni.protocols.osmp import TXN_ID_DIGITS_MAX
from popolni.topups.catalogue import (
    AgentTerms,
    BranchTerms,
    Catalogue,
    ContractSetting,
    OperatorTerms,
    OutletSetting,
)
from popolni.topups.facts import NumberFacts
from popolni.topups.rules import (
    Ask,
    Credited,
    Decision,
    Refused,
    ReversalRefusal,
    answer,
    answer_reversal,
    cancellation_of,
    decide,
    find_outlet,
    first_answer,
    least_amount,
    memo_of,
    read_digits,
    read_memo,
    refusal_in,
    refuse,
    refuse_reversal,
    reversal_ids,
    reversal_of,
    top_up_of,
)

NOW = datetime(2026, 6, 15, 12, tzinfo=UTC)
NUMBER = 79160000001
FACTS = NumberFacts(1, NumberStatus.ACTIVE, 0, 0)
PROFILE = Profile(
    limits={Channel.OSMP: AmountRange(10_00, 5_000_00)},
    methods=frozenset({Method.CASH, Method.SBP}),
    cash_identity=frozenset({Identity.DOCUMENT}),
    cash_identity_from_minor=1_000_00,
    day_max_minor=6_000_00,
    month_max_minor=10_000_00,
)
OPERATOR = OperatorTerms(
    id=1, code="volna", names={}, profile=PROFILE, promotions=(), promotion_names={}
)
MOSCOW = BranchTerms(
    id=1,
    code="moscow",
    book=7,
    currency="RUB",
    zone=ZoneInfo("Europe/Moscow"),
    operator=OPERATOR,
)
IN_FORCE = ContractSetting(terms=ContractTerms(date(2026, 6, 1), None, {}), identity=None)
OUTLET = OutletSetting(
    id=31,
    terms=OutletTerms(
        is_active=True,
        methods=frozenset({Method.CASH}),
        min_minor=10_00,
        max_minor=2_000_00,
        day_max_minor=3_000_00,
    ),
)
AGENT = AgentTerms(
    id=5,
    code="shops",
    is_active=True,
    language=Language.EN,
    sees_names=False,
    reversal_s=600,
    contracts={1: IN_FORCE},
    outlets={"shops-1": OUTLET, "corner": OUTLET},
)
EAST = replace(MOSCOW, id=2, code="east", book=8)


def catalogue_of(*branches: BranchTerms) -> Catalogue:
    return Catalogue(
        branches={branch.id: branch for branch in branches},
        agents={},
        plans={},
        books={},
        agents_by_id={},
        currencies=frozenset(),
    )


CATALOGUE = catalogue_of(MOSCOW, EAST)
ASK = Ask(Channel.OSMP, AGENT, "1001", NUMBER, 100_00)


def off(**outlet: Any) -> AgentTerms:
    terms = replace(OUTLET.terms, **outlet)
    return replace(AGENT, outlets={"shops-1": replace(OUTLET, terms=terms)})


MUST_NAME = replace(AGENT, names_outlets=True)


# What is refused

# By what it takes to be refused for it, and for nothing before it: of the ask, of the number.
OBSTACLES: dict[Refusal, tuple[dict[str, Any], dict[str, Any]]] = {
    Refusal.NUMBER_CLOSED: ({}, {"status": NumberStatus.CLOSED}),
    Refusal.NUMBER_BLOCKED: ({}, {"status": NumberStatus.BLOCKED}),
    Refusal.CONTRACT_NOT_IN_FORCE: ({"agent": replace(AGENT, contracts={})}, {}),
    Refusal.CHANNEL_OFF: ({"channel": Channel.API}, {}),
    Refusal.METHOD_OFF: ({"method": Method.PAYPAL}, {}),
    Refusal.AMOUNT_TOO_SMALL: ({"amount_minor": 9_99}, {}),
    Refusal.AMOUNT_TOO_LARGE: ({"amount_minor": 5_000_01}, {}),
    Refusal.IDENTITY_NEEDED: ({"amount_minor": 1_000_00}, {}),
    Refusal.DAY_LIMIT: ({}, {"spent_today_minor": 5_900_01, "spent_month_minor": 5_900_01}),
    Refusal.MONTH_LIMIT: ({}, {"spent_month_minor": 9_900_01}),
}


@pytest.mark.parametrize("refusal", OBSTACLES)
def test_each_obstacle(refusal: Refusal) -> None:
    asked, facts = OBSTACLES[refusal]
    refused = refuse(CATALOGUE, ASK._replace(**asked), FACTS._replace(**facts), NOW)
    assert refused is not None
    assert refused.refusal is refusal


@pytest.mark.parametrize(("first", "second"), [*combinations(OBSTACLES, 2)])
def test_of_two_obstacles_the_first_in_the_list(first: Refusal, second: Refusal) -> None:
    """Whatever can stand together: a sum cannot be both too small and too large."""
    asked = {**OBSTACLES[second][0], **OBSTACLES[first][0]}
    facts = {**OBSTACLES[second][1], **OBSTACLES[first][1]}
    refused = refuse(CATALOGUE, ASK._replace(**asked), FACTS._replace(**facts), NOW)
    assert refused is not None
    assert refused.refusal is first
    assert list(Refusal).index(first) < list(Refusal).index(second)


@pytest.mark.parametrize(
    ("asked", "facts", "refusal"),
    [
        ({}, FACTS, None),
        ({"amount_minor": 10_00}, FACTS, None),
        ({"amount_minor": 999_99}, FACTS, None),
        ({"amount_minor": 5_000_00, "method": Method.SBP}, FACTS, None),
        ({"amount_minor": 5_000_00, "identity": Identity.DOCUMENT}, FACTS, None),
        ({"amount_minor": 1_000_00, "identity": Identity.GOSUSLUGI}, FACTS, "identity_needed"),
        ({}, FACTS._replace(spent_today_minor=5_900_00), None),
        ({}, FACTS._replace(spent_month_minor=9_900_00), None),
        ({"currency": "RUB"}, FACTS, None),
        ({"currency": "KZT"}, FACTS, "currency_other"),
        ({"currency": "KZT"}, FACTS._replace(status=NumberStatus.CLOSED), "number_closed"),
        # before all else: an agent that is off learns nothing about numbers
        ({"agent": replace(AGENT, is_active=False)}, None, "agent_inactive"),
        ({"agent": replace(AGENT, is_active=False), "currency": "KZT"}, FACTS, "agent_inactive"),
        ({}, None, "number_unknown"),
        ({"amount_minor": 1}, None, "number_unknown"),
        ({}, FACTS._replace(branch_id=9), "number_unknown"),
        ({}, FACTS._replace(branch_id=2), "contract_not_in_force"),
        # outlets: those that we know
        ({"outlet": "1"}, FACTS, None),
        ({"outlet": "somewhere"}, FACTS, None),  # a terminal's name of its own
        ({"outlet": "somewhere", "channel": Channel.API}, FACTS, "outlet_unknown"),
        ({"outlet": "somewhere", "channel": Channel.API}, None, "outlet_unknown"),
        ({"outlet": "somewhere", "agent": MUST_NAME}, FACTS, "outlet_unknown"),
        ({"agent": MUST_NAME}, FACTS, "outlet_unknown"),
        ({"outlet": "1", "agent": MUST_NAME}, FACTS, None),
        ({"outlet": "1", "agent": off(is_active=False)}, None, "outlet_inactive"),
        ({"outlet": "1", "agent": off(is_active=False)}, FACTS, "outlet_inactive"),
        ({"outlet": "shops-1", "agent": off(is_active=False)}, FACTS, "outlet_inactive"),
        ({"outlet": "2", "agent": off(is_active=False)}, FACTS, None),
        ({"outlet": "1", "method": Method.SBP}, FACTS, "outlet_method_off"),
        ({"outlet": "1", "agent": off(min_minor=100_01)}, FACTS, "amount_too_small"),
        ({"outlet": "1", "amount_minor": 2_000_01}, FACTS, "amount_too_large"),
        (
            {"outlet": "1", "agent": off(is_active=False), "channel": Channel.API},
            FACTS._replace(status=NumberStatus.CLOSED),
            "outlet_inactive",
        ),
        (
            {"outlet": "1", "method": Method.SBP},
            FACTS._replace(status=NumberStatus.BLOCKED),
            "number_blocked",
        ),
    ],
)
def test_what_is_refused(
    asked: dict[str, Any], facts: NumberFacts | None, refusal: str | None
) -> None:
    refused = refuse(CATALOGUE, ASK._replace(**asked), facts, NOW)
    assert (refused.refusal.value if refused else None) == refusal


@pytest.mark.parametrize(
    ("asked", "facts", "today_minor", "refusal", "allowed"),
    [
        ({}, FACTS, 2_900_00, None, None),
        ({}, FACTS, 2_900_01, "outlet_day_limit", (10_00, 99_99)),
        ({}, FACTS, 2_995_00, "outlet_day_limit", None),
        ({"outlet": None}, FACTS, 2_900_01, None, None),  # nobody's
        ({"amount_minor": 999_99}, FACTS, 2_900_01, "outlet_day_limit", (10_00, 99_99)),
        ({"amount_minor": 2_000_01}, FACTS, 0, "amount_too_large", (10_00, 999_99)),
        ({}, FACTS._replace(spent_today_minor=5_950_00), 2_960_00, "day_limit", (10_00, 40_00)),
    ],
)
def test_the_limits_of_an_outlet(
    asked: dict[str, Any],
    facts: NumberFacts,
    today_minor: int,
    refusal: str | None,
    allowed: tuple[int, int] | None,
) -> None:
    ask = ASK._replace(outlet="1")._replace(**asked)
    refused = refuse(CATALOGUE, ask, facts, NOW, today_minor)
    assert (refused and refused.refusal.value, refused and refused.allowed) == (refusal, allowed)
    decision = decide(CATALOGUE, ask, facts, NOW, today_minor)
    assert decision.refused == refused


def test_the_contract_says_how_who_pays_is_identified() -> None:
    documents = replace(IN_FORCE, identity=Identity.DOCUMENT)
    agent = replace(AGENT, contracts={1: documents})
    large = ASK._replace(agent=agent, amount_minor=1_000_00)
    assert refuse(CATALOGUE, large, FACTS, NOW) is None
    said = refuse(CATALOGUE, large._replace(identity=Identity.GOSUSLUGI), FACTS, NOW)
    assert said == Refused(Refusal.IDENTITY_NEEDED, AmountRange(10_00, 999_99))


@pytest.mark.parametrize(
    ("valid_from", "valid_to", "now", "is_in_force"),
    [
        ("2026-06-15", None, "2026-06-14T21:00", True),  # midnight in Moscow
        ("2026-06-15", None, "2026-06-14T20:59", False),
        ("2026-06-01", "2026-06-15", "2026-06-14T20:59", True),
        ("2026-06-01", "2026-06-15", "2026-06-14T21:00", False),
    ],
)
def test_a_contract_is_in_force_by_the_branchs_day(
    valid_from: str, valid_to: str | None, now: str, *, is_in_force: bool
) -> None:
    end = date.fromisoformat(valid_to) if valid_to else None
    terms = ContractTerms(date.fromisoformat(valid_from), end, {})
    agent = replace(AGENT, contracts={1: ContractSetting(terms=terms, identity=None)})
    at = datetime.fromisoformat(f"{now}+00:00")
    refused = refuse(CATALOGUE, ASK._replace(agent=agent), FACTS, at)
    assert (refused is None) is is_in_force


@pytest.mark.parametrize(
    ("asked", "facts", "allowed"),
    [
        ({"amount_minor": 1}, FACTS, (10_00, 999_99)),
        ({"amount_minor": 1, "method": Method.SBP}, FACTS, (10_00, 5_000_00)),
        ({}, FACTS._replace(spent_today_minor=5_950_00), (10_00, 50_00)),
        ({}, FACTS._replace(spent_month_minor=9_990_01), None),
        ({}, FACTS._replace(status=NumberStatus.BLOCKED), None),
    ],
)
def test_what_would_be_let_in(
    asked: dict[str, Any], facts: NumberFacts, allowed: tuple[int, int] | None
) -> None:
    refused = refuse(CATALOGUE, ASK._replace(**asked), facts, NOW)
    assert refused is not None
    assert refused.allowed == allowed


@pytest.mark.parametrize(
    ("facts", "channel", "least"),
    [
        (FACTS, Channel.OSMP, 10_00),
        (FACTS, Channel.API, 1),
        (FACTS._replace(branch_id=9), Channel.OSMP, 1),
        (None, Channel.OSMP, 1),
    ],
)
def test_the_least_amount(facts: NumberFacts | None, channel: Channel, least: int) -> None:
    assert least_amount(CATALOGUE, facts, channel) == least


@pytest.mark.parametrize(
    ("name", "is_found"),
    [("shops-1", True), ("1", True), ("corner", True), ("2", False), ("", False), (None, False)],
)
def test_which_outlet_is_meant(name: str | None, *, is_found: bool) -> None:
    assert find_outlet(AGENT, name) is (OUTLET if is_found else None)


# What is posted


def test_the_transfer_of_a_top_up() -> None:
    at = datetime(2026, 6, 15, tzinfo=UTC)
    asked = ASK._replace(outlet="1", reference_at=at)
    id_ = transfer_id("osmp", 5, "1001")
    float_, money = Kind.AGENT_FLOAT.account_id(5), Kind.SUBSCRIBER_MONEY.account_id(NUMBER)
    expected = Transfer(
        id_,
        float_,
        money,
        100_00,
        Code.TOP_UP_OSMP,
        reference="1001",
        reference_at=at,
        reference_id=31,
    )
    assert decide(CATALOGUE, asked, FACTS, NOW) == Decision(7, expected, None)
    elsewhere = asked._replace(agent=replace(AGENT, contracts={2: IN_FORCE}))
    assert decide(CATALOGUE, elsewhere, FACTS._replace(branch_id=2), NOW).book == 8


@pytest.mark.parametrize(
    ("facts", "book", "refusal"),
    [
        (FACTS._replace(status=NumberStatus.CLOSED), 7, Refusal.NUMBER_CLOSED),
        (FACTS._replace(branch_id=2), 8, Refusal.CONTRACT_NOT_IN_FORCE),
        (FACTS._replace(branch_id=9), 7, Refusal.NUMBER_UNKNOWN),
        (None, 7, Refusal.NUMBER_UNKNOWN),
    ],
)
def test_the_transfer_of_a_refusal(facts: NumberFacts | None, book: int, refusal: Refusal) -> None:
    decision = decide(CATALOGUE, ASK, facts, NOW)
    assert decision.refused is not None
    assert decision == Decision(book, memo_of(ASK, refusal), decision.refused)
    assert decision.refused.refusal is refusal
    assert decision.transfer.id == top_up_of(ASK).id


def test_without_a_branch_nothing_is_decided() -> None:
    with pytest.raises(LookupError):
        decide(catalogue_of(), ASK, None, NOW)


def entry_of(transfer: Transfer, seq: int = 3, at: datetime = NOW) -> LogEntry:
    return LogEntry(
        seq,
        transfer.id,
        transfer.debit_account,
        transfer.credit_account,
        transfer.amount,
        at,
        transfer.code,
        transfer.flags,
        transfer.pending_id,
        None,
        transfer.reference,
        transfer.reference_at,
        transfer.reference_id,
    )


REFERENCES = st.text(
    st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), min_size=1, max_size=64
)


@given(
    st.sampled_from(list(Refusal)),
    st.integers(1, 10**14 - 1),
    st.integers(1, SUBJECT_MAX),
    REFERENCES,
)
def test_a_memo_says_what_was_refused(
    refusal: Refusal, amount: int, number: int, reference: str
) -> None:
    """Whatever the agent's identifier is: it may have spaces in it."""
    ask = ASK._replace(amount_minor=amount, number=number, reference=reference)
    transfer = memo_of(ask, refusal)
    encode_batch([transfer])  # it can be posted
    assert read_memo(entry_of(transfer)) == (refusal, amount, reference)
    assert first_answer(ask, 7, entry_of(transfer)) == Refused(refusal)


def test_a_memo_of_the_longest_identifiers_can_be_posted() -> None:
    """Else all that is posted with it would fail, too."""
    longest = max(Refusal, key=lambda refusal: len(refusal.value))
    memo = memo_of(ASK._replace(amount_minor=2**63 - 1, reference="x" * 128), longest)
    assert len(memo.reference or "") <= REFERENCE_MAX
    assert TXN_ID_DIGITS_MAX <= 128


# What the ledger says


TOP_UP = decide(CATALOGUE, ASK, FACTS, NOW)
BLOCKED = decide(CATALOGUE, ASK, FACTS._replace(status=NumberStatus.BLOCKED), NOW)


@pytest.mark.parametrize(
    ("decision", "outcome", "expected"),
    [
        (TOP_UP, Outcome.CREATED, Credited(7, 3, is_repeat=False)),
        (TOP_UP, Outcome.EXISTS, Credited(7, 3, is_repeat=True)),
        (BLOCKED, Outcome.CREATED, Refused(Refusal.NUMBER_BLOCKED)),
        (BLOCKED, Outcome.EXISTS, Refused(Refusal.NUMBER_BLOCKED)),
        (TOP_UP, Outcome.EXCEEDS_CREDITS, Refused(Refusal.FLOAT_TOO_LOW)),
        (TOP_UP, Outcome.CREDIT_ACCOUNT_NOT_FOUND, Refused(Refusal.NUMBER_UNKNOWN)),
        (TOP_UP, Outcome.CREDIT_ACCOUNT_ALREADY_CLOSED, Refused(Refusal.NUMBER_CLOSED)),
        (TOP_UP, Outcome.DEBIT_ACCOUNT_NOT_FOUND, Refused(Refusal.CONTRACT_NOT_IN_FORCE)),
        (TOP_UP, Outcome.DEBIT_ACCOUNT_ALREADY_CLOSED, Refused(Refusal.CONTRACT_NOT_IN_FORCE)),
        (TOP_UP, Outcome.OVERFLOWS_CREDITS_POSTED, Refused(Refusal.AMOUNT_TOO_LARGE)),
        *(
            (decision, outcome, None)
            for decision in (TOP_UP, BLOCKED)
            for outcome in Outcome
            if outcome.value.startswith("exists_with_different")
        ),
    ],
)
def test_what_the_ledgers_word_means(
    decision: Decision, outcome: Outcome, expected: Credited | Refused | None
) -> None:
    assert answer(decision, Posted(outcome, 3)) == expected


def test_what_no_top_up_can_meet_is_no_answer() -> None:
    with pytest.raises(KeyError):
        answer(TOP_UP, Posted(Outcome.AMOUNT_MUST_NOT_BE_ZERO, 0))


@pytest.mark.parametrize(
    ("other", "is_same"),
    [
        ({}, True),
        ({"reference_at": NOW}, True),
        ({"outlet": "1"}, True),
        ({"method": Method.SBP}, True),
        ({"amount_minor": 100_01}, False),
        ({"number": NUMBER + 1}, False),
    ],
)
def test_the_same_ask_gets_the_first_answer(other: dict[str, Any], *, is_same: bool) -> None:
    asked = ASK._replace(**other)
    refused = Refused(Refusal.DUPLICATE_WITH_OTHER_CONTENT)
    credited = first_answer(asked, 7, entry_of(top_up_of(ASK)))
    assert credited == (Credited(7, 3, is_repeat=True) if is_same else refused)
    memo = first_answer(asked, 7, entry_of(memo_of(ASK, Refusal.DAY_LIMIT)))
    assert memo == (Refused(Refusal.DAY_LIMIT) if is_same else refused)


def test_what_was_cancelled_before_it_came_is_so_whatever_it_says() -> None:
    memo = cancellation_of(Channel.OSMP, AGENT, "1001")
    assert memo.id == ASK.id
    encode_batch([memo])  # it can be posted
    for ask in (ASK, ASK._replace(amount_minor=100_01), ASK._replace(number=NUMBER + 1)):
        assert first_answer(ask, 7, entry_of(memo)) == Refused(Refusal.CANCELLED)
    assert refuse_reversal(AGENT, entry_of(memo), NOW) is ReversalRefusal.NOT_FOUND


@pytest.mark.parametrize(
    ("transfer", "refusal"),
    [
        (cancellation_of(Channel.OSMP, AGENT, "1001"), Refusal.CANCELLED),
        (memo_of(ASK, Refusal.DAY_LIMIT), Refusal.DAY_LIMIT),
        (top_up_of(ASK), None),
    ],
)
def test_why_there_is_no_top_up(transfer: Transfer, refusal: Refusal | None) -> None:
    assert refusal_in(entry_of(transfer)) is refusal


# The names of a credit


@pytest.mark.parametrize(
    ("book", "seq", "receipt", "digits"),
    [
        (3, 1745, "3-1745", "300000001745"),
        (1, 1, "1-1", "100000000001"),
        (999_999_999, 99_999_999_999, "999999999-99999999999", "9" * 20),
    ],
)
def test_its_names(book: int, seq: int, receipt: str, digits: str) -> None:
    credited = Credited(book, seq, is_repeat=False)
    assert (credited.receipt, credited.digits) == (receipt, digits)
    assert len(digits) <= TXN_ID_DIGITS_MAX


@given(st.integers(1, 10**9 - 1), st.integers(1, 10**11 - 1))
def test_its_digits_are_read_back(book: int, seq: int) -> None:
    assert read_digits(Credited(book, seq, is_repeat=False).digits) == (book, seq)


@given(st.text(st.sampled_from("0123456789x-+ ٣²"), max_size=25))
def test_whatever_is_read_names_one_place(text: str) -> None:
    place = read_digits(text)
    if place is not None:
        assert Credited(*place, is_repeat=False).digits == text
        assert 0 < place[0] < 10**9


@pytest.mark.parametrize("text", ["", "5", "00000000001", "000000000001", "1" * 21, "1٣" * 6])
def test_what_names_no_place(text: str) -> None:
    assert read_digits(text) is None


# Reversals


@pytest.mark.parametrize(
    ("agent", "entry", "age_s", "refusal"),
    [
        (AGENT, top_up_of(ASK), 0, None),
        (AGENT, top_up_of(ASK), 600, None),
        (AGENT, top_up_of(ASK), 601, ReversalRefusal.TOO_LATE),
        (AGENT, top_up_of(ASK._replace(channel=Channel.TILL)), 0, None),
        (AGENT, None, 0, ReversalRefusal.NOT_FOUND),
        (AGENT, memo_of(ASK, Refusal.DAY_LIMIT), 0, ReversalRefusal.NOT_FOUND),
        (AGENT, top_up_of(ASK)._replace(code=Code.FLOAT_FUNDING), 0, ReversalRefusal.NOT_FOUND),
        (replace(AGENT, id=6), top_up_of(ASK), 0, ReversalRefusal.NOT_FOUND),
        (replace(AGENT, id=6, reversal_s=0), top_up_of(ASK), 0, ReversalRefusal.NOT_FOUND),
        (replace(AGENT, reversal_s=0), top_up_of(ASK), 0, ReversalRefusal.NOT_ALLOWED),
        (replace(AGENT, reversal_s=0), top_up_of(ASK), 9_999, ReversalRefusal.NOT_ALLOWED),
    ],
)
def test_what_an_agent_may_reverse(
    agent: AgentTerms, entry: Transfer | None, age_s: int, refusal: ReversalRefusal | None
) -> None:
    posted = entry_of(entry, at=NOW) if entry else None
    assert refuse_reversal(agent, posted, NOW + timedelta(seconds=age_s)) == refusal


def test_a_reversal_cannot_be_reversed() -> None:
    back = entry_of(reversal_of(7, entry_of(top_up_of(ASK))), seq=4)
    assert refuse_reversal(AGENT, back, NOW) is ReversalRefusal.NOT_FOUND


def test_the_transfer_of_a_reversal() -> None:
    """The same sum, the other way; its identifier is the top-up's, whoever asks for it."""
    top_up = entry_of(top_up_of(ASK), seq=12)
    back = reversal_of(7, top_up)
    assert back == Transfer(
        reversal_ids(7, 12)[0],
        top_up.credit_account,
        top_up.debit_account,
        100_00,
        Code.TOP_UP_REVERSAL,
        reference="1001",
        reference_id=12,
    )
    ids = {id_ for book in range(1, 5) for seq in range(1, 50) for id_ in reversal_ids(book, seq)}
    assert len(ids) == 2 * 4 * 49


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (Outcome.CREATED, Credited(7, 3, is_repeat=False)),
        (Outcome.EXISTS, Credited(7, 3, is_repeat=True)),
        (Outcome.EXCEEDS_CREDITS, ReversalRefusal.MONEY_SPENT),
        (Outcome.DEBIT_ACCOUNT_ALREADY_CLOSED, ReversalRefusal.MONEY_SPENT),
        (Outcome.DEBIT_ACCOUNT_NOT_FOUND, ReversalRefusal.MONEY_SPENT),
        (Outcome.CREDIT_ACCOUNT_ALREADY_CLOSED, ReversalRefusal.MONEY_SPENT),
        (Outcome.EXISTS_WITH_DIFFERENT_AMOUNT, None),
    ],
)
def test_what_the_ledger_says_of_a_reversal(
    outcome: Outcome, expected: Credited | ReversalRefusal | None
) -> None:
    assert answer_reversal(7, Posted(outcome, 3)) == expected


def test_what_no_reversal_can_meet() -> None:
    with pytest.raises(AssertionError, match="amount_must_not_be_zero"):
        answer_reversal(7, Posted(Outcome.AMOUNT_MUST_NOT_BE_ZERO, 0))
