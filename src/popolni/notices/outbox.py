"""The outbox in the database: what is due is taken, what came of it is written down, in batches.

A notice is taken by moving the moment at which it is due behind the longest that a sending may
last. Whoever is killed has it due again, so of what was under way then some may be told twice: at
most as many messages as the SMSC may have unanswered, and those whose mark was not written yet.
"""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple

from django.db import DataError, connection, transaction
from django.utils import timezone

from popolni.notices.models import Notice, NoticeReceipt
from popolni.notices.wire import Receipt, forms, normal

LEASE_S = 60
"""How long a notice that was taken is nobody else's."""

TRIES_MAX = 6
"""Of those that no answer came to, or a no that is not for good."""
PAUSES_S = (5, 15, 60, 300, 900)
KEEP_DAYS = 90
MATCH_HOURS, MATCH_DAYS = 1, 7
BATCH = 500

_CLAIM = """
    with taken as materialized (
        select id from popolni_notice
        where
            state = 'waiting' and due_at <= now() and expires_at > now()
            and id <> all(%(under_way)s)
        order by priority, due_at
        limit %(limit)s
        for update skip locked
    )

    update popolni_notice as notice
    set due_at = now() + %(lease_s)s * interval '1 second', tries = notice.tries + 1
    from taken
    where notice.id = taken.id
    returning
        notice.id, notice.number, notice.text, notice.reply::text, notice.priority, notice.tries,
        notice.due_at, notice.expires_at,
        array(select part.place from popolni_noticepart as part where part.notice_id = notice.id)
"""
# The text of a code is blanked in the statement that ends its way.
_MARK = """
    update popolni_notice as notice
    set
        state = done.state,
        due_at = case
            when done.state = 'waiting' then now() + done.pause_s * interval '1 second'
            else notice.due_at
        end,
        tries = notice.tries - done.untried,
        done_at = case when done.state = 'waiting' then null else now() end,
        failure = done.failure,
        text = case
            when notice.kind = 'sign_in_code' and done.state <> 'waiting' then ''
            else notice.text
        end
    from json_to_recordset(%s) as done (
        id bigint, due_at timestamptz, state text, pause_s float8, untried int, failure text
    )
    where
        notice.id = done.id and notice.state in ('waiting', 'expired')
        and (notice.due_at = done.due_at or done.state = 'sent')
"""
_ADD_PARTS = """
    insert into popolni_noticepart (notice_id, place, "of", message_id, state)
    select part.notice_id, part.place, part."of", part.message_id, 'sent'
    from json_to_recordset(%s) as part (notice_id bigint, place int, "of" int, message_id text)
    join popolni_notice as notice on notice.id = part.notice_id
    on conflict (notice_id, place) do update set message_id = excluded.message_id, state = 'sent'
"""
_EXPIRE = """
    with late as materialized (
        select id from popolni_notice
        where state = 'waiting' and expires_at <= now() and due_at <= now()
        limit %s
        for update skip locked
    )

    update popolni_notice as notice
    set
        state = 'expired',
        done_at = now(),
        text = case when notice.kind = 'sign_in_code' then '' else notice.text end
    from late
    where notice.id = late.id
"""
_TO_INBOX = """
    with taken as materialized (
        select id from popolni_notice
        where state = 'waiting' and due_at <= now() and expires_at > now()
        order by priority, due_at
        limit %s
        for update skip locked
    )

    update popolni_notice as notice
    set state = 'delivered', done_at = now(), tries = notice.tries + 1
    from taken
    where notice.id = taken.id
"""
_BLANK = """
    update popolni_notice set text = ''
    where kind = 'sign_in_code' and state = 'delivered' and expires_at <= now() and text <> ''
"""
_KEEP_RECEIPTS = """
    insert into popolni_noticereceipt (number, message_id, status, error, received_at)
    select number, message_id, status, error, now()
    from json_to_recordset(%s) as come (
        number bigint, message_id text, status text, error text
    )
"""
_LOOSE_RECEIPTS = """
    select id, number, message_id from popolni_noticereceipt
    where part_id is null and received_at > now() - %s * interval '1 hour'
    order by received_at desc
    limit %s
    for update skip locked
"""
# An SMSC begins its ids anew some day: the same number's newest message is meant. What was said
# of a part before is not kept again.
_MATCH = """
    with wanted as (
        select * from json_to_recordset(%(wanted)s) as wanted (
            id bigint, number bigint, message_id text, rank int
        )
    ),

    found as (
        select distinct on (wanted.id) wanted.id, part.id as part_id
        from wanted
        join popolni_noticepart as part using (message_id)
        join popolni_notice as notice
            on notice.id = part.notice_id and notice.number = wanted.number
        where notice.done_at is null or notice.done_at > now() - %(days)s * interval '1 day'
        order by wanted.id, wanted.rank, part.state = 'delivered', part.id desc
    ),

    news as (
        select distinct on (found.part_id, receipt.status) found.id, found.part_id
        from found
        join popolni_noticereceipt as receipt using (id)
        where not exists (
            select from popolni_noticereceipt as other
            where other.part_id = found.part_id and other.status = receipt.status
        )
        order by found.part_id, receipt.status, found.id
    ),

    known as (
        delete from popolni_noticereceipt as receipt
        using found
        where receipt.id = found.id and receipt.id not in (select id from news)
    )

    update popolni_noticereceipt as receipt set part_id = news.part_id
    from news
    where receipt.id = news.id
    returning receipt.part_id, receipt.status, receipt.error
"""
_PART_STATES = """
    update popolni_noticepart as part set state = came.state
    from json_to_recordset(%s) as came (id bigint, state text, failure text)
    where part.id = came.id and part.state <> 'delivered'
    returning part.notice_id, came.failure
"""
_NOTICE_STATES = """
    update popolni_notice as notice
    set state = told.state, failure = told.failure
    from (
        select
            part.notice_id,
            case
                when bool_or(part.state = 'failed') then 'failed'
                when bool_and(part.state = 'delivered') and count(*) = max(part."of")
                    then 'delivered'
            end as state,
            case when bool_or(part.state = 'failed') then max(came.failure) else '' end as failure
        from json_to_recordset(%s) as came (id bigint, failure text)
        join popolni_noticepart as part on part.notice_id = came.id
        group by part.notice_id
    ) as told
    where notice.id = told.notice_id and told.state is not null and notice.state <> 'waiting'
"""
DELIVERED, NOT_DELIVERED = "DELIVRD", ("EXPIRED", "DELETED", "UNDELIV", "REJECTD")


class Claim(NamedTuple):
    """A notice that is ours until `due_at`; `parts` are those that the SMSC has already."""

    id: int
    number: int
    text: str
    reply: dict[str, Any] | None
    priority: int
    tries: int
    due_at: datetime
    expires_at: datetime
    parts: list[int]


class Result(StrEnum):
    """What came of a sending."""

    SENT = "sent"
    AGAIN = "again"
    """It is sent again after a pause, and given up when it was often enough."""
    NOT_TRIED = "not_tried"
    """It is due again at once, and this was no try."""
    FAILED = "failed"


class Outcome(NamedTuple):
    """What came of one sending; `message_ids` are those of the parts that were taken in it."""

    taken: Claim
    result: Result
    of: int = 0
    message_ids: tuple[tuple[int, str], ...] = ()
    failure: str = ""


def claim(limit: int, under_way: Sequence[int] = ()) -> list[Claim]:
    """Takes what is due, the most urgent first; nothing that is too late, or under way here."""
    values: dict[str, int | list[int]] = {
        "limit": limit,
        "lease_s": LEASE_S,
        "under_way": list(under_way),
    }
    with connection.cursor() as cursor:
        cursor.execute(_CLAIM, values)
        rows = [_claim_of(row) for row in cursor.fetchall()]
    return sorted(rows, key=lambda taken: (taken.priority, taken.id))


def _claim_of(row: Sequence[Any]) -> Claim:
    id_, number, text, reply, *rest = row
    return Claim(id_, number, text, json.loads(reply) if reply else None, *rest)


def mark(outcomes: Sequence[Outcome]) -> None:
    """Writes down what came of each. One that cannot be written is failed, and no other."""
    try:
        _mark(outcomes)
    except DataError:
        if len(outcomes) > 1:
            for each in outcomes:
                mark([each])
        else:
            _mark([Outcome(outcomes[0].taken, Result.FAILED, failure="its mark cannot be kept")])


def _mark(outcomes: Sequence[Outcome]) -> None:
    parts = [
        {"notice_id": each.taken.id, "place": place, "of": each.of, "message_id": normal(id_)}
        for each in outcomes
        for place, id_ in each.message_ids
    ]
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_MARK, (json.dumps([_mark_of(each) for each in outcomes]),))
        if parts:
            cursor.execute(_ADD_PARTS, (json.dumps(parts),))


def _mark_of(outcome: Outcome) -> dict[str, Any]:
    taken, result = outcome.taken, outcome.result
    is_over = result is Result.AGAIN and taken.tries >= TRIES_MAX
    state = "failed" if is_over else {Result.SENT: "sent", Result.FAILED: "failed"}.get(result)
    return {
        "id": taken.id,
        "due_at": taken.due_at.isoformat(),
        "state": state or "waiting",
        "pause_s": PAUSES_S[min(taken.tries, len(PAUSES_S)) - 1] if result is Result.AGAIN else 0.5,
        "untried": int(result is Result.NOT_TRIED),
        "failure": outcome.failure,
    }


def expire() -> int:
    """Gives up what is too late to be told. How many."""
    return _execute(_EXPIRE, (BATCH,))


def deliver_to_inbox() -> int:
    """Without an SMSC, in the demo: what is due is on the phone's page. How many.

    There a code can be read as long as it is good for something.
    """
    _execute(_BLANK, ())
    return _execute(_TO_INBOX, (BATCH,))


def keep_receipts(receipts: Sequence[Receipt]) -> None:
    """Keeps what the SMSC said."""
    if receipts:
        rows = [each._asdict() | {"message_id": normal(each.message_id)} for each in receipts]
        _execute(_KEEP_RECEIPTS, (json.dumps(rows),))


def match_receipts() -> int:
    """Finds the parts of receipts that have none yet: one may come before its part is marked.

    How many said something new.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_LOOSE_RECEIPTS, (MATCH_HOURS, BATCH))
        wanted = [
            {"id": id_, "number": number, "message_id": form, "rank": rank}
            for id_, number, message_id in cursor.fetchall()
            for rank, form in enumerate(forms(message_id))
        ]
        if not wanted:
            return 0
        cursor.execute(_MATCH, {"wanted": json.dumps(wanted), "days": MATCH_DAYS})
        matched = cursor.fetchall()
        _follow(matched)
    return len(matched)


def _follow(matched: Sequence[tuple[int, str, str]]) -> None:
    """What was delivered is delivered, whatever else is said of it."""
    came: dict[int, dict[str, Any]] = {}
    for part_id, status, error in matched:
        if status == DELIVERED:
            came[part_id] = {"id": part_id, "state": "delivered", "failure": ""}
        elif status in NOT_DELIVERED:
            failure = f"{status} {error}".strip()
            came.setdefault(part_id, {"id": part_id, "state": "failed", "failure": failure})
    if not came:
        return
    with connection.cursor() as cursor:
        cursor.execute(_PART_STATES, (json.dumps([came[id_] for id_ in sorted(came)]),))
        failures = dict(cursor.fetchall())
        rows = [{"id": id_, "failure": failure} for id_, failure in failures.items()]
        cursor.execute(_NOTICE_STATES, (json.dumps(rows),))


def prune() -> int:
    """Forgets what is long over, a batch of it. How many notices."""
    before = timezone.now() - timedelta(days=KEEP_DAYS)
    NoticeReceipt.objects.filter(part=None, received_at__lt=before).delete()
    over = Notice.objects.filter(created_at__lt=before).exclude(state=Notice.State.WAITING)
    ids = list(over.values_list("pk", flat=True)[:BATCH])
    Notice.objects.filter(pk__in=ids).delete()  # with its parts, and what was said of them
    return len(ids)


def _execute(statement: str, values: tuple[int | str, ...]) -> int:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return int(cursor.rowcount)
