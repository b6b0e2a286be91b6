import type { Pool } from '../model/traffic.ts';

export interface ProxyReport {
  /** Runtime commands sent in this round. */
  commands: number;
  /** True when the prepared slots did not suffice and the proxy was reloaded. */
  reloaded: boolean;
}

export interface Proxy {
  /** Finds or starts the proxy process; it survives the agent. @throws Error naming what is missing */
  start(): Promise<void>;
  /** Makes the running proxy do what the pools say, changing only what differs. @throws Error when it can't be reached */
  apply(pools: Pool[]): Promise<ProxyReport>;
  /** Ends the proxy process. */
  stop(): Promise<void>;
}
