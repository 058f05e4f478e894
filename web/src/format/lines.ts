/** Two texts compared line by line. */

export interface Line {
  sign: "+" | "-" | " ";
  text: string;
}

/** Beyond this many lines in either, the texts are shown one after the other. */
const MOST_LINES = 1_500;

/** What has to be taken from `a` and added to make `b`, in order, by the longest common subsequence. */
export function lineDiff(a: string, b: string): Line[] {
  const [from, to] = [a.split("\n"), b.split("\n")];
  if (from.length > MOST_LINES || to.length > MOST_LINES) {
    return [...from.map((text): Line => ({ sign: "-", text })), ...to.map((text): Line => ({ sign: "+", text }))];
  }
  const width = to.length + 1;
  const common = new Uint16Array((from.length + 1) * width);
  const at = (i: number, j: number) => common[i * width + j] ?? 0;
  for (let i = from.length - 1; i >= 0; i--) {
    for (let j = to.length - 1; j >= 0; j--) {
      common[i * width + j] = from[i] === to[j] ? at(i + 1, j + 1) + 1 : Math.max(at(i + 1, j), at(i, j + 1));
    }
  }
  const lines: Line[] = [];
  let [i, j] = [0, 0];
  while (i < from.length || j < to.length) {
    if (i < from.length && j < to.length && from[i] === to[j]) {
      lines.push({ sign: " ", text: from[i++] ?? "" });
      j++;
    } else if (j >= to.length || (i < from.length && at(i + 1, j) >= at(i, j + 1))) {
      lines.push({ sign: "-", text: from[i++] ?? "" });
    } else {
      lines.push({ sign: "+", text: to[j++] ?? "" });
    }
  }
  return lines;
}
