import { z } from 'zod';
import {
  command,
  commands,
  hostname,
  memory,
  processName,
  relativeDirectory,
  seconds,
  urlPath,
} from './words.ts';

/** The sections of hop3.toml that our own manifest has too. One key list, so it is longer than most files. */

const strings = z.array(z.string());
const policy = z.enum(['override', 'keep-existing']).optional().describe('override, or keep-existing');

export const metadata = z.strictObject({
  id: z.string().optional().describe('the name of the app'),
  version: z.string().optional().describe('the version, in quotes, as in "1.4"'),
  title: z.string().optional(),
  description: z.string().optional(),
  author: z.string().optional(),
  license: z.string().optional(),
  name: z.string().optional(),
  homepage: z.string().optional(),
  categories: strings.optional(),
  tags: strings.optional(),
});

export const build = z.strictObject({
  builder: z.enum(['auto', 'local', 'docker', 'nix']).optional(),
  toolchain: z.string().min(1).optional().describe('auto, node, python, go, static, generic, …'),
  'static-dir': relativeDirectory.optional(),
  'before-build': commands.optional(),
  build: commands.optional(),
  'after-build': commands.optional(),
  test: commands.optional(),
  packages: strings.optional(),
  'node-version': z.string().optional(),
  'pip-install': strings.optional().describe('Python packages, as pip install takes them'),
  ignore: strings.optional().describe('patterns as in .gitignore'),
});

export const run = z.strictObject({
  start: commands.optional(),
  'before-run': commands.optional(),
  workers: z.record(processName, command).optional().describe('commands by process name'),
  'start-timeout': seconds.optional(),
  packages: strings.optional(),
  static: z.record(z.string(), z.string()).optional(),
  healthcheck: urlPath.optional(),
  'healthcheck-timeout': seconds.optional(),
});

export const generated = z.strictObject({
  generate: z.enum(['hex', 'base64', 'urlsafe', 'password', 'uuid']),
  length: z.int().min(1).max(4096).optional().describe('bytes; characters for password'),
  prefix: z.string().optional(),
  display: z.boolean().optional(),
});

const reference = z.strictObject({
  from: z.string().min(1).optional().describe('the name of an addon'),
  key: z.string().min(1).describe('a variable of the addon; without "from": domain, hostname or name'),
});

const externalIp = z.strictObject({ external_ip: z.literal(true) });

const envValue = z
  .union([z.string(), z.number(), z.boolean(), generated, reference, externalIp], {
    error: issue =>
      typeof issue.input === 'object' && issue.input !== null && !Array.isArray(issue.input)
        ? 'is neither a generated secret nor a reference'
        : 'must be text, a number, or true or false',
  })
  .describe('a value, {generate: hex, length: 32}, {from: ADDON, key: NAME}, or {key: domain}');

export type EnvInput = z.infer<typeof envValue>;

export const env = z
  .object({ _policy: policy, computed: z.record(z.string(), z.string()).optional() })
  .catchall(envValue);

export const domains = z.strictObject({
  list: z.array(hostname),
  _policy: policy,
});

const httpPort = z.int().min(1).max(65535);
export const port = z.record(
  z.string(),
  z.union(
    [
      httpPort,
      z.strictObject({
        container: httpPort.optional(),
        public: z.boolean().optional(),
        https: z.boolean().optional(),
      }),
    ],
    { error: 'must be a port number or a table' },
  ),
);

const reservedPorts = [22, 80, 443];
export const fixedPort = z.strictObject({
  number: z
    .int()
    .min(1)
    .max(65535)
    .refine(number => !reservedPorts.includes(number), {
      error: issue => `port ${shownNumber(issue.input)} is reserved: 22 is SSH's, 80 and 443 are the proxy's`,
    })
    .describe('1 to 65535, not 22, 80 or 443; HTTP apps listen on $PORT instead'),
  protocol: z.enum(['tcp', 'udp']).optional(),
  name: z.string().min(1).optional(),
  source: z
    .string()
    .regex(/^(any|(\d{1,3}\.){3}\d{1,3}(\/(3[0-2]|[12]?\d))?)$/, { error: 'is not a network' })
    .optional()
    .describe('any, or an IPv4 network such as 10.0.0.0/8'),
});

export const volumes = z.array(
  z.strictObject({
    name: z
      .string()
      .regex(/^[a-zA-Z0-9][a-zA-Z0-9_-]*$/, { error: 'is not a volume name' })
      .describe('letters, digits, hyphens and underscores'),
    target: relativeDirectory,
    type: z.enum(['persist', 'tmpfs', 'bind']).optional(),
    size: z.string().optional(),
    mode: z
      .string()
      .regex(/^[0-7]{1,5}$/, { error: 'is not an octal mode' })
      .optional()
      .describe('octal permissions in quotes, as in "0700"'),
    backup: z.strictObject({ include: z.boolean().optional() }).optional(),
  }),
);

export const limits = z.strictObject({
  memory: memory.optional(),
  cpu: z.number().positive().max(1024).optional().describe('cores, as in 0.5'),
  processes: z.int().min(1).optional().describe('the most processes and threads'),
});

export const healthcheck = z.strictObject({
  path: urlPath.optional(),
  contains: z.string().optional().describe('text that the answer must contain'),
  interval: seconds.optional(),
  timeout: seconds.optional(),
  retries: z.int().min(1).max(100).optional().describe('failed checks in a row that make it unhealthy'),
});

export const addons = z.array(
  z.looseObject({
    type: z.string().min(1).optional().describe('postgres, mysql, redis, s3 or email'),
    name: z.string().min(1).optional(),
  }),
);

function shownNumber(value: unknown): string {
  return typeof value === 'number' ? String(value) : '';
}
