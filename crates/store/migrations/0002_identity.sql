create table users (
    name text primary key,
    admin bigint not null,
    created_at bigint not null
);
