-- Artifacts of Weights & Biases: collections of versions, the names of versions, and which runs made and
-- used them. Their files lie in the object store by content.
create table wandb_collections (
    id bigint primary key,
    experiment bigint not null references experiments (id) on delete cascade,
    name text not null,
    kind text not null,
    -- Of whoever made it: the client asks under this name.
    entity text not null,
    created_at bigint not null,
    unique (experiment, name)
);
create table wandb_artifacts (
    id bigint primary key,
    collection bigint not null references wandb_collections (id) on delete cascade,
    -- From 0; null until its files are there.
    version bigint,
    state text not null,
    digest text not null,
    description text,
    metadata text not null,
    tags text not null,
    -- Aliases that it gets with its version.
    wanted text not null,
    size bigint not null,
    files bigint not null,
    run_id text not null,
    step bigint,
    client_id text,
    created_at bigint not null,
    updated_at bigint not null,
    unique (collection, version)
);
create index wandb_artifacts_by_client on wandb_artifacts (client_id);
create table wandb_aliases (
    collection bigint not null references wandb_collections (id) on delete cascade,
    alias text not null,
    artifact bigint not null references wandb_artifacts (id) on delete cascade,
    primary key (collection, alias)
);
create table wandb_lineage (
    run_id text not null,
    direction text not null,
    artifact bigint not null references wandb_artifacts (id) on delete cascade,
    at bigint not null,
    primary key (run_id, direction, artifact)
);
create index wandb_lineage_by_artifact on wandb_lineage (artifact);
