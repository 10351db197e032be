-- One transfer, and one chain, by the rules in the order of precedence of ledger.outcome. These
-- functions are steps of ledger.post() (post.sql), which holds the book's lock, and are not to be
-- called by anyone else.
--
-- Deliberate differences from TigerBeetle: a refused id is not burned, so a retry may succeed;
-- replaying a chain that was created answers `exists` for the whole chain; and as an amount is
-- never zero here, zero in a transfer that posts or voids stands for "all of it".


-- How a transfer that is asked for again differs from the one that the log holds.
create or replace function ledger.compare(t ledger.transfer, p_timeout_s integer)
returns ledger.outcome
language plpgsql stable
as $$
declare
    e ledger.transfer;  -- what exists under this id
    p ledger.transfer;  -- the pending transfer that it posts or voids
begin
    select * into e from ledger.transfer where id = t.id;
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
        select * into p from ledger.transfer where book = t.book and id = t.pending_id;
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


-- Posts or voids a pending transfer; the id of `t` is new. What is 0 or null in it is taken from
-- the pending one.
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
    insert into ledger.transfer select t.* on conflict (id) do nothing;
    if not found then  -- a post to another book brought it at the same moment, and was first
        return ledger.compare(t, p_timeout_s);
    end if;
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
    insert into ledger.transfer select t.* on conflict (id) do nothing;
    if not found then  -- a post to another book brought it at the same moment, and was first
        return ledger.compare(t, p_timeout_s);
    end if;
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
