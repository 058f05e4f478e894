-- Runs for planned times of a schedule that have passed.
create table backfills (
    project text not null references projects (name),
    number bigint not null,
    schedule text not null,
    -- One commit for all of its runs.
    commit_id text not null,
    commit_subject text not null,
    author text not null,
    author_email text not null,
    commit_at bigint not null,
    branch text not null,
    from_at bigint not null,
    to_at bigint not null,
    -- Runs under way at the same time.
    at_once bigint not null,
    reprocess text not null,
    force bigint not null,
    -- running, paused, done, cancelled
    status text not null,
    created_at bigint not null,
    created_by text not null,
    finished_at bigint,
    -- Written first by whoever moves it on: others on this database wait, and see what was done.
    looked_at bigint not null,
    primary key (project, number)
);
create index backfills_by_status on backfills (status);
-- Its planned times, in the order they are run.
create table backfill_partitions (
    project text not null,
    backfill bigint not null,
    position bigint not null,
    planned_at bigint not null,
    run bigint,
    -- Why it gets no run.
    skipped text,
    primary key (project, backfill, position)
);
create index pipeline_runs_by_planned_time on pipeline_runs (project, trigger_name, planned_at);
