create table projects (
    name text primary key,
    created_at bigint not null,
    created_by text not null
);
-- What of each branch has been acted on: a head that differs starts a run.
create table branches (
    project text not null references projects (name),
    branch text not null,
    commit_id text not null,
    pushed_by text not null,
    at bigint not null,
    primary key (project, branch)
);
create table pipeline_runs (
    project text not null references projects (name),
    number bigint not null,
    status text not null,
    commit_id text not null,
    commit_subject text not null,
    author text not null,
    author_email text not null,
    commit_at bigint not null,
    branch text,
    cause text not null,
    started_by text not null,
    force bigint not null,
    cancel_requested bigint not null,
    created_at bigint not null,
    started_at bigint,
    finished_at bigint,
    first_process_ms double precision,
    error text,
    tracking_run text,
    experiment text,
    lock_ref text,
    environment text,
    sources text not null,
    model text,
    model_version bigint,
    primary key (project, number)
);
create index pipeline_runs_open on pipeline_runs (status, created_at);
create table stage_runs (
    project text not null,
    number bigint not null,
    position bigint not null,
    name text not null,
    status text not null,
    detail text not null,
    pid bigint,
    process_started bigint,
    tracking_run text,
    primary key (project, number, name)
);
-- The resolved locks of environments that stages ran in, by content.
create table stage_environments (
    hash text primary key,
    lock_text text not null
);
-- Verdicts of data checks by content: what a gate reads later.
create table check_verdicts (
    project text not null,
    name text not null,
    data_hash text not null,
    suite_hash text not null,
    passed bigint not null,
    number bigint not null,
    detail text not null,
    at bigint not null,
    primary key (project, name, data_hash, suite_hash, number)
);
create index check_verdicts_by_content on check_verdicts (project, data_hash);
create table check_baselines (
    project text not null,
    name text not null,
    baseline text not null,
    number bigint not null,
    at bigint not null,
    primary key (project, name)
);
