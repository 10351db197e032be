-- Where in a book's log a moment is: the seq of the first transfer at `p_at` or later, or the one
-- that the next transfer will get. The log has no gaps and its time never runs backwards, so the
-- place is found by halving.
create or replace function ledger.first_seq_since(p_book integer, p_at timestamptz)
returns bigint
language plpgsql stable
as $$
declare
    v_low bigint := 1;  -- everything before it is earlier
    v_high bigint := 1 + coalesce((select b.last_seq from ledger.book as b where b.book = p_book), 0);
    v_middle bigint;
begin
    while v_low < v_high loop
        v_middle := (v_low + v_high) / 2;
        if (
            select t.created_at < p_at
            from ledger.transfer as t where t.book = p_book and t.seq = v_middle
        ) then
            v_low := v_middle + 1;
        else
            v_high := v_middle;
        end if;
    end loop;
    return v_low;
end;
$$;
