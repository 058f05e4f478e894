import { useEffect, useState } from "react";

import { request, search } from "../../api/client";
import { stageLog } from "../../api/queries";
import type { LogLine, Run, StageRun } from "../../api/types";

/** The newest lines that are kept; of a longer log the beginning is left out. */
const KEPT = 20_000;
/** Lines that arrive within this time are shown together. */
const GATHER_MS = 100;

export interface StageLog {
  lines: LogLine[];
  /** Lines before the first one kept. */
  leftOut: number;
  error: Error | null;
  loading: boolean;
}

const NOTHING: StageLog = { lines: [], leftOut: 0, error: null, loading: true };

/** Reads a stage's log, then follows it while the stage runs. */
export function useStageLog(run: Run, stage: StageRun): StageLog {
  const [log, setLog] = useState<StageLog>(NOTHING);
  const started = stage.started_at !== null && stage.status !== "reused";
  const { project, number } = run;
  const { name, attempt } = stage;

  useEffect(() => {
    setLog(started ? NOTHING : { ...NOTHING, loading: false });
    if (!started) return;
    const stop = new AbortController();
    const add = (lines: LogLine[]) => {
      if (lines.length === 0) return;
      setLog((log) => {
        const all = [...log.lines, ...lines];
        const leftOut = log.leftOut + Math.max(0, all.length - KEPT);
        return { ...log, lines: all.slice(-KEPT), leftOut, loading: false };
      });
    };
    read({ project, number, stage: name }, add, (leftOut) => setLog((log) => ({ ...log, leftOut })), stop.signal)
      .then(() => setLog((log) => ({ ...log, loading: false })))
      .catch((error: unknown) => {
        if (!stop.signal.aborted) setLog((log) => ({ ...log, loading: false, error: error instanceof Error ? error : new Error(String(error)) }));
      });
    return () => stop.abort();
  }, [project, number, name, attempt, started]);
  return log;
}

async function read(
  of: { project: string; number: number; stage: string },
  add: (lines: LogLine[]) => void,
  skip: (lines: number) => void,
  signal: AbortSignal,
): Promise<void> {
  let from = 0;
  for (;;) {
    const page = await stageLog(of.project, of.number, of.stage, from, signal);
    if (from === 0 && page.total > KEPT + page.lines.length) {
      from = page.total - KEPT;
      skip(from);
      continue;
    }
    add(page.lines);
    from = (page.lines.at(-1)?.number ?? from - 1) + 1;
    const atEnd = page.lines.length === 0 || from >= page.total;
    if (atEnd && page.finished) return;
    if (atEnd) break;
  }
  await followLines(of, from, add, signal);
}

/** Newline-delimited lines until the stage ends. */
async function followLines(
  of: { project: string; number: number; stage: string },
  from: number,
  add: (lines: LogLine[]) => void,
  signal: AbortSignal,
): Promise<void> {
  const path = `/projects/${encodeURIComponent(of.project)}/runs/${of.number}/stages/${encodeURIComponent(of.stage)}/log`;
  const response = await request(path + search({ from, follow: "true" }), { signal });
  if (!response.body) return;
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let gathered: LogLine[] = [];
  let timer: ReturnType<typeof setTimeout> | undefined;
  const flush = () => {
    clearTimeout(timer);
    timer = undefined;
    if (!signal.aborted) add(gathered);
    gathered = [];
  };
  for (;;) {
    const { value, done } = await reader.read();
    if (done) break;
    const texts = (rest + value).split("\n");
    rest = texts.pop() ?? "";
    gathered.push(...texts.filter((text) => text.trim() !== "").map((text) => JSON.parse(text) as LogLine));
    timer ??= setTimeout(flush, GATHER_MS);
  }
  flush();
}
