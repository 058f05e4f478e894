/** Serves the built page with the invented answers of `fixtures.ts` behind it. */
import { readFileSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { extname, join } from "node:path";

import type { Changed } from "../src/api/types";
import { CSP } from "./browser";
import { NOW, answer, card } from "./fixtures";

export interface FixtureServer {
  url: string;
  /** Requests that would change something, as `POST /path body`. */
  posted: string[];
  /** Sends an event to every open page. */
  announce: (keys: Changed["keys"]) => void;
  stop: () => void;
}

const TYPES: Record<string, string> = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml" };
const DIST = join(process.cwd(), "dist");

export async function serveFixtures(): Promise<FixtureServer> {
  const posted: string[] = [];
  const streams = new Set<ServerResponse>();
  const server = createServer((request, response) => {
    const url = new URL(request.url ?? "/", "http://towpath");
    if (url.pathname === "/api/events") {
      response.writeHead(200, { "content-type": "text/event-stream" }).write(": hello\n\n");
      streams.add(response);
      response.on("close", () => streams.delete(response));
    } else if (url.pathname === "/api/v1/models/digits/card" && request.method === "PUT") {
      receive(request, (body) => {
        posted.push(`PUT ${url.pathname} ${body}`);
        const { markdown, replaces } = JSON.parse(body) as { markdown: string; replaces: string };
        if (replaces !== card.now.digest) return json(response, 409, { title: "Conflict", status: 409, detail: "the card of digits was changed meanwhile", kind: "conflict" });
        card.now = { markdown, digest: `${card.now.digest}+`, edited_by: "reviewer-1", edited_at: NOW };
        json(response, 200, card.now);
      });
    } else if (url.pathname.startsWith("/api/") && request.method === "POST") {
      receive(request, (body) => {
        posted.push(`POST ${url.pathname} ${body}`);
        json(response, 200, accepted(url.pathname));
      });
    } else if (url.pathname.endsWith("/log") && url.searchParams.get("follow")) {
      const line = { number: 51, seconds: 24.4, stream: "out", text: "epoch 41  loss 0.0659  val 0.0896  acc 0.9783" };
      response.writeHead(200, { "content-type": "application/x-ndjson" }).write(`${JSON.stringify(line)}\n`);
    } else if (url.pathname.startsWith("/api/")) {
      const body = answer(url);
      const missing = { title: "Not found", status: 404, detail: `There is nothing at ${url.pathname}.`, kind: "not_found" };
      json(response, body === undefined ? 404 : 200, body ?? missing);
    } else {
      const path = extname(url.pathname) ? url.pathname : "/index.html";
      response.writeHead(200, { "content-type": TYPES[extname(path)] ?? "text/plain", "content-security-policy": CSP });
      response.end(readFileSync(join(DIST, path)));
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    posted,
    announce: (keys) => streams.forEach((stream) => stream.write(`data: ${JSON.stringify({ keys })}\n\n`)),
    stop: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}

function accepted(path: string): unknown {
  if (path.endsWith("/recompute")) return { decisions: 3, equal: 3, differences: [] };
  if (path.endsWith("/backfills/preview")) return ["waiting", "waiting", "skipped"].map((status, index) => ({ planned_at: index, status, run: null, why: null }));
  return path.endsWith("/releases") ? { id: 57 } : {};
}

function receive(request: IncomingMessage, done: (body: string) => void) {
  let body = "";
  request.on("data", (chunk: Buffer) => (body += chunk.toString()));
  request.on("end", () => done(body));
}

function json(response: ServerResponse, status: number, body: unknown) {
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
}
