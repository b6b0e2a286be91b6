import { z } from 'zod';
import { shown } from './tree.ts';
import { memory } from './words.ts';

/** The file of one node, `/etc/hop3/agent.yaml`. Every key may be left out; environment and flags may say it too. */

const pattern = (regex: RegExp, what: string, description: string) =>
  z
    .string()
    .regex(regex, { error: issue => `${shown(issue.input)} is not ${what}` })
    .describe(description);

const name = pattern(
  /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/,
  'a name',
  '1 to 63 lower-case letters, digits and hyphens, as in node-1',
);
const labelName = pattern(
  /^[A-Za-z0-9][A-Za-z0-9._/-]{0,62}$/,
  'a label name',
  'up to 63 letters, digits, dots, slashes and hyphens',
);
const absolutePath = pattern(/^\/[^\0]*$/, 'an absolute path', 'a path that starts with /');
const port = z.int().min(1).max(65535).describe('a port, 1 to 65535');

const listen = z
  .string()
  .refine(text => hostAndPort(text) !== null, { error: issue => `${shown(issue.input)} is not an address` })
  .describe('HOST:PORT, as in 127.0.0.1:7300 or [::1]:7300');

const tls = z
  .strictObject({ ca: absolutePath, cert: absolutePath, key: absolutePath })
  .describe('ca, cert and key: absolute paths of PEM files');

const serverTls = z
  .strictObject({ ca: absolutePath.optional(), cert: absolutePath, key: absolutePath })
  .describe('cert and key: absolute paths of PEM files; ca, if clients need to see who signed cert');

const tokens = z
  .array(z.string().regex(/^\S{16,}$/, { error: 'is too short to be a secret' }))
  .describe('a list of secrets of 16 characters or more');

const etcd = z.strictObject({
  endpoints: z
    .array(pattern(/^https?:\/\/[^\s/]+\/?$/, 'the address of an etcd member', 'as in https://10.0.0.1:2379'))
    .min(1)
    .optional()
    .describe('a list of addresses, as in [https://10.0.0.1:2379]'),
  managed: z
    .strictObject({ 'client-port': port.optional(), 'peer-port': port.optional() })
    .optional()
    .describe('client-port and peer-port of an etcd of its own; {} for the usual ones'),
  tls: tls.optional(),
  username: z.string().min(1).optional(),
  password: z.string().min(1).optional(),
});

export const nodeManifest = z
  .strictObject({
    name: name.optional(),
    cluster: name.optional(),
    labels: z.record(labelName, z.string()).optional().describe('names and values, as in {zone: eu}'),
    roles: z
      .array(z.enum(['apps', 'proxy']))
      .min(1)
      .optional()
      .describe('a list of apps, proxy, or both'),
    'state-dir': absolutePath.optional(),
    etcd: etcd.optional(),
    'lease-ttl': z.int().min(2).max(3600).optional().describe('whole seconds, 2 to 3600'),
    admin: z
      .strictObject({
        listen: listen.optional(),
        socket: z
          .union([absolutePath, z.literal(false)], { error: 'must be a path or false' })
          .optional()
          .describe('an absolute path, or false for none'),
        tls: serverTls.optional(),
        tokens: tokens.optional(),
      })
      .optional(),
    rpc: z
      .strictObject({
        listen: z
          .union([listen, z.literal(false)], { error: 'must be HOST:PORT or false' })
          .optional()
          .describe('HOST:PORT, or false for none'),
        tls: serverTls.optional(),
        tokens: tokens.optional(),
      })
      .optional(),
    peer: z.strictObject({ listen: listen.optional(), tls: tls.optional() }).optional(),
    authority: absolutePath
      .optional()
      .describe('the directory of cluster init, on a node that enrols others'),
    driver: z.enum(['process', 'systemd']).optional(),
    plans: z
      .strictObject({
        commands: z.enum(['none', 'apps', 'all']).optional(),
        keep: z.int().min(1).max(100_000).optional(),
        'keep-days': z.number().min(0.01).max(3650).optional(),
        open: z.int().min(1).max(100_000).optional(),
        'at-once': z.int().min(1).max(10_000).optional(),
      })
      .optional()
      .describe('commands: which ones steps may run here; how much of plans is kept, open, worked at'),
    proxy: z
      .strictObject({
        listen: listen.optional(),
        backends: z.int().min(1).max(10_000).optional(),
        slots: z.int().min(1).max(1000).optional(),
      })
      .optional(),
    limits: z
      .strictObject({
        memory: memory.optional(),
        cpu: z.number().positive().max(4096).optional().describe('cores, as in 1.5'),
      })
      .optional()
      .describe('what apps may reserve of this node: memory, cpu'),
    'port-range': z
      .string()
      .refine(text => portRange(text) !== null, {
        error: issue => `${shown(issue.input)} is not a range of ports`,
      })
      .optional()
      .describe('FIRST-LAST, as in 20000-29999'),
    'probe-interval': z.number().min(0.5).max(3600).optional().describe('seconds, 0.5 to 3600'),
    'log-level': z.enum(['debug', 'info', 'warn', 'error']).optional(),
  })
  .meta({ title: 'hop3-agent node configuration' });

export type NodeManifest = z.infer<typeof nodeManifest>;

/** An IPv6 address loses its brackets. Null when the text is no HOST:PORT. */
export function hostAndPort(text: string): { host: string; port: number } | null {
  const [, bracketed, plain, digits] =
    /^(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+)):(\d{1,5})$/.exec(text) ?? [];
  const host = bracketed ?? plain;
  const number = Number(digits);
  return host === undefined || number < 1 || number > 65535 ? null : { host, port: number };
}

export function portRange(text: string): [number, number] | null {
  const [, low, high] = /^(\d{1,5})-(\d{1,5})$/.exec(text) ?? [];
  const first = Number(low);
  const last = Number(high);
  return first >= 1 && first <= last && last <= 65535 ? [first, last] : null;
}
