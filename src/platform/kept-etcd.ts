import { isAborted } from '../ports/clock.ts';
import { startManagedEtcd, type ManagedEtcd, type ManagedEtcdOptions } from './managed-etcd.ts';

const AGAIN_AFTER_MS = 1000;

export interface KeptEtcd {
  endpoint: string;
  /** Ends it, also one that is just being started again; it is not started after that. */
  stop(): Promise<void>;
  /** Leaves it running for the next agent. */
  leave(): Promise<void>;
}

/**
 * A managed etcd that is started again whenever it ends. Resolves once it answers; an aborted signal ends the trying, and leaves
 * what runs. @throws ManagedEtcdError when the first start fails
 */
export async function keepEtcd(options: Omit<ManagedEtcdOptions, 'onExit'>): Promise<KeptEtcd> {
  const { clock, log } = options;
  const ending = new AbortController();
  const signal = AbortSignal.any([ending.signal, ...(options.signal ? [options.signal] : [])]);
  let trying = Promise.resolve();
  let etcd = await start();

  return {
    endpoint: etcd.endpoint,
    stop: async () => {
      await givenUp();
      await etcd.stop();
    },
    leave: async () => {
      await givenUp();
      etcd.leave();
    },
  };

  function start(): Promise<ManagedEtcd> {
    return startManagedEtcd({
      ...options,
      signal,
      onExit: reason => {
        log.error('etcd ended and is started again', { reason });
        trying = again();
      },
    });
  }

  async function again(): Promise<void> {
    while (!isAborted(signal)) {
      await clock.sleep(AGAIN_AFTER_MS, signal);
      if (isAborted(signal)) return;
      try {
        etcd = await start();
        return;
      } catch (error) {
        if (!isAborted(signal)) log.error('etcd could not be started again', { error });
      }
    }
  }

  async function givenUp(): Promise<void> {
    ending.abort(new Error('etcd is not kept any more'));
    await trying;
  }
}
