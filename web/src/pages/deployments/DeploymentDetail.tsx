export function DeploymentDetail() { return null; }
