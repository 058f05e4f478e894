-- What deliveries are signed with, encrypted with the server's key. `secret` holds what an older version
-- wrote, until the server starts the next time.
alter table webhooks add column sealed text;
