import type { CheckFailure, CheckResult } from "../../api/types";
import { count, plural, significant } from "../../format/number";
import { Hash } from "../../parts/Hash";
import { Panel } from "../../parts/Panel";
import { StatusShape } from "../../parts/Status";

/** Verdicts of the data checks, each with the columns and numbers it failed on. */
export function Checks({ checks }: { checks: CheckResult[] }) {
  return (
    <Panel title="Data checks">
      {checks.map((check) => (
        <div className="check" key={check.name}>
          <div className="row wrap small">
            <StatusShape shape={check.passed ? "success" : "danger"} coloured />
            <b>{check.name}</b>
            <span className="mono text-2">{check.path}</span>
            <Hash hash={check.data_hash} />
            <span className={check.passed ? "text-2" : "bad"}>
              {count(check.expectations - check.failed)} of {count(check.expectations)} hold
            </span>
            <span className="text-3">{plural(check.rows, "row")}</span>
            {check.stopped_run && <b className="bad">stopped the run, nothing was trained</b>}
          </div>
          {check.failures.length > 0 && <Failures failures={check.failures} />}
        </div>
      ))}
    </Panel>
  );
}

function Failures({ failures }: { failures: CheckFailure[] }) {
  return (
    <div className="scroll failures" tabIndex={0} role="region" aria-label="What does not hold">
      <table className="dense">
        <thead>
          <tr>
            <th>Batch</th>
            <th>Column</th>
            <th>Expectation</th>
            <th className="num">Found</th>
            <th>Allowed</th>
          </tr>
        </thead>
        <tbody>
          {failures.map((failure, index) => (
            <tr key={index} title={failure.message}>
              <td className="text-2">{failure.batch?.split("/").at(-1) ?? "all"}</td>
              <td className="mono">{failure.column ?? "–"}</td>
              <td className="text-2">{failure.expectation.replaceAll("_", " ")}</td>
              <td className="num bad medium">{significant(failure.observed, 3)}</td>
              <td className="text-2">
                {failure.low === null && failure.high === null
                  ? failure.message
                  : `${failure.low === null ? "at most" : significant(failure.low, 3)}${failure.low !== null && failure.high !== null ? " to " : " "}${failure.high === null ? "or more" : significant(failure.high, 3)}`}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
