-- The only door to money. ledger.post() takes a batch of transfers for one book and answers
-- one outcome for each, in order. What it leaves behind is what posting them one by one would
-- leave: ledger.post_one() (transfer.sql) is that rule, and a run of transfers that cannot meet
-- any obstacle, whatever their order, is written set-wise.


-- An identifier for the release of a pending transfer, made from its own; a further one where
-- somebody has taken it, by chance or on purpose.
create or replace function ledger.release_id(p_id uuid)
returns uuid
language plpgsql
as $$
begin
    loop
        p_id := left(encode(sha256(uuid_send(p_id)), 'hex'), 32)::uuid;
        exit when not exists (select from ledger.transfer where id = p_id);
    end loop;
    return p_id;
end;
$$;


-- Releases what the pending transfers hold whose time ran out, by a void_pending transfer of the
-- ledger's own for each: code 0. A call takes the earliest 1,000 that are due, and those that
-- share the last one's moment (they came in one batch). Answers the last seq given and the moment
-- up to which the work is done.
create or replace function ledger.release_expired(
    p_book ledger.book, p_at timestamptz, out last_seq bigint, out expired_until timestamptz
)
language plpgsql
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
declare
    v_due ledger.transfer[];
begin
    select
        array_agg(d order by d.expires_at, d.seq) filter (where r.seq is null),
        case when count(*) < 1000 then p_at else max(d.expires_at) end
    into v_due, expired_until
    from (
        select * from ledger.transfer
        where book = p_book.book and expires_at > p_book.expired_until and expires_at <= p_at
        order by expires_at
        fetch first 1000 rows with ties
    ) as d
    left join ledger.transfer as r on r.book = d.book and r.pending_id = d.id;
    last_seq := p_book.last_seq + coalesce(cardinality(v_due), 0);
    if v_due is null then
        return;
    end if;

    insert into ledger.transfer (
        seq, id, debit_account, credit_account, amount, created_at, book, code, flags, pending_id,
        reference_at, reference_id, reference
    )
    select
        p_book.last_seq + d.i, ledger.release_id(d.id), d.debit_account, d.credit_account, d.amount,
        p_at, d.book, 0, 8, d.id, d.reference_at, d.reference_id, d.reference
    from unnest(v_due) with ordinality as d (
        seq, id, debit_account, credit_account, amount, created_at, book, code, flags, pending_id,
        expires_at, reference_at, reference_id, reference, i
    );

    update ledger.account as a
    set
        debits_pending = a.debits_pending - m.debits,
        credits_pending = a.credits_pending - m.credits
    from (
        select
            s.account,
            p_book.book,  -- here, or the planner would find all of a book that it thinks empty
            sum(s.debit)::bigint as debits,
            sum(s.credit)::bigint as credits
        from (
            select d.debit_account as account, d.amount as debit, 0 as credit
            from unnest(v_due) as d
            union all
            select d.credit_account, 0, d.amount from unnest(v_due) as d
        ) as s
        group by s.account
    ) as m
    where a.book = m.book and a.id = m.account;
end;
$$;


-- Which transfers of a batch will be created whatever becomes of the others and in whatever
-- order: plain ones with a new id, between open accounts of one unit that could bear the sums
-- of the whole batch at once.
create or replace function ledger.surely_created(
    p_book integer, p_ids uuid[], p_debit_accounts bigint[], p_credit_accounts bigint[],
    p_amounts bigint[], p_codes smallint[], p_flags smallint[], p_timeouts_s integer[],
    p_pending_ids uuid[]
)
returns boolean[]
language plpgsql stable  -- and not sql, which would plan it anew in each call
-- What is small and in memory is joined by hash; the tables are only ever looked up by key, in
-- subqueries that the planner cannot turn round (offset 0), whatever it believes of their size.
set enable_seqscan = off
set enable_nestloop = off
set enable_mergejoin = off
as $$
begin
    return (
        with batch as materialized (
            select *
            from unnest(
                p_ids, p_debit_accounts, p_credit_accounts, p_amounts,
                p_codes, p_flags, p_timeouts_s, p_pending_ids
            ) with ordinality as b (
                id, debit_account, credit_account, amount, code, flags, timeout_s, pending_id, i
            )
        ),

        burden as (  -- null where a sum is more than any account can bear
            select
                m.account,
                case when sum(m.debit) <= 9223372036854775807 then sum(m.debit)::bigint end
                as debits,
                case when sum(m.credit) <= 9223372036854775807 then sum(m.credit)::bigint end
                as credits
            from (
                select b.debit_account as account, b.amount as debit, 0::bigint as credit from batch as b
                union all
                select b.credit_account, 0, b.amount from batch as b
            ) as m
            group by m.account
            order by m.account  -- neighbours in the index one after the other
        ),

        account as materialized (
            select burden.account, a.unit, a.bears_debits, a.bears_credits
            from burden
            cross join lateral (
                select
                    s.unit,
                    s.flags & 32 = 0
                    and case when s.flags & 2 = 0 then 9223372036854775807 else s.credits_posted end
                    - s.debits_posted - s.debits_pending >= burden.debits as bears_debits,
                    s.flags & 32 = 0
                    and case when s.flags & 4 = 0 then 9223372036854775807 else s.debits_posted end
                    - s.credits_posted - s.credits_pending >= burden.credits as bears_credits
                from ledger.account as s
                where s.book = p_book and s.id = burden.account
                offset 0
            ) as a
        ),

        named as (  -- the identifiers of the batch, and how often it says each
            select n.id, count(*) as times
            from (
                select b.id from batch as b
                union all
                select b.pending_id from batch as b where b.pending_id is not null
            ) as n
            group by n.id
        )

        select array_agg(
            b.flags = 0
            and b.timeout_s = 0
            and b.pending_id is null
            and b.code > 0
            and b.amount > 0
            and b.debit_account <> b.credit_account
            and b.id not in (
                '00000000-0000-0000-0000-000000000000', 'ffffffff-ffff-ffff-ffff-ffffffffffff'
            )
            and n.times = 1
            and coalesce(d.bears_debits and c.bears_credits and d.unit = c.unit, false)
            and (select e.seq from ledger.transfer as e where e.id = b.id) is null
            order by b.i
        )
        from batch as b
        inner join named as n on b.id = n.id
        left join account as d on b.debit_account = d.account
        left join account as c on b.credit_account = c.account
    );
end;
$$;


-- Writes plain transfers that will surely be created: one insert, one update.
create or replace function ledger.post_run(
    p_book integer, p_last_seq bigint, p_at timestamptz, p_ids uuid[], p_debit_accounts bigint[],
    p_credit_accounts bigint[], p_amounts bigint[], p_codes smallint[],
    p_references text[], p_reference_ats timestamptz[], p_reference_ids bigint[]
)
returns void
language plpgsql
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
begin
    -- In the order of the ids: two posts to different books that bring the same identifiers
    -- then wait for one another in one order, and cannot deadlock.
    insert into ledger.transfer (
        seq, id, debit_account, credit_account, amount, created_at, book, code, flags,
        reference_at, reference_id, reference
    )
    select
        p_last_seq + b.i, b.id, b.debit_account, b.credit_account, b.amount, p_at, p_book, b.code,
        0, b.reference_at, b.reference_id, b.reference
    from unnest(
        p_ids, p_debit_accounts, p_credit_accounts, p_amounts, p_codes,
        p_references, p_reference_ats, p_reference_ids
    ) with ordinality as b (
        id, debit_account, credit_account, amount, code, reference, reference_at, reference_id, i
    )
    order by b.id;

    update ledger.account as a
    set
        debits_posted = a.debits_posted + m.debits,
        credits_posted = a.credits_posted + m.credits
    from (
        select
            s.account,
            p_book as book,  -- here, or the planner would find all of a book that it thinks empty
            sum(s.debit)::bigint as debits,
            sum(s.credit)::bigint as credits
        from (
            select b.account, b.amount as debit, 0 as credit
            from unnest(p_debit_accounts, p_amounts) as b (account, amount)
            union all
            select b.account, 0 as debit, b.amount as credit
            from unnest(p_credit_accounts, p_amounts) as b (account, amount)
        ) as s
        group by s.account
        order by s.account
    ) as m
    where a.book = m.book and a.id = m.account;
end;
$$;


-- Refuses arrays that are no batch: too long, of different lengths, with a null or a negative
-- number where a transfer has none.
create or replace function ledger.check_batch(
    p_ids uuid[], p_debit_accounts bigint[], p_credit_accounts bigint[], p_amounts bigint[],
    p_codes smallint[], p_flags smallint[], p_timeouts_s integer[], p_pending_ids uuid[],
    p_references text[], p_reference_ats timestamptz[], p_reference_ids bigint[]
)
returns void
language plpgsql immutable
as $$
declare
    c_count constant integer := coalesce(cardinality(p_ids), -1);
begin
    if c_count > 8000 then
        raise exception 'a batch of % transfers: at most 8000 go in one post', c_count
        using errcode = 'program_limit_exceeded';
    end if;
    if c_count = all(array[
        cardinality(p_ids), cardinality(p_debit_accounts), cardinality(p_credit_accounts),
        cardinality(p_amounts), cardinality(p_codes),
        coalesce(nullif(cardinality(p_flags), 0), c_count),
        coalesce(nullif(cardinality(p_timeouts_s), 0), c_count),
        coalesce(nullif(cardinality(p_pending_ids), 0), c_count),
        coalesce(nullif(cardinality(p_references), 0), c_count),
        coalesce(nullif(cardinality(p_reference_ats), 0), c_count),
        coalesce(nullif(cardinality(p_reference_ids), 0), c_count)
    ]) is not true
        or '[1:' || c_count || ']' <> any(array[  -- numbered from 1, and in one dimension
            array_dims(p_ids), array_dims(p_debit_accounts), array_dims(p_credit_accounts),
            array_dims(p_amounts), array_dims(p_codes), array_dims(p_flags),
            array_dims(p_timeouts_s), array_dims(p_pending_ids), array_dims(p_references),
            array_dims(p_reference_ats), array_dims(p_reference_ids)
        ])
    then
        raise exception 'a batch needs one element for each transfer in each of its arrays'
        using errcode = 'invalid_parameter_value';
    elsif array_position(p_ids, null) is not null
        or array_position(p_debit_accounts, null) is not null
        or array_position(p_credit_accounts, null) is not null
        or array_position(p_amounts, null) is not null
        or array_position(p_codes, null) is not null
        or array_position(p_flags, null) is not null
        or array_position(p_timeouts_s, null) is not null
    then
        raise exception 'only pending_id and the references of a transfer may be null'
        using errcode = 'invalid_parameter_value';
    elsif 0 > any(p_amounts) or 0 > any(p_codes) or 0 > any(p_flags) or 0 > any(p_timeouts_s) then
        raise exception 'amount, code, flags and time-out of a transfer are not negative'
        using errcode = 'invalid_parameter_value';
    elsif '1900-01-01 00:00:00+00' > any(p_reference_ats)
        or '2200-01-01 00:00:00+00' <= any(p_reference_ats)
    then
        raise exception 'a transfer''s reference_at lies between the years 1900 and 2200'
        using errcode = 'invalid_parameter_value';
    elsif 255 < any(select length(r) from unnest(p_references) as r) then
        raise exception 'a transfer''s reference has at most 255 characters'
        using errcode = 'invalid_parameter_value';
    end if;
end;
$$;


-- Posts a batch to one book: arrays with one element for each transfer, in order; an array of
-- which nothing is needed may be empty, and its elements are then null (or zero). Answers the
-- outcomes, and the seq of each transfer that is in the log (created now or existing).
--
-- p_at is the clock for tests and replays; time never runs backwards within a book.
create or replace function ledger.post(
    p_book integer,
    p_ids uuid[],
    p_debit_accounts bigint[],
    p_credit_accounts bigint[],
    p_amounts bigint[],
    p_codes smallint[],
    p_flags smallint[],
    p_timeouts_s integer[],
    p_pending_ids uuid[],
    p_references text[],
    p_reference_ats timestamptz[],
    p_reference_ids bigint[],
    p_at timestamptz default null,
    out outcomes ledger.outcome[],
    out seqs bigint[]
)
language plpgsql
-- Before PostgreSQL 18 a plan that had to use what is switched off looks so dear that it would be
-- compiled, for a second each.
set jit = off
as $$
declare
    c_count constant integer := cardinality(p_ids);
    -- Below six, looking first whether all is plain costs more than going one by one.
    v_set_wise boolean := c_count >= 6;
    v_book ledger.book;
    v_at timestamptz;
    v_seq bigint;
    v_expired_until timestamptz;
    v_plain boolean[];
    v_batch ledger.transfer[];
    t ledger.transfer;
    i integer;
    j integer;
begin
    perform ledger.check_batch(
        p_ids, p_debit_accounts, p_credit_accounts, p_amounts, p_codes, p_flags,
        p_timeouts_s, p_pending_ids, p_references, p_reference_ats, p_reference_ids
    );
    if p_at < '1900-01-01 00:00:00+00' or p_at >= '2200-01-01 00:00:00+00' then
        raise exception 'a post happens at a moment, not at %', p_at
        using errcode = 'invalid_parameter_value';
    end if;
    if cardinality(p_flags) = 0 then
        p_flags := array_fill(0::smallint, array[c_count]);
    end if;
    if cardinality(p_timeouts_s) = 0 then
        p_timeouts_s := array_fill(0, array[c_count]);
    end if;
    -- An answer means that it is on disk, whatever the server's own setting is.
    if current_setting('synchronous_commit') = 'off' then
        perform set_config('synchronous_commit', 'on', true);
    end if;
    -- A client that is gone between its post and its COMMIT must not keep the book.
    perform set_config('idle_in_transaction_session_timeout', '5s', true);

    select * into v_book from ledger.book where book = p_book for update;
    if not found then
        raise exception 'book % does not exist', p_book using errcode = 'no_data_found';
    end if;
    v_at := greatest(coalesce(p_at, clock_timestamp()), v_book.last_at);

    -- A post to another book may bring one of these identifiers at the same moment. If it
    -- commits first, writing set-wise fails on the unique key; one by one, each gets its answer.
    loop
        begin
            select r.last_seq, r.expired_until into v_seq, v_expired_until
            from ledger.release_expired(v_book, v_at) as r;
            outcomes := array_fill('created'::ledger.outcome, array[c_count]);
            seqs := array_fill(null::bigint, array[c_count]);
            if v_set_wise then
                v_plain := ledger.surely_created(
                    p_book, p_ids, p_debit_accounts, p_credit_accounts,
                    p_amounts, p_codes, p_flags, p_timeouts_s, p_pending_ids
                );
            else
                v_plain := array_fill(false, array[c_count]);
            end if;
            if false = any(v_plain) then
                select array_agg(row(
                    0, b.id, b.debit_account, b.credit_account, b.amount, v_at, p_book, b.code,
                    b.flags, b.pending_id, null,
                    b.reference_at, b.reference_id, b.reference
                )::ledger.transfer order by b.i) into v_batch
                from unnest(
                    p_ids, p_debit_accounts, p_credit_accounts, p_amounts, p_codes, p_flags,
                    p_pending_ids, p_references, p_reference_ats, p_reference_ids
                ) with ordinality as b (
                    id, debit_account, credit_account, amount, code, flags,
                    pending_id, reference, reference_at, reference_id, i
                );
            end if;

            i := 1;
            while i <= c_count loop
                j := i;
                if v_plain[i] then  -- i to j: the longest run of plain ones
                    while j < c_count and v_plain[j + 1] loop
                        j := j + 1;
                    end loop;
                    perform ledger.post_run(
                        p_book, v_seq, v_at, p_ids[i:j], p_debit_accounts[i:j],
                        p_credit_accounts[i:j], p_amounts[i:j], p_codes[i:j],
                        p_references[i:j], p_reference_ats[i:j], p_reference_ids[i:j]
                    );
                elsif v_batch[i].flags & 1 = 0 then
                    t := v_batch[i];
                    t.seq := v_seq + 1;
                    outcomes[i] := ledger.post_one(t, p_timeouts_s[i]);
                else  -- i to j: a chain
                    loop
                        v_batch[j].seq := v_seq + 1 + j - i;
                        exit when v_batch[j].flags & 1 = 0 or j = c_count;
                        j := j + 1;
                    end loop;
                    outcomes[i:j] := ledger.post_chain(
                        v_batch[i:j], p_timeouts_s[i:j], v_batch[j].flags & 1 <> 0
                    );
                end if;
                for k in i..j loop
                    if outcomes[k] = 'created' then
                        v_seq := v_seq + 1;
                        seqs[k] := v_seq;
                    elsif outcomes[k] = 'exists' then
                        seqs[k] := (select e.seq from ledger.transfer as e where e.id = p_ids[k]);
                    end if;
                end loop;
                i := j + 1;
            end loop;
            exit;
        exception when unique_violation then
            if not v_set_wise then
                raise;
            end if;
            v_set_wise := false;
        end;
    end loop;

    -- Also where nothing was created but more is due than one post releases: else the next post
    -- would begin with the same thousand.
    if v_seq > v_book.last_seq or v_expired_until < v_at then
        update ledger.book
        set last_seq = v_seq, last_at = v_at, expired_until = v_expired_until
        where book = p_book;
    end if;
end;
$$;
