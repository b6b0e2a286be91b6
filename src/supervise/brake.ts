const takeoversPerMinute = 30;
/** One node that goes is no crowd, however small the cluster. */
const leastCrowd = 2;

export interface BrakeInput {
  /** Nodes that were there lately, those that went included. */
  known: number;
  /** How many of them went lately. */
  gone: number;
}

export interface Brake {
  active: boolean;
  reason: string | null;
  /** Between two takeovers, whoever makes them; 0 = as many as there are. */
  intervalMs: number;
}

/**
 * When many nodes vanish together, it is more likely that the cluster is cut in two than that all of them died: then
 * takeovers slow down instead of piling everything onto the rest. It has no memory: it lets go as soon as fewer count as gone.
 */
export function brake({ known, gone }: BrakeInput, share = 0.4): Brake {
  const active = gone >= leastCrowd && gone > known * share;
  if (!active) return { active, reason: null, intervalMs: 0 };
  return {
    active,
    reason: `${gone} of ${known} nodes vanished together (more than ${Math.round(share * 100)} %): at most ${takeoversPerMinute} takeovers a minute`,
    intervalMs: 60_000 / takeoversPerMinute,
  };
}
