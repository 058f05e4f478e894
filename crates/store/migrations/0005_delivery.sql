-- What towpath.yaml said at the commit of a model version: the policy of its releases.
create table version_policies (
    model text not null,
    version bigint not null,
    project text not null,
    requested_by text not null,
    project_file text not null,
    at bigint not null,
    primary key (model, version)
);
-- One model version on its way into one environment.
create table releases (
    id bigint primary key,
    project text not null,
    environment text not null,
    model text not null,
    version bigint not null,
    hash text not null,
    binds text not null,
    -- What a rolled-back release is recognised by when it comes again.
    pin text not null,
    -- The environment as towpath.yaml declared it.
    policy text not null,
    state text not null,
    reason text,
    requested_by text not null,
    created_at bigint not null,
    updated_at bigint not null,
    -- How often the gates have been begun; verdicts and votes belong to a round.
    round bigint not null,
    gated_against bigint,
    gated_at bigint,
    verdicts_hash text,
    live_at bigint,
    -- Until when the revision stays loaded after its successor went live.
    warm_until bigint,
    -- 1 once the release of the environment after this one has been opened or refused.
    followed bigint not null
);
create index releases_by_environment on releases (project, environment, state, id);
create index releases_by_version on releases (model, version);
create index releases_by_pin on releases (project, environment, pin);
create index releases_by_state on releases (state, followed);
create table gate_verdicts (
    release bigint not null references releases (id),
    round bigint not null,
    position bigint not null,
    verdict text not null,
    primary key (release, round, position)
);
create table approvals (
    release bigint not null references releases (id),
    round bigint not null,
    user_name text not null,
    approved bigint not null,
    roles text not null,
    reason text not null,
    release_hash text not null,
    verdicts_hash text not null,
    incumbent bigint,
    at bigint not null,
    primary key (release, round, user_name)
);
create table rollouts (
    id text primary key,
    release bigint not null unique references releases (id),
    project text not null,
    environment text not null,
    stable_release bigint,
    status text not null,
    step bigint not null,
    weight double precision not null,
    -- When each step began, as the data plane saw it.
    step_times text not null,
    started_at bigint not null,
    finished_at bigint,
    -- The newest evidence and what was said of it.
    evidence text,
    verdict text,
    -- Least time between two points of the evidence chart.
    point_millis bigint not null
);
create table rollout_decisions (
    rollout text not null references rollouts (id),
    position bigint not null,
    decision text not null,
    hash text not null,
    primary key (rollout, position)
);
create table rollout_points (
    rollout text not null references rollouts (id),
    position bigint not null,
    at bigint not null,
    point text not null,
    primary key (rollout, position)
);
-- The data plane of an environment: what it shall serve.
create table deployments (
    project text not null,
    environment text not null,
    model text not null,
    port bigint,
    table_version bigint not null,
    routing text not null,
    primary key (project, environment)
);
