-- The ledger's tables. They are private to this room: money moves through ledger.post() only,
-- and a row of ledger.transfer is never updated and never deleted.
--
-- Every key starts with the book, but for the one exception marked below, and nothing here
-- refers to another table or fires a trigger, so that the same schema can be distributed by
-- book over many machines.

create schema ledger;

-- What a transfer can meet, in the order of precedence: of several that apply, the first is
-- the answer. The names and meanings are TigerBeetle's; "unit" and "book" stand for what it
-- calls a ledger. popolni.core.outcome holds the same list, and a test compares the two.
create type ledger.outcome as enum (
    'created',
    'linked_event_failed',
    'linked_event_chain_open',
    'reserved_flag',
    'id_must_not_be_zero',
    'id_must_not_be_int_max',
    'exists_with_different_book',
    'exists_with_different_flags',
    'exists_with_different_pending_id',
    'exists_with_different_timeout',
    'exists_with_different_debit_account_id',
    'exists_with_different_credit_account_id',
    'exists_with_different_amount',
    'exists_with_different_reference',
    'exists_with_different_reference_at',
    'exists_with_different_reference_id',
    'exists_with_different_code',
    'exists',
    'flags_are_mutually_exclusive',
    'debit_account_id_must_not_be_zero',
    'credit_account_id_must_not_be_zero',
    'accounts_must_be_different',
    'pending_id_must_be_zero',
    'pending_id_must_not_be_zero',
    'pending_id_must_not_be_int_max',
    'pending_id_must_be_different',
    'timeout_reserved_for_pending_transfer',
    'amount_must_not_be_zero',
    'code_must_not_be_zero',
    'debit_account_not_found',
    'credit_account_not_found',
    'accounts_must_have_the_same_unit',
    'pending_transfer_not_found',
    'pending_transfer_not_pending',
    'pending_transfer_has_different_debit_account_id',
    'pending_transfer_has_different_credit_account_id',
    'pending_transfer_has_different_code',
    'exceeds_pending_transfer_amount',
    'pending_transfer_has_different_amount',
    'pending_transfer_already_posted',
    'pending_transfer_already_voided',
    'pending_transfer_expired',
    'debit_account_already_closed',
    'credit_account_already_closed',
    'overflows_debits_pending',
    'overflows_credits_pending',
    'overflows_debits_posted',
    'overflows_credits_posted',
    'overflows_debits',
    'overflows_credits',
    'exceeds_credits',
    'exceeds_debits'
);

-- The same for an account that is opened.
create type ledger.account_outcome as enum (
    'created',
    'id_must_not_be_zero',
    'flags_are_mutually_exclusive',
    'exists_with_different_unit',
    'exists_with_different_kind',
    'exists_with_different_flags',
    'exists'
);

-- One row a book. A post locks it, takes the next seq values from it and writes it back, so
-- the log of a book has no gaps and its order is commit order. Few rows, all of them hot: the
-- low fillfactor leaves room for their versions on the same page.
create table ledger.book (
    book integer primary key check (book > 0),
    currency text not null check (currency ~ '^[A-Z]{3}$'),
    last_seq bigint not null default 0,
    last_at timestamptz not null default 'epoch',
    -- every pending transfer whose time ran out up to here has been released
    expired_until timestamptz not null default 'epoch'
) with (fillfactor = 10);

-- unit: 1 money, 2 byte, 3 second, 4 message. kind: the chart of accounts.
-- flags: 2 debits_must_not_exceed_credits, 4 credits_must_not_exceed_debits, 32 closed.
-- No index on a total and free room on each page, so that updates stay on their page (HOT).
create table ledger.account (
    id bigint not null check (id > 0),
    debits_posted bigint not null default 0 check (debits_posted >= 0),
    credits_posted bigint not null default 0 check (credits_posted >= 0),
    debits_pending bigint not null default 0 check (debits_pending >= 0),
    credits_pending bigint not null default 0 check (credits_pending >= 0),
    book integer not null,
    unit smallint not null check (unit between 1 and 4),
    kind smallint not null check (kind > 0),
    flags smallint not null check (flags & ~38 = 0 and flags & 6 <> 6),
    primary key (book, id)
) with (fillfactor = 80);

-- The log. flags: 1 linked, 2 pending, 4 post_pending, 8 void_pending. code 0 is the ledger's
-- own: the release of a pending transfer whose time ran out. reference is the identifier that
-- the other side knows the payment by, reference_at its date for it, reference_id our own row
-- that the transfer is about.
create table ledger.transfer (
    seq bigint not null check (seq > 0),
    id uuid not null,
    debit_account bigint not null,
    credit_account bigint not null,
    amount bigint not null check (amount > 0),
    created_at timestamptz not null,
    book integer not null,
    code smallint not null check (code >= 0),
    flags smallint not null check (flags between 0 and 15),
    pending_id uuid,
    expires_at timestamptz,
    reference_at timestamptz,
    reference_id bigint,
    reference text,
    primary key (book, seq),
    -- The exception: an identifier names one transfer in all books. On a cluster this key
    -- becomes (book, id), and the caller looks in the agent's other books first.
    constraint transfer_id unique (id)
);

-- At most one transfer posts, voids or times out a pending one.
create unique index transfer_resolves on ledger.transfer (book, pending_id)
where pending_id is not null;

-- Pending transfers by the moment at which they time out.
create index transfer_expires on ledger.transfer (book, expires_at)
where expires_at is not null;

-- An account's own part of the log, from either side: a number's timeline, a float's history.
-- They cost a post 3 to 8 % (docs/decisions/account-history.md).
create index transfer_debits on ledger.transfer (book, debit_account, seq);

create index transfer_credits on ledger.transfer (book, credit_account, seq);

-- How far each reader of the log has come, written in the transaction of its effects.
create table ledger.position (
    book integer not null,
    reader text not null check (reader <> ''),
    seq bigint not null check (seq >= 0),
    primary key (book, reader)
) with (fillfactor = 10);
