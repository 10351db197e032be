-- What `popolni verify` asks, and when an answer is a fault. All run in one snapshot of the
-- database, read only tables, and call none of the functions that wrote them. A query on faults
-- answers with one row for each book, account or transfer that has any; where its text says
-- "account N", the reader puts that account's name.
--
-- What is checked is the log of a book after a seq: below all, or where `--since` begins.

-- The linter takes a placeholder for a column.
-- noqa: disable=RF02

-- name: books
-- Every book that any row names, how much it holds, and its last_at: null if it isn't open.
select
    n.book,
    max(n.last_at)::text as last_at,
    sum(n.transfer_count)::bigint as transfer_count,
    sum(n.account_count)::bigint as account_count
from (
    select
        b.book,
        b.last_at,
        0 as transfer_count,
        0 as account_count
    from ledger.book as b
    union all
    select
        t.book,
        null as last_at,
        count(*) as transfer_count,
        0 as account_count
    from ledger.transfer as t
    group by t.book
    union all
    select
        a.book,
        null as last_at,
        0 as transfer_count,
        count(*) as account_count
    from ledger.account as a
    group by a.book
) as n
group by n.book
order by n.book;

-- name: start
-- The last seq before the first transfer since a moment. By seq and not by time from there on,
-- so that a clock that ran backwards hides nothing.
select coalesce(max(t.seq), 0)
from ledger.transfer as t
where
    t.book = %(book)s
    and t.seq < coalesce(
        (
            select min(s.seq)
            from ledger.transfer as s
            where s.book = %(book)s and s.created_at >= %(since)s
        ),
        9223372036854775807
    );

-- name: page
-- Where the next page of a book's log ends, and how many transfers are on it. By counting
-- them: a seq may be any number, if that is what is wrong.
select
    max(t.seq) as upto,
    count(*) as transfers
from (
    select seq
    from ledger.transfer
    where book = %(book)s and seq > %(after)s
    order by seq
    limit %(page)s
) as t;

-- name: log
-- A page of a book's log, each transfer by itself and against the one before it.
select
    f.book,
    f.seq,
    f.what
from (
    select
        t.book,
        t.seq,
        concat_ws(
            '; ',
            case when t.seq <= 0 then concat('seq is ', t.seq) end,
            case when t.seq = t.prior_seq then 'another transfer has the same seq' end,
            case
                when t.seq > t.prior_seq + 1 then
                    concat(
                        'missing before it: seq ', t.prior_seq + 1,
                        ' to ' || nullif(t.seq - 1, t.prior_seq + 1)
                    )
            end,
            case
                when
                    t.prior_flags & 1 <> 0
                    and (t.seq <> t.prior_seq + 1 or t.created_at <> t.prior_at)
                    then
                        concat(
                            'it was not posted together with transfer ', t.prior_seq,
                            ', which is linked to the next'
                        )
            end,
            case
                when t.created_at < t.prior_at then
                    concat(
                        'created_at is ', t.created_at, ', earlier than ', t.prior_at,
                        ' of transfer ', t.prior_seq
                    )
            end,
            case
                when t.created_at > %(last_at)s then
                    concat(
                        'created_at is ', t.created_at, ', later than the book''s last_at, ',
                        %(last_at)s::timestamptz
                    )
            end,
            case
                when t.id in (
                    '00000000-0000-0000-0000-000000000000', 'ffffffff-ffff-ffff-ffff-ffffffffffff'
                ) then concat('id is ', t.id)
            end,
            case when t.amount <= 0 then concat('amount is ', t.amount) end,
            case
                when t.debit_account = t.credit_account then
                    concat('both its accounts are account ', t.debit_account)
            end,
            case
                when debit.unit <> credit.unit then
                    concat(
                        'account ', t.debit_account, ' counts unit ', debit.unit,
                        ', account ', t.credit_account, ' unit ', credit.unit
                    )
            end,
            case
                when t.flags & ~15 <> 0 or t.flags & 14 not in (0, 2, 4, 8) then
                    concat('flags are ', t.flags)
            end,
            case
                when t.code < 0 or t.code = 0 and t.flags <> 8 then
                    concat('code is ', t.code, ' with flags ', t.flags)
            end,
            case
                when t.flags & 2 = 0 and t.expires_at is not null then
                    'it has expires_at but is not pending'
            end,
            case
                when t.expires_at <= t.created_at then
                    concat('expires_at is ', t.expires_at, ', not after created_at')
            end,
            case
                when t.flags & 12 = 0 and t.pending_id is not null then
                    'it has pending_id but neither posts nor voids'
            end,
            case
                when t.flags & 12 <> 0 and t.pending_id is null then
                    'it posts or voids but has no pending_id'
            end
        ) as what
    from (
        select
            book,
            seq,
            id,
            debit_account,
            credit_account,
            amount,
            created_at,
            code,
            flags,
            pending_id,
            expires_at,
            greatest(lag(seq) over log, %(after)s, 0) as prior_seq,
            lag(flags) over log as prior_flags,
            lag(created_at) over log as prior_at
        from ledger.transfer
        where book = %(book)s and seq between %(after)s and %(upto)s
        window log as (order by seq)
    ) as t
    left join ledger.account as debit on t.book = debit.book and t.debit_account = debit.id
    left join ledger.account as credit on t.book = credit.book and t.credit_account = credit.id
    where t.seq > %(after)s
) as f
where f.what <> '';

-- name: book
-- The book's own row against the end of its log.
select
    f.book,
    f.what
from (
    select
        b.book,
        concat_ws(
            '; ',
            case
                when b.last_seq > coalesce(e.seq, 0) then
                    concat(
                        'missing at the end: seq ', coalesce(e.seq, 0) + 1,
                        ' to ' || nullif(b.last_seq, coalesce(e.seq, 0) + 1)
                    )
            end,
            case
                when b.last_seq < e.seq then
                    concat('last_seq is ', b.last_seq, ', but the log goes on to ', e.seq)
            end,
            case
                when e.flags & 1 <> 0 then
                    concat('transfer ', e.seq, ' is linked to the next, and there is none')
            end,
            case
                when b.expired_until > b.last_at then
                    concat('expired_until is ', b.expired_until, ', later than last_at')
            end
        ) as what
    from ledger.book as b
    left join lateral (
        select
            t.seq,
            t.flags
        from ledger.transfer as t
        where t.book = b.book
        order by t.seq desc
        limit 1
    ) as e on true
    where b.book = %(book)s
) as f
where f.what <> '';

-- name: positions
-- Readers that are beyond the end of the log: they would skip what is posted next.
select
    b.book,
    concat('reader ', p.reader, ' is at seq ', p.seq, ', beyond last_seq ', b.last_seq) as what
from ledger.position as p
inner join ledger.book as b on p.book = b.book
where p.book = %(book)s and p.seq > b.last_seq;

-- name: resolutions
-- Each transfer that posts or voids against the pending one.
with resolving as (
    select
        *,
        lag(seq) over (partition by pending_id order by seq) as earlier_seq
    from ledger.transfer
    where book = %(book)s and pending_id is not null and flags & 12 <> 0
)

select
    f.book,
    f.seq,
    f.what
from (
    select
        r.book,
        r.seq,
        concat_ws(
            '; ',
            case
                when r.earlier_seq is not null then
                    concat('transfer ', r.earlier_seq, ' resolved the same pending transfer')
            end,
            case
                when p.id is null
                    then concat('pending transfer ', r.pending_id, ' is not in this book')
                when p.flags & 2 = 0 then concat('transfer ', p.seq, ' is not pending')
            end,
            case when p.seq >= r.seq then concat('pending transfer ', p.seq, ' comes later') end,
            case
                when r.debit_account <> p.debit_account then
                    concat(
                        'it debits account ', r.debit_account, ', pending transfer ', p.seq,
                        ' debits account ', p.debit_account
                    )
            end,
            case
                when r.credit_account <> p.credit_account then
                    concat(
                        'it credits account ', r.credit_account, ', pending transfer ', p.seq,
                        ' credits account ', p.credit_account
                    )
            end,
            case
                when r.amount > p.amount or r.flags & 8 <> 0 and r.amount <> p.amount then
                    concat('amount is ', r.amount, ', of pending transfer ', p.seq, ' ', p.amount)
            end,
            case
                when r.code not in (0, p.code) then
                    concat('code is ', r.code, ', of pending transfer ', p.seq, ' ', p.code)
            end,
            case
                when r.code <> 0 and r.created_at >= p.expires_at then
                    concat('pending transfer ', p.seq, ' had timed out at ', p.expires_at)
            end,
            case
                when r.code = 0 and p.expires_at is null
                    then concat('pending transfer ', p.seq, ' never times out')
                when r.code = 0 and r.created_at < p.expires_at then
                    concat('pending transfer ', p.seq, ' was to time out later, ', p.expires_at)
            end
        ) as what
    from resolving as r
    left join ledger.transfer as p on r.pending_id = p.id and r.book = p.book
    where r.seq > %(after)s
) as f
where f.what <> '';

-- name: overdue
-- Pending transfers that the book says it has released, but didn't.
select
    p.book,
    p.seq,
    concat('it timed out at ', p.expires_at, ' and was not released') as what
from ledger.book as b
inner join ledger.transfer as p
    on b.book = p.book and b.expired_until >= p.expires_at and p.flags & 2 <> 0
where
    b.book = %(book)s
    and p.seq > %(after)s
    and not exists (
        select
        from ledger.transfer as r
        where r.book = p.book and r.pending_id = p.id
    );

-- name: accounts
-- Each account against what its transfers make, from the first one on; then its limits and its
-- place in the chart. A pending transfer that was posted or voided holds nothing any more, also
-- where less than all of it was posted.
with moved as not materialized (
    select
        seq,
        debit_account,
        credit_account,
        case when flags & 10 = 0 then amount end as posted,
        case when flags & 2 <> 0 then amount end as pending
    from ledger.transfer
    where book = %(book)s
    union all
    select
        p.seq,
        p.debit_account,
        p.credit_account,
        null as posted,
        -p.amount as pending
    from ledger.transfer as p
    where
        p.book = %(book)s
        and p.flags & 2 <> 0
        and exists (
            select
            from ledger.transfer as r
            where r.book = %(book)s and r.pending_id = p.id and r.flags & 12 <> 0
        )
),

debits as (
    select
        debit_account as id,
        max(seq) as last_seq,
        coalesce(sum(posted), 0) as posted,
        coalesce(sum(pending), 0) as pending
    from moved
    group by debit_account
),

credits as (
    select
        credit_account as id,
        max(seq) as last_seq,
        coalesce(sum(posted), 0) as posted,
        coalesce(sum(pending), 0) as pending
    from moved
    group by credit_account
),

made as (
    select
        d.posted as debits_posted,
        c.posted as credits_posted,
        d.pending as debits_pending,
        c.pending as credits_pending,
        coalesce(d.id, c.id) as id,
        greatest(d.last_seq, c.last_seq) as last_seq
    from debits as d
    full join credits as c on d.id = c.id
),

chart as (
    select
        unnest(%(codes)s::bigint[]) as code,
        unnest(%(units)s::smallint[]) as unit,
        unnest(%(flags)s::smallint[]) as flags
)

select
    f.book,
    f.id as account, -- noqa: RF04
    f.what
from (
    select
        coalesce(a.book, %(book)s) as book,
        coalesce(a.id, m.id) as id,
        concat_ws(
            '; ',
            case
                when a.id is null then
                    concat('it does not exist, and transfer ', m.last_seq, ' names it')
            end,
            case
                when a.debits_posted <> coalesce(m.debits_posted, 0) then
                    concat(
                        'debits_posted is ', a.debits_posted,
                        ', its transfers make ', coalesce(m.debits_posted, 0)
                    )
            end,
            case
                when a.credits_posted <> coalesce(m.credits_posted, 0) then
                    concat(
                        'credits_posted is ', a.credits_posted,
                        ', its transfers make ', coalesce(m.credits_posted, 0)
                    )
            end,
            case
                when a.debits_pending <> coalesce(m.debits_pending, 0) then
                    concat(
                        'debits_pending is ', a.debits_pending,
                        ', its transfers make ', coalesce(m.debits_pending, 0)
                    )
            end,
            case
                when a.credits_pending <> coalesce(m.credits_pending, 0) then
                    concat(
                        'credits_pending is ', a.credits_pending,
                        ', its transfers make ', coalesce(m.credits_pending, 0)
                    )
            end,
            case
                when
                    a.flags & 2 <> 0
                    and a.debits_posted::numeric + a.debits_pending > a.credits_posted
                    then
                        concat(
                            'debits of ', a.debits_posted::numeric + a.debits_pending,
                            ' exceed credits of ', a.credits_posted
                        )
            end,
            case
                when
                    a.flags & 4 <> 0
                    and a.credits_posted::numeric + a.credits_pending > a.debits_posted
                    then
                        concat(
                            'credits of ', a.credits_posted::numeric + a.credits_pending,
                            ' exceed debits of ', a.debits_posted
                        )
            end,
            case when a.unit not between 1 and 4 then concat('unit is ', a.unit) end,
            case
                when a.flags & ~38 <> 0 or a.flags & 6 = 6 then concat('flags are ', a.flags)
            end,
            case
                when a.kind <> chart.code or told.code <> coalesce(chart.code, 0) then
                    concat('kind is ', a.kind, ', which its id does not say')
            end,
            case
                when a.unit <> chart.unit then
                    concat('unit is ', a.unit, ', by the chart of accounts ', chart.unit)
            end,
            case
                when a.flags & ~32 <> chart.flags then
                    concat('flags are ', a.flags, ', by the chart of accounts ', chart.flags)
            end
        ) as what
    from made as m
    full join (
        select *
        from ledger.account
        where book = %(book)s
    ) as a on m.id = a.id
    left join chart on a.id / %(subjects)s = chart.code
    left join chart as told on a.kind = told.code
    where %(after)s < 0 or m.last_seq > %(after)s
) as f
where f.what <> '';

-- name: touched
-- How many accounts the transfers since then touched.
select count(*)
from (
    select debit_account
    from ledger.transfer
    where book = %(book)s and seq > %(after)s
    union
    select credit_account
    from ledger.transfer
    where book = %(book)s and seq > %(after)s
) as t;

-- name: units
-- In each unit, what a book debits it credits.
select
    f.book,
    f.what
from (
    select
        a.book,
        concat_ws(
            '; ',
            case
                when sum(a.debits_posted) <> sum(a.credits_posted) then
                    concat(
                        'in unit ', a.unit, ' all debits_posted make ', sum(a.debits_posted),
                        ', all credits_posted ', sum(a.credits_posted)
                    )
            end,
            case
                when sum(a.debits_pending) <> sum(a.credits_pending) then
                    concat(
                        'in unit ', a.unit, ' all debits_pending make ', sum(a.debits_pending),
                        ', all credits_pending ', sum(a.credits_pending)
                    )
            end
        ) as what
    from ledger.account as a
    where a.book = %(book)s
    group by a.book, a.unit
) as f
where f.what <> '';

-- name: ids
-- An identifier names one transfer in all books. The unique key may be what is broken, so this
-- is to run with index scans switched off.
with twice as (
    select id
    from ledger.transfer
    group by id
    having count(*) > 1
)

select
    f.book,
    f.seq,
    concat('transfer ', f.other_seq, ' of book ', f.other_book, ' has the same id, ', f.id) as what
from (
    select
        t.*,
        lag(t.book) over same as other_book,
        lag(t.seq) over same as other_seq,
        lag(t.created_at) over same as other_at
    from ledger.transfer as t
    inner join twice on t.id = twice.id
    window same as (partition by t.id order by t.book, t.seq)
) as f
where
    f.other_book is not null
    and (%(book)s::integer is null or %(book)s in (f.book, f.other_book))
    and (%(since)s::timestamptz is null or greatest(f.created_at, f.other_at) >= %(since)s);
