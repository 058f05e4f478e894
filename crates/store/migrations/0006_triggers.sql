-- Why a run exists, beside its cause: the trigger's name, the time it was planned for, a sentence.
alter table pipeline_runs add column trigger_name text;
alter table pipeline_runs add column planned_at bigint;
alter table pipeline_runs add column reason text;
-- Values of params.yaml (or file:key) that differ from the commit's.
alter table pipeline_runs add column params text not null default '{}';
alter table pipeline_runs add column priority bigint not null default 0;
-- How many runs in a row were started by the end of another one.
alter table pipeline_runs add column chain bigint not null default 0;
create index pipeline_runs_by_trigger on pipeline_runs (project, trigger_name, number);
create index pipeline_runs_ended on pipeline_runs (project, finished_at);
-- Tags that have been looked at.
create table tags (
    project text not null references projects (name),
    tag text not null,
    commit_id text not null,
    at bigint not null,
    primary key (project, tag)
);
-- What starts runs beside a push, as towpath.yaml on the default branch declares it.
create table triggers (
    project text not null references projects (name),
    name text not null,
    kind text not null,
    declared text not null,
    branch text not null,
    paused_at bigint,
    paused_by text,
    -- The planned time that is decided on next, and the same with jitter.
    planned_at bigint,
    due_at bigint,
    -- What was acted on last: contents, a version, the end of a run.
    seen text,
    -- Counts up when a webhook gets a new secret.
    generation bigint not null,
    primary key (project, name)
);
create index triggers_due on triggers (due_at);
create index triggers_by_kind on triggers (kind);
-- What came of it each time.
create table trigger_decisions (
    project text not null,
    name text not null,
    id bigint not null,
    at bigint not null,
    outcome text not null,
    run bigint,
    planned_at bigint,
    times bigint not null,
    why text not null,
    -- The sender's id of a webhook's delivery: it is acted on once.
    delivery text,
    primary key (project, name, id)
);
create unique index trigger_decisions_by_delivery on trigger_decisions (project, name, delivery);
