import type { AppView } from '../model/views.ts';
import { RPC_PORT_ABOVE } from './dev-node.ts';

type App = Pick<AppView, 'app' | 'hostnames' | 'processes'>;

interface Running {
  api: string;
  /** Of the first node; each other one has the next. */
  apiPort: number;
  proxyPort: number;
  nodes: number;
  /** null = where `dev` looks by itself. */
  stateDir: string | null;
  apps: readonly App[];
}

/** What one can do with the cluster that runs now, in commands to copy; with an app of it, when it has any. */
export function tryNext({ api, apiPort, proxyPort, nodes, stateDir, apps }: Running): string {
  const app = apps.toSorted((a, b) => instances(b) - instances(a))[0];
  const dev = stateDir === null ? 'dev' : `dev --state-dir '${stateDir.replaceAll("'", `'\\''`)}'`;
  const commands: [words: string, what: string][] = [
    app ? [`status ${app.app}`, 'which instance runs where'] : ['deploy DIR', 'run the app in a directory'],
  ];
  if (nodes > 1)
    commands.push(
      [`${dev} --kill node-2`, `kill a node with all its apps${app ? ', and ask again' : ''}`],
      [`${dev} --start node-2`, 'bring it back'],
    );
  commands.push(['promises', 'who promised what, and who says it is kept']);
  const process = Object.keys(app?.processes ?? {})[0];
  if (app && process !== undefined)
    commands.push([`explain ${app.app}/${process}/0`, 'why it runs where it runs']);
  commands.push(['events --follow', 'what happens']);

  const width = Math.max(...commands.map(([words]) => words.length));
  const hostname = app?.hostnames[0];
  return [
    'try next (in another terminal; hop3-agent is here "node dist/main.js"):',
    `  export HOP3_AGENT_API=${api}`,
    ...(hostname === undefined ? [] : [`  curl -H 'Host: ${hostname}' http://127.0.0.1:${proxyPort}/`]),
    ...commands.map(([words, what]) => `  hop3-agent ${words.padEnd(width)}   ${what}`),
    `Admin API on 127.0.0.1, ${portsText(apiPort, nodes)}; gRPC on ${portsText(apiPort + RPC_PORT_ABOVE, nodes)}.`,
    'Ctrl-C stops everything.\n',
  ].join('\n');
}

function portsText(first: number, nodes: number): string {
  return nodes === 1 ? `port ${first}` : `ports ${first} to ${first + nodes - 1}`;
}

function instances({ processes }: App): number {
  return Object.values(processes).reduce((sum, { scale }) => sum + scale, 0);
}
