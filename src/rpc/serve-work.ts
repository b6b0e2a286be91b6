import { once } from 'node:events';
import { status, type UntypedServiceImplementation } from '@grpc/grpc-js';
import { bidi, received, type CallTools, type DuplexCall } from './calls.ts';
import { workerMessage, type WorkerSays } from './read-work.ts';
import { read } from './read-requests.ts';
import { RpcRefusal } from './refusal.ts';
import type { RemoteWorker, WorkerLink } from './worker.ts';
import type { Workers } from './workers.ts';

const HELLO_WITHIN_MS = 10_000;

export function workService(
  tools: CallTools,
  workers: Workers,
  { silenceMs }: { silenceMs: number },
): UntypedServiceImplementation {
  return { Work: bidi(tools, (call, signal) => workOn(call, signal)) };

  async function workOn(call: DuplexCall, gone: AbortSignal): Promise<void> {
    const over = new AbortController();
    const signal = AbortSignal.any([gone, over.signal]);
    let worker: RemoteWorker | null = null;
    const link: WorkerLink = {
      send: message => {
        if (!signal.aborted) call.write(message);
      },
      close: reason => over.abort(new RpcRefusal(status.ABORTED, reason)),
    };
    const noHello = new RpcRefusal(status.DEADLINE_EXCEEDED, `no hello within ${HELLO_WITHIN_MS / 1000} s`);
    const cancelTimer = tools.clock.after(HELLO_WITHIN_MS, () => over.abort(noHello));
    const pinging = ping(link, signal);
    try {
      for await (const message of received(call, signal)) {
        const says = read(workerMessage, message);
        if (worker === null) {
          cancelTimer();
          worker = greeted(says, link);
        } else hear(worker, says);
        // Of one that talks without listening nothing more is heard.
        if (call.writableNeedDrain) await once(call, 'drain', { signal }).catch(() => undefined);
      }
      if (over.signal.aborted) throw over.signal.reason as RpcRefusal;
    } finally {
      cancelTimer();
      if (worker?.isOn(link)) worker.lost();
      over.abort();
      await pinging;
    }
  }

  function greeted({ hello }: WorkerSays, link: WorkerLink): RemoteWorker {
    if (hello === undefined)
      throw new RpcRefusal(status.FAILED_PRECONDITION, 'the first message must be a hello');
    return workers.greet(hello, link);
  }

  async function ping(link: WorkerLink, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await tools.clock.sleep(silenceMs / 3, signal);
      link.send({ ping: {} });
    }
  }
}

function hear(worker: RemoteWorker, { hello, result, leave }: WorkerSays): void {
  if (hello) throw new RpcRefusal(status.FAILED_PRECONDITION, 'hello was said already');
  worker.heard();
  if (result) void worker.result(result);
  if (leave) worker.leave();
}
