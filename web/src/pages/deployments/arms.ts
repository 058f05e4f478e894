import type { Rollout } from "../../api/types";

export interface Arms {
  stable: string;
  candidate: string;
}

/** What the two arms are called: versions, and in an experiment its variants as well. */
export function armsOf(rollout: Rollout): Arms {
  const { variants } = rollout.policy;
  const stable = rollout.stable_version === null ? "none" : `v${rollout.stable_version}`;
  const candidate = `v${rollout.candidate_version}`;
  return variants ? { stable: `${variants.stable} ${stable}`, candidate: `${variants.candidate} ${candidate}` } : { stable, candidate };
}

/** The same in a word each. */
export function shortArms(rollout: Rollout): Arms {
  return rollout.policy.variants ?? armsOf(rollout);
}

/** An experiment goes on until a person ends it; harm still ends it by itself. */
export const isExperiment = (rollout: Rollout) => rollout.policy.strategy === "ab";
