import type { AppSpec, EnvValue, FixedPort } from '../model/app-spec.ts';
import type { Endpoint } from '../model/node-promise.ts';
import type { DesiredInstance } from '../model/reconciliation.ts';
import type { Launch } from '../ports/driver.ts';

export interface LaunchPlace {
  unit: string;
  /** Absolute: the unpacked release. */
  directory: string;
  /** Absolute: kept from release to release. */
  dataDirectory: string;
  /** From the build: `VIRTUAL_ENV` and so on. */
  env: Record<string, string>;
  pathPrepend: string[];
  endpoint: Endpoint | null;
  /** Of the node. */
  bindAddress: string;
  /** The fixed ones that it has. */
  ports: readonly FixedPort[];
  node: string;
  user: string;
  secrets: Record<string, string>;
}

const SYSTEM_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** Everything the driver needs; the contract with the process is Hop3's (design 10). */
export function launchOf(desired: DesiredInstance, place: LaunchPlace): Launch {
  const { process, spec } = desired;
  const directory = process.kind === 'static' ? join(place.directory, process.directory) : place.directory;
  return {
    unit: place.unit,
    instance: desired.instance,
    release: desired.release,
    version: desired.version,
    process,
    directory,
    env: environmentOf(spec, desired, place),
    endpoint: place.endpoint,
    ports: place.ports,
    limits: spec.limits,
    token: desired.token,
    guarded: process.exclusive,
    own: [place.directory, place.dataDirectory],
  };
}

/** What a release's hooks run with: the app's environment without an instance's own part. */
export function hookEnvironment(spec: AppSpec, place: AppPlace): Record<string, string> {
  return { ...baseEnvironment(spec, place), ...resolveEnv(spec, place.secrets) };
}

function environmentOf(spec: AppSpec, desired: DesiredInstance, place: LaunchPlace): Record<string, string> {
  const env: Record<string, string> = {
    ...baseEnvironment(spec, place),
    HOP3_INSTANCE: desired.instance,
    HOP3_NODE: place.node,
    HOP3_RELEASE: String(desired.release),
    PROC_TYPE: desired.process.type,
    ...resolveEnv(spec, place.secrets),
  };
  // The agent gives the port and address: a PORT in the app's own settings would make two instances collide.
  if (place.endpoint) env['PORT'] = String(place.endpoint.port);
  if (place.endpoint || place.ports.length > 0) env['BIND_ADDRESS'] = place.bindAddress;
  for (const { name, number } of place.ports) if (name !== null) env[portVariable(name)] = String(number);
  // How the driver finds a process whose record was lost in a crash.
  env['HOP3_UNIT'] = place.unit;
  return env;
}

/** `PORT_FEDERATION` for the port that is named `federation`. */
function portVariable(name: string): string {
  return `PORT_${name.toUpperCase().replaceAll(/[^A-Z0-9]/g, '_')}`;
}

type AppPlace = Omit<LaunchPlace, 'unit' | 'endpoint' | 'bindAddress' | 'ports'>;

function baseEnvironment(spec: AppSpec, place: AppPlace): Record<string, string> {
  return {
    APP: spec.app,
    HOME: place.dataDirectory,
    USER: place.user,
    LANG: 'C.UTF-8',
    PWD: place.directory,
    DATA_DIR: place.dataDirectory,
    HOST_NAME: spec.hostnames[0] ?? '_',
    ...place.env,
    PATH: [...place.pathPrepend, SYSTEM_PATH].join(':'),
  };
}

/** Literal and generated values first, then references to the app, then templates over all of those (hop3.md 2.3). */
function resolveEnv(spec: AppSpec, secrets: Record<string, string>): Record<string, string> {
  const resolved: Record<string, string> = {};
  const computed: [string, string][] = [];
  for (const [name, value] of Object.entries(spec.env)) {
    if (value.kind === 'computed') computed.push([name, value.template]);
    else resolved[name] = plainValue(name, value, spec, secrets);
  }
  for (const [name, template] of computed) {
    resolved[name] = template.replace(
      /\$\{([A-Za-z_][A-Za-z0-9_]*)\}/g,
      (_, key: string) => resolved[key] ?? '',
    );
  }
  return resolved;
}

function plainValue(
  name: string,
  value: Exclude<EnvValue, { kind: 'computed' }>,
  spec: AppSpec,
  secrets: Record<string, string>,
): string {
  switch (value.kind) {
    case 'literal':
      return value.value;
    case 'generated':
      return secrets[name] ?? '';
    case 'from-app':
      return value.key === 'name' ? spec.app : (spec.hostnames[0] ?? '_');
    case 'from-addon':
      return '';
  }
}

function join(directory: string, relative: string): string {
  return relative === '' || relative === '.' ? directory : `${directory}/${relative}`;
}
