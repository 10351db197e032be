-- Accounts: opened, closed, opened again. Their totals are ledger.post()'s alone.


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
set jit = off
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
    if not found then
        raise exception 'book % does not exist', p_book using errcode = 'no_data_found';
    end if;
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
    if not found then
        raise exception 'book % does not exist', p_book using errcode = 'no_data_found';
    end if;
    update ledger.account set flags = flags & ~32 where book = p_book and id = any(p_ids);
    get diagnostics v_count = row_count;
    return v_count;
end;
$$;
