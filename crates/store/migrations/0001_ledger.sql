create table ledger (
    seq bigint primary key,
    hash text not null,
    previous text not null,
    kind text not null,
    actor text not null,
    at bigint not null,
    about text not null,
    evidence text not null
);
-- The one row that serialises appends, and that shows a ledger cut off at its end.
create table ledger_head (
    id bigint primary key,
    seq bigint not null,
    hash text not null
);
insert into ledger_head (id, seq, hash)
values (1, 0, '0000000000000000000000000000000000000000000000000000000000000000');
create table ledger_about (
    thing text not null,
    seq bigint not null references ledger (seq),
    primary key (thing, seq)
);
create table sequences (
    name text primary key,
    value bigint not null
);
