/**
 * Markdown as elements. The text is taken apart by `marked` and never becomes HTML: tags in it stand
 * there as they were written, links lead to http, https and mailto only, pictures are links.
 */
import { createElement, useMemo, type ReactNode } from "react";
import { marked, type Token, type Tokens } from "marked";

import "./markdown.css";

/** Deeper than anybody writes; deeper still is shown as its source. */
const MOST_NESTED = 24;
/** The first heading below a panel's. */
const FIRST_HEADING = 3;

export function Markdown({ text }: { text: string }) {
  const content = useMemo(() => {
    const { front, rest } = frontMatter(text);
    try {
      return (
        <>
          {front !== null && <Code text={front} label="Front matter" />}
          {blocks(marked.lexer(rest), new Outline(), 0)}
        </>
      );
    } catch {
      // Nested beyond what can be read: the source says it all.
      return <Code text={text} label="Source" />;
    }
  }, [text]);
  return <div className="markdown">{content}</div>;
}

/** YAML between two lines of dashes at the very beginning, as model hubs write it. */
function frontMatter(text: string): { front: string | null; rest: string } {
  const found = /^---\r?\n([\s\S]*?)\r?\n---(?:\r?\n|$)/.exec(text);
  return found ? { front: found[1] ?? "", rest: text.slice(found[0].length) } : { front: null, rest: text };
}

/** Gives headings levels without gaps, whatever their number of signs. */
class Outline {
  private open: number[] = [];

  level(depth: number): number {
    while (this.open.length > 0 && (this.open.at(-1) ?? 0) >= depth) this.open.pop();
    this.open.push(depth);
    return Math.min(6, FIRST_HEADING + this.open.length - 1);
  }
}

function blocks(tokens: Token[], outline: Outline, depth: number): ReactNode[] {
  if (depth > MOST_NESTED) return tokens.map((token) => token.raw);
  return tokens.map((token, index) => block(token as Tokens.Generic, index, outline, depth + 1));
}

function block(token: Tokens.Generic, key: number, outline: Outline, depth: number): ReactNode {
  switch (token.type) {
    case "space":
    case "def":
      return null;
    case "heading":
      return createElement(`h${outline.level(token.depth as number)}`, { key }, inline(token.tokens, depth));
    case "paragraph":
      return <p key={key}>{inline(token.tokens, depth)}</p>;
    case "code":
      return <Code key={key} text={token.text as string} label={(token.lang as string) || "Code"} />;
    case "blockquote":
      return <blockquote key={key}>{blocks(token.tokens ?? [], outline, depth)}</blockquote>;
    case "list":
      return list(token as Tokens.List, key, outline, depth);
    case "table":
      return <Cells key={key} table={token as Tokens.Table} depth={depth} />;
    case "hr":
      return <hr key={key} />;
    case "html":
      return /^\s*<!--/.test(token.text as string) ? null : <p key={key}>{token.text}</p>;
    default:
      return <span key={key}>{inline([token], depth)}</span>;
  }
}

function list(token: Tokens.List, key: number, outline: Outline, depth: number): ReactNode {
  const items = token.items.map((item, index) => <li key={index}>{blocks(item.tokens, outline, depth)}</li>);
  return token.ordered ? (
    <ol key={key} start={token.start === "" ? undefined : token.start}>
      {items}
    </ol>
  ) : (
    <ul key={key}>{items}</ul>
  );
}

function Cells({ table, depth }: { table: Tokens.Table; depth: number }) {
  const align = (cell: Tokens.TableCell) => (cell.align === "right" ? "num" : undefined);
  return (
    <div className="scroll" tabIndex={0} role="region" aria-label="Table">
      <table>
        <thead>
          <tr>
            {table.header.map((cell, index) => (
              <th key={index} className={align(cell)}>
                {inline(cell.tokens, depth)}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {table.rows.map((row, index) => (
            <tr key={index}>
              {row.map((cell, place) => (
                <td key={place} className={align(cell)}>
                  {inline(cell.tokens, depth)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Code({ text, label }: { text: string; label: string }) {
  return (
    <pre className="code" tabIndex={0} role="region" aria-label={label}>
      {text}
    </pre>
  );
}

function inline(tokens: Token[] | undefined, depth: number): ReactNode[] {
  if (depth > MOST_NESTED) return (tokens ?? []).map((token) => token.raw);
  return (tokens ?? []).map((token, index) => span(token as Tokens.Generic, index, depth + 1));
}

function span(token: Tokens.Generic, key: number, depth: number): ReactNode {
  switch (token.type) {
    case "strong":
      return <strong key={key}>{inline(token.tokens, depth)}</strong>;
    case "em":
      return <em key={key}>{inline(token.tokens, depth)}</em>;
    case "del":
      return <del key={key}>{inline(token.tokens, depth)}</del>;
    case "codespan":
      return <code key={key}>{token.text}</code>;
    case "br":
      return <br key={key} />;
    case "link":
      return <Away key={key} href={token.href as string}>{inline(token.tokens, depth)}</Away>;
    case "image":
      return <Away key={key} href={token.href as string}>{(token.text as string) || "picture"}</Away>;
    case "checkbox":
      return (token.checked as boolean) ? "☑ " : "☐ ";
    case "html":
      return /^<!--/.test(token.text as string) ? null : (token.text as string);
    default:
      return token.tokens ? <span key={key}>{inline(token.tokens, depth)}</span> : entities((token.text as string | undefined) ?? token.raw);
  }
}

/** A link that leads out of the page; what is no address of the web stays text. */
function Away({ href, children }: { href: string; children: ReactNode }) {
  if (!/^(https?:\/\/|mailto:)/i.test(href)) return <>{children}</>;
  return (
    <a href={href} rel="noreferrer">
      {children}
    </a>
  );
}

const NAMED: Record<string, string> = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'", nbsp: "\u00a0" };

/** `&lt;` as it is meant; an entity that is not known stays as it is written. */
function entities(text: string): string {
  return text.replace(/&(?:#(\d{1,7})|#x([0-9a-f]{1,6})|([a-z]+));/gi, (whole, decimal?: string, hex?: string, name?: string) => {
    if (name !== undefined) return NAMED[name.toLowerCase()] ?? whole;
    const code = decimal !== undefined ? Number(decimal) : parseInt(hex ?? "", 16);
    return code > 0 && code <= 0x10ffff ? String.fromCodePoint(code) : whole;
  });
}
