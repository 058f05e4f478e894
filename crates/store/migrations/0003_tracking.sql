-- Experiments, runs, metric series, logged models, the model registry and the lineage of versions.
create table experiments (
    id bigint primary key,
    name text not null unique,
    artifact_location text not null,
    lifecycle_stage text not null,
    created_at bigint not null,
    updated_at bigint not null
);
insert into experiments (id, name, artifact_location, lifecycle_stage, created_at, updated_at)
values (0, 'Default', 'mlflow-artifacts:/0', 'active', 0, 0);
create table experiment_tags (
    experiment bigint not null references experiments (id),
    key text not null,
    value text not null,
    primary key (experiment, key)
);
-- The integer is what metric points refer to; clients know the run_id (32 hex digits).
create table tracked_runs (
    id bigint primary key,
    run_id text not null unique,
    experiment bigint not null references experiments (id),
    name text not null,
    user_id text not null,
    status text not null,
    start_time bigint not null,
    end_time bigint,
    artifact_uri text not null,
    lifecycle_stage text not null,
    created_by text not null
);
create index tracked_runs_by_experiment on tracked_runs (experiment, id);
create table run_params (
    run bigint not null references tracked_runs (id),
    key text not null,
    value text not null,
    primary key (run, key)
);
create table run_tags (
    run bigint not null references tracked_runs (id),
    key text not null,
    value text not null,
    primary key (run, key)
);
create index run_tags_by_value on run_tags (key, value);
-- Names of metrics, once for all runs.
create table metric_keys (
    id bigint primary key,
    name text not null unique
);
-- Every point once: the same point again is the same row. NaN is value 0 with is_nan 1.
create table metric_points (
    run bigint not null,
    key bigint not null,
    step bigint not null,
    at bigint not null,
    value double precision not null,
    is_nan bigint not null,
    primary key (run, key, step, at, value, is_nan)
);
-- The point with the greatest (step, at, value) of each series: what searches look at.
create table metric_latest (
    run bigint not null,
    key bigint not null,
    step bigint not null,
    at bigint not null,
    value double precision not null,
    is_nan bigint not null,
    primary key (run, key)
);
create table datasets (
    id text primary key,
    experiment bigint not null references experiments (id),
    name text not null,
    digest text not null,
    source_type text not null,
    source text not null,
    schema text,
    profile text,
    unique (experiment, name, digest)
);
create table run_datasets (
    run bigint not null references tracked_runs (id),
    position bigint not null,
    dataset text not null references datasets (id),
    tags text not null,
    primary key (run, dataset)
);
create table run_models (
    run bigint not null references tracked_runs (id),
    direction text not null,
    model_id text not null,
    step bigint not null,
    primary key (run, direction, model_id)
);
create table logged_models (
    id bigint primary key,
    model_id text not null unique,
    experiment bigint not null references experiments (id),
    name text not null,
    model_type text,
    source_run_id text,
    artifact_uri text not null,
    status text not null,
    lifecycle_stage text not null,
    created_at bigint not null,
    updated_at bigint not null
);
create index logged_models_by_experiment on logged_models (experiment, id);
create table logged_model_tags (
    model bigint not null references logged_models (id),
    key text not null,
    value text not null,
    primary key (model, key)
);
create table logged_model_params (
    model bigint not null references logged_models (id),
    key text not null,
    value text not null,
    primary key (model, key)
);
create table logged_model_metrics (
    model bigint not null references logged_models (id),
    key text not null,
    run_id text not null,
    dataset_name text not null,
    dataset_digest text not null,
    step bigint not null,
    at bigint not null,
    value double precision not null,
    is_nan bigint not null,
    primary key (model, key, run_id, dataset_name, dataset_digest)
);
create table registered_models (
    name text primary key,
    description text,
    created_at bigint not null,
    updated_at bigint not null
);
create table registered_model_tags (
    model text not null,
    key text not null,
    value text not null,
    primary key (model, key)
);
-- A deleted version keeps its row, so that its number is never given again.
create table model_versions (
    model text not null,
    version bigint not null,
    description text,
    source text not null,
    storage_location text not null,
    run_id text,
    run_link text,
    model_id text,
    stage text not null,
    deleted bigint not null,
    created_at bigint not null,
    created_by text not null,
    updated_at bigint not null,
    primary key (model, version)
);
create index model_versions_by_run on model_versions (run_id);
create index model_versions_by_location on model_versions (storage_location);
create table model_version_tags (
    model text not null,
    version bigint not null,
    key text not null,
    value text not null,
    primary key (model, version, key)
);
create table model_aliases (
    model text not null,
    alias text not null,
    version bigint not null,
    primary key (model, alias)
);
create index model_aliases_by_version on model_aliases (model, version);
-- Aliases that follow the releases of an environment: no client moves them.
create table reserved_aliases (
    model text not null,
    alias text not null,
    primary key (model, alias)
);
-- What made a version. Never changed, never deleted.
create table model_lineage (
    model text not null,
    version bigint not null,
    project text not null,
    number bigint not null,
    at bigint not null,
    lineage text not null,
    primary key (model, version)
);
create index model_lineage_by_run on model_lineage (project, number);
-- From a data hash up to the versions that were made of it.
create table model_data (
    md5 text not null,
    model text not null,
    version bigint not null,
    path text not null,
    primary key (md5, model, version, path)
);
create index model_data_by_path on model_data (path);
