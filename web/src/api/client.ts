import type { Problem } from "./types";

const PREFIX = `${import.meta.env.BASE_URL}api/v1`;
const TOKEN_KEY = "towpath.token";
/** No answer after this long is an error that the page can show. */
const DEADLINE_MS = 30_000;

/** An answer that is not 2xx, or none at all (`status` 0). */
export class ApiError extends Error {
  constructor(
    readonly problem: Problem,
    readonly requestId: string | null = null,
  ) {
    super(problem.detail);
  }

  get status(): number {
    return this.problem.status;
  }
}

/** The token lives as long as the tab. */
export const token = {
  get: (): string | null => sessionStorage.getItem(TOKEN_KEY),
  set: (value: string) => sessionStorage.setItem(TOKEN_KEY, value),
  clear: () => sessionStorage.removeItem(TOKEN_KEY),
};

/** `fetch` with the token. Paths are relative to `/api/v1` unless they begin with `/api/`. */
export async function request(path: string, init: RequestInit = {}): Promise<Response> {
  const headers = new Headers(init.headers);
  const bearer = token.get();
  if (bearer) headers.set("Authorization", `Bearer ${bearer}`);
  const url = path.startsWith("/api/") ? import.meta.env.BASE_URL + path.slice(1) : PREFIX + path;
  let response: Response;
  try {
    response = await fetch(url, { ...init, headers });
  } catch (cause) {
    if (init.signal?.aborted) throw cause;
    throw new ApiError(unreachable());
  }
  if (!response.ok) throw await failure(response);
  return response;
}

export async function get<T>(path: string, signal?: AbortSignal): Promise<T> {
  const deadline = AbortSignal.timeout(DEADLINE_MS);
  const response = await request(path, { signal: signal ? AbortSignal.any([signal, deadline]) : deadline });
  return response.json() as Promise<T>;
}

export const post = <T>(path: string, body: unknown = {}): Promise<T> => send("POST", path, body);
export const put = <T>(path: string, body: unknown): Promise<T> => send("PUT", path, body);

async function send<T>(method: string, path: string, body: unknown): Promise<T> {
  const response = await request(path, {
    method,
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(DEADLINE_MS),
  });
  const text = await response.text();
  return (text ? JSON.parse(text) : undefined) as T;
}

/** `?a=1&b=2` without the empty ones. */
export function search(params: Record<string, string | number | null | undefined>): string {
  const given = Object.entries(params).filter(([, value]) => value !== undefined && value !== null && value !== "");
  const text = new URLSearchParams(given.map(([key, value]) => [key, String(value)])).toString();
  return text ? `?${text}` : "";
}

async function failure(response: Response): Promise<ApiError> {
  const id = response.headers.get("x-request-id");
  const text = await response.text().catch(() => "");
  try {
    const problem = JSON.parse(text) as Partial<Problem>;
    if (typeof problem.detail === "string") {
      return new ApiError({ title: "", kind: "", ...problem, status: response.status, detail: problem.detail }, id);
    }
  } catch {
    // Not a problem document: a proxy, or another server.
  }
  const title = response.statusText || "Error";
  return new ApiError({ title, status: response.status, detail: `The server answered ${response.status} ${title}.`, kind: "" }, id);
}

function unreachable(): Problem {
  return {
    title: "No answer",
    status: 0,
    detail: "The server does not answer.",
    kind: "unavailable",
    hints: ["Models go on serving; start `towpath server` again."],
  };
}
