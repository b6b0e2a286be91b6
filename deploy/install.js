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
import { get } from 'node:http';
import { basename, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';

const USAGE = `usage: node install.js [install] [--name NAME] [--cluster NAME] [--etcd URL,...] [--no-start]
       node install.js upgrade
       node install.js remove [--purge]

install   copies this release, writes /etc/hop3/agent.yaml unless there is one, starts the services
          --etcd      an etcd that is there already; without it, this machine gets one of its own (hop3-etcd.service)
          --no-start  leaves starting to you
upgrade   changes the release; apps run on with the same processes. One that is worse than what was there before, because
          it does not come up, ends again or does not become ready, is taken back
remove    stops the apps and leaves the cluster; --purge takes configuration, data and the apps' users as well
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
/** The agent's unit leaves it no other. */
const stateDir = '/var/lib/hop3-agent';
/** How its driver of systemd begins the names of all that it makes on this machine. */
const ownPrefix = `hop3-${createHash('sha256').update(stateDir).digest('hex').slice(0, 8)}`;
/** How an agent ends that left the cluster for good; its unit says so, too. */
const LEFT = '130';
/** As long as apps may take to stop, and some more. */
const LEAVE_WITHIN_S = 120;
/** An agent that was told to leave and ends otherwise is started again by systemd, and told again. */
const TOLD_AT_MOST = 3;
/** How long one that was ready before an upgrade may take to be ready after it, and how long any must have lived. */
const READY_WITHIN_S = 60;
const LIVES_FOR_S = 5;
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
  const changed = writeUnits(release, ownEtcd);
  const services = [...(ownEtcd ? [etcdUnit] : []), agentUnit];
  systemctl('enable', '--quiet', ...services);
  if (options['no-start']) {
    say(`not started: systemctl start ${services.join(' ')}`);
    return;
  }
  // It waits for the other members, and need not be waited for.
  if (ownEtcd && !isActive(etcdUnit)) systemctl('start', '--no-block', etcdUnit);
  if (!isActive(agentUnit)) startOrExplain('start');
  else if (former !== null) await handOver(former, ownEtcd);
  else if (changed) startOrExplain('restart');
  say(`${agentUnit}: ${isActive(agentUnit) ? 'running' : 'not running'}; see hop3-agent doctor`);
}

async function upgrade() {
  if (!existsSync(join(units, agentUnit))) fail('hop3-agent is not installed here: node install.js install');
  await install();
}

async function remove() {
  checkMachine();
  if (existsSync(join(units, agentUnit))) await leave();
  endWhatIsLeft();
  for (const unit of [agentUnit, etcdUnit]) {
    if (!existsSync(join(units, unit))) continue;
    systemctl('disable', '--quiet', '--now', unit);
    rmSync(join(units, unit));
    say(`${unit}: removed`);
  }
  systemctl('daemon-reload');
  for (const path of [library, command]) rmSync(path, { recursive: true, force: true });
  const kept = ['/etc/hop3', stateDir, '/var/lib/hop3-etcd'].filter(path => existsSync(path));
  if (options.purge) {
    for (const path of kept) rmSync(path, { recursive: true, force: true });
    for (const user of ownUsers()) execFileSync('userdel', [user], { stdio: ['ignore', 2, 2] });
  }
  for (const path of kept) say(`${path}: ${options.purge ? 'removed' : 'kept'}`);
}

/**
 * Ends the agent as one that leaves for good: its apps stop here, and other nodes take them. Whatever it is at: one that is only just
 * being started runs what the one before it ran, and one that could not leave is started again by systemd, with all its apps.
 */
async function leave() {
  const told = new Set();
  let agent = agentNow();
  for (let tick = 0; !agent.isOver; tick++) {
    if (agent.pid !== 0 && !told.has(agent.pid)) {
      if (told.size === TOLD_AT_MOST) break;
      // It may end in this very moment.
      spawnSync('systemctl', ['kill', '--kill-whom=main', '--signal=SIGINT', agentUnit], { stdio: 'ignore' });
      told.add(agent.pid);
    }
    if (tick >= LEAVE_WITHIN_S * 5) {
      fail(
        `the agent has not left within ${LEAVE_WITHIN_S} s: journalctl -u hop3-agent says why; nothing was removed`,
      );
    }
    await sleep(200);
    agent = agentNow();
  }
  if (told.size > 0 && agent.endedWith === LEFT) {
    say('the apps of this node are stopped, and it has left the cluster');
    return;
  }
  const why = told.size === 0 ? 'does not run' : 'could not leave (journalctl -u hop3-agent says why)';
  say(`the agent ${why}: the other nodes learn that it is gone when its lease ends`);
}

/** Of what an agent left behind that was not there to leave: its apps, its proxy, an etcd of its own. */
function endWhatIsLeft() {
  // First who could start them again.
  if (existsSync(join(units, agentUnit))) systemctl('stop', agentUnit);
  spawnSync('systemctl', ['kill', '--kill-whom=all', '--signal=SIGKILL', agentUnit], { stdio: 'ignore' });
  const asked = ['list-units', '--all', '--plain', '--no-legend', '--full', `${ownPrefix}*`];
  const listed = spawnSync('systemctl', asked, { encoding: 'utf8' }).stdout.split('\n');
  const left = listed.flatMap(line => line.trim().split(/\s+/)[0] || []);
  // Whatever is in a slice is stopped with it.
  if (left.includes(`${ownPrefix}.slice`)) systemctl('stop', `${ownPrefix}.slice`);
  // Timers are in none, and one of them may end by itself meanwhile.
  for (const verb of ['stop', 'reset-failed'])
    if (left.length > 0) spawnSync('systemctl', [verb, ...left], { stdio: 'ignore' });
  const apps = left.filter(unit => unit.startsWith(`${ownPrefix}-run-`));
  if (apps.length > 0) say(`${apps.length} instances of apps were left: stopped`);
}

/** Those of apps, made at the first start of each, and etcd's. */
function ownUsers() {
  const names = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .map(line => line.split(':')[0]);
  return names.filter(name => name === etcdUser || name.startsWith(`${ownPrefix}-`));
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

/** As a release has them. Gives whether the agent's own changed. */
function writeUnits(from, ownEtcd) {
  const words = { node: process.execPath, library, etcd: programAt('etcd') ?? '' };
  const write = name => {
    const template = readFileSync(join(from, name), 'utf8');
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

/** Hands over to the new release, or goes back to the former, units and all, when it is worse than that was. */
async function handOver(former, ownEtcd) {
  const wasReady = (await isReady()) === true;
  try {
    startOrExplain('restart');
    await hold(wasReady);
  } catch (error) {
    pointTo(former);
    writeUnits(current, ownEtcd);
    startOrExplain('restart');
    fail(`${error.message}\nwent back to ${basename(former)}, which runs; no app was stopped`);
  }
}

/** Resolves once the agent has lived for a while, and is ready if it was. @throws Error when it ends, or takes too long */
async function hold(wasReady) {
  const { pid } = agentNow();
  for (let second = 0; ; second++) {
    if (agentNow().pid !== pid) fail(`the agent ended again; its last words:\n${lastWords()}`);
    if (second >= LIVES_FOR_S && (!wasReady || (await isReady()) !== false)) return;
    if (second >= READY_WITHIN_S) {
      fail(
        `the agent was ready before, and is not after ${READY_WITHIN_S} s; its last words:\n${lastWords()}`,
      );
    }
    await sleep(1000);
  }
}

/** By its own words on its socket; null = it has none that can be asked. */
function isReady() {
  return new Promise(resolve => {
    const socketPath = join(stateDir, 'admin.sock');
    if (!existsSync(socketPath)) return resolve(null);
    const asking = get({ socketPath, path: '/readyz', timeout: 5000, agent: false }, response => {
      response.resume();
      resolve(response.statusCode === 200);
    });
    asking.on('timeout', () => asking.destroy());
    asking.on('error', () => resolve(false));
  });
}

function startOrExplain(verb) {
  const { status } = spawnSync('systemctl', [verb, agentUnit], { stdio: ['ignore', 2, 2] });
  if (status === 0) return;
  const words = lastWords();
  systemctl('stop', agentUnit);
  fail(`the agent does not come up; its last words:\n${words}`);
}

function lastWords() {
  const log = ['-u', agentUnit, '-n', '15', '--no-pager', '-o', 'cat'];
  return spawnSync('journalctl', log, { encoding: 'utf8' }).stdout;
}

/** As systemd knows it. Over = nothing runs, and systemd will not start it again by itself. */
function agentNow() {
  const asked = ['show', '-p', 'ActiveState,MainPID,ExecMainStatus', agentUnit];
  const lines = spawnSync('systemctl', asked, { encoding: 'utf8' }).stdout.split('\n');
  const said = Object.fromEntries(lines.map(line => line.split('=')));
  return {
    isOver: ['inactive', 'failed'].includes(said.ActiveState),
    pid: Number(said.MainPID),
    endedWith: said.ExecMainStatus,
  };
}

function defaultConfiguration(ownEtcd) {
  const endpoints = ownEtcd ? ['http://127.0.0.1:7379'] : options.etcd.split(',');
  // Where cluster init and cluster join put them.
  const tls = '{ca: /etc/hop3/tls/ca.pem, cert: /etc/hop3/tls/node.pem, key: /etc/hop3/tls/node.key}';
  const withTls = endpoints.some(url => url.startsWith('https:'));
  return `# What may stand here: ${current}/README.md, "Configuration"
${options.name === undefined ? '# name: this host' : `name: ${options.name}`}
cluster: ${options.cluster ?? 'default'}
etcd: {endpoints: [${endpoints.map(url => `"${url}"`).join(', ')}]${withTls ? `, tls: ${tls}` : ''}}
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
