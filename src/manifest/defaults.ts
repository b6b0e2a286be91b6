/** What a manifest means where it says nothing. */
export const defaults = {
  startTimeoutSeconds: 60,
  stopTimeoutSeconds: 10,
  /** Shorter: an exclusive process must be dead before its node's lease runs out. */
  exclusiveStopTimeoutSeconds: 2,
  gitRef: 'HEAD',
  healthcheck: { intervalSeconds: 5, timeoutSeconds: 2, failureThreshold: 3 },
  restart: { policy: 'on-failure', max: 5 },
  /** A command is done at most once, as by every cron. */
  cron: { overlap: 'forbid', timeoutSeconds: 3600, attempts: 1 },
  deploy: { strategy: 'rolling', maxSurge: 1, maxUnavailable: 0, healthyDeadlineSeconds: 120 },
  /** Hop3's: 32 bytes, 24 characters for a password; a uuid has its own length. */
  secretLength: (format: string) => (format === 'uuid' ? 36 : format === 'password' ? 24 : 32),
} as const;
