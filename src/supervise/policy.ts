/** How patient the supervisor is. */
export interface SupervisorPolicy {
  /** Wait after the first request for the same thing; twice as long after each further one. */
  firstBackoffMs: number;
  /** After so many requests without effect an operator is told instead. */
  maxAttempts: number;
  /** A request that is not done by then had no effect. */
  answerWithinMs: number;
  /** How long a settled request stays visible. */
  keepMs: number;
  /** How long an instance may be without an owner before that is an event. */
  unplacedAfterMs: number;
  /** Share of nodes that is a crowd when it vanishes. */
  crowdShare: number;
}

export const defaultPolicy: SupervisorPolicy = {
  firstBackoffMs: 10_000,
  maxAttempts: 5,
  answerWithinMs: 60_000,
  keepMs: 600_000,
  unplacedAfterMs: 5_000,
  crowdShare: 0.4,
};
