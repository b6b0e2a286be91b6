import { z } from 'zod';
import {
  addons,
  build,
  domains,
  env,
  generated,
  healthcheck,
  limits,
  metadata,
  port,
  fixedPort,
  run,
  volumes,
} from './sections.ts';
import { command } from './words.ts';

/**
 * hop3.toml as Hop3's schema.py (0f517cd9) and config.md (d8c2f526) describe it. What the agent has no use for is
 * checked here and then dropped.
 */

const strings = z.array(z.string());

const docker = z.strictObject({
  port: z.int().min(1).max(65535).optional(),
  runtime: z.string().optional(),
  'build-args': z.record(z.string(), z.string()).optional(),
});

const validation = z.strictObject({
  type: z.string().optional(),
  path: z.string().optional(),
  status: z.int().optional(),
  'status-in': z.array(z.int()).optional(),
  status_in: z.array(z.int()).optional(),
  contains: z.string().optional(),
});

const test = z.strictObject({
  priority: z.enum(['P0', 'P1', 'P2']).optional(),
  tier: z.enum(['fast', 'medium', 'slow', 'very-slow']).optional(),
  targets: z.array(z.enum(['docker', 'remote'])).optional(),
  author: z.string().optional(),
  covers: strings.optional(),
  validations: z.array(validation).optional(),
  'expects-failure': z.boolean().optional(),
  expects_failure: z.boolean().optional(),
});

const urlRegex = z
  .string()
  .refine(isUrlRegex, { error: 'is not a regular expression for a path' })
  .describe('a regular expression without spaces around it and without double quotes');
const urlRegexes = z.array(urlRegex).min(1);

const span = z
  .string()
  .regex(/^[1-9]\d*[smhd]$/, { error: 'is not a length of time' })
  .describe('a number and s, m, h or d, as in 10m');

const waf = z.strictObject({
  enabled: z.boolean().optional(),
  mode: z.enum(['block', 'detect']).optional(),
  ruleset: z.string().optional(),
  paranoia: z.int().min(1).max(4).optional().describe('1 to 4'),
  allow: urlRegexes.optional().describe('at least one path; leave the key out to serve all'),
  gate: z
    .array(
      z.strictObject({
        paths: urlRegexes,
        require: z
          .string()
          .regex(/^\S(.*\S)?$/)
          .refine(require => require !== 'auth', { error: '"auth" is not available yet' })
          .describe('the name of a network'),
      }),
    )
    .optional(),
  tuning: z
    .array(
      z
        .strictObject({
          paths: urlRegexes.optional(),
          'disable-rule-ids': z.array(z.int()).optional(),
          disable_rule_ids: z.array(z.int()).optional(),
          'skip-body-inspection': z.boolean().optional(),
          skip_body_inspection: z.boolean().optional(),
          reason: z.string().optional(),
        })
        .refine(relaxesSomething, {
          error: 'relaxes nothing: give disable-rule-ids or skip-body-inspection',
        }),
    )
    .optional(),
  bans: z
    .strictObject({
      enabled: z.boolean().optional(),
      threshold: z.int().min(1).optional(),
      window: span.optional(),
      duration: span.optional(),
    })
    .optional(),
});

const contextName = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/, { error: 'is not a context name' })
  .describe('up to 64 letters, digits, hyphens and underscores, starting with a letter or digit');

const trimmed = z.string().regex(/^\S(.*\S)?$/, { error: 'is empty or has spaces around it' });

const contexts = z.record(
  contextName,
  z.strictObject({
    server: trimmed.describe('the address of a server, as in ssh://root@host'),
    app: trimmed.optional(),
    domains: domains.optional(),
    env: env.optional(),
  }),
);

export const hop3Toml = z.strictObject({
  metadata: metadata.optional(),
  build: build.optional(),
  run: run.optional(),
  env: env.optional(),
  domains: domains.optional(),
  deploy: z
    .strictObject({ deployer: z.string().optional(), 'allow-http': z.boolean().optional() })
    .optional(),
  admin: z
    .strictObject({
      username: z.string().min(1).optional(),
      email: z.string().min(1).optional(),
      password: generated.describe('a generated secret, as in {generate = "password"}'),
      create: command.optional(),
    })
    .refine(admin => admin.username !== undefined || admin.email !== undefined, {
      error: 'needs a username or an email',
    })
    .optional(),
  probe: z
    .strictObject({
      username: z.string().min(1).optional(),
      email: z.string().min(1).optional(),
      create: command,
    })
    .optional(),
  port: port.optional(),
  ports: z.array(fixedPort).optional(),
  volumes: volumes.optional(),
  limits: limits.optional(),
  healthcheck: healthcheck.optional(),
  backup: z.strictObject({ paths: strings.optional(), exclude: strings.optional() }).optional(),
  addons: addons.optional(),
  provider: addons.optional(),
  contexts: contexts.optional(),
  static: z.record(z.string(), z.string()).optional(),
  waf: waf.optional(),
  test: test.optional(),
  docker: docker.optional(),
  nix: z.record(z.string(), z.unknown()).optional(),
});

function isUrlRegex(text: string): boolean {
  if (text === '' || text !== text.trim() || text.includes('"')) return false;
  try {
    new RegExp(text);
    return true;
  } catch {
    // Python's own groups, such as (?P<name>…), are no mistake.
    return text.includes('(?');
  }
}

function relaxesSomething(tuning: Record<string, unknown>): boolean {
  const ids = tuning['disable-rule-ids'] ?? tuning['disable_rule_ids'];
  const skips = tuning['skip-body-inspection'] ?? tuning['skip_body_inspection'];
  return (Array.isArray(ids) && ids.length > 0) || skips === true;
}
