import type { Overview } from "../../api/types";
import { spelled } from "../../format/number";
import { sentence } from "../../format/text";

/** The sentence that answers "is all right, and what needs me?". */
export function answer(data: Overview): { first: string; rest: string } {
  const production = data.lanes.map((lane) => lane.environments.at(-1)).filter((environment) => environment?.deployment?.live);
  const silent = production.filter((environment) => environment?.deployment?.status !== "ready");
  const name = data.lanes[0]?.environments.at(-1)?.environment ?? "production";

  const serving = spelled(production.length, "model");
  const first =
    production.length === 0
      ? `Nothing in ${name} yet.`
      : silent.length === 0
        ? `${serving} in ${name}, ${production.length === 1 ? "answering" : "all answering"}.`
        : `${serving} in ${name}, ${silent.length} not answering.`;

  const failed = data.attention.filter((item) => item.kind === "run").length;
  const lost = data.attention.length - failed;
  const running = data.counts.runs;
  const clauses = [
    data.counts.rollouts > 0 && `${spelled(data.counts.rollouts, "rollout")} ${data.counts.rollouts === 1 ? "is" : "are"} being judged`,
    running > 0 && `${spelled(running, "run")} ${running === 1 ? "is" : "are"} under way`,
    failed > 0 && `${spelled(failed, "run")} failed`,
    lost > 0 && `${spelled(lost, "release")} did not get through`,
    data.waiting.length > 0 && `${spelled(data.waiting.length, "thing")} ${data.waiting.length === 1 ? "waits" : "wait"} for you`,
  ].filter((clause): clause is string => clause !== false);
  const rest = clauses.length === 0 ? "Nothing waits for you." : `${clauses.join(", ")}.`;
  return { first: sentence(first), rest: sentence(rest) };
}
