import { stringify } from 'yaml';
import type { AppSpec, EnvValue, ProcessSpec, SourceSpec } from '../model/app-spec.ts';
import { cronTable, timeZoneOf } from './cron.ts';
import { defaults } from './defaults.ts';
import { wsgiModule } from './processes.ts';
import { memoryText } from './words.ts';

/**
 * A manifest that says the same: `readManifest` of it gives back a spec that one of this room's readers made (start and
 * stop timeouts are one for the whole app, and an app with a volume is exclusive as a whole).
 */
export function manifestText(spec: AppSpec): string {
  const web = spec.processes.find(process => process.type === 'web');
  const tree = {
    metadata: { id: spec.app, title: spec.title, version: spec.version },
    source: spec.source === null ? undefined : sourceTree(spec.source),
    build: {
      builder: unless('auto', spec.build.builder),
      toolchain: unless('auto', spec.build.toolchain),
      'static-dir': web?.kind === 'static' ? web.directory : undefined,
      'before-build': spec.build.beforeBuild,
      build: spec.build.build,
      'after-build': spec.build.afterBuild,
      ignore: spec.build.ignore,
      'pip-install': spec.build.pipInstall,
    },
    run: {
      'before-run': spec.beforeRun,
      start: web?.kind === 'command' ? web.command : undefined,
      workers: workersTree(spec, web),
      'start-timeout': unless(defaults.startTimeoutSeconds, spec.processes[0]?.startTimeoutSeconds),
      'stop-timeout': stopTimeout(spec.processes),
    },
    scale: Object.fromEntries(
      spec.processes.filter(({ scale }) => scale !== 1).map(({ type, scale }) => [type, scale]),
    ),
    exclusive: exclusiveTypes(spec),
    crons: Object.fromEntries(
      spec.crons.map(cron => [cron.name, withoutEmpty(cronTable(cron, timeZoneOf(spec.env)))]),
    ),
    env: envTree(spec.env),
    domains: { list: spec.hostnames },
    ports: spec.ports.map(port => withoutEmpty({ ...port, protocol: unless('tcp', port.protocol) })),
    volumes: spec.volumes,
    limits: {
      memory: spec.limits.memoryBytes === null ? null : memoryText(spec.limits.memoryBytes),
      cpu: spec.limits.cpu,
      processes: spec.limits.processes,
    },
    healthcheck: {
      path: spec.healthcheck.path,
      contains: spec.healthcheck.contains,
      interval: unless(defaults.healthcheck.intervalSeconds, spec.healthcheck.intervalSeconds),
      timeout: unless(defaults.healthcheck.timeoutSeconds, spec.healthcheck.timeoutSeconds),
      'failure-threshold': unless(defaults.healthcheck.failureThreshold, spec.healthcheck.failureThreshold),
    },
    restart: {
      policy: unless(defaults.restart.policy, spec.restart.policy),
      max: unless(defaults.restart.max, spec.restart.max),
    },
    placement: { requires: withoutEmpty(spec.placement.requires), spread: spec.placement.spread },
    'depends-on': spec.dependsOn,
    deploy: {
      strategy: unless(defaults.deploy.strategy, spec.deploy.strategy),
      'max-surge': unless(defaults.deploy.maxSurge, spec.deploy.maxSurge),
      'max-unavailable': unless(defaults.deploy.maxUnavailable, spec.deploy.maxUnavailable),
      'healthy-deadline': unless(defaults.deploy.healthyDeadlineSeconds, spec.deploy.healthyDeadlineSeconds),
      'canary-share': spec.deploy.canaryShare,
      'bake-time': spec.deploy.bakeSeconds,
      promote: spec.deploy.promote,
    },
    addons: spec.addons.map(addon => ({ type: addon.type, name: unless(spec.app, addon.name) })),
  };
  const sections = Object.entries(tree).map(([name, section]) => [name, tidy(section)] as const);
  const { exclusive } = tree;
  const told = { ...withoutEmpty(Object.fromEntries(sections)), ...(exclusive ? { exclusive } : {}) };
  return stringify(told, {
    lineWidth: 0,
    aliasDuplicateObjects: false,
  });
}

function sourceTree(source: SourceSpec): object {
  switch (source.kind) {
    case 'path':
      return { path: source.path };
    case 'git':
      return { git: withoutEmpty({ url: source.url, ref: unless(defaults.gitRef, source.ref) }) };
    case 'archive':
      return { archive: { url: source.url, sha256: source.sha256 } };
    case 'uploaded':
      return { uploaded: source.digest };
  }
}

function workersTree(spec: AppSpec, web: ProcessSpec | undefined): Record<string, string> {
  return Object.fromEntries([
    ...(web?.kind === 'wsgi' ? [['wsgi', wsgiModule(web)] as const] : []),
    ...spec.processes.filter(process => process !== web).map(({ type, command }) => [type, command] as const),
  ]);
}

/** Nothing when every process has the default of its own kind. */
function stopTimeout(processes: readonly ProcessSpec[]): number | undefined {
  const isDefault = processes.every(
    ({ exclusive, stopTimeoutSeconds }) =>
      stopTimeoutSeconds === (exclusive ? defaults.exclusiveStopTimeoutSeconds : defaults.stopTimeoutSeconds),
  );
  return isDefault ? undefined : processes[0]?.stopTimeoutSeconds;
}

function envTree(env: AppSpec['env']): object {
  const values = Object.entries(env);
  const computed = values.flatMap(([name, value]) =>
    value.kind === 'computed' ? [[name, value.template]] : [],
  );
  const others = values.filter(([, value]) => value.kind !== 'computed');
  return Object.fromEntries<unknown>([
    ...others.map(([name, value]) => [name, envText(value)] as const),
    ...(computed.length === 0 ? [] : [['computed', Object.fromEntries(computed)] as const]),
  ]);
}

function envText(value: EnvValue): string | object {
  switch (value.kind) {
    case 'literal':
      return value.value;
    case 'computed':
      return value.template;
    case 'generated':
      return withoutEmpty({
        generate: value.format,
        length: unless(defaults.secretLength(value.format), value.length),
        prefix: unless('', value.prefix),
      });
    case 'from-addon':
      return { from: value.addon, key: value.key };
    case 'from-app':
      return { key: value.key };
  }
}

/** Nothing, where it is as it would be without a word; an empty list where fixed ports would make all of them exclusive. */
function exclusiveTypes({ volumes, ports, processes }: AppSpec): string[] | undefined {
  const usual = volumes.length > 0 || ports.length > 0;
  if (processes.every(({ exclusive }) => exclusive === usual)) return undefined;
  return processes.filter(({ exclusive }) => exclusive).map(({ type }) => type);
}

function unless<T>(usual: T, value: T | undefined): T | undefined {
  return value === usual ? undefined : value;
}

/** A section without the keys that say nothing. Commands of one line need no list. */
function tidy(section: object | undefined): unknown {
  if (section === undefined || Array.isArray(section)) return section;
  return withoutEmpty(section);
}

/** Drops what is undefined, null, an empty list or an empty table; an empty text says something. */
function withoutEmpty(table: object): Record<string, unknown> {
  return Object.fromEntries(Object.entries(table).filter(([, value]) => !isEmpty(value)));
}

function isEmpty(value: unknown): boolean {
  if (value === undefined || value === null) return true;
  return typeof value === 'object' && Object.keys(value).length === 0;
}
