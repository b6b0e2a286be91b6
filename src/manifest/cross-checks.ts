import { suggestion } from './nearest.ts';
import { processNames, type Declared } from './processes.ts';
import { secretInAddress, secretReason } from './secrets.ts';
import { fieldOf, isTable, listAt, shown, tableAt, valueAt, type Finding, type Path } from './tree.ts';
import { badHostnamesIn, envNamePattern, envNameRule, hostnamesHint } from './words.ts';

/**
 * What no schema can say: rules between the parts of one document. They read the raw data, so that everything is
 * reported at once, whatever the schema refuses.
 */
export function commonFindings(data: unknown): Finding[] {
  return [
    ...hostnameFindings(data, []),
    ...envFindings(data, ['env']),
    ...hostNameFindings(data),
    ...portFindings(data),
    ...volumeFindings(data),
    ...addonFindings(data),
    ...contextFindings(data),
  ];
}

/** Rules of the keys that only our own manifest has. */
export function manifestFindings(data: unknown, declared: Declared): Finding[] {
  return [
    ...nameFindings(data, declared),
    ...cronFindings(data, declared),
    ...httpPortFindings(data),
    ...sourceFindings(data),
    ...dependsOnFindings(data),
    ...deployFindings(data),
    ...staticFindings(data),
  ];
}

function hostnameFindings(data: unknown, base: Path): Finding[] {
  const list = [...base, 'domains', 'list'];
  const names = listAt(data, ...list);
  const findings = duplicates(names, name => (typeof name === 'string' ? name.toLowerCase() : null)).map(
    index => finding([...list, index], `${shown(names[index])} is listed twice`, null),
  );
  if (names.length > 1 && names.includes('_')) {
    findings.push(
      finding([...list, names.indexOf('_')], '"_" stands for every name', 'list it alone or not at all'),
    );
  }
  const isTwice =
    valueAt(data, [...base, 'domains']) !== undefined &&
    Object.hasOwn(tableAt(data, ...base, 'env'), 'HOST_NAME');
  if (isTwice) {
    const path = [...base, 'env', 'HOST_NAME'];
    findings.push({
      path,
      part: 'key',
      message: 'is given beside domains',
      hint: 'keep the names in domains.list',
    });
  }
  return findings;
}

function hostNameFindings(data: unknown): Finding[] {
  const value = tableAt(data, 'env')['HOST_NAME'];
  const bad = typeof value === 'string' ? badHostnamesIn(value) : [];
  return bad.map(name => finding(['env', 'HOST_NAME'], `${shown(name)} is not a host name`, hostnamesHint));
}

function envFindings(data: unknown, base: Path): Finding[] {
  const names = [
    ...Object.keys(tableAt(data, ...base))
      .filter(name => name !== 'computed' && name !== '_policy')
      .map(name => ({ name, path: [...base, name] })),
    ...Object.keys(tableAt(data, ...base, 'computed')).map(name => ({
      name,
      path: [...base, 'computed', name],
    })),
  ];
  const bad = names
    .filter(({ name }) => !envNamePattern.test(name))
    .map(({ name, path }): Finding => {
      return { path, part: 'key', message: `${shown(name)} is not a variable name`, hint: envNameRule };
    });
  const values = Object.entries(tableAt(data, ...base)).filter(([name]) => name !== 'computed');
  return [...bad, ...values.flatMap(([name, value]) => valueFindings([...base, name], value))];
}

function valueFindings(path: Path, value: unknown): Finding[] {
  if (typeof value === 'string') {
    const reason = secretReason(value);
    const hint = 'a committed file must hold no secret: let it be generated, or set it on the cluster';
    return reason === null ? [] : [finding(path, `looks like a credential: ${reason}`, hint)];
  }
  const { from, key } = isTable(value) ? value : {};
  const facts = ['domain', 'hostname', 'name'];
  if (typeof key !== 'string' || from !== undefined || facts.includes(key)) return [];
  return [finding([...path, 'key'], `${shown(key)} is not a fact about the app`, suggestion(key, facts))];
}

function portFindings(data: unknown): Finding[] {
  const ports = listAt(data, 'ports');
  const key = (port: unknown) => {
    const { number, protocol = 'tcp' } = isTable(port) ? port : {};
    return typeof number === 'number' && typeof protocol === 'string' ? `${number}/${protocol}` : null;
  };
  return duplicates(ports, key).map(index =>
    finding(['ports', index, 'number'], `port ${key(ports[index]) ?? ''} is listed twice`, null),
  );
}

function volumeFindings(data: unknown): Finding[] {
  const volumes = listAt(data, 'volumes');
  const twice = (field: 'name' | 'target') =>
    duplicates(volumes, volume =>
      isTable(volume) && typeof volume[field] === 'string' ? volume[field] : null,
    ).map(index => finding(['volumes', index, field], `two volumes have this ${field}`, null));
  const sized = volumes.flatMap((volume, index) =>
    isTable(volume) && volume['size'] !== undefined && volume['type'] !== 'tmpfs'
      ? [finding(['volumes', index, 'size'], 'only a tmpfs volume has a size', null)]
      : [],
  );
  return [...twice('name'), ...twice('target'), ...sized];
}

function addonFindings(data: unknown): Finding[] {
  return ['addons', 'provider'].flatMap(section =>
    listAt(data, section).flatMap((addon, index) =>
      isTable(addon) && addon['type'] === undefined && addon['name'] === undefined
        ? [finding([section, index], 'has no type', 'as in type = "postgres"')]
        : [],
    ),
  );
}

function contextFindings(data: unknown): Finding[] {
  return Object.entries(tableAt(data, 'contexts')).flatMap(([name, context]) => {
    const server = valueAt(context, ['server']);
    const path = ['contexts', name];
    return [
      ...hostnameFindings(data, path),
      ...envFindings(data, [...path, 'env']),
      ...(typeof server === 'string' ? addressFindings([...path, 'server'], server) : []),
    ];
  });
}

function nameFindings(data: unknown, declared: Declared): Finding[] {
  const named = processNames(declared);
  // Without any process named, the source may yet show what answers web requests.
  const known = named.length === 0 ? ['web'] : named;
  const unknown = (path: Path, name: string, part: 'key' | 'value'): Finding[] => {
    if (known.includes(name)) return [];
    const none = 'run.start makes the process "web", run.workers the others';
    const hint = named.length === 0 ? none : suggestion(name, known);
    return [{ path, part, message: `there is no process ${shown(name)}`, hint }];
  };
  const exclusive = listAt(data, 'exclusive').filter(name => typeof name === 'string');
  return [
    ...Object.keys(tableAt(data, 'scale')).flatMap(name => unknown(['scale', name], name, 'key')),
    ...exclusive.flatMap((name, index) => unknown(['exclusive', index], name, 'value')),
    ...listAt(data, 'ports').flatMap((port, index) => {
      const name = valueAt(port, ['process']);
      return typeof name === 'string' ? unknown(['ports', index, 'process'], name, 'value') : [];
    }),
  ];
}

/** There is one PORT, of `web`, and HTTP is spoken over TCP. */
function httpPortFindings(data: unknown): Finding[] {
  const ports = listAt(data, 'ports');
  const isHttp = (port: unknown) => valueAt(port, ['http']) === true;
  const first = ports.findIndex(isHttp);
  return ports.flatMap((port, index) => {
    if (!isHttp(port)) return [];
    const path = ['ports', index, 'http'];
    if (index !== first)
      return [finding(path, `${fieldOf(['ports', first])} is the PORT of web`, 'keep one')];
    if (valueAt(port, ['protocol']) === 'udp') return [finding(path, 'is not for udp', 'protocol: tcp')];
    const process = valueAt(port, ['process']) ?? 'web';
    return process === 'web' ? [] : [finding(path, `means nothing for ${shown(process)}`, 'process: web')];
  });
}

function cronFindings(data: unknown, { crons }: Declared): Finding[] {
  return Object.keys(tableAt(data, 'crons'))
    .filter(name => crons.has(name))
    .map(name => ({
      path: ['crons', name],
      part: 'key',
      message: 'is given in run.workers, too',
      hint: 'keep one of the two',
    }));
}

function sourceFindings(data: unknown): Finding[] {
  const source = valueAt(data, ['source']);
  if (!isTable(source)) return [];
  const given = ['path', 'git', 'archive', 'uploaded'].filter(key => Object.hasOwn(source, key));
  const urls = ['git', 'archive'].flatMap(kind => {
    const url = valueAt(source, [kind, 'url']);
    return typeof url === 'string' ? addressFindings(['source', kind, 'url'], url) : [];
  });
  const count =
    given.length === 1 ? [] : [finding(['source'], 'needs exactly one of path, git, archive', null)];
  return [...count, ...urls];
}

function dependsOnFindings(data: unknown): Finding[] {
  const names = listAt(data, 'depends-on');
  const text = (name: unknown) => (typeof name === 'string' ? name : null);
  return duplicates(names, text).map(index =>
    finding(['depends-on', index], `${shown(names[index])} is listed twice`, null),
  );
}

function deployFindings(data: unknown): Finding[] {
  const deploy = tableAt(data, 'deploy');
  return [...replacingFindings(deploy), ...strategyFindings(deploy)];
}

/** What only another strategy heeds would be a wish that nobody fulfils. */
function strategyFindings(deploy: Record<string, unknown>): Finding[] {
  const strategy = deploy['strategy'] ?? 'rolling';
  const heededBy: [key: string, strategies: string[]][] = [
    ['canary-share', ['canary']],
    ['bake-time', ['canary']],
    ['promote', ['canary', 'blue-green']],
  ];
  return heededBy.flatMap(([key, strategies]) => {
    if (deploy[key] === undefined || strategies.some(each => each === strategy)) return [];
    const hint = `strategy: ${strategies.join(' or ')}`;
    return [finding(['deploy', key], `means nothing for the strategy ${shown(strategy)}`, hint)];
  });
}

function replacingFindings(deploy: Record<string, unknown>): Finding[] {
  if (deploy['max-surge'] !== 0 || (deploy['max-unavailable'] ?? 0) !== 0) return [];
  const hint = 'let one of them be at least 1';
  return [finding(['deploy', 'max-surge'], 'with max-unavailable 0, nothing could ever be replaced', hint)];
}

function staticFindings(data: unknown): Finding[] {
  const isBoth =
    valueAt(data, ['build', 'static-dir']) !== undefined && valueAt(data, ['run', 'start']) !== undefined;
  const hint = 'keep static-dir for a site without a process, or start for an app that serves its own files';
  return isBoth ? [finding(['build', 'static-dir'], 'is given beside run.start', hint)] : [];
}

function addressFindings(path: Path, address: string): Finding[] {
  return secretInAddress(address) ? [finding(path, 'has a credential in it', 'give the address alone')] : [];
}

/** The indexes of items whose key some earlier item has. */
function duplicates(items: readonly unknown[], keyOf: (item: unknown) => string | null): number[] {
  const seen = new Set<string>();
  return items.flatMap((item, index) => {
    const key = keyOf(item);
    if (key === null || !seen.has(key)) {
      if (key !== null) seen.add(key);
      return [];
    }
    return [index];
  });
}

function finding(path: Path, message: string, hint: string | null): Finding {
  return { path, part: 'value', message, hint };
}
