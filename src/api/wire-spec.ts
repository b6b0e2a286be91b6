import { z } from 'zod';
import { hostname, processNamePattern, relativeDirectory, urlPath } from '../manifest/words.ts';
import type { AppSpec } from '../model/app-spec.ts';
import { cronSchedule } from './wire-cron.ts';

/**
 * The shape of an AppSpec in a request body: strict, so that a misspelt field is a problem and not a silence. What becomes
 * part of a path, a command or another program's configuration is held to the same rules as in a manifest.
 */

const text = z
  .string()
  .max(65_536)
  .regex(/^[^\0]*$/, 'must hold no NUL');
const seconds = z.number().positive().max(86_400);
const appName = z
  .string()
  .regex(/^[a-z][a-z0-9-]{1,61}[a-z0-9]$/, 'must be 3 to 63 lower-case letters, digits and hyphens');
const processType = z
  .string()
  .regex(processNamePattern, 'must be letters, digits, hyphens and underscores, starting with a letter');
const digest = z.string().regex(/^sha256:[0-9a-f]{64}$/, 'must be sha256: and 64 hexadecimal digits');

const source = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('path'), path: text }),
  z.strictObject({ kind: z.literal('git'), url: text, ref: text }),
  z.strictObject({ kind: z.literal('archive'), url: text, sha256: text }),
  z.strictObject({ kind: z.literal('uploaded'), digest }),
]);

const build = z.strictObject({
  builder: z.enum(['auto', 'local', 'none', 'docker', 'nix']),
  toolchain: z.string().min(1).max(64),
  beforeBuild: z.array(text),
  build: z.array(text),
  afterBuild: z.array(text),
  ignore: z.array(text),
  pipInstall: z.array(text),
});

const process = z.strictObject({
  type: processType,
  kind: z.enum(['command', 'wsgi', 'static']),
  command: text,
  /** Empty for what has a command. */
  directory: z.union([z.literal(''), relativeDirectory]),
  scale: z.int().min(0).max(1000),
  exclusive: z.boolean(),
  routed: z.boolean(),
  startTimeoutSeconds: seconds,
  stopTimeoutSeconds: seconds,
});

const cron = z.strictObject({
  name: z
    .string()
    .regex(/^[a-z][a-z0-9_-]{0,62}$/, 'must be lower-case letters, digits, hyphens and underscores'),
  command: text,
  schedule: cronSchedule,
  timeoutSeconds: seconds,
  attempts: z.int().min(1).max(100),
});

const envValue = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('literal'), value: text }),
  z.strictObject({
    kind: z.literal('generated'),
    format: z.enum(['hex', 'base64', 'urlsafe', 'password', 'uuid']),
    length: z.int().min(1).max(4096),
    prefix: text,
  }),
  z.strictObject({ kind: z.literal('from-addon'), addon: text, key: text }),
  z.strictObject({ kind: z.literal('from-app'), key: z.enum(['domain', 'hostname', 'name']) }),
  z.strictObject({ kind: z.literal('computed'), template: text }),
]);

export const appSpecBody = z
  .strictObject({
    app: appName,
    title: text.nullable(),
    version: text.nullable(),
    source: source.nullable(),
    build,
    beforeRun: z.array(text),
    // None = the agent finds it in the source.
    processes: z.array(process),
    webSettings: process
      .pick({ scale: true, exclusive: true, startTimeoutSeconds: true, stopTimeoutSeconds: true })
      .optional(),
    crons: z.array(cron).max(100),
    env: z.record(z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/, 'must be a variable name'), envValue),
    hostnames: z.array(hostname),
    healthcheck: z.strictObject({
      path: urlPath.max(4096).nullable(),
      contains: text.nullable(),
      intervalSeconds: seconds,
      timeoutSeconds: seconds,
      failureThreshold: z.int().min(1).max(1000),
    }),
    restart: z.strictObject({
      policy: z.enum(['always', 'on-failure', 'never']),
      max: z.int().min(0).max(1_000_000),
    }),
    limits: z.strictObject({
      memoryBytes: z.int().positive().nullable(),
      cpu: z.number().positive().nullable(),
      processes: z.int().positive().nullable(),
    }),
    placement: z.strictObject({ requires: z.record(z.string(), text), spread: text.nullable() }),
    dependsOn: z.array(appName),
    deploy: z.strictObject({
      strategy: z.enum(['rolling', 'blue-green', 'canary', 'stop-deploy']),
      maxSurge: z.int().min(0).max(1000),
      maxUnavailable: z.int().min(0).max(1000),
      healthyDeadlineSeconds: seconds,
      canaryShare: z.number().positive().max(1).optional(),
      bakeSeconds: z.number().min(0).max(86_400).optional(),
      promote: z.enum(['auto', 'manual']).optional(),
    }),
    ports: z.array(
      z.strictObject({
        number: z.int().min(1).max(65_535),
        protocol: z.enum(['tcp', 'udp']),
        name: text.nullable(),
        process: processType.optional(),
        http: z.boolean().optional(),
      }),
    ),
    volumes: z.array(z.strictObject({ name: text, target: relativeDirectory })),
    addons: z.array(z.strictObject({ type: text, name: text })),
  })
  .meta({ id: 'AppSpec' }) satisfies z.ZodType<AppSpec>;

const node = z
  .string()
  .regex(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/, 'must be 1 to 63 lower-case letters, digits and hyphens');
const address = z.union(
  [
    z.ipv4(),
    z.ipv6(),
    z
      .string()
      .max(253)
      .regex(/^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$/),
  ],
  {
    error: 'must be a host name or an IP address',
  },
);

export const names = { app: appName, process: processType, digest, node, address };
