-- Metric series as packed points. A request appends one row to its run's tail; a tail that has grown is
-- folded into chunks, one series each. `metric_points` holds what older versions wrote, until
-- towpath_tracking::metrics::upgrade has packed it.
create table metric_tails (
    run bigint not null,
    -- How many points of the tail lie before this row.
    first bigint not null,
    points bigint not null,
    payload bytea not null,
    primary key (run, first)
); -- without rowid
create table metric_chunks (
    run bigint not null,
    key bigint not null,
    number bigint not null,
    points bigint not null,
    min_step bigint not null,
    max_step bigint not null,
    payload bytea not null,
    primary key (run, key, number)
);
create table metric_latest_of (
    run bigint not null,
    key bigint not null,
    experiment bigint not null,
    step bigint not null,
    at bigint not null,
    value double precision not null,
    is_nan bigint not null,
    primary key (run, key)
); -- without rowid
insert into metric_latest_of (run, key, experiment, step, at, value, is_nan)
select l.run, l.key, r.experiment, l.step, l.at, l.value, l.is_nan
from metric_latest l join tracked_runs r on r.id = l.run;
drop table metric_latest;
alter table metric_latest_of rename to metric_latest;
-- What a search by a metric walks along.
create index metric_latest_by_value on metric_latest (experiment, key, is_nan, value, run);
create index tracked_runs_by_start on tracked_runs (experiment, start_time, run_id);
-- Only the start of a value: PostgreSQL keeps no long ones in an index.
drop index run_tags_by_value;
create index run_tags_by_value on run_tags (key, substr(value, 1, 200));
