import { status, type UntypedServiceImplementation } from '@grpc/grpc-js';
import { z } from 'zod';
import { serverStream, unary, type CallTools } from './calls.ts';
import { RpcRefusal } from './refusal.ts';

export interface HealthParts {
  /** What the admin API says at /readyz. */
  ready: () => boolean;
  /** Services that are asked for by name; all are as healthy as the node. */
  names: readonly string[];
}

const LOOK_AGAIN_MS = 1000;
const request = z.object({ service: z.string() });

/** The standard health service. */
export function healthService(tools: CallTools, { ready, names }: HealthParts): UntypedServiceImplementation {
  const statusOf = (service: string): string => {
    if (service !== '' && !names.includes(service)) return 'SERVICE_UNKNOWN';
    return ready() && !tools.closing.aborted ? 'SERVING' : 'NOT_SERVING';
  };
  return {
    Check: unary(tools, request, ({ service }) => {
      const now = statusOf(service);
      if (now !== 'SERVICE_UNKNOWN') return Promise.resolve({ status: now });
      throw new RpcRefusal(status.NOT_FOUND, `there is no service "${service}" here: ${names.join(', ')}`);
    }),
    Watch: serverStream(tools, request, async ({ service }, send, signal) => {
      for (let told = ''; !signal.aborted;) {
        const now = statusOf(service);
        if (now !== told) await send({ status: now });
        told = now;
        await tools.clock.sleep(LOOK_AGAIN_MS, signal);
      }
    }),
  };
}
