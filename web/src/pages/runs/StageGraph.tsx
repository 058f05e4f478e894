import { useMemo, useRef, useState, type KeyboardEvent, type PointerEvent, type WheelEvent } from "react";

import type { Run } from "../../api/types";
import { plural } from "../../format/number";
import { clip } from "../../format/text";
import { STAGE, ShapePaths, tone } from "../../parts/Status";
import { useNow } from "../../parts/Time";
import { useWidth } from "../../parts/useWidth";
import { NODE, layoutStages, type GraphEdge, type GraphNode } from "./graphLayout";
import { fact } from "./stageFacts";

const MIN_ZOOM = 0.4;
const MAX_ZOOM = 2;
const MIN_HEIGHT = 200;

/** The stages and their data, left to right. Its list is the same for a screen reader. */
export function StageGraph({ run, selected, onSelect }: { run: Run; selected?: string; onSelect: (stage: string) => void }) {
  const graph = useMemo(() => layoutStages(run), [run]);
  const [frame, frameWidth] = useWidth<HTMLDivElement>(700);
  const [zoom, setZoom] = useState<number | null>(null);
  const now = useNow();
  const drag = useRef<{ x: number; y: number } | null>(null);

  const fit = Math.min(1, Math.max(MIN_ZOOM, frameWidth / graph.width));
  const scale = zoom ?? fit;
  const setScale = (value: number) => setZoom(Math.min(MAX_ZOOM, Math.max(MIN_ZOOM, value)));
  const width = Math.max(graph.width * scale, 1);
  const height = Math.max(graph.height * scale, MIN_HEIGHT);
  const running = run.stages.filter((stage) => stage.status === "running").length;

  const onWheel = (event: WheelEvent) => {
    if (event.ctrlKey) setScale(scale * (event.deltaY < 0 ? 1.15 : 1 / 1.15));
  };
  const onPointerMove = (event: PointerEvent<HTMLDivElement>) => {
    if (!drag.current) return;
    event.currentTarget.scrollLeft -= event.clientX - drag.current.x;
    event.currentTarget.scrollTop -= event.clientY - drag.current.y;
    drag.current = { x: event.clientX, y: event.clientY };
  };
  return (
    <div className="graph">
      <div
        ref={frame}
        className="graph-frame"
        tabIndex={-1}
        onWheel={onWheel}
        onPointerDown={(event) => (drag.current = { x: event.clientX, y: event.clientY })}
        onPointerMove={onPointerMove}
        onPointerUp={() => (drag.current = null)}
        onPointerLeave={() => (drag.current = null)}
        onKeyDown={(event) => event.key === "0" && setZoom(null)}
      >
        <svg
          width={Math.max(width, frameWidth)}
          height={height}
          viewBox={`${-(Math.max(width, frameWidth) / scale - graph.width) / 2} ${-(height / scale - graph.height) / 2} ${Math.max(width, frameWidth) / scale} ${height / scale}`}
          role="group"
          aria-label={`Stage graph, ${plural(run.stages.length, "stage")}, ${running} running`}
        >
          {graph.edges.map((edge) => (
            <Edge key={`${edge.from} ${edge.to}`} edge={edge} />
          ))}
          {graph.nodes.map((node) => (
            <Node
              key={node.id}
              node={node}
              fact={"stage" in node ? fact(node.stage, run.stages, now) : (node.source.hash?.slice(0, 8) ?? "")}
              selected={"stage" in node && node.stage.name === selected}
              onSelect={onSelect}
              onKeyDown={(event) => followEdge(event, node, graph)}
            />
          ))}
        </svg>
      </div>
      <span className="segments zoom" role="group" aria-label="Zoom">
        <button type="button" aria-label="Smaller" onClick={() => setScale(scale / 1.25)}>
          −
        </button>
        <button type="button" onClick={() => setZoom(null)}>
          Fit
        </button>
        <button type="button" aria-label="Larger" onClick={() => setScale(scale * 1.25)}>
          +
        </button>
      </span>
    </div>
  );
}

function Edge({ edge }: { edge: GraphEdge }) {
  const running = edge.state === "running";
  const colour = running ? "var(--running)" : "var(--control)";
  const [x = 0, y = 0] = edge.path.split(/[ C]/).slice(-2).map(Number);
  return (
    <g aria-hidden="true">
      <path d={edge.path} fill="none" stroke={colour} strokeWidth={running ? 1.8 : 1.2} strokeDasharray={edge.state === "waiting" ? "3 3" : undefined} />
      <path d={`M${x} ${y - 3.2}l5.5 3.2l-5.5 3.2z`} fill={colour} />
    </g>
  );
}

function Node({
  node,
  fact: below,
  selected,
  onSelect,
  onKeyDown,
}: {
  node: GraphNode;
  fact: string;
  selected: boolean;
  onSelect: (stage: string) => void;
  onKeyDown: (event: KeyboardEvent<SVGGElement>) => void;
}) {
  const x = node.x - NODE.width / 2;
  const y = node.y - NODE.height / 2;
  if ("source" in node) {
    const name = node.source.path.split("/").at(-1) ?? node.source.path;
    return (
      <g role="img" aria-label={`Data ${node.source.path}`}>
        <title>{node.source.path}</title>
        <rect x={x} y={y} {...NODE} rx={NODE.height / 2} fill="var(--bg)" stroke="var(--line-strong)" />
        <g transform={`translate(${x + 12} ${y + 17}) scale(.875)`} fill="none" stroke="var(--text-3)" strokeWidth="1.4" strokeLinejoin="round">
          <path d="M2.5 4.5L8 2l5.5 2.5L8 7zM2.5 8L8 10.5 13.5 8M2.5 11.5L8 14l5.5-2.5" />
        </g>
        <text className="node-name light" x={x + 31} y={y + (below ? 21 : 28)}>
          {clip(name, 12)}
        </text>
        <text className="node-fact mono" x={x + 31} y={y + 36}>
          {below}
        </text>
      </g>
    );
  }
  const state = STAGE[node.stage.status];
  const name = clip(node.stage.name, 12);
  return (
    <g
      className="node"
      role="button"
      tabIndex={0}
      aria-pressed={selected}
      aria-label={`${name} ${below}, ${state.word.toLowerCase()}`}
      data-node={node.id}
      onClick={() => onSelect(node.stage.name)}
      onKeyDown={(event) => {
        if (event.key === "Enter" || event.key === " ") {
          event.preventDefault();
          onSelect(node.stage.name);
        } else onKeyDown(event);
      }}
    >
      <rect
        x={x}
        y={y}
        {...NODE}
        rx="5"
        fill="var(--surface)"
        stroke={selected ? "var(--accent)" : node.stage.status === "failed" ? "var(--danger)" : "var(--control)"}
        strokeWidth={selected ? 2 : 1}
        strokeDasharray={node.stage.status === "queued" || node.stage.status === "skipped" ? "4 3" : undefined}
      />
      <g transform={`translate(${x + 10} ${y + 10})`} className={`tone-${tone(state.shape)}`} fill="none">
        <ShapePaths shape={state.shape} />
      </g>
      <text className="node-name" x={x + 30} y={y + 21}>
        {name}
      </text>
      <text className="node-fact" x={x + 30} y={y + 37}>
        {` ${below}`}
      </text>
    </g>
  );
}

/** Right and left follow the edges, up and down stay in the rank. */
function followEdge(event: KeyboardEvent<SVGGElement>, node: GraphNode, graph: ReturnType<typeof layoutStages>) {
  const column = graph.nodes.filter((other) => "stage" in other && Math.abs(other.x - node.x) < 1).sort((a, b) => a.y - b.y);
  const here = column.indexOf(node);
  const next = {
    ArrowRight: graph.edges.find((edge) => edge.from === node.id)?.to,
    ArrowLeft: graph.edges.find((edge) => edge.to === node.id && edge.from.startsWith("stage:"))?.from,
    ArrowDown: column[here + 1]?.id,
    ArrowUp: column[here - 1]?.id,
  }[event.key];
  if (!next) return;
  event.preventDefault();
  event.currentTarget.ownerSVGElement?.querySelector<SVGGElement>(`[data-node="${CSS.escape(next)}"]`)?.focus();
}
