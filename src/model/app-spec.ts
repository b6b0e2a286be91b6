import type { AppName, Digest, PortText, ProcessType } from './ids.ts';
import type { CronSchedule } from './plan.ts';

/** What a person wants of one app, after its manifest has been read and checked. Plain JSON. */
export interface AppSpec {
  app: AppName;
  title: string | null;
  /** The author's own version text; releases are numbered by the cluster. */
  version: string | null;
  source: SourceSpec | null;
  build: BuildSpec;
  /** Commands run once per release, in order, before any instance of it starts. */
  beforeRun: string[];
  /** `web` first when there is one. None = the agent finds it in the source; then `webSettings` are its settings. */
  processes: ProcessSpec[];
  /** What the manifest says of a web process that only the source will name; gone once the agent has found it. */
  webSettings?: WebSettings | undefined;
  crons: CronSpec[];
  env: Record<string, EnvValue>;
  /** Names the proxy answers for; empty = no proxy, reachable only on its port. `_` is the catch-all. */
  hostnames: string[];
  healthcheck: HealthcheckSpec;
  restart: RestartPolicy;
  limits: Limits;
  placement: PlacementSpec;
  /** Apps whose `serving` or `running` promises must be kept before this one starts. */
  dependsOn: AppName[];
  deploy: DeploySpec;
  /** Fixed ports (hop3.toml `[[ports]]`): on one node at most one instance has each of them. */
  ports: FixedPort[];
  volumes: VolumeSpec[];
  addons: AddonSpec[];
}

export type SourceSpec =
  /** A directory on the machine of whoever applies; the command line uploads it, the agent never sees it. */
  | { kind: 'path'; path: string }
  | { kind: 'git'; url: string; ref: string }
  | { kind: 'archive'; url: string; sha256: string }
  /** A source tree already in the cluster's artifact store. */
  | { kind: 'uploaded'; digest: Digest };

export interface BuildSpec {
  /** `auto` detects; `none` runs the source tree as it is. `docker` and `nix` are read but refused at apply. */
  builder: 'auto' | 'local' | 'none' | 'docker' | 'nix';
  toolchain: 'auto' | 'node' | 'python' | 'go' | 'static' | 'generic' | (string & {});
  beforeBuild: string[];
  /** Replaces the detected builder's own commands when not empty. */
  build: string[];
  afterBuild: string[];
  /** gitignore syntax. */
  ignore: string[];
  pipInstall: string[];
}

export interface ProcessSpec {
  type: ProcessType;
  /** `static` has no process: the agent serves `directory`. `wsgi` needs gunicorn in the artifact. */
  kind: 'command' | 'wsgi' | 'static';
  /** Run by `/bin/sh -c`; empty for `static`. */
  command: string;
  /** Relative to the artifact; only for `static`. */
  directory: string;
  /** Wanted number of instances, 0–1000. */
  scale: number;
  exclusive: boolean;
  /** Whether instances get a PORT, are probed over HTTP and, with hostnames, are put behind the proxy. */
  routed: boolean;
  startTimeoutSeconds: number;
  stopTimeoutSeconds: number;
}

/** What a manifest says of a process besides its command. */
export type WebSettings = Pick<
  ProcessSpec,
  'scale' | 'exclusive' | 'startTimeoutSeconds' | 'stopTimeoutSeconds'
>;

/** A command that is run at set times, on one node, in the app's current release. */
export interface CronSpec {
  /** `cron`, `cron1` … of a Procfile, or the manifest's own name; those of one app differ. */
  name: string;
  /** Run by `/bin/sh -c`. */
  command: string;
  schedule: CronSchedule;
  /** For one attempt. */
  timeoutSeconds: number;
  /** How often it is tried, the first one included. */
  attempts: number;
}

export type EnvValue =
  | { kind: 'literal'; value: string }
  /** Made once per app and never rotated by a later apply. */
  | {
      kind: 'generated';
      format: 'hex' | 'base64' | 'urlsafe' | 'password' | 'uuid';
      length: number;
      prefix: string;
    }
  | { kind: 'from-addon'; addon: string; key: string }
  | { kind: 'from-app'; key: 'domain' | 'hostname' | 'name' }
  /** `${NAME}` is replaced by other variables after all of those are known. */
  | { kind: 'computed'; template: string };

export interface HealthcheckSpec {
  /** null = any answer to `/` makes a routed process ready. */
  path: string | null;
  contains: string | null;
  intervalSeconds: number;
  timeoutSeconds: number;
  failureThreshold: number;
}

export interface RestartPolicy {
  policy: 'always' | 'on-failure' | 'never';
  /** Failed starts in a row before the instance is given up as failed. */
  max: number;
}

export interface Limits {
  memoryBytes: number | null;
  /** Cores, as in 0.5. */
  cpu: number | null;
  processes: number | null;
}

export interface PlacementSpec {
  /** Every label must be on the node with exactly this value. */
  requires: Record<string, string>;
  /** A label name: instances are spread over its values before nodes. */
  spread: string | null;
}

export interface DeploySpec {
  strategy: 'rolling' | 'blue-green' | 'canary' | 'stop-deploy';
  maxSurge: number;
  maxUnavailable: number;
  /** Without progress for so long, a new release is given up. */
  healthyDeadlineSeconds: number;
  /** Of `canary`: the share of the instances of each process type that tries a release, over 0 to 1; default 0.2. */
  canaryShare?: number | undefined;
  /** Of `canary`: how long they have to be healthy before the others follow; default 60. */
  bakeSeconds?: number | undefined;
  /** Who lets a canary, or what stands ready beside, take over: `auto` (default), or an operator. */
  promote?: 'auto' | 'manual' | undefined;
}

export interface FixedPort {
  number: number;
  protocol: 'tcp' | 'udp';
  name: string | null;
  /** Whose instances have it; absent = those of `web`, or of the first process type where there is none. */
  process?: ProcessType | undefined;
  /** Whether it is the PORT of `web`: what is asked when it is to be ready, and where proxies send requests. */
  http?: boolean | undefined;
}

export interface VolumeSpec {
  name: string;
  /** Relative directory inside the app's tree. */
  target: string;
}

export interface AddonSpec {
  type: string;
  name: string;
}

export function processOf(spec: AppSpec, type: ProcessType): ProcessSpec | null {
  return spec.processes.find(process => process.type === type) ?? null;
}

/** Those that each instance of a process type has on its node. */
export function portsOf(
  spec: { ports: readonly FixedPort[]; processes: readonly { type: ProcessType }[] },
  type: ProcessType,
): FixedPort[] {
  const [first] = spec.processes;
  const usual = spec.processes.some(process => process.type === 'web') ? 'web' : first?.type;
  return spec.ports.filter(({ process = usual }) => process === type);
}

/** `8448/tcp`, as in the name of its key. */
export function portText({ number, protocol }: Pick<FixedPort, 'number' | 'protocol'>): PortText {
  return `${number}/${protocol}`;
}
