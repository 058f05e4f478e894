/**
 * Live data: one stream of events says which query keys changed; the data itself travels only by
 * GET, so a lost event does no harm, and after a reconnect everything is asked for again.
 *
 * The stream is read with `fetch`, because `EventSource` cannot send a token.
 */
import { useSyncExternalStore } from "react";
import type { Query, QueryClient } from "@tanstack/react-query";

import { ApiError, request } from "./api/client";
import type { Changed } from "./api/types";

/** Events that come close together cause one round of requests. */
const GATHER_MS = 200;
const RETRY_MS = [500, 1_000, 2_000, 5_000, 10_000];

type Key = (string | number)[];

declare module "@tanstack/react-query" {
  interface Register {
    /** Keys that a query depends on beside its own. */
    queryMeta: { follows?: Key[] };
  }
}

export type Connection = { live: true } | { live: false; since: number | null };

let connection: Connection = { live: false, since: null };
const listeners = new Set<() => void>();

function setConnection(next: Connection) {
  connection = next;
  for (const listener of listeners) listener();
}

/** Whether events arrive; `since` is when they stopped, `null` before the first connection. */
export function useConnection(): Connection {
  return useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => connection,
  );
}

/** Follows `/api/events` until `signal` fires. */
export async function follow(client: QueryClient, signal: AbortSignal): Promise<void> {
  let attempt = 0;
  let connectedBefore = false;
  while (!signal.aborted) {
    try {
      const response = await request("/api/events", { headers: { Accept: "text/event-stream" }, signal });
      setConnection({ live: true });
      attempt = 0;
      if (connectedBefore) void client.invalidateQueries();
      connectedBefore = true;
      await readEvents(response, gatherer(client));
    } catch (error) {
      if (signal.aborted || (error instanceof ApiError && error.status === 401)) return;
    }
    if (connection.live || connection.since === null) setConnection({ live: false, since: Date.now() });
    const delay = RETRY_MS[Math.min(attempt++, RETRY_MS.length - 1)] ?? 10_000;
    await new Promise((resolve) => setTimeout(resolve, delay));
  }
}

async function readEvents(response: Response, onChanged: (changed: Changed) => void): Promise<void> {
  if (!response.body) return;
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split(/\r?\n\r?\n/);
    rest = blocks.pop() ?? "";
    for (const block of blocks) {
      const data = block
        .split(/\r?\n/)
        .filter((line) => line.startsWith("data:"))
        .map((line) => line.slice(5))
        .join("\n");
      if (data) onChanged(JSON.parse(data) as Changed);
    }
  }
}

function gatherer(client: QueryClient): (changed: Changed) => void {
  let keys: Changed["keys"] = [];
  let timer: ReturnType<typeof setTimeout> | undefined;
  return (changed) => {
    keys.push(...changed.keys);
    timer ??= setTimeout(() => {
      const gathered = keys;
      keys = [];
      timer = undefined;
      void client.invalidateQueries({ predicate: (query) => gathered.some((key) => touches(key, query)) });
    }, GATHER_MS);
  };
}

function touches(changed: Key, query: Query): boolean {
  const key = query.queryKey.filter((part): part is string | number => typeof part !== "object");
  return overlaps(changed, key) || (query.meta?.follows?.some((followed) => overlaps(changed, followed)) ?? false);
}

/**
 * True when one is a prefix of the other: `["releases", 4]` touches that release and what hangs on
 * it, and also every list of releases, whose key is `["releases", {…}]`. `[]` touches everything.
 */
function overlaps(changed: Key, key: Key): boolean {
  const shorter = Math.min(changed.length, key.length);
  return Array.from({ length: shorter }).every((_, i) => String(changed[i]) === String(key[i]));
}
