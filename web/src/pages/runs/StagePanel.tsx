import { useQuery } from "@tanstack/react-query";
import { Fragment } from "react";
import { Link } from "wouter";

import { stageOrigins } from "../../api/queries";
import type { Change, ChangeOrigin, Item, Json, Run, StageEnvironment, StageRun } from "../../api/types";
import { bytes, count, metric, plural } from "../../format/number";
import { sentence } from "../../format/text";
import { duration } from "../../format/time";
import { Tabs } from "../../parts/Choice";
import { Hash } from "../../parts/Hash";
import { Empty } from "../../parts/Loaded";
import { Panel } from "../../parts/Panel";
import { STAGE, Status } from "../../parts/Status";
import { links } from "../../parts/links";
import { useSearchParam } from "../../parts/useSearchParam";
import { LogView } from "./LogView";
import { StageBallot } from "./StageBallot";
import { StageItems } from "./StageItems";
import { why } from "./stageFacts";

type Tab = "why" | "items" | "inputs" | "outputs" | "metrics" | "environment";

/** One stage: why it ran, from what, to what, and its log. */
export function StagePanel({ run, stage }: { run: Run; stage: StageRun }) {
  const [tab, setTab] = useSearchParam("tab");
  const metrics = Object.keys(stage.metrics).length;
  const options: { value: Tab; label: React.ReactNode }[] = [
    { value: "why", label: stage.status === "reused" ? "Why it is reused" : stage.status === "skipped" ? "Why it was skipped" : stage.status === "waiting" ? "Why it would run" : "Why it runs" },
    ...(stage.items ? [{ value: "items" as const, label: <Counted word="Items" count={stage.items.total} /> }] : []),
    { value: "inputs", label: <Counted word="Inputs" count={stage.inputs.length + (stage.undeclared?.length ?? 0)} /> },
    { value: "outputs", label: <Counted word="Outputs" count={stage.outputs.length} /> },
    { value: "metrics", label: <Counted word="Metrics" count={metrics} /> },
    { value: "environment", label: "Environment" },
  ];
  const shown = options.find((option) => option.value === tab)?.value ?? "why";
  return (
    <Panel
      title={stage.name}
      label={`Stage ${stage.name}`}
      className="inspector"
      beside={
        <>
          <Status of={STAGE[stage.status]} />
          {stage.attempt > 0 && stage.started_at !== null && <span className="text-3 small">attempt {stage.attempt}</span>}
        </>
      }
      right={run.experiment && stage.tracking_run ? <Link href={links.trackedRun(run.experiment, stage.tracking_run)}>Tracked run</Link> : undefined}
    >
      <Tabs className="bar" label="About this stage" panel="stage-facts" options={options} value={shown} onChange={(value) => setTab(value === "why" ? null : value)} />
      <div id="stage-facts" role="tabpanel" aria-label={shown} tabIndex={0} className="stage-facts">
        {stage.approval && <StageBallot run={run} stage={stage} approval={stage.approval} />}
        {shown === "why" && <Why run={run} stage={stage} onInputs={() => setTab("inputs")} />}
        {shown === "items" && stage.items && <StageItems of={stage.items} running={stage.status === "running"} />}
        {shown === "inputs" && <Undeclared stage={stage} />}
        {shown === "inputs" && <Items items={stage.inputs} params={stage.params} none="This stage reads no file." />}
        {shown === "outputs" && <Items items={stage.outputs} none="Nothing is written yet." />}
        {shown === "metrics" && <Metrics metrics={stage.metrics} />}
        {shown === "environment" && <Environment environment={run.environment} stage={stage} />}
      </div>
      <LogView run={run} stage={stage} />
    </Panel>
  );
}

function Counted({ word, count: number }: { word: string; count: number }) {
  return (
    <>
      {word} {number > 0 && <span className="text-3">{number}</span>}
    </>
  );
}

function Why({ run, stage, onInputs }: { run: Run; stage: StageRun; onInputs: () => void }) {
  // That it is new says the sentence already.
  const changes = stage.changes.map((change, at) => ({ change, at })).filter(({ change }) => change.kind !== "new");
  const { data } = useQuery({ ...stageOrigins(run.project, run.number, stage.name), enabled: changes.length > 0 });
  return (
    <>
      <p className="pad small">
        {why(run, stage)}
        {data?.compared && (
          <span className="text-3">
            {" "}
            Compared with <Link href={links.run(run.project, data.compared.run)}>run {data.compared.run}</Link>.
          </span>
        )}
      </p>
      {stage.error && <p className="pad small bad">{sentence(stage.error)}</p>}
      {stage.undeclared && stage.undeclared.length > 0 && (
        <p className="pad small row">
          <Status of={{ shape: "warning", word: `Reads ${plural(stage.undeclared.length, "input")} that it does not declare` }} />
          <button type="button" className="link" onClick={onInputs}>
            Show
          </button>
        </p>
      )}
      <table className="why">
        <tbody>
          {changes.map(({ change, at }) => (
            <Fragment key={`${change.kind} ${change.name}`}>
              <tr>
                <td className="mono">{change.kind === "param" ? `params: ${change.name.replace(/^[^:]*:/, "")}` : change.name}</td>
                <td>
                  <Side change={change} text={change.old} />
                </td>
                <td className="text-3 arrow">→</td>
                <td>
                  <Side change={change} text={change.new} />
                </td>
                <td className="text-2">{change.kind}</td>
              </tr>
              <Origin of={data?.origins[at]} />
            </Fragment>
          ))}
          {stage.unchanged.length > 0 && (
            <tr>
              <td className="text-3 same-list" colSpan={5}>
                Same:{" "}
                {stage.unchanged.map((name, index) => (
                  <Fragment key={name}>
                    {index > 0 && ", "}
                    <span className="mono">{name}</span>
                  </Fragment>
                ))}
                .
              </td>
            </tr>
          )}
        </tbody>
      </table>
    </>
  );
}

/** Who or what made a change. */
function Origin({ of }: { of: ChangeOrigin | undefined }) {
  if (!of || of.kind === "unknown") return null;
  return (
    <tr className="origin">
      <td colSpan={5} className="text-3 small">
        {of.kind === "commit" && (
          <>
            by <Hash hash={of.commit.id} /> <span className="text-2">{of.commit.subject}</span>, {of.commit.author}
          </>
        )}
        {of.kind === "stage" && (
          <>
            made by stage <span className="mono">{of.stage}</span>
          </>
        )}
        {of.kind === "run" && "given when the run was started"}
      </td>
    </tr>
  );
}

/** Content as a hash chip, everything else as it is written. */
function Side({ change, text }: { change: Change; text: string | null }) {
  if (text === null) return <span className="text-3">none</span>;
  const isHash = (change.kind === "dependency" || change.kind === "output" || change.kind === "environment") && /^[0-9a-f]{16,}/.test(text);
  return isHash ? <Hash hash={text} /> : <span className="mono">{text.length > 24 ? `${text.slice(0, 23)}…` : text}</span>;
}

function Items({ items, params = {}, none }: { items: Item[]; params?: Record<string, Json>; none: string }) {
  const named = Object.entries(params);
  if (items.length === 0 && named.length === 0) return <Empty>{none}</Empty>;
  return (
    <table className="dense">
      <tbody>
        {items.map((item) => (
          <tr key={item.path}>
            <td className="mono">{item.path}</td>
            <td>{item.hash && <Hash hash={item.hash} />}</td>
            <td className="num">{bytes(item.size)}</td>
            <td className="text-3">{item.files !== null && plural(item.files, "file")}</td>
          </tr>
        ))}
        {named.map(([name, value]) => (
          <tr key={name}>
            <td className="mono">params: {name}</td>
            <td className="mono" colSpan={3}>
              {JSON.stringify(value)}
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

/** What the stage read without saying so. */
function Undeclared({ stage: { name, status, undeclared = [] } }: { stage: StageRun }) {
  if (undeclared.length === 0) return null;
  return (
    <>
      <p className="pad small text-2">
        {status === "failed" ? "Read and not declared, which is refused where towpath.yaml says so." : "Read and not declared: the stage is reused although this may have changed."} <code>towpath stage suggest {name}</code> writes the missing deps.
      </p>
      <table className="dense" aria-label="Undeclared inputs">
        <tbody>
          {undeclared.map((input) => (
            <tr key={input.name}>
              <td className="mono">
                {input.name}
                {input.target && ` → ${input.target}`}
              </td>
              <td className="text-2">{UNDECLARED[input.kind]}</td>
              <td className="text-3">{input.program}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </>
  );
}

const UNDECLARED = { repository: "file of the repository", elsewhere: "file elsewhere", network: "connection" };

function Metrics({ metrics }: { metrics: Record<string, number> }) {
  const entries = Object.entries(metrics);
  if (entries.length === 0) return <Empty>This stage has written no metrics file.</Empty>;
  return (
    <table className="dense">
      <tbody>
        {entries.map(([name, value]) => (
          <tr key={name}>
            <td className="medium">{name}</td>
            <td className="num">{metric(value)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function Environment({ environment, stage: { command, sandbox, observed } }: { environment: StageEnvironment | null; stage: StageRun }) {
  return (
    <dl className="pairs pad">
      <dt>Command</dt>
      <dd className="mono">{command}</dd>
      {sandbox && (
        <>
          <dt>Sandbox</dt>
          <dd>{sandbox}</dd>
        </>
      )}
      {observed && (
        <>
          <dt>Reads seen</dt>
          <dd>{observed}</dd>
        </>
      )}
      {environment ? (
        <>
          <dt>Python</dt>
          <dd>{environment.python}</dd>
          <dt>From</dt>
          <dd className="mono">{environment.file}</dd>
          <dt>Packages</dt>
          <dd>
            {count(environment.packages)} <Hash hash={environment.hash} />
          </dd>
          <dt>Built</dt>
          <dd>{environment.cached ? "taken from the cache" : `in ${duration(environment.seconds)}`}</dd>
        </>
      ) : (
        <>
          <dt>Environment</dt>
          <dd>the server's own PATH: towpath.yaml names none</dd>
        </>
      )}
    </dl>
  );
}
