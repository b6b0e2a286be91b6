import { until } from '../support/until.ts';
import { cuts } from './cuts.ts';
import { agentPid, type Node } from './fleet.ts';

const UNIT = 'hop3-agent';
/** The unit's WatchdogSec, and what a loaded machine adds. */
const REPLACED_WITHIN_MS = 60_000;

/** A way in which an agent can fail to stop what it must stop. */
export interface Failing {
  /** Also part of the short form. */
  quick: boolean;
  /** Whether the next agent may be back in time to find the process at work; else another host has to take it. */
  mayGoOn: boolean;
  /** Resolves once it is in force; what it gives resolves when there is a sound agent again. */
  begin: (node: Node) => Promise<() => Promise<void>>;
}

export const failings: Record<string, Failing> = {
  'agent wedged in its event loop, until its watchdog replaces it': {
    quick: true,
    mayGoOn: false,
    async begin(node) {
      const wedged = await agentPid(node);
      const wedging = node.host.run(['node', '/srv/wedge.mjs', String(wedged), String(REPLACED_WITHIN_MS)]);
      let early: string | null = null;
      void wedging.then(
        ({ code, stderr }) => (early = `it could not be wedged (${String(code)}): ${stderr}`),
      );
      const silent = async (): Promise<boolean> => {
        if (early !== null) throw new Error(early);
        return node.api.ready(AbortSignal.timeout(2000)).then(
          () => false,
          () => true,
        );
      };
      await until('the agent is wedged', silent);
      return async () => {
        await replaced(node, wedged);
        await wedging;
      };
    },
  },
  'agent in a crash loop, cut from etcd': {
    quick: true,
    mayGoOn: false,
    async begin({ host }) {
      await host.filter(cuts.etcd);
      const stop = new AbortController();
      const looping = (async () => {
        while (!stop.signal.aborted) {
          const before = await dropped(host);
          // It crashes when it has asked etcd in vain, however long this machine takes to start it.
          await until('the agent asks etcd', async () => (await dropped(host)) > before, 30_000);
          await host.run(signal('KILL'));
        }
      })();
      // Whoever ends it is told; until then nobody waits for it.
      looping.catch(() => undefined);
      return async () => {
        stop.abort();
        await looping.finally(() => host.filter(null));
      };
    },
  },
  'agent frozen (SIGSTOP), until its watchdog replaces it': {
    quick: false,
    mayGoOn: false,
    async begin(node) {
      const frozen = await agentPid(node);
      await node.host.must(signal('STOP'));
      return () => replaced(node, frozen);
    },
  },
  'agent killed (SIGKILL), and started again by systemd': {
    quick: false,
    mayGoOn: true,
    async begin(node) {
      const killed = await agentPid(node);
      await node.host.must(signal('KILL'));
      return () => replaced(node, killed);
    },
  },
  'agent killed (SIGKILL), and not started again': {
    quick: false,
    mayGoOn: false,
    async begin({ host }) {
      const settings = `/run/systemd/system/${UNIT}.service.d`;
      await host.must(['mkdir', '-p', settings]);
      await host.must(['sh', '-c', `printf '[Service]\\nRestart=no\\n' > ${settings}/no-restart.conf`]);
      await host.must(['systemctl', 'daemon-reload']);
      await host.must(signal('KILL'));
      return async () => {
        await host.must(['rm', '-r', settings]);
        await host.must(['systemctl', 'daemon-reload']);
        await host.must(['systemctl', 'start', UNIT]);
      };
    },
  },
};

function signal(name: string): string[] {
  return ['systemctl', 'kill', '--kill-whom=main', '-s', name, UNIT];
}

/** By systemd: nobody else starts an agent here. */
async function replaced(node: Node, before: number): Promise<void> {
  const other = async (): Promise<boolean> => ![0, before].includes(await agentPid(node));
  await until(`systemd has replaced the agent of ${node.host.name}`, other, REPLACED_WITHIN_MS);
}

async function dropped(host: Node['host']): Promise<number> {
  const chains = await host.filtered();
  return [...chains.values()].reduce((sum, packets) => sum + packets, 0);
}
