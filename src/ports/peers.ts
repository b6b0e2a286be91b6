import type { InstanceId } from '../model/ids.ts';
import type { Endpoint } from '../model/node-promise.ts';
import type { OutputLine } from './driver.ts';

/** What one agent asks another for directly; everything else goes through the store. */
export interface Peers {
  /** The output of an instance that runs there. @throws Error when the peer does not answer or refuses */
  output(peer: Endpoint, instance: InstanceId, options: { lines: number; follow: boolean; signal: AbortSignal }): AsyncIterable<OutputLine>;
}
