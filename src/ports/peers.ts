import type { InstanceId } from '../model/ids.ts';
import type { Endpoint } from '../model/node-promise.ts';
import type { OutputLine, OutputOptions } from './driver.ts';

/**
 * PEM texts. An agent shows the same certificate whether it asks or answers, so it needs both usages (serverAuth and
 * clientAuth), and the names or addresses under which others reach it: peers are asked by the address in their session,
 * mostly an IP address, which then must be among the certificate's subjectAltNames as `IP:…`. Whoever has a
 * certificate of this authority is a peer: it must sign for one cluster's agents only.
 */
export interface PeerCredentials {
  ca: string;
  cert: string;
  key: string;
}

/** What one agent asks another directly; everything else goes through the store. */
export interface Peers {
  /** The output of an instance that runs there. @throws Error when the peer does not answer or refuses */
  output(peer: Endpoint, instance: InstanceId, options: OutputOptions): AsyncIterable<OutputLine>;
  /**
   * Listens to the peer's heart: calls back at each beat, twice a second while its agent lives. Resolves when the stream
   * ends, for whatever reason, and when the signal aborts; never rejects.
   */
  beats(peer: Endpoint, onBeat: () => void, signal: AbortSignal): Promise<void>;
}
