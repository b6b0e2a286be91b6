import type { ExecutionContext } from 'ava';
import type { InstanceView } from '../../src/model/views.ts';
import { systemClock } from '../../src/platform/clock.ts';
import { FakeAdmin } from '../support/fake-admin.ts';
import { servedAdmin } from '../support/served-admin.ts';
import { ran } from './captured-io.ts';
import type { Circumstances, Ran } from './captured-io.ts';

export interface Cluster {
  admin: FakeAdmin;
  url: string;
  /** Makes instances seem otherwise than running; `look` counts how often they have been asked for. */
  show: (seenAs: (instance: InstanceView, look: number) => Partial<InstanceView>) => void;
  /** Runs a command line against it. */
  ran: (argv: string[], circumstances?: Circumstances) => Promise<Ran>;
}

/** The real admin API over a fake cluster: three nodes, and the app `blog` with two web instances and a mailer. */
export async function cluster(t: ExecutionContext, options: { tokens?: string[] } = {}): Promise<Cluster> {
  const admin = FakeAdmin.seeded();
  const api = await servedAdmin(t, {
    admin,
    tokens: options.tokens ?? [],
    clock: systemClock(),
  });
  const asTheyAre = admin.instances.bind(admin);
  return {
    admin,
    url: api.url,
    show: seenAs => {
      let look = 0;
      admin.instances = filter => {
        const { revision, items } = asTheyAre(filter);
        look++;
        return { revision, items: items.map(instance => ({ ...instance, ...seenAs(instance, look) })) };
      };
    },
    ran: (argv, circumstances = {}) =>
      ran(argv, { ...circumstances, env: { HOP3_AGENT_API: api.url, ...circumstances.env } }),
  };
}
