-- SHA-256 of stored files of model versions: true as long as the store's tag and the size are these.
create table artifact_digests (
    path text primary key,
    etag text not null,
    size bigint not null,
    sha256 text not null
);
