import { graphlib, layout } from "@dagrejs/dagre";

import type { Run, Source, StageRun } from "../../api/types";

export const NODE = { width: 116, height: 48 };
const RANK_GAP = 26;
const NODE_GAP = 32;
const MARGIN = 14;

interface Point {
  x: number;
  y: number;
}
export type GraphNode = Point & { id: string } & ({ stage: StageRun } | { source: Source });
export interface GraphEdge {
  from: string;
  to: string;
  path: string;
  /** `running` into what runs, `waiting` towards what has not begun. */
  state: "running" | "waiting" | "done";
}

/** Code and settings are inputs of nearly every stage: they stand in the list, not in the graph. */
const isData = (source: Source) => !/\.(py|r|sh|sql|ipynb|ya?ml|toml|txt|lock|cfg)$/i.test(source.path);

/** Places stages and the data they read from left to right. */
export function layoutStages(run: Run): { nodes: GraphNode[]; edges: GraphEdge[]; width: number; height: number } {
  const graph = new graphlib.Graph();
  graph.setGraph({ rankdir: "LR", ranksep: RANK_GAP, nodesep: NODE_GAP, marginx: MARGIN, marginy: MARGIN });
  graph.setDefaultEdgeLabel(() => ({}));

  const stages = new Map(run.stages.map((stage) => [stage.name, stage]));
  const sources = run.sources.filter((source) => isData(source) && run.stages.some((stage) => reads(stage, source)));
  for (const stage of run.stages) graph.setNode(`stage:${stage.name}`, { ...NODE });
  for (const source of sources) {
    graph.setNode(`source:${source.path}`, { ...NODE });
    for (const stage of run.stages.filter((each) => reads(each, source))) graph.setEdge(`source:${source.path}`, `stage:${stage.name}`);
  }
  for (const stage of run.stages) {
    for (const need of stage.needs) if (stages.has(need)) graph.setEdge(`stage:${need}`, `stage:${stage.name}`);
  }
  layout(graph);

  const at = (id: string): Point => {
    const { x, y } = graph.node(id) as Point;
    return { x, y };
  };
  const nodes: GraphNode[] = [
    ...sources.map((source) => ({ id: `source:${source.path}`, source, ...at(`source:${source.path}`) })),
    ...run.stages.map((stage) => ({ id: `stage:${stage.name}`, stage, ...at(`stage:${stage.name}`) })),
  ];
  const edges = graph.edges().map(({ v, w }): GraphEdge => {
    const target = stages.get(w.slice("stage:".length))?.status;
    const state = target === "running" ? "running" : target === "queued" || target === "skipped" ? "waiting" : "done";
    const { points } = graph.edge(v, w) as { points: Point[] };
    return { from: v, to: w, path: curve(at(v), at(w), points), state };
  });
  const { width = 0, height = 0 } = graph.graph() as { width?: number; height?: number };
  return { nodes, edges, width, height };
}

const reads = (stage: StageRun, source: Source) => stage.inputs.some((input) => input.path === source.path);

/** Cubic pieces with horizontal ends; an edge that passes other ranks follows dagre's way around. */
function curve(from: Point, to: Point, bends: Point[]): string {
  const start = { x: from.x + NODE.width / 2, y: from.y };
  const end = { x: to.x - NODE.width / 2 - 6, y: to.y };
  const inner = bends.slice(1, -1).filter((point) => point.x > start.x + RANK_GAP && point.x < end.x - RANK_GAP);
  let path = `M${start.x} ${start.y}`;
  let last = start;
  for (const point of [...inner, end]) {
    const middle = (last.x + point.x) / 2;
    path += `C${middle} ${last.y} ${middle} ${point.y} ${point.x} ${point.y}`;
    last = point;
  }
  return path;
}
