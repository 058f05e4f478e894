-- Artifacts that are being uploaded in parts; the id is what lets a part in.
create table artifact_uploads (
    upload_id text primary key,
    path text not null,
    parts bigint not null,
    created_at bigint not null
);
create index artifact_uploads_by_time on artifact_uploads (created_at);
-- Since when a run or an experiment is deleted; null for those deleted before this was kept.
alter table tracked_runs add column deleted_at bigint;
alter table experiments add column deleted_at bigint;
