import type { AppName, InstanceId } from './ids.ts';
import type { Endpoint } from './node-promise.ts';

/** What the proxy should be doing: one pool per app, and the host names that lead to it. */
export interface Pool {
  app: AppName;
  hostnames: string[];
  /** Path the proxy's own health check asks; null = TCP connect only. */
  checkPath: string | null;
  servers: PoolServer[];
}

export interface PoolServer {
  instance: InstanceId;
  endpoint: Endpoint;
  /** `ready` gets requests; `drain` finishes what it has and gets no new ones. */
  state: 'ready' | 'drain';
}
