/**
 * The programs that tests need, from PATH or from Debian's packages. As a program of its own it prints, as JSON, the
 * environment in which they are found.
 */
import { dirname, join } from 'node:path';
import { winstonLog } from '../src/platform/log.ts';
import { tools, type Tool } from '../src/platform/tool.ts';
import { provideTool } from '../src/platform/tools.ts';

const stateDir = join(import.meta.dirname, '../.cache');
const log = winstonLog({ level: 'info', format: 'text' });

/** Only the tests need these. Language runtimes are not here: without one, its tests look at what the agent says. */
const testTools: Tool[] = [
  testTool('etcdctl', 'etcd-client', ['version'], /^etcdctl version: (\S+)/),
  testTool('wrk', 'wrk', ['--version'], /^wrk \D*(\d\S*)/),
  {
    ...testTool('openssl', 'openssl', ['version'], /^OpenSSL (\S+)/),
    environment: home => ({ OPENSSL_CONF: join(home, 'etc/ssl/openssl.cnf') }),
  },
  {
    ...testTool('git', 'git', ['--version'], /^git version (\S+)/),
    environment: home => ({
      GIT_EXEC_PATH: join(home, 'usr/lib/git-core'),
      GIT_TEMPLATE_DIR: join(home, 'usr/share/git-core/templates'),
    }),
  },
];

if (process.argv[1] === import.meta.filename) {
  process.stdout.write(JSON.stringify({ PATH: await pathWithTools() }));
}

/** A PATH on which all of them are found; what is missing is installed. @throws ToolError */
export async function pathWithTools(): Promise<string> {
  const found: string[] = [];
  for (const tool of [tools.etcd, tools.haproxy, ...testTools]) {
    const { path } = await provideTool({ tool, stateDir, log, env: process.env });
    found.push(dirname(path));
  }
  const onPath = (process.env['PATH'] ?? '').split(':');
  // What was unpacked comes first, it was better than what PATH has; the order of PATH itself is the person's choice.
  const unpacked = found.filter(directory => directory.startsWith(stateDir));
  return [...new Set([...unpacked, ...onPath, ...found])].join(':');
}

function testTool(name: string, debianPackage: string, args: string[], answer: RegExp): Tool {
  return {
    name,
    package: debianPackage,
    program: `usr/bin/${name}`,
    version: { arguments: args, answer },
    service: null,
    newest: false,
    advice: `install ${name} and put it on PATH`,
  };
}
