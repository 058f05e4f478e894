export function RunList() { return null; }
