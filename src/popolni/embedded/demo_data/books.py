"""Writes a branch's people, numbers and history: one transaction, so all of it or nothing."""

import threading
from collections.abc import Mapping, Sequence
from datetime import datetime

import django.db
from django.db import connection, models

from popolni.agents.models import Agent, Contract, Outlet
from popolni.agents.staff import User
from popolni.catalog.operators.models import Branch
from popolni.catalog.plans.models import PlanVersion
from popolni.catalog.promotions.models import Promotion, PromotionBudget
from popolni.core.outcome import Outcome
from popolni.embedded.demo_data import catalogue
from popolni.embedded.demo_data.entries import (
    AdjustmentRow,
    BookHistory,
    Moment,
    Ref,
    to_transfer,
)
from popolni.embedded.demo_data.month import PROVIDER
from popolni.embedded.demo_data.people import PassportRow, Person
from popolni.ledger import statements
from popolni.ledger.chart import Kind
from popolni.ledger.client import atomic, run
from popolni.ledger.model import BATCH_MAX, Posted, Transfer, Unit
from popolni.ledger.statements import Statement
from popolni.subscribers.documents import Document, from_mrz, set_document
from popolni.subscribers.models import (
    Allowance,
    IdentityDocument,
    Number,
    Subscriber,
    Subscription,
)
from popolni.subscribers.rules import NUMBER_KINDS, PLAN_KINDS
from popolni.subscribers.service import block, close
from popolni.topups.models import Adjustment, BonusesDecided


def is_written(branch: Branch) -> bool:
    """Whether the branch has its numbers, and with them its history."""
    return Number.objects.filter(branch=branch).exists()


def write_book(
    branch: Branch, people: Sequence[Person], history: BookHistory, stop: threading.Event
) -> None:
    """Writes all that a branch has; gives up, with nothing written, once `stop` is set."""
    with atomic():
        _write_numbers(branch, people, history)
        rows = _rows_known() | _reserve(history)
        _open_accounts(branch.book, people, history, rows)
        _write_subscriptions(history, rows)
        _write_allowances(history, rows)
        seqs = _seqs(history)
        _write_adjustments(branch, history.adjustments, rows, seqs)
        # Many posts in one transaction, and what follows them is short: nobody waits for this
        # book yet.
        _post(branch.book, history.moments, rows, stop)
        BonusesDecided.objects.create(book=branch.book, seq=_last(history))
        for number, since in history.status_since.items():
            change = close if number % 100 == catalogue.CLOSED else block
            change(number, at=since)


def _write_numbers(branch: Branch, people: Sequence[Person], history: BookHistory) -> None:
    subscribers = Subscriber.objects.bulk_create(
        Subscriber(
            name=person.name,
            language=person.language.value,
            created_at=history.opened[person.number],
        )
        for person in people
    )
    Number.objects.bulk_create(
        Number(
            number=person.number,
            branch=branch,
            subscriber=subscriber,
            opened_at=history.opened[person.number],
            status_since=history.opened[person.number],
        )
        for person, subscriber in zip(people, subscribers, strict=True)
    )
    for person, subscriber in zip(people, subscribers, strict=True):
        if person.passport:
            set_document(subscriber, _document(person.passport))


def _document(passport: PassportRow) -> Document:
    if passport.expiry is None:
        kind = IdentityDocument.Kind.RUSSIAN_PASSPORT.value
        return Document(kind, passport.number, passport.name, None, passport.country)
    return from_mrz(passport.zone())


def _rows_known() -> dict[Ref, int]:
    rows: dict[Ref, int] = {}
    rows |= {Ref("agent", code): pk for code, pk in Agent.objects.values_list("code", "pk")}
    rows |= {Ref("promotion", code): pk for code, pk in Promotion.objects.values_list("code", "pk")}
    return rows | {Ref("outlet", code): pk for code, pk in Outlet.objects.values_list("code", "pk")}


def _reserve(history: BookHistory) -> dict[Ref, int]:
    """Keys for rows that transfers name, before either is written."""
    bonuses = [Ref("bonus", row.key) for row in history.bonuses]
    adjustments = [Ref("adjustment", row.key) for row in history.adjustments]
    subscriptions = [Ref("subscription", row.number) for row in history.subscriptions]
    return (
        dict(zip(bonuses, _next_keys(Allowance, len(bonuses)), strict=True))
        | dict(zip(adjustments, _next_keys(Adjustment, len(adjustments)), strict=True))
        | dict(zip(subscriptions, _next_keys(Subscription, len(subscriptions)), strict=True))
    )


def _next_keys(model: type[models.Model], count: int) -> list[int]:
    with connection.cursor() as cursor:
        cursor.execute(
            "select nextval(pg_get_serial_sequence(%s, 'id')) from generate_series(1, %s)",
            (model._meta.db_table, count),
        )
        return sorted(key for (key,) in cursor.fetchall())


def _open_accounts(
    book: int, people: Sequence[Person], history: BookHistory, rows: Mapping[Ref, int]
) -> None:
    accounts = [Kind.PAYMENT_CLEARING.account(PROVIDER)]
    accounts += [kind.account(person.number) for person in people for kind in NUMBER_KINDS]
    accounts += [Kind.BONUS_BYTES.account(rows[Ref("bonus", row.key)]) for row in history.bonuses]
    run(statements.open_accounts(book, accounts))


def _write_subscriptions(history: BookHistory, rows: Mapping[Ref, int]) -> None:
    versions = {
        (version.plan.code, version.version): version
        for version in PlanVersion.objects.select_related("plan")
    }
    Subscription.objects.bulk_create(
        Subscription(
            pk=rows[Ref("subscription", row.number)],
            number_id=row.number,
            version=versions[row.plan, row.version],
            status=Subscription.Status.LAPSED if row.is_lapsed else Subscription.Status.ACTIVE,
            started_at=row.started_at,
            anchored_at=row.anchored_at,
            period_starts_at=row.period_starts_at,
            period_ends_at=row.period_ends_at,
        )
        for row in history.subscriptions
    )


def _write_allowances(history: BookHistory, rows: Mapping[Ref, int]) -> None:
    Allowance.objects.bulk_create(
        Allowance(
            number_id=plan.number,
            account=PLAN_KINDS[plan.unit].account_id(plan.number),
            unit=plan.unit.value,
            granted=plan.granted,
            ends_at=plan.ends_at,
        )
        for plan in history.allowances
    )
    Allowance.objects.bulk_create(
        Allowance(
            pk=rows[Ref("bonus", bonus.key)],
            number_id=bonus.number,
            account=Kind.BONUS_BYTES.account_id(rows[Ref("bonus", bonus.key)]),
            unit=Unit.BYTE.value,
            granted=bonus.granted,
            ends_at=bonus.ends_at,
            promotion_id=rows[Ref("promotion", bonus.promotion)],
        )
        for bonus in history.bonuses
    )


def _seqs(history: BookHistory) -> dict[Ref, int]:
    """Where in the log each adjustment's transfer will be: nothing else writes to the book yet."""
    entries = [entry for moment in history.moments for entry in moment.entries]
    return {
        entry.reference_id: seq
        for seq, entry in enumerate(entries, start=1)
        if isinstance(entry.reference_id, Ref) and entry.reference_id.who == "adjustment"
    }


def _last(history: BookHistory) -> int:
    """The last place in the log: what the history's top-ups gave is in it."""
    return sum(len(moment.entries) for moment in history.moments)


def _write_adjustments(
    branch: Branch,
    adjustments: Sequence[AdjustmentRow],
    rows: Mapping[Ref, int],
    seqs: Mapping[Ref, int],
) -> None:
    users = dict(User.objects.values_list("username", "pk"))
    contracts = {row.agent.code: row for row in _contracts(branch)}
    budgets = {row.promotion.code: row for row in _budgets(branch)}
    Adjustment.objects.bulk_create(
        Adjustment(
            pk=rows[Ref("adjustment", row.key)],
            kind=row.kind,
            contract=contracts[row.target.agent] if row.target.agent else None,
            number_id=row.target.number,
            budget=budgets[row.target.promotion] if row.target.promotion else None,
            book=branch.book,
            amount=row.amount,
            reason=row.reason,
            status=Adjustment.Status.POSTED,
            outcome=Outcome.CREATED.value,
            seq=seqs[Ref("adjustment", row.key)],
            asked_by_id=users[row.asked_by],
            asked_at=row.asked_at,
            decided_by_id=users[row.decided_by] if row.decided_by else None,
            decided_at=row.decided_at,
        )
        for row in adjustments
    )


def _contracts(branch: Branch) -> "models.QuerySet[Contract]":
    return Contract.objects.filter(branch=branch).select_related("agent")


def _budgets(branch: Branch) -> "models.QuerySet[PromotionBudget]":
    return PromotionBudget.objects.filter(branch=branch).select_related("promotion")


def _post(
    book: int, moments: Sequence[Moment], rows: Mapping[Ref, int], stop: threading.Event
) -> None:
    seq = 0
    for moment in moments:
        if stop.is_set():
            raise InterruptedError("the demo is ending")
        batch = []
        for entry in moment.entries:
            seq += 1
            batch.append(to_transfer(entry, book, seq, rows))
        answers = run(_post_at(book, batch, moment.at))
        for entry, answer in zip(moment.entries, answers, strict=True):
            if answer.outcome is not Outcome.CREATED:
                raise AssertionError(f"book {book}, {moment.at}, {entry}: {answer.outcome}")
        if answers[-1].seq != seq:
            raise AssertionError(f"book {book} holds what the demo did not post")


def _post_at(book: int, batch: Sequence[Transfer], at: datetime) -> Statement[list[Posted]]:
    """A post by the clock of the time that is told, which `ledger.post` takes for replays."""
    if len(batch) > BATCH_MAX:
        raise AssertionError(f"{len(batch)} transfers at once")
    return statements.post(book, batch, at=at)


def close_connection() -> None:
    """Of this thread, which ends."""
    django.db.connections.close_all()
