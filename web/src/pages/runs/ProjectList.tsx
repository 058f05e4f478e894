export function ProjectList() { return null; }
