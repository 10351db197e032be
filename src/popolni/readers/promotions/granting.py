"""The reader "promotions": gives bonuses for top-ups, takes them back when those are reversed.

It decides while the book's turn is its own: what it has read of budgets and balances still holds
when it posts. So no budget is overdrawn, and none is refused that is there.
"""

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime

from django.db import connection

from popolni.catalog.operators.models import Branch
from popolni.catalog.promotions.rules import bonus_id, bonus_reversal_id
from popolni.core.outcome import AccountOutcome
from popolni.ledger.chart import TOP_UPS, Code
from popolni.ledger.client import run
from popolni.ledger.model import BATCH_MAX, LogEntry, Transfer, Unit
from popolni.ledger.statements import lock_book, open_accounts, post
from popolni.readers.frame import Reader, at_most
from popolni.readers.promotions.facts import (
    Terms,
    credits_number,
    number_of,
    read_closed,
    read_credits,
    read_gone,
    read_state,
    read_terms,
    read_top_ups,
    reverses,
)
from popolni.readers.promotions.rules import (
    Division,
    Grant,
    Reversal,
    State,
    Step,
    decide,
    divide,
    money_of,
)
from popolni.subscribers.models import Allowance
from popolni.topups.bonuses import ALLOWANCE_KINDS, Key
from popolni.topups.models import BonusesDecided

NAME = "promotions"
DECIDED_MAX = 500
"""Most top-ups and reversals at once: while they are decided, the book waits."""

log = logging.getLogger("popolni.promotions")


def handle(book: int, entries: Sequence[LogEntry]) -> None:
    """Gives and takes back what these entries of the log, in order, bring. Ends in a post.

    What was decided once is not decided again, whatever is handed in. Inside a transaction.
    """
    division = _claim(book, [entry.seq for entry in entries])
    seqs = {*division.fresh, *division.again}
    own = [entry for entry in entries if entry.seq in seqs]
    top_ups = [entry for entry in own if credits_number(entry)]
    reversals = [
        Reversal(entry.seq, entry.reference_id, entry.created_at)
        for entry in own
        if reverses(entry) and entry.reference_id
    ]
    branch = Branch.objects.filter(book=book).first() if top_ups or reversals else None
    if branch is not None:
        _decide(branch, division, top_ups, reversals)


def _claim(book: int, seqs: Sequence[int]) -> Division:
    """Of these places, those that are not decided yet: they are from now on."""
    row, _is_new = BonusesDecided.objects.select_for_update().get_or_create(book=book)
    division = divide(row.seq, row.passed, seqs)
    if division.fresh or division.again:
        row.seq, row.passed = division.seq, division.passed
        row.save(update_fields=["seq", "passed"])
    return division


def _decide(
    branch: Branch, division: Division, top_ups: Sequence[LogEntry], reversals: Sequence[Reversal]
) -> None:
    book = branch.book
    moments = [entry.created_at for entry in top_ups] + [one.at for one in reversals]
    terms = read_terms(branch, min(moments))
    met = read_top_ups(branch, terms, top_ups)
    if not (met or (reversals and terms.all)):
        return
    run(lock_book(book))
    candidates = _of_open_numbers(branch, [entry for entry in top_ups if entry.seq in met])
    gone = read_gone(book, [e.seq for e in candidates if e.seq in division.again])
    candidates = [entry for entry in candidates if entry.seq not in gone]
    credits_ = read_credits(book, terms, met, candidates, frozenset(division.fresh))
    first = min([*division.fresh, *division.again])
    state = read_state(book, terms, credits_, reversals, first - 1)
    steps = decide(state, sorted([*credits_, *reversals], key=lambda event: event.seq))
    if steps:
        _post(book, terms, state, steps)


def _of_open_numbers(branch: Branch, entries: Sequence[LogEntry]) -> list[LogEntry]:
    """Those of numbers of the branch; one that was closed meanwhile has nowhere to put a bonus."""
    there, closed = read_closed(branch, map(number_of, entries))
    for entry in entries:
        if number_of(entry) in closed:
            log.warning("%d-%d: its number is closed: no bonus", branch.book, entry.seq)
    return [e for e in entries if number_of(e) in there and number_of(e) not in closed]


def _post(book: int, terms: Terms, state: State, steps: Sequence[Step]) -> None:
    """Opens the allowances, and posts."""
    grants = [step for step in steps if isinstance(step, Grant)]
    accounts = {key: bonus.account for key, bonus in state.given.items()}
    accounts |= {one.key: money_of(one.number) for one in grants if one.unit is Unit.MONEY}
    accounts |= _open_allowances(book, [one for one in grants if one.unit is not Unit.MONEY])
    transfers = [
        _transfer(book, step, terms.all[step.promotion], accounts[step.key]) for step in steps
    ]
    for start in range(0, len(transfers), BATCH_MAX):
        batch = transfers[start : start + BATCH_MAX]
        answers = run(post(book, batch))
        for transfer, answer in zip(batch, answers, strict=True):
            if not answer.outcome.done:
                raise AssertionError(f"{book}, {transfer}: {answer.outcome}")


def _transfer(book: int, step: Step, budget: int, account: int) -> Transfer:
    """`reference` is the top-up's receipt."""
    is_grant = isinstance(step, Grant)
    debit, credit = (budget, account) if is_grant else (account, budget)
    name = bonus_id if is_grant else bonus_reversal_id
    return Transfer(
        name(step.promotion, book, step.seq),
        debit,
        credit,
        step.amount,
        Code.BONUS if is_grant else Code.BONUS_REVERSAL,
        reference=f"{book}-{step.seq}",
        reference_id=step.promotion,
    )


def _open_allowances(book: int, grants: Sequence[Grant]) -> Mapping[Key, int]:
    """A row and an account for each of these bonuses, which end."""
    if not grants:
        return {}
    keys = _next_keys(len(grants))
    kinds = [ALLOWANCE_KINDS[grant.unit] for grant in grants]
    made = [kind.account(key) for kind, key in zip(kinds, keys, strict=True)]
    outcomes = run(open_accounts(book, made))
    if set(outcomes) != {AccountOutcome.CREATED}:
        raise AssertionError(f"{book}: an account of a new allowance is there already")
    Allowance.objects.bulk_create(
        Allowance(
            pk=key,
            number_id=grant.number,
            account=account.id,
            unit=grant.unit.value,
            granted=grant.amount,
            ends_at=_end(grant),
            promotion_id=grant.promotion,
        )
        for key, account, grant in zip(keys, made, grants, strict=True)
    )
    return {grant.key: account.id for grant, account in zip(grants, made, strict=True)}


def _end(grant: Grant) -> datetime:
    if grant.ends_at is None:
        raise AssertionError(f"promotion {grant.promotion} gives what ends, but not when")
    return grant.ends_at


def _next_keys(count: int) -> list[int]:
    """For rows whose accounts are named after them."""
    with connection.cursor() as cursor:
        cursor.execute(
            "select nextval(pg_get_serial_sequence('popolni_allowance', 'id'))"
            " from generate_series(1, %s)",
            (count,),
        )
        return [key for (key,) in cursor.fetchall()]


_CODES = ", ".join(str(code.value) for code in (*TOP_UPS.values(), Code.TOP_UP_REVERSAL))
READER = Reader(NAME, handle, until=at_most(NAME, f"entry.code in ({_CODES})", DECIDED_MAX))
