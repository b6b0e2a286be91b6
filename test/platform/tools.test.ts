import test, { type ExecutionContext } from 'ava';
import { execFile } from 'node:child_process';
import { chmod, mkdir, mkdtemp, readFile, readdir, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { installAsRoot } from '../../src/platform/apt-install.ts';
import { toolFromDebian } from '../../src/platform/debian-packages.ts';
import { tools, type Tool } from '../../src/platform/tool.ts';
import { findTool, provideTool, ToolError, type FindToolOptions } from '../../src/platform/tools.ts';
import { FakeLog } from '../support/fake-log.ts';

interface Machine {
  bin: string;
  log: FakeLog;
  options: FindToolOptions;
  toolsDir: string;
  /** What the machine's apt-get was asked to do, one line a call. */
  calls: () => Promise<string[]>;
}

/** A directory of commands that stands for a machine's PATH, and a state directory. */
async function machine(t: ExecutionContext): Promise<Machine> {
  const root = await mkdtemp(join(tmpdir(), 'hop3-tools-'));
  t.teardown(() => rm(root, { recursive: true, force: true }));
  const bin = join(root, 'bin');
  const stateDir = join(root, "state's dir");
  await mkdir(bin);
  const log = new FakeLog();
  const options: FindToolOptions = {
    name: 'etcd',
    stateDir,
    log,
    env: { PATH: bin },
    systemDirectories: [],
  };
  const calls = async () =>
    (await readFile(join(bin, 'calls'), 'utf8').catch(() => '')).split('\n').filter(Boolean);
  return { bin, log, options, toolsDir: join(stateDir, 'tools'), calls };
}

async function command(path: string, script: string): Promise<void> {
  await writeFile(path, `#!/bin/sh\nPATH=/usr/bin:/bin\nhere=$(dirname "$0")\n${script}\n`);
  await chmod(path, 0o755);
}

function etcdScript(version: string): string {
  return `echo asked >> "$here/asked"; echo "etcd Version: ${version}"`;
}

/** `suites`: the etcd version each one offers; `own` is the machine's own release. Others can't be reached. */
async function debian(host: Machine, suites: Record<string, string>): Promise<void> {
  for (const [suite, version] of Object.entries(suites))
    await writeFile(join(host.bin, `offers-${suite}`), version);
  const codename = /^VERSION_CODENAME=(.*)$/m.exec(await readFile('/etc/os-release', 'utf8'))?.[1] ?? '';
  await command(
    join(host.bin, 'apt-get'),
    `suite=own
for argument; do case $argument in
  Dir::Etc::sourcelist=*) suite=$(sed -n 's/^Suites: //p' "\${argument#*=}");;
esac; done
case "$*" in
*indextargets*) echo '${codename}|main|Debian|http://mirror.invalid/debian/';;
*update) echo "update $suite" >> "$here/calls"; test -e "$here/offers-$suite" || { echo "E: no $suite" >&2; exit 100; };;
*--simulate*haproxy) printf 'Inst haproxy (2.6.12)\\nInst liblua5.3-0 (5.3)\\nConf haproxy\\n';;
*--simulate*openssl) ;;
*--simulate*) echo 'Inst etcd-server (3.4.23)';;
*download*) for name in \${*##*download}; do cat "$here/offers-$suite" > $name.deb; done
  echo "download$(echo "$*" | sed 's/.*download//') $suite" >> "$here/calls";;
*) exit 1;;
esac`,
  );
  await command(
    join(host.bin, 'dpkg-deb'),
    `version=$(cat "$2")
mkdir -p "$3/usr/bin" "$3/usr/sbin"
case $2 in
*etcd-server*) printf '#!/bin/sh\\necho "etcd Version: %s"\\n' "$version" > "$3/usr/bin/etcd";;
*haproxy*) printf '#!/bin/sh\\necho "HAProxy version %s on $LD_LIBRARY_PATH"\\n' "$version" > "$3/usr/sbin/haproxy";;
*openssl*) printf '#!/bin/sh\\necho "OpenSSL %s with $OPENSSL_CONF"; exit 1\\n' "$version" > "$3/usr/bin/openssl";;
*liblua*) mkdir -p "$3/usr/lib/arch"; : > "$3/usr/lib/arch/liblua.so.0";;
esac
chmod -R 755 "$3"`,
  );
}

test('what is on PATH is taken, and asked for its version only when the file changed', async t => {
  const host = await machine(t);
  await command(join(host.bin, 'etcd'), etcdScript('3.4.23'));
  const asked = async () => (await readFile(join(host.bin, 'asked'), 'utf8')).split('\n').length - 1;
  t.deepEqual(await findTool(host.options), { path: join(host.bin, 'etcd'), version: '3.4.23' });
  t.deepEqual(await findTool(host.options), { path: join(host.bin, 'etcd'), version: '3.4.23' });
  t.is(await asked(), 1);
  await command(join(host.bin, 'etcd'), etcdScript('3.5.0'));
  await utimes(join(host.bin, 'etcd'), 1, 1);
  t.is((await findTool(host.options)).version, '3.5.0');
  t.is(await asked(), 2);
});

test('directories for the administrator are searched although PATH lacks them', async t => {
  const host = await machine(t);
  await command(join(host.bin, 'etcd'), etcdScript('3.4.23'));
  const found = await findTool({ ...host.options, env: {}, systemDirectories: [host.bin] });
  t.is(found.path, join(host.bin, 'etcd'));
});

test('a program of that name that is something else is refused by its path', async t => {
  const host = await machine(t);
  await command(join(host.bin, 'etcd'), 'echo hello');
  const error = await t.throwsAsync(findTool(host.options), { instanceOf: ToolError });
  t.true(error.message.startsWith(`${join(host.bin, 'etcd')} does not run: `), error.message);
});

for (const name of ['etcd', 'haproxy'] as const) {
  test(`a system without apt-get is told in one message to install ${name}`, async t => {
    const host = await machine(t);
    const error = await t.throwsAsync(findTool({ ...host.options, name }), { instanceOf: ToolError });
    t.regex(error.message, new RegExp(`^${name} is not on PATH, and there is no apt-get .*: install .* or `));
    t.false(error.retryable);
  });
}

test('the newest etcd of the archive is unpacked once, however many ask for it', async t => {
  const host = await machine(t);
  await debian(host, { unstable: '3.5.30', own: '3.4.23' });
  const found = await Promise.all([1, 2, 3].map(() => findTool(host.options)));
  const path = join(host.toolsDir, 'etcd-3.5.30', 'etcd');
  t.deepEqual(
    found,
    [1, 2, 3].map(() => ({ path, version: '3.5.30' })),
  );
  t.deepEqual(await host.calls(), ['update unstable', 'download etcd-server unstable']);
  const { stdout } = await promisify(execFile)(path, ['--version']);
  t.is(stdout, 'etcd Version: 3.5.30\n');
  t.deepEqual(
    (await readdir(host.toolsDir)).filter(entry => entry.startsWith('unpacking')),
    [],
  );
});

test('suites that cannot be had are passed over, down to the own release', async t => {
  const host = await machine(t);
  await debian(host, { own: '3.4.23' });
  t.is((await findTool(host.options)).version, '3.4.23');
  t.deepEqual(
    (await host.calls()).filter(call => call.startsWith('download')),
    ['download etcd-server own'],
  );
});

test('a package that does not run here is passed over', async t => {
  const host = await machine(t);
  await debian(host, { unstable: '', testing: '3.5.16', own: '3.4.23' });
  t.is((await findTool(host.options)).version, '3.5.16');
});

test('when nothing can be had, the message says what was tried, and a later call tries again', async t => {
  const host = await machine(t);
  await debian(host, {});
  const error = await t.throwsAsync(findTool(host.options), { instanceOf: ToolError });
  t.regex(
    error.message,
    /^etcd is not on PATH and could not be taken from Debian's packages: .*no own.* install etcd/,
  );
  t.true(error.retryable);
  await debian(host, { own: '3.4.23' });
  t.is((await findTool(host.options)).version, '3.4.23');
});

test('an older etcd that came to PATH later does not take over from the newer one unpacked before', async t => {
  const host = await machine(t);
  await debian(host, { unstable: '3.5.30' });
  await findTool(host.options);
  await command(join(host.bin, 'etcd'), etcdScript('3.4.23'));
  t.is((await findTool(host.options)).version, '3.5.30');
  await command(join(host.bin, 'etcd'), etcdScript('3.6.1'));
  t.is((await findTool(host.options)).path, join(host.bin, 'etcd'));
});

test('without root, HAProxy is unpacked with the libraries this machine lacks, and finds them', async t => {
  const host = await machine(t);
  await debian(host, { own: '2.6.12' });
  await mkdir(host.toolsDir, { recursive: true });
  await toolFromDebian({
    tool: tools.haproxy,
    toolsDir: host.toolsDir,
    log: host.log,
    env: { PATH: host.bin },
    isRoot: false,
  });
  const { path } = await findTool({ ...host.options, name: 'haproxy' });
  const { stdout } = await promisify(execFile)(path, ['-v']);
  t.is(stdout, `HAProxy version 2.6.12 on ${join(host.toolsDir, 'haproxy-2.6.12', 'usr/lib/arch')}\n`);
  t.deepEqual(await host.calls(), ['update own', 'download haproxy liblua5.3-0 own']);
});

test('a tool that finds its files by a variable is told it, and one that fails after telling its version is taken', async t => {
  const host = await machine(t);
  await debian(host, { own: '3.0.15' });
  await mkdir(host.toolsDir, { recursive: true });
  const tool: Tool = {
    name: 'openssl',
    package: 'openssl',
    program: 'usr/bin/openssl',
    version: { arguments: ['version'], answer: /^OpenSSL (\S+)/ },
    service: null,
    newest: false,
    environment: home => ({ OPENSSL_CONF: join(home, 'etc/openssl.cnf') }),
    advice: 'install openssl',
  };
  const { log, toolsDir } = host;
  await toolFromDebian({ tool, toolsDir, log, env: { PATH: host.bin }, isRoot: false });
  const { path, version } = await provideTool({ ...host.options, tool });
  t.is(version, '3.0.15');
  const { stdout } = await promisify(execFile)(path).catch((error: unknown) => error as { stdout: string });
  t.is(stdout, `OpenSSL 3.0.15 with ${join(host.toolsDir, 'openssl-3.0.15', 'etc/openssl.cnf')}\n`);
});

interface Root {
  host: Machine;
  policyFile: string;
  install: (service?: null) => Promise<void>;
}

async function asRoot(t: ExecutionContext, aptInstall: string): Promise<Root> {
  const host = await machine(t);
  const policyFile = join(host.bin, 'policy-rc.d');
  await command(
    join(host.bin, 'apt-get'),
    `case "$*" in
*update) ;;
*install*) "$here/policy-rc.d" haproxy start; echo "policy says $?" >> "$here/calls"; ${aptInstall};;
esac`,
  );
  await command(join(host.bin, 'update-rc.d'), 'echo "update-rc.d $*" >> "$here/calls"');
  await mkdir(join(host.bin, 'init.d'));
  await writeFile(join(host.bin, 'init.d', 'haproxy'), '');
  const install = (service?: null) =>
    installAsRoot({
      package: 'haproxy',
      service: service === null ? null : 'haproxy',
      env: { PATH: host.bin },
      signal: undefined,
      policyFile,
      initDirectory: join(host.bin, 'init.d'),
    });
  return { host, policyFile, install };
}

test('with root, services are forbidden to start while apt installs, and the stock one is disabled', async t => {
  const { host, policyFile, install } = await asRoot(t, 'exit 0');
  await install();
  t.deepEqual(await host.calls(), ['policy says 101', 'update-rc.d haproxy disable']);
  t.false(
    (await readdir(host.bin)).some(entry => entry.startsWith('policy-rc.d')),
    policyFile,
  );
});

test('a package without a service has none disabled', async t => {
  const { host, install } = await asRoot(t, 'exit 0');
  await install(null);
  t.deepEqual(await host.calls(), ['policy says 101']);
});

test('the machine’s own policy is back afterwards, also when the installation failed', async t => {
  const { host, policyFile, install } = await asRoot(t, 'echo "E: broken" >&2; exit 100');
  await writeFile(policyFile, 'mine');
  await t.throwsAsync(install(), { message: /haproxy: status 100: E: broken/ });
  t.is(await readFile(policyFile, 'utf8'), 'mine');
  t.deepEqual(await host.calls(), ['policy says 101']);
});

test('a policy that a killed agent left behind is mended by the next installation', async t => {
  const { policyFile, install } = await asRoot(t, 'exit 0');
  await writeFile(`${policyFile}.before-hop3-agent`, 'mine');
  await writeFile(policyFile, '# hop3-agent: no service starts while its package is being installed.');
  await install();
  t.is(await readFile(policyFile, 'utf8'), 'mine');
});
