-- Traces: what an application did, with its spans, and what people and judges said about it.
create table traces (
    id bigint primary key,
    trace_id text not null unique,
    experiment bigint not null references experiments (id),
    request_time bigint not null,
    duration bigint,
    state text not null,
    client_request_id text,
    request_preview text,
    response_preview text
);
create index traces_by_time on traces (experiment, request_time, id);
create table trace_tags (
    trace bigint not null references traces (id),
    key text not null,
    value text not null,
    primary key (trace, key)
);
create table trace_metadata (
    trace bigint not null references traces (id),
    key text not null,
    value text not null,
    primary key (trace, key)
);
create table trace_runs (
    trace bigint not null references traces (id),
    run_id text not null,
    primary key (trace, run_id)
);
-- `content` is the span as OpenTelemetry's JSON has it; started counts nanoseconds.
create table spans (
    trace bigint not null references traces (id),
    span_id text not null,
    name text not null,
    kind text not null,
    status text not null,
    started bigint not null,
    content text not null,
    primary key (trace, span_id)
);
create table assessments (
    id bigint primary key,
    assessment_id text not null unique,
    trace bigint not null references traces (id),
    name text not null,
    valid bigint not null,
    content text not null
);
create index assessments_by_trace on assessments (trace, id);
