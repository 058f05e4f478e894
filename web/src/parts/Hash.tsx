import { useState } from "react";

/** The bar's hue is the hash's: equal looks equal, and means nothing else. */
export function hue(hash: string): number {
  let sum = 0;
  for (const character of hash.slice(0, 8)) sum = (sum * 31 + character.charCodeAt(0)) % 3600;
  return sum % 360;
}

export function HashBar({ hash, tall }: { hash: string; tall?: boolean }) {
  const size = tall ? { width: 10, height: 18, borderRadius: 2 } : {};
  return <i style={{ background: `oklch(.62 .09 ${hue(hash)})`, ...size }} />;
}

/** Eight characters of a hash; a click copies all of it. */
export function Hash({ hash, length = 8 }: { hash: string; length?: number }) {
  const [copied, setCopied] = useState(false);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(hash);
      setCopied(true);
      setTimeout(() => setCopied(false), 1_200);
    } catch {
      // Not allowed outside https and loopback; the title still shows the whole hash.
    }
  };
  const short = hash.replace(/^(md5|sha256):/, "").slice(0, length);
  return (
    <button type="button" className="chip" title={copied ? "Copied" : hash} aria-label={`Copy hash ${short}`} onClick={copy}>
      <HashBar hash={hash} />
      {copied ? "copied".padEnd(length) : short}
    </button>
  );
}

/** Sixteen digits in fours: how an approval shows what it binds to. */
export function fours(hash: string, digits = 16): string {
  return (hash.slice(0, digits).match(/.{1,4}/g) ?? []).join(" ");
}
