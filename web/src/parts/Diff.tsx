import type { Line } from "../format/lines";
import "./diff.css";

/** A unified diff: sign in the margin, the rest as it is in the file. */
export function Diff({ text }: { text: string }) {
  const lines = text.replace(/\n$/, "").split("\n").filter((line) => !/^(index |--- |\+\+\+ |new file|deleted file)/.test(line));
  return (
    <div className="diff" tabIndex={0} role="region" aria-label="Changed lines">
      {lines.map((line, index) => (
        <DiffLine key={index} line={line} />
      ))}
    </div>
  );
}

function DiffLine({ line }: { line: string }) {
  if (line.startsWith("diff --git")) return <div className="diff-file">{/ b\/(.*)$/.exec(line)?.[1] ?? line}</div>;
  if (line.startsWith("@@")) return <div className="text-3">{line}</div>;
  const sign = line[0] ?? " ";
  return <Signed sign={sign === "+" || sign === "-" ? sign : " "} text={line.slice(1)} />;
}

/** Lines of two texts that were compared here. */
export function LineDiff({ lines, label }: { lines: Line[]; label: string }) {
  return (
    <div className="diff" tabIndex={0} role="region" aria-label={label}>
      {lines.map(({ sign, text }, index) => (
        <Signed key={index} sign={sign} text={text} />
      ))}
    </div>
  );
}

function Signed({ sign, text }: Line) {
  return (
    <div className={{ "+": "added", "-": "removed", " ": "" }[sign]}>
      <span className="sign">{sign}</span>
      {text}
    </div>
  );
}
