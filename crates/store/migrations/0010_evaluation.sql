-- Datasets of questions that applications are judged by, and what judges them.
create table evaluation_datasets (
    id bigint primary key,
    dataset_id text not null unique,
    name text not null,
    digest text not null,
    schema text,
    records bigint not null,
    created_at bigint not null,
    updated_at bigint not null,
    created_by text,
    updated_by text
);
create table evaluation_dataset_tags (
    dataset bigint not null references evaluation_datasets (id),
    key text not null,
    value text not null,
    primary key (dataset, key)
);
create table evaluation_dataset_experiments (
    dataset bigint not null references evaluation_datasets (id),
    experiment text not null,
    primary key (dataset, experiment)
);
create index evaluation_datasets_by_experiment on evaluation_dataset_experiments (experiment, dataset);
create table evaluation_records (
    id bigint primary key,
    record_id text not null unique,
    dataset bigint not null references evaluation_datasets (id),
    -- The hash of its inputs: a record with the same inputs is the same record.
    input_hash text not null,
    content text not null,
    created_at bigint not null,
    updated_at bigint not null,
    unique (dataset, input_hash)
);
create index evaluation_records_by_dataset on evaluation_records (dataset, id);
create table scorers (
    id bigint primary key,
    scorer_id text not null unique,
    experiment bigint not null references experiments (id),
    name text not null,
    unique (experiment, name)
);
create table scorer_versions (
    scorer bigint not null references scorers (id),
    version bigint not null,
    content text not null,
    created_at bigint not null,
    primary key (scorer, version)
);
