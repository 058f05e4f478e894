/** A word-sized line: how a number went, without axes. Always with 0 at its foot. */
export function Trend({ values, width = 84, height = 22, label }: { values: number[]; width?: number; height?: number; label: string }) {
  if (values.length < 2) return null;
  const top = Math.max(...values) || 1;
  const x = (index: number) => 1 + (index / (values.length - 1)) * (width - 3);
  const y = (value: number) => height - 2 - (value / top) * (height - 5);
  const line = values.map((value, index) => `${index === 0 ? "M" : "L"}${x(index).toFixed(1)} ${y(value).toFixed(1)}`).join("");
  const last = values.length - 1;
  return (
    <svg width={width} height={height} role="img" aria-label={label}>
      <path d={`${line}L${x(last).toFixed(1)} ${height - 1}L1 ${height - 1}Z`} fill="var(--text-3)" opacity=".12" />
      <path d={line} fill="none" stroke="var(--text-3)" strokeWidth="1.3" strokeLinejoin="round" />
      <circle cx={x(last)} cy={y(values[last] ?? 0)} r="2" fill="var(--text-3)" />
    </svg>
  );
}
