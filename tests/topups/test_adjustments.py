"""What staff post by hand: who may, when a second person is needed, and that it happens once."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from datetime import timedelta
from functools import partial
from itertools import count
from typing import Any, NamedTuple

import pytest
from auditlog.context import set_actor
from django.core.exceptions import PermissionDenied
from django.db import OperationalError, connection, transaction
from django.utils import timezone
from hypothesis import given, settings
from hypothesis import strategies as st

from popolni.agents.models import Contract
from popolni.agents.service import float_account, float_left
from popolni.agents.staff import User
from popolni.catalog.promotions.models import PromotionBudget
from popolni.catalog.promotions.service import budget_account, budget_left, open_budget
from popolni.core.errors import UserError
from popolni.core.identifiers import transfer_id
from popolni.ledger.chart import Code
from popolni.ledger.chart import Kind as AccountKind
from popolni.ledger.client import atomic, run
from popolni.ledger.errors import LedgerUnavailable, OutcomeUnknown
from popolni.ledger.statements import close_accounts, read_log, read_transfers
from popolni.ledger.verify import Fault, verify
from popolni.subscribers.models import Number
from popolni.topups import adjustments
from popolni.topups.adjustment_transfers import Target
from popolni.topups.adjustments import Kind, Status, approve, ask, decline, needs_approval
from popolni.topups.models import Adjustment
from tests.agents.support import (
    new_branch,
    new_contract,
    new_number,
    new_promotion,
    new_user,
    posted,
)
from tests.conftest import SOURCE

pytestmark = pytest.mark.usefixtures("database_url")

ABOUT_A_TOP_UP = {"top_up_reversal", "top_up", "top_up_correction"}
CHOSEN = set(Kind.values) - ABOUT_A_TOP_UP
"""Reversals have tests of their own."""
SUM = 1_000
"""From which a second person approves."""
_reasons = count(1)


def why() -> str:
    """Two asks with one reason are one ask."""
    return f"payment order {next(_reasons)}"


class People(NamedTuple):
    """Finance asks and decides, and support asks only."""

    asker: User
    second: User
    third: User


@pytest.fixture
def people() -> People:
    return People(new_user(), new_user(), new_user("owner"))


def new_float() -> Contract:
    """Of a contract with a branch of its own."""
    return new_contract(new_branch(approval_from_minor=SUM))


def new_target(kind: str, gives: str = "money") -> Target:
    if kind.startswith("float"):
        return new_float()
    branch = new_branch(approval_from_minor=SUM)
    if kind.startswith("balance"):
        return new_number(branch)
    return open_budget(new_promotion(gives), branch)


def account_of(target: Target) -> int:
    if isinstance(target, Number):
        return AccountKind.SUBSCRIBER_MONEY.account_id(target.number)
    return float_account(target) if isinstance(target, Contract) else budget_account(target)


def held(target: Target) -> int:
    return posted(target.branch.book, account_of(target))


def fill(target: Target, amount: int, by: People) -> None:
    kind = {"Contract": "float_funding", "Number": "balance_credit"}
    row = ask(kind.get(type(target).__name__, "budget_funding"), target, amount, why(), by=by.third)
    if row.status == Status.WAITING:
        row = approve(row, by=by.second)
    assert row.status == Status.POSTED


class Way(NamedTuple):
    """Of 500 that were there, 70 more, or 70 less."""

    kind: str
    gives: str
    other: str
    code: Code
    sign: int


WAYS = [
    Way("float_funding", "", "BANK", Code.FLOAT_FUNDING, 1),
    Way("float_withdrawal", "", "BANK", Code.FLOAT_WITHDRAWAL, -1),
    Way("balance_credit", "", "CORRECTIONS", Code.BALANCE_CREDIT, 1),
    Way("balance_debit", "", "CORRECTIONS", Code.BALANCE_DEBIT, -1),
    Way("budget_funding", "money", "OPERATOR_REVENUE", Code.BUDGET_FUNDING, 1),
    Way("budget_withdrawal", "percent", "OPERATOR_REVENUE", Code.BUDGET_WITHDRAWAL, -1),
    Way("budget_funding", "bytes", "ISSUED_BYTES", Code.BUDGET_FUNDING, 1),
    Way("budget_withdrawal", "seconds", "ISSUED_SECONDS", Code.BUDGET_WITHDRAWAL, -1),
    Way("budget_withdrawal", "messages", "ISSUED_MESSAGES", Code.BUDGET_WITHDRAWAL, -1),
]


@pytest.mark.parametrize("way", WAYS, ids=[f"{way.kind} {way.gives}" for way in WAYS])
def test_what_is_posted(people: People, way: Way) -> None:
    target = new_target(way.kind, way.gives)
    fill(target, 500, people)
    row = ask(way.kind, target, 70, why(), by=people.asker)
    if way.gives in ("bytes", "seconds", "messages"):
        assert (row.status, row.seq) == (Status.WAITING, None)
        row = approve(row, by=people.second)
    assert (row.status, row.outcome, row.seq) == (Status.POSTED, "created", 2)
    own, outside = account_of(target), AccountKind[way.other].account_id()
    entry = run(read_log(target.branch.book, 0, 10))[-1]
    assert (entry.debit_account, entry.credit_account, entry.amount) == (
        (outside, own, 70) if way.sign > 0 else (own, outside, 70)
    )
    assert (entry.id, entry.code, entry.reference_id) == (
        transfer_id("adjustment", row.pk),
        way.code,
        row.pk,
    )
    assert held(target) == 500 + way.sign * 70
    if isinstance(target, PromotionBudget):
        assert budget_left(target) == held(target)


@pytest.mark.parametrize(
    ("amount", "alone", "from_", "answer"),
    [
        (999, 0, 1_000, False),
        (1_000, 0, 1_000, True),
        (1, 998, 1_000, False),
        (1, 999, 1_000, True),
        (1, 0, 0, True),
        (1, 0, 1, True),
    ],
)
def test_when_a_second_person_is_needed(amount: int, alone: int, from_: int, answer: bool) -> None:  # noqa: FBT001  # a case
    assert needs_approval(amount, alone, from_) is answer


def test_a_sum_is_not_split_into_small_ones(people: People) -> None:
    contract = new_contract(new_branch(approval_from_minor=SUM))

    def asks(kind: str, target: Target, amount: int, by: User) -> str:
        return ask(kind, target, amount, why(), by=by).status

    assert asks("float_funding", contract, 600, people.asker) == "posted"
    assert asks("float_funding", contract, 400, people.asker) == "waiting"
    assert asks("float_funding", contract, 300, people.asker) == "posted"  # what waits is not sent
    assert asks("float_withdrawal", contract, 100, people.asker) == "waiting"  # nor there and back
    assert asks("float_funding", contract, 99, people.asker) == "posted"
    assert asks("float_funding", contract, 1, people.asker) == "waiting"
    assert asks("float_funding", contract, 999, people.second) == "posted"
    Adjustment.objects.filter(book=contract.branch.book).update(
        decided_at=timezone.now() - adjustments.WINDOW - timedelta(seconds=1)
    )
    assert asks("float_funding", contract, 999, people.asker) == "posted"
    assert asks("float_funding", contract, 1, people.asker) == "waiting"


def test_a_sum_is_not_split_over_floats_numbers_and_budgets(people: People) -> None:
    branch = new_branch(approval_from_minor=SUM)
    money, percent = (open_budget(new_promotion(gives), branch) for gives in ("money", "percent"))

    def asks(kind: str, target: Target, amount: int) -> str:
        return ask(kind, target, amount, why(), by=people.asker).status

    assert adjustments.posted_alone(people.asker, branch.book) == 0
    assert asks("float_funding", new_contract(branch), 300) == "posted"
    assert asks("balance_credit", new_number(branch), 300) == "posted"
    assert asks("budget_funding", money, 300) == "posted"
    assert asks("budget_funding", percent, 99) == "posted"
    assert adjustments.posted_alone(people.asker, branch.book) == 999
    targets: list[Target] = [new_contract(branch), new_number(branch), percent]
    kinds = ["float_funding", "balance_credit", "budget_withdrawal"]
    assert [asks(*way, 1) for way in zip(kinds, targets, strict=True)] == ["waiting"] * 3
    assert adjustments.posted_alone(people.second, branch.book) == 0
    assert asks("float_funding", new_float(), 999) == "posted"  # another branch's limit


def test_what_was_approved_does_not_count(people: People) -> None:
    contract = new_float()
    row = ask("float_funding", contract, 5_000, why(), by=people.asker)
    assert approve(row, by=people.second).status == "posted"
    assert ask("float_funding", contract, 999, why(), by=people.asker).status == "posted"


MAY = [
    ("finance", {"float_funding", "float_withdrawal", "balance_credit", "balance_debit",
                 "budget_funding", "budget_withdrawal"}, True),
    ("owner", CHOSEN, True),
    ("support", {"balance_credit", "balance_debit"}, False),
    ("catalogue", set(), False),
    ("clerk", set(), False),
    (None, set(), False),
]  # fmt: skip


@pytest.mark.parametrize(("role", "kinds", "decides"), MAY)
def test_who_may(role: str | None, kinds: set[str], decides: bool, people: People) -> None:  # noqa: FBT001  # a case
    user = new_user(role)
    asked = set()
    for kind in CHOSEN:
        target = new_target(kind)
        try:
            asked.add(ask(kind, target, SUM, why(), by=user).kind)
        except PermissionDenied:
            assert not Adjustment.objects.filter(asked_by=user, kind=kind).exists()
    assert asked == kinds
    waiting = ask("float_funding", new_float(), SUM, why(), by=people.asker)
    if decides:
        assert approve(waiting, by=user).decided_by == user
        return
    for decide in (approve, decline):
        with pytest.raises(PermissionDenied):
            decide(waiting, by=user)
    waiting.refresh_from_db()
    assert waiting.status == "waiting"


def test_nobody_decides_on_their_own(people: People) -> None:
    boss = new_user(role=None, is_superuser=True)
    for asker in (people.third, boss):
        waiting = ask("float_funding", new_float(), SUM, why(), by=asker)
        for decide in (approve, decline):
            with pytest.raises(UserError, match="another person decides"):
                decide(waiting, by=asker)
        assert approve(waiting, by=people.asker).status == "posted"


def test_nobody_decides_with_keys_from_the_same_hand(people: People) -> None:
    asker, second, third = people
    waiting = ask("float_funding", new_float(), SUM, why(), by=asker)
    for hand, one in [(asker, second), (second, asker), (third, asker)]:
        with set_actor(hand):
            one.set_password("some longer password 9")
            one.save()
        for decide in (approve, decline):
            with pytest.raises(UserError, match="the same hand"):
                decide(waiting, by=second if hand != third else third)
    assert approve(waiting, by=new_user()).status == "posted"


def test_keys_that_were_changed_long_ago_are_their_own(people: People) -> None:
    with set_actor(people.asker):
        people.second.set_password("some longer password 9")
        people.second.save()
    waiting = ask("float_funding", new_float(), SUM, why(), by=people.asker)
    with pytest.raises(UserError, match="the same hand"):
        approve(waiting, by=people.second)
    later = timezone.now() + adjustments.OWN_KEYS_AFTER + timedelta(minutes=1)
    Adjustment.objects.filter(pk=waiting.pk).update(asked_at=later)
    waiting.refresh_from_db()
    assert approve(waiting, by=people.second).status == "posted"


def test_whoever_left_does_nothing_more(people: People) -> None:
    target = new_float()
    waiting = ask("float_funding", target, SUM, why(), by=people.asker)
    stale = User.objects.get(pk=people.second.pk)
    assert stale.has_perm("popolni.decide_adjustment")
    User.objects.filter(pk=stale.pk).update(is_active=False)
    for decide in (approve, decline):
        with pytest.raises(PermissionDenied):
            decide(waiting, by=stale)
    with pytest.raises(PermissionDenied):
        ask("float_funding", target, 1, why(), by=stale)
    assert held(target) == 0


@pytest.mark.parametrize(
    ("amount", "reason", "says"),
    [
        (0, "a good reason", "more than zero"),
        (-5, "a good reason", "more than zero"),
        (2**63, "a good reason", "more than zero"),
        (5, "", "say why"),
        (5, "    abcd    ", "say why"),
        (5, "x" * 301, "say why"),
        (5, "with a \x00 in it", "say why"),
    ],
)
def test_what_is_not_asked(people: People, amount: int, reason: str, says: str) -> None:
    target = new_float()
    with pytest.raises(UserError, match=says):
        ask("float_funding", target, amount, reason, by=people.asker)
    assert not Adjustment.objects.filter(asked_by=people.asker).exists()


def test_mistakes_of_a_program(people: People) -> None:
    with pytest.raises(TypeError, match="not about a Contract"):
        ask("balance_credit", new_float(), 5, why(), by=people.asker)
    with pytest.raises(ValueError, match="gift"):
        ask("gift", new_float(), 5, why(), by=people.asker)
    waiting = ask("float_funding", new_float(), SUM, why(), by=people.asker)
    with pytest.raises(RuntimeError, match="not inside a transaction"), transaction.atomic():
        approve(waiting, by=people.second)


def test_the_ledger_refuses(people: People) -> None:
    contract = new_float()
    row = ask("float_withdrawal", contract, 5, why(), by=people.asker)
    assert (row.status, row.outcome, row.seq) == ("refused", "exceeds_credits", None)
    assert row.decided_by is None
    waiting = ask("float_withdrawal", contract, SUM, why(), by=people.asker)
    refused = approve(waiting, by=people.second)
    assert (refused.status, refused.outcome) == ("refused", "exceeds_credits")
    assert refused.decided_by == people.second
    fill(contract, 5_000, people)
    assert approve(waiting, by=people.second).status == "refused"  # final: who wants it asks again
    with pytest.raises(UserError, match="is decided already: refused by the ledger"):
        decline(waiting, by=people.second)
    number = new_target("balance_credit")
    run(close_accounts(number.branch.book, [account_of(number)]))
    row = ask("balance_credit", number, 5, why(), by=people.asker)
    assert (row.status, row.outcome) == ("refused", "credit_account_already_closed")


def test_decisions_are_final_and_repeated_answers_the_same(people: People) -> None:
    contract = new_float()
    row = ask("float_funding", contract, SUM, why(), by=people.asker)
    first = approve(row, by=people.second)
    for by in (people.second, people.third):
        again = approve(row, by=by)
        assert (again.status, again.seq, again.decided_by, again.decided_at) == (
            "posted",
            first.seq,
            people.second,
            first.decided_at,
        )
        with pytest.raises(UserError, match=f"№ {row.pk} is decided already: posted"):
            decline(row, by=by)
    assert held(contract) == SUM

    other = ask("float_funding", contract, SUM, why(), by=people.asker)
    declined = decline(other, by=people.second)
    assert (declined.status, declined.decided_by, declined.outcome) == (
        "declined",
        people.second,
        "",
    )
    assert decline(other, by=people.third).decided_by == people.second
    with pytest.raises(UserError, match=f"№ {other.pk} is decided already: declined"):
        approve(other, by=people.second)
    assert held(contract) == SUM


def test_the_same_ask_a_moment_later_is_the_same_click(people: People) -> None:
    contract = new_float()

    def asks(amount: int = 10, reason: str = "one click", by: User = people.asker) -> int:
        return ask("float_funding", contract, amount, reason, by=by).pk

    first = asks()
    assert [asks(), asks(reason=" one  click ")] == [first, first]
    assert len({first, asks(11), asks(reason="two clicks"), asks(by=people.second)}) == 4
    Adjustment.objects.filter(pk=first).update(
        asked_at=timezone.now() - adjustments.REPEAT - timedelta(seconds=1)
    )
    assert asks() != first
    large = asks(SUM)
    assert asks(SUM) == large
    decline(Adjustment.objects.get(pk=large), by=people.second)
    assert asks(SUM) != large


def long_ago(contract: Contract) -> None:
    """As if hours had passed since the contract's rows were asked for."""
    past = timezone.now() - timedelta(hours=9)
    Adjustment.objects.filter(contract=contract).update(asked_at=past)


def test_the_same_form_is_the_same_ask_however_late(people: People) -> None:
    contract, reason = new_float(), why()

    def sends(form: str, amount: int = 10, by: User = people.asker) -> int:
        return ask("float_funding", contract, amount, reason, by=by, form=form).pk

    first = sends("a")
    assert sends("b") == first  # the same click, as far as anyone can tell
    long_ago(contract)
    assert [sends("a"), sends("b")] == [first, first]
    assert sends("a", by=people.second) != first  # a token is its person's
    assert sends("c") != first
    assert held(contract) == 30


@pytest.mark.parametrize("different", ["kind", "target", "amount", "reason"])
def test_the_same_form_with_other_content_is_refused(people: People, different: str) -> None:
    contract = new_float()
    fill(contract, 500, people)
    sent: dict[str, Any] = {
        "kind": "float_funding",
        "target": contract,
        "amount": 10,
        "reason": "as it was sent",
    }
    other = {
        "kind": "float_withdrawal",
        "target": new_contract(contract.branch),
        "amount": 11,
        "reason": "as it was not sent",
    }
    row = ask(**sent, by=people.asker, form="t")
    with pytest.raises(UserError, match=f"asked for something else .№ {row.pk}."):
        ask(**{**sent, different: other[different]}, by=people.asker, form="t")
    assert ask(**sent, by=people.asker, form="t") == row
    assert held(contract) == 510


def test_a_form_that_was_not_taken_can_be_sent_again(people: People) -> None:
    contract = new_float()
    with pytest.raises(UserError, match="more than zero"):
        ask("float_funding", contract, 0, why(), by=people.asker, form="t")
    assert adjustments.sent_before("t", by=people.asker) is None
    row = ask("float_funding", contract, 10, why(), by=people.asker, form="t")
    assert adjustments.sent_before("t", by=people.asker) == row
    assert adjustments.sent_before("t", by=people.second) is None
    assert adjustments.sent_before("", by=people.asker) is None


def at_once(*acts: Callable[[], Any]) -> list[str]:
    """Each in a thread and connection of its own; their answers, sorted."""
    answers: list[str] = []
    barrier = threading.Barrier(len(acts))

    def act_alone(act: Callable[[], Any]) -> None:
        try:
            barrier.wait()
            answers.append(act().status)
        except UserError:
            answers.append("UserError")
        except BaseException as error:  # noqa: BLE001  # shown by the comparison
            answers.append(repr(error))
        finally:
            connection.close()

    threads = [threading.Thread(target=act_alone, args=[act]) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(answers)


RACES = 8


def test_two_approve_at_once(people: People) -> None:
    contract = new_float()
    for _ in range(RACES):
        row = ask("float_funding", contract, SUM, why(), by=people.asker)
        answers = at_once(
            partial(approve, row, by=people.second), partial(approve, row, by=people.third)
        )
        assert answers == ["posted", "posted"]
    assert held(contract) == SUM * RACES


def test_one_approves_while_another_declines(people: People) -> None:
    contract = new_float()
    sums = 0
    for _ in range(RACES):
        row = ask("float_funding", contract, SUM, why(), by=people.asker)
        answers = at_once(
            partial(approve, row, by=people.second), partial(decline, row, by=people.third)
        )
        row.refresh_from_db()
        assert answers == sorted(["UserError", row.status])
        sums += SUM if row.status == Status.POSTED else 0
    assert held(contract) == sums


def test_a_double_click_asks_once(people: People) -> None:
    contract = new_float()
    reason = why()
    for form in ("", "t"):
        ask_it = partial(ask, "float_funding", contract, 10, reason, by=people.asker, form=form)
        assert at_once(ask_it, ask_it, ask_it) == ["posted"] * 3
    assert held(contract) == 10


def test_two_small_sums_at_once_are_not_both_below_the_sum(people: People) -> None:
    for _ in range(RACES):
        contract = new_float()
        asks = [
            partial(ask, "float_funding", contract, 600, why(), by=people.asker) for _ in range(2)
        ]
        answers = at_once(*asks)
        assert answers == ["posted", "waiting"]
        assert held(contract) == 600


def test_two_small_sums_for_two_floats_at_once(people: People) -> None:
    branch = new_branch(approval_from_minor=SUM)
    asks = [
        partial(ask, "float_funding", new_contract(branch), 600, why(), by=people.asker)
        for _ in range(2)
    ]
    assert at_once(*asks) == ["posted", "waiting"]


def test_the_last_of_the_float_is_withdrawn_once(people: People) -> None:
    contract = new_float()
    fill(contract, SUM, people)
    rows = [ask("float_withdrawal", contract, SUM, why(), by=people.asker) for _ in range(3)]
    assert at_once(*[partial(approve, row, by=people.second) for row in rows]) == [
        "posted",
        "refused",
        "refused",
    ]
    assert held(contract) == 0


@pytest.mark.parametrize("faster", ["declined", "posted"])
def test_a_refusal_does_not_replace_what_someone_faster_decided(
    people: People, faster: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    contract = new_float()
    row = ask("float_withdrawal", contract, SUM, why(), by=people.asker)
    note = adjustments._note_refusal

    def be_faster(*refusal: Any) -> Adjustment:
        """Between the rollback of what the ledger refused and the writing down of that."""
        monkeypatch.setattr(adjustments, "_note_refusal", note)
        if faster == "declined":
            decline(row, by=people.third)
        else:
            fill(contract, SUM, people)
            approve(row, by=people.third)
        return note(*refusal)

    monkeypatch.setattr(adjustments, "_note_refusal", be_faster)
    refused = pytest.raises(UserError, match="declined") if faster == "declined" else nullcontext()
    with refused:
        assert approve(row, by=people.second).status == "posted"
    row.refresh_from_db()
    assert (row.status, row.decided_by) == (faster, people.third)
    assert held(contract) == 0


def test_without_the_ledger_nothing_is_decided(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    contract, reason = new_float(), why()

    def away(*_: object) -> None:
        raise LedgerUnavailable("away")

    with monkeypatch.context() as without:
        without.setattr(adjustments, "run", away)
        with pytest.raises(LedgerUnavailable):
            ask("float_funding", contract, 10, reason, by=people.asker)
    (row,) = Adjustment.objects.filter(contract=contract)
    assert (row.status, row.outcome, row.decided_at) == ("waiting", "", None)
    again = ask("float_funding", contract, 10, reason, by=people.asker)
    assert (again.pk, again.status) == (row.pk, "posted")
    assert held(contract) == 10


@pytest.mark.parametrize("is_committed", [True, False])
def test_an_unknown_outcome_is_found_out_by_asking_again(
    people: People,
    is_committed: bool,  # noqa: FBT001  # a case
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    contract, reason = new_float(), why()

    @contextmanager
    def lost_at_commit() -> Iterator[None]:
        with suppress(InterruptedError), atomic():
            yield
            if not is_committed:
                raise InterruptedError
        raise OutcomeUnknown("lost")

    with monkeypatch.context() as lossy:
        lossy.setattr(adjustments, "atomic", lost_at_commit)
        with pytest.raises(OutcomeUnknown):
            ask("float_funding", contract, 10, reason, by=people.asker, form="t")
    assert held(contract) == (10 if is_committed else 0)
    (row,) = Adjustment.objects.filter(contract=contract)
    long_ago(contract)
    again = ask("float_funding", contract, 10, reason, by=people.asker, form="t")
    assert (again.pk, again.status, again.seq) == (row.pk, "posted", 1)
    assert held(contract) == 10


def test_where_it_is_may_be_written_later(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    contract, reason = new_float(), why()

    def broken(*_: object, **__: object) -> None:
        raise OperationalError("gone")

    with monkeypatch.context() as without:
        without.setattr("django.db.models.query.QuerySet.update", broken)
        row = ask("float_funding", contract, 10, reason, by=people.asker)
    assert (row.status, row.seq) == ("posted", 1)
    row.refresh_from_db()
    assert (row.status, row.seq) == ("posted", None)
    assert ask("float_funding", contract, 10, reason, by=people.asker).seq == 1
    row.refresh_from_db()
    assert row.seq == 1


# Run in a process of its own, which kills itself at one place.
CRASH = """
import os, signal, sys
import django
django.setup()
from popolni.agents.staff import User
from popolni.topups import adjustments
from popolni.topups.models import Adjustment

what, place, pk, by, reason = sys.argv[1:]

def killing(name, when):
    function = getattr(adjustments, name)
    def killed(*arguments, **options):
        if when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        function(*arguments, **options)
        os.kill(os.getpid(), signal.SIGKILL)
    setattr(adjustments, name, killed)

killing(*place.split())
by = User.objects.get(pk=by)
if what == "approve":
    adjustments.approve(Adjustment.objects.get(pk=pk), by=by)
else:
    target = adjustments.Contract.objects.get(pk=pk)
    adjustments.ask(what, target, 10, reason, by=by, form="t")
"""


def crash(what: str, place: str, pk: int, by: User, reason: str = "-") -> None:
    arguments = [what, place, str(pk), str(by.pk), reason]
    path = {**os.environ, "PYTHONPATH": str(SOURCE)}
    died = subprocess.run(
        [sys.executable, "-c", CRASH, *arguments], env=path, check=False, timeout=60
    )
    assert died.returncode == -signal.SIGKILL


PLACES = [
    ("_lock before", "waiting"),
    ("_decide after", "waiting"),
    ("_post_last before", "waiting"),
    ("_post_last after", "waiting"),
    ("_note_place before", "posted"),
    ("_note_place after", "posted"),
]


@pytest.mark.parametrize(("place", "left"), PLACES)
def test_killed_while_approving(people: People, place: str, left: str) -> None:
    contract = new_float()
    row = ask("float_funding", contract, SUM, why(), by=people.asker)
    crash("approve", place, row.pk, people.second)
    row.refresh_from_db()
    assert (row.status, held(contract)) == (left, SUM if left == "posted" else 0)
    again = approve(row, by=people.second)
    assert (again.status, again.seq, held(contract)) == ("posted", 1, SUM)


@pytest.mark.parametrize(
    ("place", "left"), [("_post before", "waiting"), ("_post_last after", "waiting"), PLACES[4]]
)
def test_killed_while_asking(people: People, place: str, left: str) -> None:
    contract, reason = new_float(), why()
    crash("float_funding", place, contract.pk, people.asker, reason)
    (row,) = Adjustment.objects.filter(contract=contract)
    assert (row.status, held(contract)) == (left, 10 if left == "posted" else 0)
    long_ago(contract)
    again = ask("float_funding", contract, 10, reason, by=people.asker, form="t")
    assert (again.pk, again.status, again.seq, held(contract)) == (row.pk, "posted", 1, 10)


@pytest.mark.parametrize("place", ["_note_refusal before", "_decide after"])
def test_killed_while_the_ledger_refuses(people: People, place: str) -> None:
    contract = new_float()
    row = ask("float_withdrawal", contract, SUM, why(), by=people.asker)
    crash("approve", place, row.pk, people.second)
    row.refresh_from_db()
    assert row.status == "waiting"
    again = approve(row, by=people.second)
    assert (again.status, again.outcome) == ("refused", "exceeds_credits")


ACTS = st.one_of(
    st.tuples(
        st.sampled_from(["float_funding", "float_withdrawal"]),
        st.integers(1, 2 * SUM),
        st.integers(0, 2),
    ),
    st.tuples(st.sampled_from([approve, decline]), st.integers(0, 9), st.integers(0, 2)),
)


@given(st.lists(ACTS, max_size=12))
@settings(max_examples=40)  # each makes a book, and hundreds of queries
def test_the_float_is_the_sum_of_what_was_posted(acts: list[tuple[Any, int, int]]) -> None:
    people = People(new_user(), new_user(), new_user("owner"))
    contract = new_float()
    rows: list[Adjustment] = []
    for act, number, person in acts:
        by = people[person]
        if isinstance(act, str):
            rows.append(ask(act, contract, number, why(), by=by))
        elif number < len(rows):
            with suppress(UserError):
                act(rows[number], by=by)
        signs = {"float_funding": 1, "float_withdrawal": -1}
        sums = Adjustment.objects.filter(contract=contract, status=Status.POSTED)
        expected = sum(signs[row.kind] * row.amount for row in sums)
        assert float_left([contract])[contract.pk] == expected
        assert expected >= 0
    assert_log_is_the_table(contract.branch.book)


def assert_log_is_the_table(book: int) -> None:
    """Each posted row is one transfer, each transfer one posted row; nobody decided alone."""
    rows = Adjustment.objects.filter(book=book, status=Status.POSTED)
    entries = {entry.reference_id: entry.seq for entry in run(read_log(book, 0, 1_000))}
    assert dict(rows.values_list("pk", "seq")) == entries
    others = Adjustment.objects.filter(book=book).exclude(status=Status.POSTED)
    assert run(read_transfers([transfer_id("adjustment", row.pk) for row in others])) == {}
    for row in Adjustment.objects.filter(book=book).exclude(status=Status.WAITING):
        assert row.decided_by_id != row.asked_by_id


def test_verify_finds_no_fault(people: People, database_url: str) -> None:
    targets = [new_target(kind) for kind in ("float_funding", "balance_credit", "budget_funding")]
    for target in targets:
        fill(target, 500, people)
        faults: list[Fault] = []
        report = verify(database_url, book=target.branch.book, since=None, on_fault=faults.append)
        assert (faults, report.faults, report.transfers) == ([], 0, 1)
