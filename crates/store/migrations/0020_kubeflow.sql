-- Pipelines of Kubeflow Pipelines, as its client sees them. Texts of pipelines are kept by content.
create table kfp_specs (
    hash text primary key,
    text text not null
);
create table kfp_experiments (
    experiment_id text primary key,
    project text not null references projects (name),
    display_name text not null,
    description text not null,
    created_at bigint not null,
    last_run_at bigint,
    archived bigint not null,
    deleted bigint not null
);
create unique index kfp_experiments_by_name on kfp_experiments (project, display_name) where deleted = 0;
create table kfp_pipelines (
    pipeline_id text primary key,
    project text not null references projects (name),
    name text not null,
    display_name text not null,
    description text not null,
    created_at bigint not null,
    unique (project, name)
);
create table kfp_versions (
    version_id text primary key,
    pipeline_id text not null references kfp_pipelines (pipeline_id),
    name text not null,
    display_name text not null,
    description text not null,
    created_at bigint not null,
    spec text not null references kfp_specs (hash),
    code_source_url text,
    unique (pipeline_id, name)
);
-- A run as it was asked for. What became of it is the newest of its pipeline runs: a retry makes another one.
create table kfp_runs (
    run_id text primary key,
    project text not null references projects (name),
    experiment_id text not null references kfp_experiments (experiment_id),
    display_name text not null,
    description text not null,
    pipeline_id text,
    version_id text,
    spec text not null references kfp_specs (hash),
    parameters text not null,
    pipeline_root text,
    service_account text,
    created_at bigint not null,
    archived bigint not null,
    deleted bigint not null
);
create index kfp_runs_by_age on kfp_runs (project, created_at);
create index kfp_runs_of_experiment on kfp_runs (experiment_id, created_at);
alter table pipeline_runs add column kfp_run text;
create index pipeline_runs_of_kfp on pipeline_runs (kfp_run, number);
