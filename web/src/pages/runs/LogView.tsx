import { useEffect, useMemo, useRef, useState } from "react";
import { useVirtualizer } from "@tanstack/react-virtual";

import type { LogLine, Run, StageRun } from "../../api/types";
import { count, plural } from "../../format/number";
import { Icon } from "../../parts/Icon";
import { Empty, Failed } from "../../parts/Loaded";
import { pieces } from "./ansi";
import { useStageLog } from "./useStageLog";

const LINE_PX = 18;
/** Closer to the end than this counts as being there. */
const AT_END_PX = 30;

/** A stage's log, followed while it runs. Scrolling up ends following. */
export function LogView({ run, stage }: { run: Run; stage: StageRun }) {
  const log = useStageLog(run, stage);
  const [text, setText] = useState("");
  const [following, setFollowing] = useState(stage.status === "running");
  const [seen, setSeen] = useState(0);
  const [marked, setMarked] = useState(() => Number(/^#L(\d+)/.exec(window.location.hash)?.[1] ?? 0));
  const frame = useRef<HTMLDivElement>(null);

  const lines = useMemo(() => {
    const wanted = text.trim().toLowerCase();
    return wanted ? log.lines.filter((line) => line.text.toLowerCase().includes(wanted)) : log.lines;
  }, [log.lines, text]);
  const virtual = useVirtualizer({ count: lines.length, getScrollElement: () => frame.current, estimateSize: () => LINE_PX, overscan: 20 });

  useEffect(() => {
    if (following && lines.length > 0) virtual.scrollToIndex(lines.length - 1, { align: "end" });
  }, [following, lines.length, virtual]);
  useEffect(() => {
    if (following) setSeen(log.lines.length);
  }, [following, log.lines.length]);
  const reached = useRef(false);
  useEffect(() => {
    const index = marked > 0 && !reached.current ? log.lines.findIndex((line) => line.number + 1 === marked) : -1;
    if (index < 0) return;
    reached.current = true;
    setFollowing(false);
    virtual.scrollToIndex(index, { align: "center" });
  }, [log.lines, marked, virtual]);

  const onScroll = () => {
    const element = frame.current;
    if (!element || stage.status !== "running") return;
    const atEnd = element.scrollHeight - element.scrollTop - element.clientHeight < AT_END_PX;
    if (atEnd !== following) setFollowing(atEnd);
  };
  const mark = (line: LogLine) => {
    setMarked(line.number + 1);
    history.replaceState(history.state, "", `${window.location.pathname}${window.location.search}#L${line.number + 1}`);
  };
  const unseen = log.lines.length - seen;
  return (
    <>
      <div className="log-bar">
        <b className="log-title">Log</b>
        {log.lines.length > 0 && (
          <span className="field grow">
            <Icon name="find" />
            <input
              data-filter
              type="search"
              aria-label="Search the log"
              placeholder={`Search ${plural(log.lines.length, "line")}`}
              value={text}
              onChange={(event) => setText(event.target.value)}
            />
          </span>
        )}
        {stage.status === "running" && (
          <button type="button" className={following ? "link row tone-running" : "link row"} data-key="f" aria-pressed={following} onClick={() => setFollowing(true)}>
            <Icon name="down" />
            {following ? "Following" : unseen > 0 ? `${count(unseen)} new` : "Follow"}
          </button>
        )}
      </div>
      <div ref={frame} className="log" role="log" aria-live="off" aria-label={`Log of ${stage.name}`} tabIndex={0} onScroll={onScroll}>
        {log.error && <Failed what="the log" error={log.error} />}
        {!log.loading && !log.error && lines.length === 0 && <Empty>{nothing(stage, text)}</Empty>}
        {log.leftOut > 0 && <div className="log-gap">the first {plural(log.leftOut, "line")} are not shown</div>}
        <div className="log-lines" style={{ height: virtual.getTotalSize() }}>
          {virtual.getVirtualItems().map((item) => {
            const line = lines[item.index];
            return line && <Line key={item.key} line={line} top={item.start} marked={line.number + 1 === marked} onMark={() => mark(line)} />;
          })}
        </div>
      </div>
    </>
  );
}

function nothing(stage: StageRun, text: string): string {
  if (text) return `No line contains "${text}".`;
  if (stage.status === "reused") return "Reused: no process ran, so there is no log.";
  if (stage.status === "queued") return "The stage has not begun. Its lines will appear here.";
  if (stage.status === "waiting") return "It has not started: somebody has to agree first.";
  if (stage.status === "skipped") return "No process ran, so there is no log.";
  return "The stage has written nothing yet.";
}

function Line({ line, top, marked, onMark }: { line: LogLine; top: number; marked: boolean; onMark: () => void }) {
  const stream = line.stream === "towpath" ? "of-towpath" : /\b(error|exception|traceback)\b/i.test(line.text) ? "ansi-red" : /\bwarn(ing)?\b/i.test(line.text) ? "ansi-yellow" : undefined;
  return (
    <div className={marked ? "log-line marked" : "log-line"} style={{ transform: `translateY(${top}px)` }}>
      <a href={`#L${line.number + 1}`} tabIndex={-1} onClick={(event) => (event.preventDefault(), onMark())}>
        {line.number + 1}
      </a>
      <span className="text-3">{line.seconds.toFixed(1)} s</span>
      <span className={stream}>
        {pieces(line.text).map((piece, index) => (
          <span key={index} className={piece.className}>
            {piece.text}
          </span>
        ))}
      </span>
    </div>
  );
}
