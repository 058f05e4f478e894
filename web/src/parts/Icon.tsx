/** Our own symbols: 14 or 16 px, stroke 1.4; navigation and the few controls. */
const STROKES = {
  overview: "M2 4h12M2 8h12M2 12h12M6 2.5v3M10.5 6.5v3M5 10.5v3",
  pipelines: "M4.6 4h2.1c1.6 0 1.4 4 3 4h1.7M4.6 12h2.1c1.6 0 1.4-4 3-4M4.6 4a1.6 1.6 0 1 1-3.2 0 1.6 1.6 0 0 1 3.2 0zM4.6 12a1.6 1.6 0 1 1-3.2 0 1.6 1.6 0 0 1 3.2 0zM14.6 8a1.6 1.6 0 1 1-3.2 0 1.6 1.6 0 0 1 3.2 0z",
  experiments: "M2 2v12h12M4.5 10.5c2.5 0 2-5 4.5-5s2 2 4.5 2",
  models: "M8 1.8l5.4 3.1v6.2L8 14.2l-5.4-3.1V4.9zM2.8 5L8 8l5.2-3M8 8v6",
  releases: "M1.5 3.5h13M1.5 12.5h13M6 3.8L10 8l-4 4.2",
  deployments: "M1.5 8h4c2 0 2-4 4-4h5M5.5 8c2 0 2 4 4 4h5",
  audit: "M6 4h8M6 8h8M6 12h8M3 2.5v2.2M3 6.9v2.2M3 11.3v2.2",
  settings: "M2 5h6M12 5h2M2 11h2M8 11h6M11.8 5a1.8 1.8 0 1 1-3.6 0 1.8 1.8 0 0 1 3.6 0zM7.8 11a1.8 1.8 0 1 1-3.6 0 1.8 1.8 0 0 1 3.6 0z",
  data: "M2.5 4.5L8 2l5.5 2.5L8 7zM2.5 8L8 10.5 13.5 8M2.5 11.5L8 14l5.5-2.5",
  find: "M11.3 7a4.3 4.3 0 1 1-8.6 0 4.3 4.3 0 0 1 8.6 0zM10.3 10.3L14 14",
  choose: "M4.6 6.3L8 2.9l3.4 3.4M4.6 9.7L8 13.1l3.4-3.4",
  menu: "M2 3.5h12M2 8h12M2 12.5h12",
  columns: "M2 2.5h12v11H2zM6 2.5v11M10 2.5v11",
  down: "M8 2.5v9M4 8l4 4 4-4",
  theme: "M8 2.2v-1M8 14.8v-1M2.2 8h-1M14.8 8h-1M3.9 3.9l-.7-.7M12.8 12.8l-.7-.7M3.9 12.1l-.7.7M12.8 3.2l-.7.7M11.2 8a3.2 3.2 0 1 1-6.4 0 3.2 3.2 0 0 1 6.4 0z",
} as const;

export type IconName = keyof typeof STROKES;

export function Icon({ name }: { name: IconName }) {
  return (
    <svg className="icon" viewBox="0 0 16 16" aria-hidden="true" fill="none" stroke="currentColor" strokeWidth="1.4" strokeLinecap="round" strokeLinejoin="round">
      <path d={STROKES[name]} />
    </svg>
  );
}

/** Two banks and the lock gate between them. */
export function Mark() {
  return (
    <svg viewBox="0 0 22 22" aria-hidden="true" fill="none" stroke="currentColor" strokeWidth="2.2" strokeLinecap="round" strokeLinejoin="round">
      <path d="M2 4.5h18M2 17.5h18M8.2 5l5.6 6-5.6 6" />
    </svg>
  );
}
