/** Times and durations as people read them. */
const DAY_S = 86_400;
const SPACE = "\u00a0";

/** `31 ms`, `4.8 s`, `2 min 14 s`, `3 h 5 min`, `6 days`. */
export function duration(seconds: number): string {
  if (seconds < 1) return `${Math.max(0, Math.round(seconds * 1000))}${SPACE}ms`;
  if (seconds < 20) return `${seconds.toFixed(1)}${SPACE}s`;
  if (seconds < 60) return `${Math.round(seconds)}${SPACE}s`;
  const whole = Math.round(seconds);
  if (whole < 3600) return two(whole, 60, "min", "s");
  if (whole < 2 * DAY_S) return two(Math.round(whole / 60), 60, "h", "min");
  return `${Math.round(whole / DAY_S)} days`;
}

/** A duration that a policy asks for: `5 s`, where `duration` would write `5.0 s`. */
export function asked(seconds: number): string {
  return duration(seconds).replace(".0", "");
}

function two(value: number, base: number, large: string, small: string): string {
  const rest = value % base;
  const head = `${Math.floor(value / base)}${SPACE}${large}`;
  return rest === 0 ? head : `${head} ${rest}${SPACE}${small}`;
}

export function secondsBetween(from: number, to: number): number {
  return Math.max(0, (to - from) / 1000);
}

/** `24 s`, `3 min`, `2 h`: how old, in one unit. */
export function age(at: number, now: number): string {
  const seconds = Math.round(secondsBetween(at, now));
  if (seconds < 60) return `${seconds}${SPACE}s`;
  if (seconds < 3600) return `${Math.round(seconds / 60)}${SPACE}min`;
  if (seconds < 2 * DAY_S) return `${Math.round(seconds / 3600)}${SPACE}h`;
  return `${Math.round(seconds / DAY_S)} days`;
}

/** Relative below 48 hours ("3 min ago", "yesterday"), then "17 Nov". */
export function relative(at: number, now: number): string {
  const seconds = secondsBetween(at, now);
  if (seconds < 12 * 3600) return `${age(at, now)} ago`;
  if (seconds < 2 * DAY_S) return dayOf(at) === dayOf(now) ? `${age(at, now)} ago` : dayOf(at) === dayOf(now - DAY_S * 1000) ? "yesterday" : day(at, now);
  return day(at, now);
}

const dayOf = (at: number) => new Date(at).toDateString();

export function day(at: number, now: number): string {
  const sameYear = new Date(at).getFullYear() === new Date(now).getFullYear();
  return new Date(at).toLocaleDateString("en-GB", { day: "numeric", month: "short", year: sameYear ? undefined : "numeric" });
}

export function clock(at: number, withSeconds = false): string {
  return new Date(at).toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit", second: withSeconds ? "2-digit" : undefined });
}

/** ISO 8601 in the viewer's zone, then in UTC. */
export function exact(at: number): string {
  const local = new Date(at - new Date(at).getTimezoneOffset() * 60_000).toISOString().slice(0, -1);
  const offset = -new Date(at).getTimezoneOffset();
  const sign = offset < 0 ? "-" : "+";
  const hours = String(Math.floor(Math.abs(offset) / 60)).padStart(2, "0");
  const minutes = String(Math.abs(offset) % 60).padStart(2, "0");
  return `${local}${sign}${hours}:${minutes}\n${new Date(at).toISOString()}`;
}
