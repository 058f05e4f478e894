-- A run all of whose other stages are done and that waits for an approval: nothing holds it.
alter table pipeline_runs add column waiting bigint not null default 0;
-- Who has agreed to a stage of a run, or refused it.
create table stage_votes (
    project text not null,
    number bigint not null,
    stage text not null,
    voter text not null,
    approved bigint not null,
    roles text not null,
    reason text not null,
    at bigint not null,
    primary key (project, number, stage, voter)
);
-- Secrets of stages; the values are encrypted with the server's key.
create table secrets (
    project text not null references projects (name),
    name text not null,
    -- A pattern of branches, and an environment; empty means all.
    reference text not null,
    environment text not null,
    sealed text not null,
    set_by text not null,
    set_at bigint not null,
    primary key (project, name, reference, environment)
);
