/** Terminal text for the page: colours become classes, carriage returns collapse. */
export interface Piece {
  text: string;
  className?: string;
}

const COLOURS = ["black", "red", "green", "yellow", "blue", "magenta", "cyan", "white"];
// ESC [ … letter; everything but colours (letter m) is dropped.
const SEQUENCE = /\u001b\[([0-9;]*)([A-Za-z])/g;

export function pieces(line: string): Piece[] {
  const shown = line.replace(/\r+$/, "").split("\r").at(-1) ?? "";
  const found: Piece[] = [];
  let className: string | undefined;
  let last = 0;
  for (const match of shown.matchAll(SEQUENCE)) {
    if (match.index > last) found.push({ text: shown.slice(last, match.index), className });
    last = match.index + match[0].length;
    if (match[2] === "m") className = colour(match[1] ?? "", className);
  }
  if (last < shown.length) found.push({ text: shown.slice(last), className });
  return found;
}

function colour(codes: string, before: string | undefined): string | undefined {
  let now = before;
  for (const code of codes.split(";").map(Number)) {
    if (code === 0 || code === 39) now = undefined;
    else if ((code >= 30 && code <= 37) || (code >= 90 && code <= 97)) now = `ansi-${COLOURS[code % 10]}`;
  }
  return now;
}
