import { access, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { runCommand } from './run-command.ts';

const UPDATE_MS = 300_000;
const DOWNLOAD_MS = 300_000;
const ASK_MS = 60_000;
const DEBIAN_KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';

/** An apt with package lists of its own: it changes nothing outside its directory, and needs no root. */
export interface Apt {
  update(): Promise<void>;
  /** The package and every dependency that this machine lacks. Recommended ones are left out. */
  missingWith(name: string): Promise<string[]>;
  /** The files become `*.deb` in `directory`. */
  download(packages: string[]): Promise<void>;
  readonly directory: string;
}

export interface AptOptions {
  directory: string;
  env: Record<string, string>;
  signal: AbortSignal | undefined;
  /** Instead of the machine's own sources. */
  suite?: { mirror: string; name: string };
}

export async function isolatedApt(options: AptOptions): Promise<Apt> {
  const { directory, env, signal } = options;
  await mkdir(join(directory, 'lists', 'partial'), { recursive: true });
  await mkdir(join(directory, 'cache', 'archives', 'partial'), { recursive: true });
  const own = [
    `Dir::State::lists=${join(directory, 'lists')}`,
    `Dir::Cache=${join(directory, 'cache')}`,
    'Acquire::Languages=none',
    'Acquire::Retries=2',
    'Acquire::http::Timeout=20',
    'Acquire::https::Timeout=20',
    // The user apt would change to cannot enter our directory.
    'APT::Sandbox::User=root',
    ...(options.suite === undefined ? [] : await suiteOnly(directory, options.suite)),
  ].flatMap(option => ['-o', option]);
  const suite = options.suite === undefined ? '' : ` (${options.suite.name})`;
  const apt = (label: string, args: string[], timeoutMs: number) =>
    runCommand('apt-get', [...own, ...args], {
      label: `apt-get ${label}${suite}`,
      env,
      cwd: directory,
      timeoutMs,
      signal,
    });
  return {
    directory,
    async update() {
      // Without the option apt reports a mirror it cannot reach as a success.
      await apt('update', ['-o', 'APT::Update::Error-Mode=any', 'update'], UPDATE_MS);
    },
    async missingWith(name) {
      const plan = await apt(
        'install --simulate',
        ['--simulate', '--reinstall', '--no-install-recommends', 'install', name],
        ASK_MS,
      );
      return [...plan.matchAll(/^Inst (\S+)/gm)].flatMap(match => match[1] ?? []);
    },
    async download(packages) {
      await apt(`download ${packages.join(' ')}`, ['download', ...packages], DOWNLOAD_MS);
    },
  };
}

/** The archives this machine takes its own release from, as its configuration names them; best guess first. */
export async function ownMirrors(env: Record<string, string>, signal?: AbortSignal): Promise<string[]> {
  const format = '$(CODENAME)|$(COMPONENT)|$(ORIGIN)|$(REPO_URI)';
  const targets = await runCommand('apt-get', ['indextargets', '--format', format, 'Created-By: Packages'], {
    env,
    timeoutMs: ASK_MS,
    signal,
  });
  const release = await releaseOf();
  const rows = targets.split('\n').map(line => line.split('|'));
  const ours = rows.filter(([codename, component]) => codename === release.codename && component === 'main');
  const debians = rows.filter(([, component, origin]) => origin === 'Debian' && component === 'main');
  return [...new Set([...ours, ...debians].flatMap(row => row[3] ?? []))];
}

/** From os-release(5). */
export async function releaseOf(): Promise<{ id: string; codename: string }> {
  const text = await readFile('/etc/os-release', 'utf8').catch(() => '');
  const field = (name: string) => new RegExp(`^${name}="?([^"\\n]*)`, 'm').exec(text)?.[1] ?? '';
  return { id: field('ID'), codename: field('VERSION_CODENAME') };
}

async function suiteOnly(directory: string, suite: { mirror: string; name: string }): Promise<string[]> {
  const sources = join(directory, 'suite.sources');
  const signedBy = await access(DEBIAN_KEYRING).then(
    () => `Signed-By: ${DEBIAN_KEYRING}\n`,
    () => '',
  );
  await writeFile(
    sources,
    `Types: deb\nURIs: ${suite.mirror}\nSuites: ${suite.name}\nComponents: main\n${signedBy}`,
  );
  return [`Dir::Etc::sourcelist=${sources}`, 'Dir::Etc::sourceparts=/dev/null'];
}
