-- The stage from which on everything runs again.
alter table pipeline_runs add column from_stage text;
-- The run that this one makes again: what it had finished is taken from there.
alter table pipeline_runs add column again_of bigint;
-- Runs of one group in a project follow each other.
alter table pipeline_runs add column concurrency_group text;
-- Which server makes the run, and until when nobody else may take it.
alter table pipeline_runs add column claimed_by text;
alter table pipeline_runs add column lease_until bigint;
