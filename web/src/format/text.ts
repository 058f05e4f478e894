/** Sentences of the server, fitted to where they stand on the page. */
import { metric } from "./number";

/** The server's errors and reasons begin in lower case; alone they are a sentence. A path stays as it is. */
export function sentence(text: string): string {
  return /^[a-z]+[ ,:]/.test(text) ? text.charAt(0).toUpperCase() + text.slice(1) : text;
}

const VERB = /^(?:Start|Hold|Holding|Advance|Promote|Roll back)(?: (?:at|to) [\d.]+\s?%)?: /;

/** What the judge says without the verb and weight it begins with, where these stand above it. */
export function withoutVerb(text: string): string {
  return sentence(text.replace(VERB, ""));
}

/** A decision of the judge as the reason of what became of a release. */
export function inPast(text: string): string {
  return text.replace(/^Roll back:/, "Rolled back:").replace(/^Promote to 100 %:/, "Promoted:");
}

/** Numbers that are written out to their last bit, as metrics are written. */
export function rounded(text: string): string {
  return text.replace(/\d+\.\d{5,}/g, (digits) => metric(Number(digits)));
}

/** At most so many characters: the end of a path such as `for-loop-1[0]/train`, the beginning of anything else. */
export function clip(text: string, length: number): string {
  if (text.length <= length) return text;
  return text.includes("/") ? `…${text.slice(1 - length)}` : `${text.slice(0, length - 1).replace(/[._-]+$/, "")}…`;
}
