import type { Run } from "../../api/types";
import { duration } from "../../format/time";
import { STAGE, Status } from "../../parts/Status";
import { useNow } from "../../parts/Time";
import { ranSeconds } from "./stageFacts";

/** The graph as a table: what each stage needs, and why it ran. */
export function StageList({ run, selected, onSelect }: { run: Run; selected?: string; onSelect: (stage: string) => void }) {
  const now = useNow();
  return (
    <div className="scroll">
      <table className="dense">
        <thead>
          <tr>
            <th>Stage</th>
            <th>State</th>
            <th className="num">Took</th>
            <th>Needs</th>
            <th>Why</th>
          </tr>
        </thead>
        <tbody>
          {run.stages.map((stage) => {
            const seconds = ranSeconds(stage, now);
            return (
              <tr key={stage.name} className={stage.name === selected ? "selected" : undefined}>
                <td>
                  <button type="button" data-row className="link medium" aria-pressed={stage.name === selected} onClick={() => onSelect(stage.name)}>
                    {stage.name}
                  </button>
                </td>
                <td>
                  <Status of={STAGE[stage.status]} />
                </td>
                <td className="num">{seconds === null || stage.status === "reused" ? "–" : duration(seconds)}</td>
                <td className="text-2">{stage.needs.join(", ") || "–"}</td>
                <td className="text-2 why-cell">{stage.why}</td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </div>
  );
}
