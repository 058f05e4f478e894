/** Numbers as people read them. A missing value is an en dash, a no-break space stands before a unit. */
const SPACE = "\u00a0";
export const MISSING = "–";
const MINUS = "−";

const grouped = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });

export function count(value: number | null | undefined): string {
  return value === null || value === undefined ? MISSING : grouped.format(value);
}

/** `3 runs`, `1 run`. */
export function plural(value: number, noun: string, many = `${noun}s`): string {
  return `${count(value)} ${value === 1 ? noun : many}`;
}

const WORDS = ["no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"];

/** `three models`, but `13 models`. */
export function spelled(value: number, noun: string, many = `${noun}s`): string {
  return `${WORDS[value] ?? count(value)} ${value === 1 ? noun : many}`;
}

/** Two significant digits, and never fewer digits than stand before the point. */
export function significant(value: number | null | undefined, digits = 2): string {
  if (value === null || value === undefined) return MISSING;
  if (!Number.isFinite(value)) return notFinite(value);
  if (value === 0) return "0";
  const size = Math.floor(Math.log10(Math.abs(value))) + 1;
  return size >= digits ? grouped.format(value) : value.toFixed(Math.min(8, digits - size)).replace("-", MINUS);
}

/** A metric: four decimals, or exponent form where these would show nothing. */
export function metric(value: number | string | null | undefined): string {
  if (value === null || value === undefined) return MISSING;
  if (typeof value === "string") return value === "Infinity" ? "∞" : value === "-Infinity" ? `${MINUS}∞` : value;
  if (!Number.isFinite(value)) return notFinite(value);
  if (Number.isInteger(value) && Math.abs(value) >= 10) return grouped.format(value).replace("-", MINUS);
  if (value !== 0 && (Math.abs(value) < 0.0001 || Math.abs(value) >= 1e6)) return value.toExponential(2).replace("-", MINUS);
  return value.toFixed(decimals(value)).replace("-", MINUS);
}

/** Both are written alike, at the decimals that a metric is shown with. */
export function looksSame(old: number, next: number): boolean {
  return metric(old) === metric(next);
}

/** A change with its sign; one too small to be seen beside its metric is only said to be so. */
export function delta(old: number, next: number): string {
  const change = next - old;
  if (change === 0) return "0";
  if (looksSame(old, next)) return `<${(10 ** -decimals(old)).toFixed(decimals(old))}`;
  return (change > 0 ? "+" : MINUS) + metric(Math.abs(change));
}

const decimals = (value: number) => (Math.abs(value) >= 100 ? 1 : 4);

/** A share in [0, 1] as a percentage. */
export function percent(share: number | null | undefined, decimals = 0): string {
  return share === null || share === undefined ? MISSING : `${(share * 100).toFixed(decimals)}${SPACE}%`;
}

/** Of the traffic: no decimals unless there are some. */
export function weight(share: number): string {
  return percent(share, Number.isInteger(Math.round(share * 1000) / 10) ? 0 : 1);
}

/** E, the evidence of a sequential test. It grows without bound, and beyond a million nobody counts. */
export function evidence(value: number | null | undefined): string {
  if (value === null || value === undefined) return "∞";
  if (value < 0.001) return "<0.001";
  if (value >= 1e6) return ">1,000,000";
  if (value < 0.1) return value.toFixed(3);
  return value < 100 ? value.toFixed(1) : count(value);
}

const BYTES = ["B", "kB", "MB", "GB", "TB"];

/** kB = 1,000. */
export function bytes(value: number | null | undefined): string {
  if (value === null || value === undefined) return MISSING;
  let unit = 0;
  let size = value;
  while (size >= 1000 && unit < BYTES.length - 1) {
    size /= 1000;
    unit += 1;
  }
  const text = unit === 0 || size >= 100 ? size.toFixed(0) : significant(size);
  return `${text}${SPACE}${BYTES[unit]}`;
}

function notFinite(value: number): string {
  return Number.isNaN(value) ? "NaN" : value > 0 ? "∞" : `${MINUS}∞`;
}
