export function DeploymentList() { return null; }
