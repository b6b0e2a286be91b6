import { DEV_STATE_DIR } from './daemon.ts';
import type { CommandContext } from './context.ts';
import type { Invocation } from './invocation.ts';

/**
 * Everything that can be typed: one table for the parser, the help texts and completion. It is long because it is the
 * whole surface; what a command does is in `commands/<name>.ts`, loaded only when it is asked for.
 */
export interface CommandDefinition {
  /** One word, or two: a group (`commandGroups`) and what is below it. */
  name: string;
  /** Grouped under this heading in `--help`. */
  group: 'Daemons' | 'The life of an app' | 'Plans' | 'Seeing' | 'Acting' | 'The cluster' | 'Help';
  summary: string;
  arguments: ArgumentDefinition[];
  options: OptionDefinition[];
  /** What has to be known besides, for `--help`. */
  notes?: string;
  /** Command lines without the program's name, each with what it does. */
  examples: [line: string, about: string][];
  load: () => Promise<CommandRun>;
}

/** Resolves to the exit code; what goes wrong is thrown. */
type CommandRun = (context: CommandContext, call: Invocation) => Promise<number>;

interface ArgumentDefinition {
  /** `<app>`, `[app]`, `<file...>` */
  syntax: string;
  about: string;
  completes?: Completes;
}

export interface OptionDefinition {
  /** As commander reads them: `--wait`, `--timeout <seconds>`. */
  flags: string;
  about: string;
  /** What its value is; options without a value are flags. */
  value?: ValueKind;
  fallback?: string | number;
  completes?: Completes;
}

export type ValueKind =
  | { kind: 'text' }
  | { kind: 'number'; min: number; max: number; whole: boolean }
  | { kind: 'choice'; choices: string[] }
  /** May be given several times. */
  | { kind: 'list' }
  /** `KEY=VALUE`, several times. */
  | { kind: 'pairs' };

/** What a shell offers in that place. */
export type Completes =
  | 'apps'
  | 'targets'
  | 'nodes'
  | 'promises'
  | 'agents'
  | 'plans'
  | 'schedules'
  | 'files'
  | 'directories'
  | string[];

const text: ValueKind = { kind: 'text' };
const pairs: ValueKind = { kind: 'pairs' };
const list: ValueKind = { kind: 'list' };
const count = (min: number, max: number): ValueKind => ({ kind: 'number', min, max, whole: true });
const seconds = (min: number, max: number): ValueKind => ({ kind: 'number', min, max, whole: false });
const choice = (...choices: string[]): ValueKind => ({ kind: 'choice', choices });

const port = count(1, 65_535);
const leaseTtl: OptionDefinition = {
  flags: '--lease-ttl <seconds>',
  about: 'how long a silent node is still believed (2 to 3600)',
  value: count(2, 3600),
};
const logLevel: OptionDefinition = {
  flags: '--log-level <level>',
  about: 'what the log holds',
  value: choice('debug', 'info', 'warn', 'error'),
};
const timeout: OptionDefinition = {
  flags: '--timeout <seconds>',
  about: 'how long to wait before giving up',
  value: seconds(0, 86_400),
  fallback: 300,
};
const manifestFiles: ArgumentDefinition = {
  syntax: '<file...>',
  about: 'manifests (YAML or hop3.toml); - is stdin',
  completes: 'files',
};
const planArgument: ArgumentDefinition = {
  syntax: '<plan>',
  about: 'its id, as batch list shows it',
  completes: 'plans',
};
const scheduleArgument: ArgumentDefinition = {
  syntax: '<schedule>',
  about: 'its name',
  completes: 'schedules',
};
const untilEnded: OptionDefinition[] = [
  { flags: '--wait', about: 'until it has ended, telling how it goes' },
  {
    flags: '--timeout <seconds>',
    about: 'with --wait: how long at most (default: as long as it takes)',
    value: seconds(0, 7 * 86_400),
  },
];
const WAITING = `With --wait the exit code is 0 only if the plan has completed, else 1. Ctrl-C ends the waiting, and not the plan.`;

/** For every command, before or after its name. */
export const globalOptions: OptionDefinition[] = [
  {
    flags: '--api <url>',
    about: 'the agent to ask: http(s)://HOST:PORT or unix:/PATH (HOP3_AGENT_API, else http://127.0.0.1:7300)',
    value: text,
  },
  { flags: '--token <token>', about: 'for an API that asks for one (better: HOP3_AGENT_TOKEN)', value: text },
  { flags: '--json', about: 'answer in JSON, streams one object a line; errors as JSON on stderr' },
  { flags: '--no-color', about: 'no colours, as with NO_COLOR=1' },
];

/** First words of commands of two, and what all of them are about. */
export const commandGroups: Record<string, { group: CommandDefinition['group']; summary: string }> = {
  batch: { group: 'Plans', summary: 'plans: batches and graphs of steps, done once' },
  schedule: { group: 'Plans', summary: 'plans that are made again and again' },
  cluster: { group: 'The cluster', summary: 'certificates, and who may join' },
};

const nodeOfCluster: OptionDefinition[] = [
  {
    flags: '--config <file>',
    about: 'the node configuration to complete; keys and certificates go beside it',
    value: text,
    fallback: '/etc/hop3/agent.yaml',
    completes: 'files',
  },
  {
    flags: '--name <node>',
    about: "the node's name (default: what the file says, else the host's)",
    value: text,
  },
  {
    flags: '--address <address>',
    about: 'where the other nodes reach this one; the first is listened on (default: as in peer.listen)',
    value: list,
  },
  {
    flags: '--etcd-users',
    about:
      "a user and a role in etcd for this node; asks for root's password (HOP3_AGENT_ETCD_ROOT_PASSWORD)",
  },
];

export const commandDefinitions: CommandDefinition[] = [
  {
    name: 'run',
    group: 'Daemons',
    summary: 'run the agent of this node',
    arguments: [],
    options: [
      {
        flags: '--config <file>',
        about: 'the node configuration (default: /etc/hop3/agent.yaml if there is one)',
        value: text,
        completes: 'files',
      },
      { flags: '--name <node>', about: "the node's name (default: the host's)", value: text },
      {
        flags: '--state-dir <dir>',
        about: 'where the agent keeps what must survive',
        value: text,
        completes: 'directories',
      },
      {
        flags: '--etcd <urls>',
        about: 'etcd endpoints, separated by commas; none = an etcd of its own',
        value: text,
      },
      { flags: '--admin <host:port>', about: 'where the admin API listens', value: text },
      { flags: '--rpc <host:port>', about: 'where gRPC listens', value: text },
      { flags: '--peer <host:port>', about: 'where other agents reach this one', value: text },
      { flags: '--label <key=value>', about: 'a label for placement; may be repeated', value: pairs },
      {
        flags: '--role <role>',
        about: 'apps or proxy; may be repeated',
        value: list,
        completes: ['apps', 'proxy'],
      },
      leaseTtl,
      logLevel,
      { flags: '--driver <driver>', about: 'how instances are run', value: choice('process', 'systemd') },
      { flags: '--proxy-port <port>', about: 'where the proxy listens', value: port },
    ],
    examples: [
      ['run', 'a node of its own, with its own etcd'],
      ['run --config /etc/hop3/agent.yaml', 'as systemd starts it'],
      ['run --name eu-1 --etcd http://127.0.0.1:2379 --label zone=eu', 'a node of a cluster'],
    ],
    load: async () => (await import('./commands/run.ts')).run,
  },
  {
    name: 'dev',
    group: 'Daemons',
    summary: 'run a whole cluster on this machine until Ctrl-C',
    arguments: [{ syntax: '[file...]', about: 'manifests to apply once it is up', completes: 'files' }],
    options: [
      { flags: '--nodes <count>', about: 'how many nodes', value: count(1, 50), fallback: 3 },
      {
        flags: '--state-dir <dir>',
        about: 'where the cluster keeps everything',
        value: text,
        fallback: DEV_STATE_DIR,
        completes: 'directories',
      },
      { flags: '--proxy-port <port>', about: 'where the proxy listens', value: port, fallback: 8080 },
      {
        flags: '--api-port <port>',
        about: "the first node's admin API; the others follow",
        value: port,
        fallback: 7301,
      },
      leaseTtl,
      logLevel,
      { flags: '--fresh', about: 'forget what an earlier cluster in the state directory had' },
      {
        flags: '--kill <node>',
        about: 'kill that node of the running cluster: its agent and its apps',
        value: text,
      },
      { flags: '--start <node>', about: 'start that node of the running cluster again', value: text },
      { flags: '--stop', about: 'stop the running cluster' },
    ],
    examples: [
      ['dev manifests/*.yaml', 'three nodes, a proxy, and these apps'],
      ['dev --nodes 5 --lease-ttl 3', 'five nodes, losses noticed sooner'],
      ['dev --kill node-2', 'in another terminal: lose a node'],
    ],
    load: async () => (await import('./commands/dev.ts')).dev,
  },
  {
    name: 'init',
    group: 'The life of an app',
    summary: 'write a manifest from what is in a directory',
    arguments: [{ syntax: '[dir]', about: 'the app (default: here)', completes: 'directories' }],
    options: [
      {
        flags: '--output <file>',
        about: 'where to write it (default: DIR/hop3.yaml; - is stdout)',
        value: text,
        completes: 'files',
      },
      { flags: '--force', about: 'replace a file that is there' },
    ],
    examples: [
      ['init ./guestbook', 'from its hop3.toml, Procfile, ENV, or what else is there'],
      ['init ./guestbook --output -', 'only show it'],
    ],
    load: async () => (await import('./commands/init.ts')).init,
  },
  {
    name: 'validate',
    group: 'The life of an app',
    summary: 'check manifests, all problems at once',
    arguments: [manifestFiles],
    options: [],
    examples: [
      ['validate manifests/*.yaml', 'each problem with file, line and column'],
      ['validate app.yaml --json', 'for an editor or CI'],
    ],
    load: async () => (await import('./commands/validate.ts')).validate,
  },
  {
    name: 'plan',
    group: 'The life of an app',
    summary: 'show what applying manifests would change, and change nothing',
    arguments: [manifestFiles],
    options: [],
    examples: [['plan manifests/*.yaml', 'what would be created, restarted or rebuilt']],
    load: async () => (await import('./commands/plan.ts')).plan,
  },
  {
    name: 'apply',
    group: 'The life of an app',
    summary: 'make the cluster run what manifests say, apps and plans',
    arguments: [manifestFiles],
    options: [{ flags: '--wait', about: 'until every instance is ready, or one has failed' }, timeout],
    examples: [
      ['apply manifests/*.yaml', 'build and hand over to the nodes'],
      ['apply app.yaml --wait --timeout 60', 'exit 8 unless it is up within a minute'],
      ['apply - < app.yaml', 'from stdin'],
      ['apply plans/nightly.yaml', 'makes the schedule of a plan; without one it is submitted'],
    ],
    notes: `Each app that changes is a plan, which it names: batch status PLAN --watch shows it through any node, and batch cancel PLAN
brings back what ran before. When the node that was asked is lost, another goes on: exit 7. Ctrl-C cancels what is not wanted yet.`,
    load: async () => (await import('./commands/apply.ts')).apply,
  },
  {
    name: 'deploy',
    group: 'The life of an app',
    summary: 'deploy the app in a directory and wait until it is up',
    arguments: [{ syntax: '[dir]', about: 'the app (default: here)', completes: 'directories' }],
    options: [
      {
        flags: '--app <name>',
        about: "the app's name (default: what its files say, else the directory's)",
        value: text,
      },
      { flags: '--env <key=value>', about: 'an environment variable; may be repeated', value: pairs },
      { flags: '--scale <type=n>', about: 'instances of a process type; may be repeated', value: pairs },
      { flags: '--host <name>', about: 'a host name the proxy answers for; may be repeated', value: list },
      timeout,
    ],
    examples: [
      ['deploy ./guestbook', 'what hop3.toml, Procfile or the files themselves say'],
      ['deploy . --app blog --host blog.localhost --scale web=3', 'said otherwise here'],
    ],
    notes: `It is a plan, which it names: batch status PLAN --watch shows it through any node, and batch cancel PLAN brings back what ran
before. When the node that was asked is lost, another goes on: exit 7. Ctrl-C cancels what is not wanted yet.`,
    load: async () => (await import('./commands/deploy.ts')).deploy,
  },
  {
    name: 'remove',
    group: 'The life of an app',
    summary: 'stop an app and forget it',
    arguments: [{ syntax: '<app>', about: 'its name', completes: 'apps' }],
    options: [{ flags: '--yes', about: 'do not ask' }],
    examples: [['remove blog --yes', 'without asking']],
    load: async () => (await import('./commands/remove.ts')).remove,
  },
  {
    name: 'batch submit',
    group: 'Plans',
    summary: 'submit the plan in a file, and print its id',
    arguments: [{ syntax: '<file>', about: 'a manifest of kind: Plan; - is stdin', completes: 'files' }],
    options: [
      ...untilEnded,
      {
        flags: '--idempotency-key <key>',
        about: 'under one key a plan is made once, however often it is submitted',
        value: text,
      },
    ],
    notes: `${WAITING}
A schedule in the file is left alone: the plan is done once, now. hop3-agent apply FILE makes the schedule.`,
    examples: [
      ['batch submit report.yaml --wait', 'how it goes, exit 1 if it fails'],
      ['batch submit import.yaml --idempotency-key import-2026-03-01', 'safe to repeat when nobody answered'],
    ],
    load: async () => (await import('./commands/batch-submit.ts')).batchSubmit,
  },
  {
    name: 'batch list',
    group: 'Plans',
    summary: 'show the plans, the newest first',
    arguments: [],
    options: [
      {
        flags: '--state <states>',
        about: 'only those in these states, with commas between them',
        value: text,
        completes: ['running', 'failed', 'completed', 'pending', 'cancelled', 'compensated'],
      },
      {
        flags: '--origin <origin>',
        about: 'only those from there, as in rest or "schedule nightly"',
        value: text,
      },
      { flags: '--title <text>', about: 'only those with this in their title', value: text },
      { flags: '--lines <count>', about: 'at most so many', value: count(1, 1000), fallback: 50 },
    ],
    examples: [['batch list --state pending,running', 'what has not ended']],
    load: async () => (await import('./commands/batch-list.ts')).batchList,
  },
  {
    name: 'batch status',
    group: 'Plans',
    summary: 'show how far a plan is',
    arguments: [planArgument],
    options: [
      { flags: '--steps', about: 'with all its steps, not only those that went wrong' },
      { flags: '--watch', about: 'and each change, until it has ended' },
    ],
    notes: `With --watch the exit code is 0 only if the plan has completed, else 1. Ctrl-C ends the watching, and not the plan.`,
    examples: [
      ['batch status PLAN --steps', 'which step is where, and what failed'],
      ['batch status PLAN --watch --json', 'each change as one object a line'],
    ],
    load: async () => (await import('./commands/batch-status.ts')).batchStatus,
  },
  {
    name: 'batch cancel',
    group: 'Plans',
    summary: 'ask a plan to end: nothing more starts, and what runs is told to stop',
    arguments: [planArgument],
    options: untilEnded,
    examples: [['batch cancel PLAN --wait', 'until nothing of it runs']],
    load: async () => (await import('./commands/batch-cancel.ts')).batchCancel,
  },
  {
    name: 'batch retry',
    group: 'Plans',
    summary: 'do what failed again, and what was skipped after it',
    arguments: [planArgument, { syntax: '[step...]', about: 'only these: numbers, or names' }],
    options: untilEnded,
    notes: WAITING,
    examples: [
      ['batch retry PLAN --wait', 'every step that failed'],
      ['batch retry PLAN deliver 7', 'only these two'],
    ],
    load: async () => (await import('./commands/batch-retry.ts')).batchRetry,
  },
  {
    name: 'batch output',
    group: 'Plans',
    summary: 'print what a step gave',
    arguments: [planArgument, { syntax: '<step>', about: 'its number, or its name' }],
    options: [],
    examples: [['batch output PLAN report > report.pdf', 'byte for byte']],
    load: async () => (await import('./commands/batch-output.ts')).batchOutput,
  },
  {
    name: 'batch remove',
    group: 'Plans',
    summary: 'forget plans that have ended',
    arguments: [{ syntax: '<plan...>', about: 'their ids', completes: 'plans' }],
    options: [],
    examples: [['batch remove PLAN', 'its steps, outputs and key are gone']],
    load: async () => (await import('./commands/batch-remove.ts')).batchRemove,
  },
  {
    name: 'schedule list',
    group: 'Plans',
    summary: 'show the schedules, and when they fire next',
    arguments: [],
    options: [],
    examples: [['schedule list', 'also those of apps with cron lines']],
    load: async () => (await import('./commands/schedules.ts')).scheduleList,
  },
  {
    name: 'schedule show',
    group: 'Plans',
    summary: 'show one schedule, and what became of its last firing',
    arguments: [scheduleArgument],
    options: [],
    examples: [['schedule show nightly', 'its plan, its rules, and what runs of it']],
    load: async () => (await import('./commands/schedules.ts')).scheduleShow,
  },
  {
    name: 'schedule pause',
    group: 'Plans',
    summary: 'let a schedule fire no more; plans that it has made go on',
    arguments: [scheduleArgument],
    options: [],
    examples: [['schedule pause nightly', 'until schedule resume nightly']],
    load: async () => (await import('./commands/schedules.ts')).schedulePause,
  },
  {
    name: 'schedule resume',
    group: 'Plans',
    summary: 'let a paused schedule fire again, from now on',
    arguments: [scheduleArgument],
    options: [],
    examples: [['schedule resume nightly', 'what it missed is not made up for']],
    load: async () => (await import('./commands/schedules.ts')).scheduleResume,
  },
  {
    name: 'schedule run',
    group: 'Plans',
    summary: 'make the plan of a schedule now, besides those at its times',
    arguments: [scheduleArgument],
    options: untilEnded,
    notes: WAITING,
    examples: [['schedule run blog/nightly --wait', 'the scheduled command "nightly" of the app blog']],
    load: async () => (await import('./commands/schedules.ts')).scheduleRun,
  },
  {
    name: 'schedule remove',
    group: 'Plans',
    summary: 'forget a schedule; plans that it has made go on',
    arguments: [scheduleArgument],
    options: [],
    examples: [['schedule remove nightly', 'hop3-agent apply FILE makes it again']],
    load: async () => (await import('./commands/schedules.ts')).scheduleRemove,
  },
  {
    name: 'status',
    group: 'Seeing',
    summary: 'show the apps, or the instances of one',
    arguments: [{ syntax: '[app]', about: 'only this one, in detail', completes: 'apps' }],
    options: [],
    examples: [
      ['status', 'all apps, and how much of them is ready'],
      ['status blog', 'its instances: where they run and what is wrong'],
      ["status --json | jq -r '.items[].app'", 'their names'],
    ],
    load: async () => (await import('./commands/status.ts')).status,
  },
  {
    name: 'nodes',
    group: 'Seeing',
    summary: 'show the nodes',
    arguments: [],
    options: [],
    examples: [['nodes', 'who is there, how full, how trusted']],
    load: async () => (await import('./commands/nodes.ts')).nodes,
  },
  {
    name: 'promises',
    group: 'Seeing',
    summary: 'show who promised what, and how it was judged',
    arguments: [],
    options: [
      { flags: '--broken', about: 'only those judged broken' },
      { flags: '--of <node>', about: 'only those of one node', value: text, completes: 'nodes' },
      { flags: '--app <app>', about: 'only those about one app', value: text, completes: 'apps' },
      {
        flags: '--kind <kind>',
        about: 'only those of one kind',
        value: choice(
          'capacity',
          'running',
          'standby',
          'serving',
          'holding',
          'deploying',
          'draining',
          'request',
        ),
      },
      { flags: '--watch', about: 'show again each promise that changes, until Ctrl-C' },
    ],
    examples: [
      ['promises --broken', 'what is not as promised'],
      ['promises --of node-2 --watch', 'as it changes'],
    ],
    load: async () => (await import('./commands/promises.ts')).promises,
  },
  {
    name: 'explain',
    group: 'Seeing',
    summary: 'say in words why something is as it is',
    arguments: [
      {
        syntax: '<about>',
        about:
          'an instance (blog/web/0), a named agent (agent/nightly-report), or a promise (node-1/running:blog/web/0)',
        completes: 'promises',
      },
    ],
    options: [],
    examples: [
      ['explain blog/web/0', 'why it runs where it runs'],
      ['explain node-1/running:blog/web/0', 'who judged that promise how, and why'],
      ['explain agent/nightly-report', 'who has that name, since when, and who waits for it'],
    ],
    load: async () => (await import('./commands/explain.ts')).explain,
  },
  {
    name: 'events',
    group: 'Seeing',
    summary: 'show what happened, from the ledger',
    arguments: [],
    options: [
      { flags: '--follow', about: 'and go on as it happens' },
      { flags: '--since <revision>', about: 'only what came after that revision', value: text },
      {
        flags: '--lines <count>',
        about: 'at most so many of the past (default: 50; 1000 with --since)',
        value: count(1, 1000),
      },
      { flags: '--kind <kind>', about: 'only of that kind', value: text },
      { flags: '--node <node>', about: 'only from that node', value: text, completes: 'nodes' },
      { flags: '--subject <subject>', about: 'only about that subject', value: text },
    ],
    examples: [
      ['events --follow', 'as it happens'],
      ['events --since 1204 --json', 'the rest, after a script stopped at 1204'],
    ],
    load: async () => (await import('./commands/events.ts')).events,
  },
  {
    name: 'logs',
    group: 'Seeing',
    summary: 'show what instances wrote, or the last ones when there are none any more',
    arguments: [{ syntax: '<target>', about: 'APP, APP/TYPE or APP/TYPE/N', completes: 'targets' }],
    options: [
      { flags: '--follow', about: 'and go on as they write' },
      {
        flags: '--lines <count>',
        about: 'of the past, for each instance',
        value: count(0, 10_000),
        fallback: 100,
      },
    ],
    examples: [
      ['logs blog', 'all its instances, on every node'],
      ['logs blog/web/0 --follow --lines 0', 'only what comes now'],
    ],
    load: async () => (await import('./commands/logs.ts')).logs,
  },
  {
    name: 'top',
    group: 'Seeing',
    summary: 'watch nodes and instances; q ends it',
    arguments: [],
    options: [
      { flags: '--interval <seconds>', about: 'how often to look', value: seconds(0.2, 3600), fallback: 2 },
      { flags: '--once', about: 'look once' },
    ],
    examples: [['top', 'the whole cluster on one screen']],
    load: async () => (await import('./commands/top.ts')).top,
  },
  {
    name: 'agents',
    group: 'Seeing',
    summary: 'show the named agents: who has which name, and who waits for it',
    arguments: [],
    options: [],
    examples: [['agents', 'state, owner, holder, token, since when, and the line behind it']],
    load: async () => (await import('./commands/agents.ts')).agents,
  },
  {
    name: 'scale',
    group: 'Acting',
    summary: 'change how many instances an app has',
    arguments: [
      { syntax: '<app>', about: 'its name', completes: 'apps' },
      { syntax: '<type=n...>', about: 'as in web=3' },
    ],
    options: [{ flags: '--wait', about: 'until all are ready' }, timeout],
    examples: [['scale blog web=5 mailer=2', 'five web instances and two mailers']],
    load: async () => (await import('./commands/scale.ts')).scale,
  },
  {
    name: 'restart',
    group: 'Acting',
    summary: 'replace the instances of an app one after the other',
    arguments: [
      { syntax: '<app>', about: 'its name', completes: 'apps' },
      { syntax: '[type]', about: 'only this process type' },
    ],
    options: [{ flags: '--wait', about: 'until all are replaced and ready' }, timeout],
    examples: [['restart blog web --wait', 'only the web instances']],
    load: async () => (await import('./commands/restart.ts')).restart,
  },
  {
    name: 'promote',
    group: 'Acting',
    summary: 'let a canary, or a release that stands ready beside, take over now',
    arguments: [{ syntax: '<app>', about: 'its name', completes: 'apps' }],
    options: [{ flags: '--wait', about: 'until all instances run it and are ready' }, timeout],
    notes: `With deploy.promote: manual nothing else lets it; else it is done when the observers have found it healthy.
hop3-agent rollback APP gives it up instead.`,
    examples: [['promote blog --wait', 'all of it runs the new release']],
    load: async () => (await import('./commands/promote.ts')).promote,
  },
  {
    name: 'rollback',
    group: 'Acting',
    summary: 'go back to an earlier release of an app, without building',
    arguments: [
      { syntax: '<app>', about: 'its name', completes: 'apps' },
      { syntax: '[release]', about: 'its number (default: what the present one took the place of)' },
    ],
    options: [
      { flags: '--list', about: 'show the releases instead' },
      { flags: '--wait', about: 'until all instances run it and are ready' },
      timeout,
    ],
    notes: `Back go the code, the commands, the variables, the limits and the health check; scale, host names, placement and
the way of deploying stay as they are now. What the last five releases of an app run is kept.`,
    examples: [
      ['rollback blog --wait', 'undo the last deployment'],
      ['rollback blog --list', 'which releases there are'],
      ['rollback blog 12', 'to that one'],
    ],
    load: async () => (await import('./commands/rollback.ts')).rollback,
  },
  {
    name: 'drain',
    group: 'Acting',
    summary: 'empty a node: nothing new, and what runs there goes elsewhere without failing a request',
    arguments: [{ syntax: '<node>', about: 'its name', completes: 'nodes' }],
    options: [
      { flags: '--reason <text>', about: 'for whoever wonders', value: text },
      { flags: '--wait', about: 'until nothing runs there any more' },
      timeout,
    ],
    notes: `The wish is kept: it stands until undrain, also when the node or its agent starts again. One instance goes after
the other: its successor is ready before it stops. What is exclusive is stopped, and released when it is dead.
An instance that no other node can take stays and runs on; --wait then exits with 1 and says which, and why.
A proxy on the node goes on proxying.`,
    examples: [
      ['drain node-2 --wait --reason "new kernel"', 'then stop it, or reboot'],
      ['nodes', 'how many are left'],
    ],
    load: async () => (await import('./commands/drain.ts')).drain,
  },
  {
    name: 'undrain',
    group: 'Acting',
    summary: 'let a node take work again',
    arguments: [{ syntax: '<node>', about: 'its name', completes: 'nodes' }],
    options: [],
    examples: [['undrain node-2', 'what went does not come back by itself']],
    load: async () => (await import('./commands/drain.ts')).undrain,
  },
  {
    name: 'rebalance',
    group: 'Acting',
    summary: 'show what would move so that all nodes are used evenly, or move it',
    arguments: [],
    options: [
      { flags: '--apply', about: 'move it, one instance after the other, without failing a request' },
      ...untilEnded,
    ],
    notes: `Copies of a process type are spread over the values of its spread label, then over nodes; then what is reserved is evened out.
An instance that moves runs on where it is until its successor is ready. What is exclusive stays: it would have to be stopped.
The moves are the steps of a plan: it goes on when a node is lost, and hop3-agent batch cancel PLAN ends it after the move under way.`,
    examples: [
      ['rebalance', 'who would go where, and why'],
      ['rebalance --apply --wait', 'after a node came back, or joined'],
    ],
    load: async () => (await import('./commands/rebalance.ts')).rebalance,
  },
  {
    name: 'own',
    group: 'Acting',
    summary: 'run a command while this node owns a name, and nobody else does',
    arguments: [
      { syntax: '<name>', about: 'one of your choice, as in nightly-report', completes: 'agents' },
      { syntax: '<command...>', about: 'after --: the program and its arguments' },
    ],
    options: [
      { flags: '--wait', about: 'wait in line while somebody else has the name' },
      { flags: '--timeout <seconds>', about: 'with --wait: how long at most', value: seconds(0, 86_400) },
      {
        flags: '--stop-timeout <seconds>',
        about: 'between asking the command to end and killing it',
        value: seconds(0, 3600),
        fallback: 2,
      },
    ],
    notes: `The agent that is asked runs the command: on its machine, as its user, in this directory and with this
environment, with no stdin, and with HOP3_FENCING_TOKEN (and _FILE) added. Its output comes line by line.
The exit code is the command's own, 128+N when signal N ended it; 6 when somebody else has the name.
Ctrl-C or SIGTERM asks the command to end, a second one kills it. When this command line is gone for
10 s (2 s while it waits) the command is stopped and the name released, after the command is dead.
When the agent is replaced the command runs on under the same token, and this command line listens on.
When the node's session can't be renewed the command is stopped before it ends, by the guard if need be.`,
    examples: [
      ['own nightly-report -- ./report.sh --all', 'exit 6 if it runs anywhere in the cluster'],
      ['own migrations --wait --timeout 600 -- npm run migrate', 'one after the other, in order of asking'],
    ],
    load: async () => (await import('./commands/own.ts')).own,
  },
  {
    name: 'release',
    group: 'Acting',
    summary: 'take a name from who has it, or clear a dead node from what may still run',
    arguments: [{ syntax: '<subject>', about: 'a name; or APP/TYPE/N', completes: 'agents' }],
    options: [
      {
        flags: '--may-still-run <node>',
        about: 'I have seen that this node runs no copy of it any more',
        value: text,
        completes: 'nodes',
      },
      timeout,
    ],
    notes: `Of a name, the owner's agent is asked: it stops the command and releases the name when that is dead. A program
that holds the name itself is told when it asks next, and loses it when its time is over.
--may-still-run is for an exclusive process that does not start because a node that is gone for good may still run
a copy. It is your word against a second copy: give it only if that machine is off, or you have looked.`,
    examples: [
      ['release nightly-report', 'stop what runs under that name, wherever it is'],
      ['release blog/mailer/0 --may-still-run node-3', 'node-3 burnt down'],
    ],
    load: async () => (await import('./commands/release.ts')).release,
  },
  {
    name: 'cluster init',
    group: 'The cluster',
    summary: "make the cluster's authority and the first node's certificate, and complete its configuration",
    arguments: [],
    options: [
      ...nodeOfCluster,
      {
        flags: '--cluster <name>',
        about: "the cluster's name (default: what the file says, else default)",
        value: text,
      },
      { flags: '--etcd <urls>', about: 'etcd endpoints, separated by commas', value: text },
      { flags: '--renew', about: 'a new certificate for this node, though it has a good one' },
    ],
    examples: [
      [
        'cluster init --name node-1 --address 10.0.0.1 --etcd https://10.0.0.1:2379',
        'the first node; what is there and good stays',
      ],
      ['cluster init --etcd-users', 'later, once etcd runs: users that may write only what is theirs'],
    ],
    load: async () => (await import('./commands/cluster-init.ts')).clusterInit,
  },
  {
    name: 'cluster token',
    group: 'The cluster',
    summary: 'make a token that lets one node in, once',
    arguments: [],
    options: [
      {
        flags: '--node <name>',
        about: 'only for that node, which may be there already',
        value: text,
        completes: 'nodes',
      },
      {
        flags: '--ttl <seconds>',
        about: 'until it ends (60 to 86400)',
        value: count(60, 86_400),
        fallback: 900,
      },
    ],
    examples: [
      ['cluster token', 'for a new node, within a quarter of an hour'],
      ['cluster token --node node-2', 'to give node-2 a new certificate'],
    ],
    load: async () => (await import('./commands/cluster-token.ts')).clusterToken,
  },
  {
    name: 'cluster recover',
    group: 'The cluster',
    summary: 'go on after etcd was restored from a backup',
    arguments: [],
    options: [{ flags: '--restored', about: 'it was, and all its members are from that backup' }],
    examples: [['cluster recover --restored', 'once, on any node']],
    load: async () => (await import('./commands/cluster-recover.ts')).clusterRecover,
  },
  {
    name: 'cluster join',
    group: 'The cluster',
    summary: 'enrol this machine: make a key, have it signed, complete the configuration',
    arguments: [
      {
        syntax: '<url>',
        about: 'the admin API of a node that holds the authority; --token is the join token',
      },
    ],
    options: nodeOfCluster,
    examples: [
      [
        'cluster join https://10.0.0.1:7300 --token hop3join.… --address 10.0.0.2',
        'as cluster token prints it',
      ],
    ],
    load: async () => (await import('./commands/cluster-join.ts')).clusterJoin,
  },
  {
    name: 'doctor',
    group: 'Help',
    summary: 'check this machine and the agent',
    arguments: [],
    options: [
      {
        flags: '--state-dir <dir>',
        about: 'the state directory to check',
        value: text,
        completes: 'directories',
      },
    ],
    examples: [['doctor', 'what is missing, old or wrong, and what to do']],
    load: async () => (await import('./commands/doctor.ts')).doctor,
  },
  {
    name: 'completion',
    group: 'Help',
    summary: 'print a completion script for a shell',
    arguments: [{ syntax: '<shell>', about: 'bash, zsh or fish', completes: ['bash', 'zsh', 'fish'] }],
    options: [],
    examples: [
      ['completion bash > /etc/bash_completion.d/hop3-agent', 'for everybody on this machine'],
      ['completion fish | source', 'for this session'],
    ],
    load: async () => (await import('./commands/completion.ts')).completion,
  },
];
