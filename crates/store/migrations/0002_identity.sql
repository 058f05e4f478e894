create table users (
    name text primary key,
    admin bigint not null,
    created_at bigint not null,
    created_by text not null
);
-- Lower case. Maps the author of a commit to a user, so that no author approves under another name.
create table user_emails (
    email text primary key,
    user_name text not null references users (name)
);
create index user_emails_by_user on user_emails (user_name);
-- A secret is stored as its SHA-256 only. The stage_* columns are those of a token that may write one
-- tracked run and dies with its stage.
create table tokens (
    id text primary key,
    secret_hash text not null unique,
    user_name text not null,
    roles text not null,
    created_at bigint not null,
    created_by text not null,
    expires_at bigint,
    revoked_at bigint,
    stage_project text,
    stage_number bigint,
    stage_name text,
    stage_tracking_run text
);
create index tokens_by_user on tokens (user_name, created_at);
create index tokens_by_stage on tokens (stage_project, stage_number);
