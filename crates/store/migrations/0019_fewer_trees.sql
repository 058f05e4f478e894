-- A new run writes to as few trees as it can: tags and parameters lie in that of their key, and the
-- index by start finds the runs of an experiment too.
create table run_tags_of (
    run bigint not null references tracked_runs (id),
    key text not null,
    value text not null,
    primary key (run, key)
); -- without rowid
insert into run_tags_of (run, key, value) select run, key, value from run_tags;
drop table run_tags;
alter table run_tags_of rename to run_tags;
create index run_tags_by_value on run_tags (key, substr(value, 1, 200));
create table run_params_of (
    run bigint not null references tracked_runs (id),
    key text not null,
    value text not null,
    primary key (run, key)
); -- without rowid
insert into run_params_of (run, key, value) select run, key, value from run_params;
drop table run_params;
alter table run_params_of rename to run_params;
drop index tracked_runs_by_experiment;
