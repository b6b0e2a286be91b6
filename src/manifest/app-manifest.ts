import { z } from 'zod';
import {
  addons,
  build,
  domains,
  env,
  healthcheck,
  limits,
  metadata,
  port,
  fixedPort,
  run,
  volumes,
} from './sections.ts';
import { appName, command, cronExpression, cronName, processName, seconds, timeZone } from './words.ts';

/** Our own manifest: hop3.toml's tree, plus what Hop3 lacks under the names that its design records reserve. */

const labels = z.record(z.string(), z.string()).describe('labels of nodes and the values they must have');

const digest = z
  .string()
  .regex(/^sha256:[0-9a-f]{64}$/, { error: 'is not a digest' })
  .describe('sha256: and 64 hexadecimal digits');

const source = z
  .strictObject({
    path: z.string().min(1).optional().describe('a directory, relative to this file'),
    git: z
      .strictObject({
        url: z
          .string()
          .regex(/^\S+$/, { error: 'is not an address' })
          .describe('an address that git clone takes'),
        ref: z
          .string()
          .regex(/^[^\s-]\S*$/, { error: 'is not a git ref' })
          .optional()
          .describe('a branch, tag or commit'),
      })
      .optional(),
    archive: z
      .strictObject({
        url: z
          .string()
          .regex(/^https?:\/\/\S+$/, { error: 'is not an address' })
          .describe('an http or https address'),
        sha256: z
          .string()
          .regex(/^[0-9a-f]{64}$/, { error: 'is not a SHA-256' })
          .describe('64 lower-case hexadecimal digits, in quotes'),
      })
      .optional(),
    uploaded: digest.optional(),
  })
  .describe('one of path, git, archive');

const cron = z.strictObject({
  schedule: cronExpression,
  command,
  'time-zone': timeZone.optional(),
  overlap: z
    .enum(['allow', 'forbid', 'replace'])
    .optional()
    .describe('what happens when the last one still runs: allow, forbid or replace'),
  'catch-up': z
    .union([z.enum(['none', 'latest']), z.strictObject({ all: z.int().min(1).max(100) })], {
      error: 'must be none, latest, or {all: N}',
    })
    .optional()
    .describe('of what was missed: none, latest, or {all: N} for up to N of the latest'),
  timeout: seconds.optional(),
  attempts: z.int().min(1).max(100).optional().describe('how often it is tried, 1 to 100'),
});

export const appManifest = z
  .strictObject({
    kind: z.literal('App').optional().describe('App'),
    metadata: metadata.extend({ id: appName }),
    source: source.optional(),
    build: build
      .extend({ builder: z.enum(['auto', 'local', 'none', 'docker', 'nix']).optional() })
      .optional(),
    run: run.extend({ 'stop-timeout': seconds.optional() }).optional(),
    scale: z
      .record(processName, z.int().min(0).max(1000).describe('how many instances, 0 to 1000'))
      .optional()
      .describe('numbers of instances by process name'),
    exclusive: z.array(processName).optional().describe('process names that must never run twice'),
    crons: z.record(cronName, cron).optional().describe('commands that run at set times, by name'),
    env: env.optional(),
    domains: domains.optional(),
    port: port.optional(),
    ports: z
      .array(
        fixedPort.extend({
          process: processName.optional().describe('whose instances have it; web, or the first process'),
          http: z.boolean().optional().describe('true makes it the PORT of web'),
        }),
      )
      .optional(),
    volumes: volumes.optional(),
    limits: limits.optional(),
    healthcheck: healthcheck.extend({ 'failure-threshold': z.int().min(1).max(100).optional() }).optional(),
    restart: z
      .strictObject({
        policy: z.enum(['always', 'on-failure', 'never']).optional(),
        max: z.int().min(1).max(1000).optional().describe('failed starts in a row, 1 to 1000'),
      })
      .optional(),
    placement: z
      .strictObject({
        requires: labels.optional(),
        spread: z.string().min(1).optional().describe('a label to spread instances over'),
      })
      .optional(),
    'depends-on': z.array(appName).optional().describe('names of apps that must run before this one'),
    deploy: z
      .strictObject({
        strategy: z.enum(['rolling', 'blue-green', 'canary', 'stop-deploy']).optional(),
        'max-surge': z.int().min(0).max(1000).optional(),
        'max-unavailable': z.int().min(0).max(1000).optional(),
        'healthy-deadline': seconds
          .optional()
          .describe('seconds without progress after which a new release is given up'),
        'canary-share': z
          .number()
          .positive()
          .max(1)
          .optional()
          .describe('of canary: the share of the instances that tries a release, as in 0.2'),
        'bake-time': z
          .number()
          .min(0)
          .max(86_400)
          .optional()
          .describe('of canary: seconds for which it is watched before the others follow'),
        promote: z
          .enum(['auto', 'manual'])
          .optional()
          .describe('of canary and blue-green: manual = an operator lets the new release take over'),
      })
      .optional(),
    addons: addons.optional(),
  })
  .meta({ title: 'hop3-agent app manifest' });

export type AppManifest = z.infer<typeof appManifest>;

/** JSON Schema (draft 7) of one document of kind App, for editors; generated, so it says what the reader checks. */
export function jsonSchema(): object {
  return z.toJSONSchema(appManifest, { target: 'draft-7', io: 'input' });
}
