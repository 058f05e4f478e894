-- Who is told of changes of the registry, and what is still to be told. A delivery is written in the
-- transaction of the change; it goes when it was taken.
create table webhooks (
    id bigint primary key,
    webhook_id text not null unique,
    name text not null,
    url text not null,
    description text,
    secret text,
    status text not null,
    created_at bigint not null,
    updated_at bigint not null
);
create table webhook_events (
    webhook bigint not null references webhooks (id),
    position bigint not null,
    event text not null,
    primary key (webhook, position)
);
create index webhook_events_by_event on webhook_events (event, webhook);
create table webhook_deliveries (
    id bigint primary key,
    webhook bigint not null references webhooks (id),
    delivery_id text not null,
    event text not null,
    body text not null,
    -- How often it was sent.
    attempts bigint not null,
    -- When it is sent next; null when it was given up.
    due_at bigint,
    error text,
    created_at bigint not null
);
create index webhook_deliveries_due on webhook_deliveries (due_at);
create index webhook_deliveries_of on webhook_deliveries (webhook, id);
