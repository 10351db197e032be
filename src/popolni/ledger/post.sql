-- The only door to money. ledger.post() takes a batch of transfers for one book and answers
-- one outcome for each, in order. What it leaves behind is what posting them one by one would
-- leave: ledger.post_one() is that rule, in the order of precedence of ledger.outcome, and a
-- run of transfers that cannot meet any obstacle, whatever their order, is written set-wise.
--
-- Two deliberate differences from TigerBeetle: a refused id is not burned, so a retry may
-- succeed, and replaying a chain that was created answers `exists` for the whole chain. And as
-- an amount is never zero here, zero in a transfer that posts or voids stands for "all of it".


-- How a transfer that is asked for again differs from the one that the log holds.
create or replace function ledger.compare(t ledger.transfer, p_timeout_s integer)
returns ledger.outcome
language plpgsql stable
as $$
declare
    e ledger.transfer;  -- what exists under this id
    p ledger.transfer;  -- the pending transfer that it posts or voids
begin
    select * into strict e from ledger.transfer where id = t.id;
    if e.book <> t.book then
        return 'exists_with_different_book';
    elsif e.flags <> t.flags then
        return 'exists_with_different_flags';
    elsif e.pending_id is distinct from t.pending_id then
        return 'exists_with_different_pending_id';
    elsif coalesce(extract(epoch from e.expires_at - e.created_at), 0) <> p_timeout_s then
        return 'exists_with_different_timeout';
    end if;
    if t.flags & 12 <> 0 then  -- posts or voids: what was left out came from the pending one
        select * into strict p from ledger.transfer where book = t.book and id = t.pending_id;
        t.debit_account := coalesce(nullif(t.debit_account, 0), p.debit_account);
        t.credit_account := coalesce(nullif(t.credit_account, 0), p.credit_account);
        t.amount := coalesce(nullif(t.amount, 0), p.amount);
        t.code := coalesce(nullif(t.code, 0), p.code);
        t.reference := coalesce(t.reference, p.reference);
        t.reference_at := coalesce(t.reference_at, p.reference_at);
        t.reference_id := coalesce(t.reference_id, p.reference_id);
    end if;
    return case
        when e.debit_account <> t.debit_account then 'exists_with_different_debit_account_id'
        when e.credit_account <> t.credit_account then 'exists_with_different_credit_account_id'
        when e.amount <> t.amount then 'exists_with_different_amount'
        when e.reference is distinct from t.reference then 'exists_with_different_reference'
        when e.reference_at is distinct from t.reference_at
        then 'exists_with_different_reference_at'
        when e.reference_id is distinct from t.reference_id
        then 'exists_with_different_reference_id'
        when e.code <> t.code then 'exists_with_different_code'
        else 'exists'
    end;
end;
$$;


-- Adds to the totals of one account.
create or replace function ledger.move(
    p_book integer, p_account bigint,
    p_debits_posted bigint, p_credits_posted bigint,
    p_debits_pending bigint, p_credits_pending bigint
)
returns void
language plpgsql
as $$
begin
    update ledger.account
    set
        debits_posted = debits_posted + p_debits_posted,
        credits_posted = credits_posted + p_credits_posted,
        debits_pending = debits_pending + p_debits_pending,
        credits_pending = credits_pending + p_credits_pending
    where book = p_book and id = p_account;
end;
$$;


-- Posts or voids a pending transfer; the id of `t` is new. Its code 0 means "as the pending
-- one" for a caller, and the ledger's own release when the time ran out (`p_timed_out`).
create or replace function ledger.resolve_one(t ledger.transfer, p_timeout_s integer)
returns ledger.outcome
language plpgsql
as $$
declare
    p ledger.transfer;
    v_resolution ledger.transfer;
    v_debit ledger.account;
    v_credit ledger.account;
    v_posted bigint;
begin
    if t.flags & 12 = 12 or t.flags & 2 <> 0 then
        return 'flags_are_mutually_exclusive';
    elsif t.pending_id is null then
        return 'pending_id_must_not_be_zero';
    elsif t.pending_id = 'ffffffff-ffff-ffff-ffff-ffffffffffff' then
        return 'pending_id_must_not_be_int_max';
    elsif t.pending_id = t.id then
        return 'pending_id_must_be_different';
    elsif p_timeout_s <> 0 then
        return 'timeout_reserved_for_pending_transfer';
    end if;

    select * into p from ledger.transfer where id = t.pending_id and book = t.book;
    if not found then
        return 'pending_transfer_not_found';
    elsif p.flags & 2 = 0 then
        return 'pending_transfer_not_pending';
    elsif t.debit_account not in (0, p.debit_account) then
        return 'pending_transfer_has_different_debit_account_id';
    elsif t.credit_account not in (0, p.credit_account) then
        return 'pending_transfer_has_different_credit_account_id';
    elsif t.code not in (0, p.code) then
        return 'pending_transfer_has_different_code';
    elsif t.amount > p.amount then
        return 'exceeds_pending_transfer_amount';
    elsif t.flags & 8 <> 0 and t.amount not in (0, p.amount) then
        return 'pending_transfer_has_different_amount';
    end if;

    select * into v_resolution from ledger.transfer
    where book = t.book and pending_id = t.pending_id;
    if found then
        return case
            when v_resolution.code = 0 then 'pending_transfer_expired'
            when v_resolution.flags & 4 <> 0 then 'pending_transfer_already_posted'
            else 'pending_transfer_already_voided'
        end;
    elsif p.expires_at <= t.created_at then
        return 'pending_transfer_expired';
    end if;

    if t.flags & 4 <> 0 then  -- voiding is the only movement that a closed account allows
        select * into v_debit from ledger.account where book = t.book and id = p.debit_account;
        if v_debit.flags & 32 <> 0 then
            return 'debit_account_already_closed';
        end if;
        select * into v_credit from ledger.account where book = t.book and id = p.credit_account;
        if v_credit.flags & 32 <> 0 then
            return 'credit_account_already_closed';
        end if;
    end if;

    t.debit_account := p.debit_account;
    t.credit_account := p.credit_account;
    t.amount := coalesce(nullif(t.amount, 0), p.amount);
    t.code := p.code;
    t.reference := coalesce(t.reference, p.reference);
    t.reference_at := coalesce(t.reference_at, p.reference_at);
    t.reference_id := coalesce(t.reference_id, p.reference_id);
    insert into ledger.transfer select t.*;
    v_posted := case when t.flags & 4 <> 0 then t.amount else 0 end;
    perform ledger.move(t.book, t.debit_account, v_posted, 0, -p.amount, 0);
    perform ledger.move(t.book, t.credit_account, 0, v_posted, 0, -p.amount);
    return 'created';
end;
$$;


-- One transfer, by the rules in their order. Writes it and the totals if it is `created`, and
-- nothing otherwise. `t` carries the seq and the time that it gets.
create or replace function ledger.post_one(t ledger.transfer, p_timeout_s integer)
returns ledger.outcome
language plpgsql
as $$
declare
    c_most constant bigint := 9223372036854775807;
    v_debit ledger.account;
    v_credit ledger.account;
begin
    if t.flags & ~15 <> 0 then
        return 'reserved_flag';
    elsif t.id = '00000000-0000-0000-0000-000000000000' then
        return 'id_must_not_be_zero';
    elsif t.id = 'ffffffff-ffff-ffff-ffff-ffffffffffff' then
        return 'id_must_not_be_int_max';
    elsif exists (select from ledger.transfer where id = t.id) then
        return ledger.compare(t, p_timeout_s);
    elsif t.flags & 12 <> 0 then
        return ledger.resolve_one(t, p_timeout_s);
    elsif t.debit_account = 0 then
        return 'debit_account_id_must_not_be_zero';
    elsif t.credit_account = 0 then
        return 'credit_account_id_must_not_be_zero';
    elsif t.debit_account = t.credit_account then
        return 'accounts_must_be_different';
    elsif t.pending_id is not null then
        return 'pending_id_must_be_zero';
    elsif t.flags & 2 = 0 and p_timeout_s <> 0 then
        return 'timeout_reserved_for_pending_transfer';
    elsif t.amount = 0 then
        return 'amount_must_not_be_zero';
    elsif t.code = 0 then
        return 'code_must_not_be_zero';
    end if;

    select * into v_debit from ledger.account where book = t.book and id = t.debit_account;
    if not found then
        return 'debit_account_not_found';
    end if;
    select * into v_credit from ledger.account where book = t.book and id = t.credit_account;
    if not found then
        return 'credit_account_not_found';
    elsif v_debit.unit <> v_credit.unit then
        return 'accounts_must_have_the_same_unit';
    elsif v_debit.flags & 32 <> 0 then
        return 'debit_account_already_closed';
    elsif v_credit.flags & 32 <> 0 then
        return 'credit_account_already_closed';
    elsif t.flags & 2 <> 0 and t.amount > c_most - v_debit.debits_pending then
        return 'overflows_debits_pending';
    elsif t.flags & 2 <> 0 and t.amount > c_most - v_credit.credits_pending then
        return 'overflows_credits_pending';
    elsif t.amount > c_most - v_debit.debits_posted then
        return 'overflows_debits_posted';
    elsif t.amount > c_most - v_credit.credits_posted then
        return 'overflows_credits_posted';
    elsif t.amount > c_most - v_debit.debits_posted - v_debit.debits_pending then
        return 'overflows_debits';
    elsif t.amount > c_most - v_credit.credits_posted - v_credit.credits_pending then
        return 'overflows_credits';
    elsif v_debit.flags & 2 <> 0
        and v_debit.debits_posted + v_debit.debits_pending + t.amount > v_debit.credits_posted
    then
        return 'exceeds_credits';
    elsif v_credit.flags & 4 <> 0
        and v_credit.credits_posted + v_credit.credits_pending + t.amount > v_credit.debits_posted
    then
        return 'exceeds_debits';
    end if;

    if p_timeout_s > 0 then
        t.expires_at := t.created_at + make_interval(secs => p_timeout_s);
    end if;
    insert into ledger.transfer select t.*;
    if t.flags & 2 <> 0 then
        perform ledger.move(t.book, t.debit_account, 0, 0, t.amount, 0);
        perform ledger.move(t.book, t.credit_account, 0, 0, 0, t.amount);
    else
        perform ledger.move(t.book, t.debit_account, t.amount, 0, 0, 0);
        perform ledger.move(t.book, t.credit_account, 0, t.amount, 0, 0);
    end if;
    return 'created';
end;
$$;


-- A chain: all of it or nothing. The first that fails has its own outcome and the others
-- `linked_event_failed`. A chain that was created before answers `exists` throughout.
create or replace function ledger.post_chain(
    p_chain ledger.transfer[], p_timeouts_s integer[], p_open boolean, out outcomes ledger.outcome[]
)
language plpgsql
as $$
declare
    c_length constant integer := cardinality(p_chain);
    v_outcome ledger.outcome;
    v_failed integer;  -- the first that was not created
    v_existing integer := 0;
begin
    begin
        for k in 1..c_length loop
            if p_open and k = c_length then
                v_outcome := 'linked_event_chain_open';
            else
                v_outcome := ledger.post_one(p_chain[k], p_timeouts_s[k]);
            end if;
            outcomes[k] := v_outcome;
            if v_outcome <> 'created' and v_failed is null then
                v_failed := k;
            end if;
            if v_outcome = 'exists' then
                v_existing := v_existing + 1;
            end if;
            if v_failed is not null and v_existing < k then
                raise exception using errcode = 'PO001', message = 'chain failed';
            end if;
        end loop;
    exception when sqlstate 'PO001' then  -- what the chain wrote is undone
        v_outcome := outcomes[v_failed];
        outcomes := array_fill('linked_event_failed'::ledger.outcome, array[c_length]);
        -- A chain that brings one identifier twice met its own transfer, which is undone now:
        -- `exists` is said only of what is in the log.
        if v_outcome <> 'exists'
            or exists (select from ledger.transfer where id = p_chain[v_failed].id)
        then
            outcomes[v_failed] := v_outcome;
        end if;
        if p_open then
            outcomes[c_length] := 'linked_event_chain_open';
        end if;
    end;
end;
$$;


-- Releases what the pending transfers hold whose time ran out, at most about 1,000 a call, by
-- a void_pending transfer of the ledger's own: code 0, its id derived from the pending one's.
-- Answers the last seq given and the moment up to which the work is done.
create or replace function ledger.release_expired(
    p_book ledger.book, p_at timestamptz, out last_seq bigint, out expired_until timestamptz
)
language plpgsql
as $$
declare
    p ledger.transfer;
    t ledger.transfer;
    v_due integer := 0;
begin
    last_seq := p_book.last_seq;
    for p in
        select * from (
            select * from ledger.transfer
            where book = p_book.book and expires_at > p_book.expired_until and expires_at <= p_at
            order by expires_at
            fetch first 1000 rows with ties
        ) as due
        order by expires_at, seq
    loop
        v_due := v_due + 1;
        expired_until := p.expires_at;
        continue when exists (
            select from ledger.transfer where book = p.book and pending_id = p.id
        );
        last_seq := last_seq + 1;
        t := p;
        t.seq := last_seq;
        t.id := p.id;
        loop  -- further than once only if somebody took the identifier, by chance or on purpose
            t.id := left(encode(sha256(uuid_send(t.id)), 'hex'), 32)::uuid;
            exit when not exists (select from ledger.transfer where id = t.id);
        end loop;
        t.created_at := p_at;
        t.code := 0;
        t.flags := 8;
        t.pending_id := p.id;
        t.expires_at := null;
        insert into ledger.transfer select t.*;
        perform ledger.move(p.book, p.debit_account, 0, 0, -p.amount, 0);
        perform ledger.move(p.book, p.credit_account, 0, 0, 0, -p.amount);
    end loop;
    if v_due < 1000 then
        expired_until := p_at;
    end if;
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
            coalesce(b.flags, 0) = 0
            and coalesce(b.timeout_s, 0) = 0
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
    where a.book = p_book and a.id = m.account;
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
    ]) is not true then
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
as $$
declare
    c_count constant integer := cardinality(p_ids);
    -- Below this, looking first whether all is plain costs more than going one by one.
    c_set_wise_from constant integer := 6;
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
    if not isfinite(p_at) then
        raise exception 'a post happens at a moment, not at %', p_at
        using errcode = 'invalid_parameter_value';
    end if;
    select * into v_book from ledger.book where book = p_book for update;
    if not found then
        raise exception 'book % does not exist', p_book using errcode = 'no_data_found';
    end if;
    v_at := greatest(coalesce(p_at, clock_timestamp()), v_book.last_at);

    -- A post to another book may bring one of these identifiers at the same moment. If it
    -- commits first, the insert fails on the unique key, and a second look finds the other.
    for v_try in 1..3 loop
        begin
            select r.last_seq, r.expired_until into v_seq, v_expired_until
            from ledger.release_expired(v_book, v_at) as r;
            outcomes := array_fill('created'::ledger.outcome, array[c_count]);
            seqs := array_fill(null::bigint, array[c_count]);
            if c_count >= c_set_wise_from then
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
                    coalesce(b.flags, 0), b.pending_id, null,
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
                    outcomes[i] := ledger.post_one(t, coalesce(p_timeouts_s[i], 0));
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
            if v_try = 3 then
                raise;
            end if;
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


-- Opens accounts: one outcome each, in order. Opening one again with the same content answers
-- `exists`, also after it was closed.
create or replace function ledger.open_accounts(
    p_book integer, p_ids bigint[], p_units smallint[], p_kinds smallint[], p_flags smallint[]
)
returns ledger.account_outcome[]
language plpgsql
set enable_seqscan = off
set enable_nestloop = off
set enable_mergejoin = off
as $$
declare
    v_created bigint[];
begin
    -- No lock: books stay, and an account that is new to everyone is in nobody's way.
    if not exists (select from ledger.book where book = p_book) then
        raise exception 'book % does not exist', p_book using errcode = 'no_data_found';
    end if;
    with created as (
        insert into ledger.account (book, id, unit, kind, flags)
        select distinct on (b.id) p_book, b.id, b.unit, b.kind, b.flags
        from unnest(p_ids, p_units, p_kinds, p_flags) with ordinality
            as b (id, unit, kind, flags, i)
        where b.id <> 0 and b.flags & 6 <> 6
        order by b.id, b.i
        on conflict do nothing
        returning id
    )
    select coalesce(array_agg(id), '{}') into v_created from created;
    return (
        select array_agg(
            case
                when b.id = 0 then 'id_must_not_be_zero'
                when b.flags & 6 = 6 then 'flags_are_mutually_exclusive'
                when a.unit <> b.unit then 'exists_with_different_unit'
                when a.kind <> b.kind then 'exists_with_different_kind'
                when a.flags & ~32 <> b.flags then 'exists_with_different_flags'
                when b.nth = 1 and c.id is not null then 'created'
                else 'exists'
            end::ledger.account_outcome
            order by b.i
        )
        from (
            select u.*, row_number() over (partition by u.id order by u.i) as nth
            from unnest(p_ids, p_units, p_kinds, p_flags) with ordinality
                as u (id, unit, kind, flags, i)
        ) as b
        left join lateral (
            select s.unit, s.kind, s.flags
            from ledger.account as s
            where s.book = p_book and s.id = b.id
            offset 0
        ) as a on true
        left join unnest(v_created) as c (id) on c.id = b.id
    );
end;
$$;


-- Closes accounts: from now on they refuse every transfer but a void. Waits for the book, so
-- that a post that is under way comes wholly before. Answers how many there were of them.
create or replace function ledger.close_accounts(p_book integer, p_ids bigint[])
returns bigint
language plpgsql
as $$
declare
    v_count bigint;
begin
    perform from ledger.book where book = p_book for update;
    update ledger.account set flags = flags | 32 where book = p_book and id = any(p_ids);
    get diagnostics v_count = row_count;
    return v_count;
end;
$$;


-- Opens closed accounts again.
create or replace function ledger.reopen_accounts(p_book integer, p_ids bigint[])
returns bigint
language plpgsql
as $$
declare
    v_count bigint;
begin
    perform from ledger.book where book = p_book for update;
    update ledger.account set flags = flags & ~32 where book = p_book and id = any(p_ids);
    get diagnostics v_count = row_count;
    return v_count;
end;
$$;
