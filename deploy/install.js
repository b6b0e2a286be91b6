/**
 * Installs hop3-agent on this machine as services of systemd, upgrades it, and takes it away again. It is part of a
 * release (`npm run release` makes one) and needs only Node, root and systemd. Run twice, it changes nothing.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  accessSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';

const USAGE = `usage: node install.js [install] [--name NAME] [--cluster NAME] [--etcd URL,...] [--no-start]
       node install.js upgrade
       node install.js remove [--purge]

install   copies this release, writes /etc/hop3/agent.yaml unless there is one, starts the services
          --etcd      an etcd that is there already; without it, this machine gets one of its own (hop3-etcd.service)
          --no-start  leaves starting to you
upgrade   changes the release; apps run on with the same processes
remove    stops the apps and leaves the cluster; --purge takes configuration and data as well
`;

const release = import.meta.dirname;
const library = '/usr/local/lib/hop3-agent';
const command = '/usr/local/bin/hop3-agent';
const configuration = '/etc/hop3/agent.yaml';
const etcdSettings = '/etc/hop3/etcd.env';
const units = '/etc/systemd/system';
const current = join(library, 'current');
const agentUnit = 'hop3-agent.service';
const etcdUnit = 'hop3-etcd.service';
const etcdUser = 'hop3-etcd';
/** As long as apps may take to stop, and some more. */
const LEAVE_WITHIN_S = 120;
/** The release before is where an upgrade that fails goes back to. */
const RELEASES_KEPT = 2;

const { values: options, positionals } = argumentsOrUsage();
const [what = 'install'] = positionals;

try {
  if (what === 'install') await install();
  else if (what === 'upgrade') await upgrade();
  else if (what === 'remove') await remove();
  else fail(`there is no command "${what}"`);
} catch (error) {
  process.stderr.write(`error: ${error.message}\n`);
  process.exitCode = 1;
}

async function install() {
  checkMachine();
  const isNew = !existsSync(configuration);
  const ownEtcd = existsSync(etcdSettings) || (isNew && options.etcd === undefined);
  providePackages(['haproxy', ...(ownEtcd ? ['etcd'] : [])]);
  const former = await place();
  mkdirSync('/etc/hop3', { recursive: true });
  if (ownEtcd) writeNew(etcdSettings, defaultEtcd());
  if (isNew) writeNew(configuration, defaultConfiguration(ownEtcd));
  else say(`${configuration}: kept`);
  const changed = writeUnits(ownEtcd);
  const services = [...(ownEtcd ? [etcdUnit] : []), agentUnit];
  systemctl('enable', '--quiet', ...services);
  if (options['no-start']) {
    say(`not started: systemctl start ${services.join(' ')}`);
    return;
  }
  // It waits for the other members, and need not be waited for.
  if (ownEtcd && !isActive(etcdUnit)) systemctl('start', '--no-block', etcdUnit);
  if (!isActive(agentUnit)) startOrExplain('start');
  else if (former !== null || changed) restart(former);
  say(`${agentUnit}: ${isActive(agentUnit) ? 'running' : 'not running'}; see hop3-agent doctor`);
}

async function upgrade() {
  if (!existsSync(join(units, agentUnit))) fail('hop3-agent is not installed here: node install.js install');
  await install();
}

async function remove() {
  checkMachine();
  if (existsSync(join(units, agentUnit))) await leave();
  for (const unit of [agentUnit, etcdUnit]) {
    if (!existsSync(join(units, unit))) continue;
    systemctl('disable', '--quiet', '--now', unit);
    rmSync(join(units, unit));
    say(`${unit}: removed`);
  }
  systemctl('daemon-reload');
  for (const path of [library, command]) rmSync(path, { recursive: true, force: true });
  const kept = ['/etc/hop3', '/var/lib/hop3-agent', '/var/lib/hop3-etcd'].filter(path => existsSync(path));
  if (options.purge) {
    for (const path of kept) rmSync(path, { recursive: true, force: true });
    if (spawnSync('id', [etcdUser]).status === 0) execFileSync('userdel', [etcdUser]);
  }
  for (const path of kept) say(`${path}: ${options.purge ? 'removed' : 'kept'}`);
}

/** Ends the agent as one that leaves for good: its apps stop here, and other nodes take them. */
async function leave() {
  if (isActive(agentUnit)) {
    systemctl('kill', '--kill-whom=main', '--signal=SIGINT', agentUnit);
    for (let second = 0; isActive(agentUnit); second++) {
      if (second === LEAVE_WITHIN_S) {
        fail(
          `the agent has not left within ${LEAVE_WITHIN_S} s: journalctl -u hop3-agent says why; nothing was removed`,
        );
      }
      await sleep(1000);
    }
    say('the apps of this node are stopped, and it has left the cluster');
  }
  // What an agent left behind that was not there to leave.
  spawnSync('systemctl', ['kill', '--kill-whom=all', '--signal=SIGKILL', agentUnit], { stdio: 'ignore' });
}

function checkMachine() {
  if (process.getuid?.() !== 0) fail('this needs root: sudo node install.js');
  if (!existsSync('/run/systemd/system')) fail('this machine was not booted with systemd');
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major < 20 || (major === 20 && minor < 19)) {
    fail(`Node.js 20.19 or newer is needed; this is ${process.versions.node} (${process.execPath})`);
  }
  if (what !== 'remove' && !existsSync(join(release, 'dist/main.js'))) {
    fail(`${release} is no release: make one with npm run release, and run the install.js in it`);
  }
}

/** From Debian's packages, without leaving their stock services running. */
function providePackages(programs) {
  const packages = { haproxy: 'haproxy', etcd: 'etcd-server' };
  const missing = programs.filter(program => programAt(program) === null);
  if (missing.length === 0) return;
  const names = missing.map(program => packages[program]);
  if (programAt('apt-get') === null) fail(`${missing.join(' and ')} must be installed first`);
  const services = missing.map(program => `${program}.service`);
  systemctl('mask', '--runtime', '--quiet', ...services);
  try {
    const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
    const settings = { env, stdio: ['ignore', 2, 2] };
    const arguments_ = ['install', '-q', '-y', '--no-install-recommends', ...names];
    if (spawnSync('apt-get', arguments_, settings).status !== 0) {
      spawnSync('apt-get', ['update', '-q'], settings);
      execFileSync('apt-get', arguments_, settings);
    }
  } finally {
    systemctl('unmask', '--runtime', '--quiet', ...services);
  }
  systemctl('disable', '--quiet', ...services);
  say(`${names.join(', ')}: installed`);
}

/** Copies this release and makes it the current one. Gives the one before, null when that was the same. */
async function place() {
  const { version } = JSON.parse(readFileSync(join(release, 'package.json'), 'utf8'));
  const name = `${version}-${digestOf(release)}`;
  const releases = join(library, 'releases');
  const target = join(releases, name);
  if (!existsSync(target)) {
    const copying = join(releases, `.${name}`);
    rmSync(copying, { recursive: true, force: true });
    cpSync(release, copying, { recursive: true });
    renameSync(copying, target);
  }
  writeFileSync(`${command}.new`, `#!/bin/sh\nexec ${process.execPath} ${current}/dist/main.js "$@"\n`, {
    mode: 0o755,
  });
  renameSync(`${command}.new`, command);
  const former = existsSync(current) ? readlinkSync(current) : null;
  if (former === join('releases', name)) {
    say(`release ${name}: is installed already`);
    return null;
  }
  pointTo(join('releases', name));
  // Whichever is neither the one in use nor the one before it.
  const spare = readdirSync(releases).filter(each => each !== name && each !== basename(former ?? ''));
  for (const each of spare.slice(0, Math.max(0, spare.length + 2 - RELEASES_KEPT))) {
    rmSync(join(releases, each), { recursive: true });
  }
  say(`release ${name}: installed${former === null ? '' : `, before it was ${basename(former)}`}`);
  return former;
}

function pointTo(path) {
  rmSync(`${current}.new`, { force: true });
  symlinkSync(path, `${current}.new`);
  renameSync(`${current}.new`, current);
}

function digestOf(directory) {
  const hash = createHash('sha256');
  const names = readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter(entry => entry.isFile())
    .map(entry => join(entry.parentPath, entry.name));
  for (const name of names.sort())
    hash.update(`${name.slice(directory.length)}\0`).update(readFileSync(name));
  return hash.digest('hex').slice(0, 12);
}

/** Gives whether the agent's own changed. */
function writeUnits(ownEtcd) {
  const words = { node: process.execPath, library, etcd: programAt('etcd') ?? '' };
  const write = name => {
    const template = readFileSync(join(release, name), 'utf8');
    const text = template.replaceAll(/@(\w+)@/g, (whole, word) => words[word] ?? whole);
    const file = join(units, name);
    if (existsSync(file) && readFileSync(file, 'utf8') === text) return false;
    writeFileSync(file, text);
    say(`${file}: written`);
    return true;
  };
  if (ownEtcd && spawnSync('id', [etcdUser]).status !== 0) {
    const settings = [
      '--system',
      '--no-create-home',
      '--home-dir',
      '/var/lib/hop3-etcd',
      '--shell',
      '/usr/sbin/nologin',
    ];
    execFileSync('useradd', [...settings, '--user-group', etcdUser]);
  }
  const etcdChanged = ownEtcd && write(etcdUnit);
  const changed = write(agentUnit);
  if (etcdChanged || changed) systemctl('daemon-reload');
  if (etcdChanged && isActive(etcdUnit)) say(`${etcdUnit}: takes that up when you restart it`);
  return changed;
}

/** Hands over to the new release, or goes back to the former when it does not come up. */
function restart(former) {
  if (former === null) {
    startOrExplain('restart');
    return;
  }
  try {
    startOrExplain('restart');
  } catch (error) {
    pointTo(former);
    startOrExplain('restart');
    fail(`${error.message}\nwent back to ${basename(former)}, which runs; no app was stopped`);
  }
}

function startOrExplain(verb) {
  const { status } = spawnSync('systemctl', [verb, agentUnit], { stdio: ['ignore', 2, 2] });
  if (status === 0) return;
  const log = spawnSync('journalctl', ['-u', agentUnit, '-n', '15', '--no-pager', '-o', 'cat'], {
    encoding: 'utf8',
  });
  systemctl('stop', agentUnit);
  fail(`the agent does not come up; its last words:\n${log.stdout}`);
}

function defaultConfiguration(ownEtcd) {
  const endpoints = ownEtcd ? ['http://127.0.0.1:7379'] : options.etcd.split(',');
  return `# What may stand here: ${current}/README.md, "Configuration"
${options.name === undefined ? '# name: this host' : `name: ${options.name}`}
cluster: ${options.cluster ?? 'default'}
etcd: {endpoints: [${endpoints.map(url => `"${url}"`).join(', ')}]}
driver: systemd
`;
}

function defaultEtcd() {
  return `# One member, on loopback. For one of several see etcd's own documentation of these variables.
ETCD_NAME=hop3
ETCD_LISTEN_CLIENT_URLS=http://127.0.0.1:7379
ETCD_ADVERTISE_CLIENT_URLS=http://127.0.0.1:7379
ETCD_LISTEN_PEER_URLS=http://127.0.0.1:7380
ETCD_INITIAL_ADVERTISE_PEER_URLS=http://127.0.0.1:7380
ETCD_INITIAL_CLUSTER=hop3=http://127.0.0.1:7380
`;
}

function writeNew(file, text) {
  if (existsSync(file)) return;
  writeFileSync(file, text, { mode: 0o600 });
  say(`${file}: written`);
}

function programAt(name) {
  const directories = [...(process.env.PATH ?? '').split(':'), '/usr/local/bin', '/usr/bin', '/usr/sbin'];
  return directories.map(directory => join(directory, name)).find(isThere) ?? null;
}

function isThere(path) {
  try {
    accessSync(path);
    return path.startsWith('/');
  } catch {
    return false;
  }
}

function isActive(unit) {
  return spawnSync('systemctl', ['is-active', '--quiet', unit]).status === 0;
}

/** @throws Error when it fails; what it says goes to standard error */
function systemctl(...args) {
  const { status } = spawnSync('systemctl', args, { stdio: ['ignore', 2, 2] });
  if (status !== 0) fail(`systemctl ${args.join(' ')} failed`);
}

function argumentsOrUsage() {
  const text = { type: 'string' };
  const flag = { type: 'boolean', default: false };
  const known = { name: text, cluster: text, etcd: text, 'no-start': flag, purge: flag, help: flag };
  let parsed;
  try {
    parsed = parseArgs({ options: known, allowPositionals: true });
  } catch (error) {
    process.stderr.write(`error: ${error.message}\n${USAGE}`);
    process.exit(2);
  }
  if (!parsed.values.help) return parsed;
  process.stdout.write(USAGE);
  process.exit(0);
}

function say(line) {
  process.stdout.write(`${line}\n`);
}

function fail(message) {
  throw new Error(message);
}
