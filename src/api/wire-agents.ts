import { z } from 'zod';
import {
  AGENT_NAME,
  type AgentView,
  type CommandProgress,
  type CommandRequest,
  type NameAnswer,
  type NameRequest,
  type NameState,
} from '../model/named-agents.ts';
import { eventView } from './wire.ts';
import { names } from './wire-spec.ts';

/** What crosses the wire about named agents: one vocabulary, like wire.ts. */

const LONGEST_STATE = 65_536;

const timestamp = z.string().meta({ format: 'date-time' });
const text = z.string().regex(/^[^\0]*$/, 'must hold no NUL');
const seconds = z.number().min(0).max(86_400);

export const agentName = z
  .string()
  .regex(AGENT_NAME, 'must be 1 to 63 lower-case letters, digits, dots, hyphens and underscores');
const holder = z
  .string()
  .regex(/^[A-Za-z0-9._@-]{1,64}$/, 'must be 1 to 64 letters, digits and . _ @ -')
  .meta({ description: 'Who asks: two holders exclude each other, on one node too.' });
const token = z
  .string()
  .regex(/^\d{1,39}$/, 'must be a fencing token')
  .meta({ description: 'The fencing token.' });
const commandId = z.string().regex(/^[A-Za-z0-9_-]{1,64}$/, 'must be 1 to 64 letters, digits, - and _');

const state = z.enum(['Pending', 'Assigned', 'Unassigned']);
const standing = { holder: z.string(), state, since: timestamp, reason: z.string() };

export const agentView = z
  .object({
    name: z.string(),
    state: z.enum(['Inactive', 'Assigned', 'Unassigned']),
    owner: z.string().nullable(),
    holder: z.string().nullable(),
    token: z.string().nullable(),
    since: timestamp.nullable(),
    reason: z.string(),
    validForMs: z.number().nullable(),
    waiters: z.array(z.object({ node: z.string(), holder: z.string(), since: timestamp })),
    requests: z.array(z.object(standing)),
  })
  .meta({ id: 'Agent' }) satisfies z.ZodType<AgentView>;

/** The name as it is, then what happens to it. */
export const agentNews = z
  .discriminatedUnion('kind', [
    z.object({ kind: z.literal('snapshot'), revision: z.string(), agent: agentView }),
    z.object({ kind: z.literal('event'), event: eventView }),
  ])
  .meta({ id: 'AgentNews' });
export type AgentNews = z.infer<typeof agentNews>;

export const nameRequestBody = z
  .strictObject({
    holder,
    wait: z.boolean().default(false),
    waitSeconds: z.number().min(0).max(30).default(20),
    ttlSeconds: z.number().min(1).max(300).default(30),
    token: token.nullable().default(null),
  })
  .meta({ id: 'NameRequest' }) satisfies z.ZodType<NameRequest>;

export const nameAnswer = z
  .object({
    ...standing,
    name: z.string(),
    node: z.string(),
    token: z.string().nullable(),
    validForMs: z.int().nullable(),
    ahead: z.int().nullable(),
  })
  .meta({ id: 'NameAnswer' }) satisfies z.ZodType<NameAnswer>;

export const nameReleaseBody = z
  .strictObject({ holder, token: token.nullable().default(null) })
  .meta({ id: 'NameRelease' });

export const recallAnswer = z
  .object({ owner: z.string(), holder: z.string(), token: z.string() })
  .meta({ id: 'Recall' });
export type Recall = z.infer<typeof recallAnswer>;

export const nameState = z
  .object({
    name: z.string(),
    state: z.unknown(),
    token: z.string(),
    node: z.string(),
    holder: z.string(),
    at: timestamp,
    revision: z.string(),
  })
  .meta({ id: 'NameState' }) satisfies z.ZodType<NameState>;

export const nameStateBody = z
  .strictObject({
    holder,
    token,
    state: z.unknown().refine(isStorable, `must be given: JSON of at most ${LONGEST_STATE} bytes`),
  })
  .meta({ id: 'NameStateWrite' });

function isStorable(value: unknown): boolean {
  return value !== undefined && Buffer.byteLength(JSON.stringify(value)) <= LONGEST_STATE;
}

export const commandBody = z
  .strictObject({
    id: commandId,
    command: z.array(text).min(1).max(10_000),
    directory: text.refine(path => path.startsWith('/'), 'must be an absolute path'),
    env: z.record(z.string().regex(/^[^=\0]+$/, 'must be a variable name'), text),
    wait: z.boolean().default(false),
    timeoutSeconds: seconds.nullable().default(null),
    stopTimeoutSeconds: seconds.default(2),
  })
  .meta({ id: 'CommandRequest' }) satisfies z.ZodType<CommandRequest>;

export const commandProgress = z
  .discriminatedUnion('kind', [
    z.object({ kind: z.literal('waiting'), ahead: z.int(), reason: z.string() }),
    z.object({ kind: z.literal('started'), node: z.string(), holder: z.string(), token: z.string() }),
    z.object({
      kind: z.literal('output'),
      stream: z.enum(['stdout', 'stderr']),
      text: z.string(),
      cursor: z.string().nullable(),
    }),
    z.object({ kind: z.literal('stopping'), reason: z.string() }),
    z.object({
      kind: z.literal('ended'),
      code: z.int().nullable(),
      signal: z.string().nullable(),
      reason: z.string().nullable(),
      released: z.boolean(),
    }),
  ])
  .meta({ id: 'CommandProgress' }) satisfies z.ZodType<CommandProgress>;

export const commandParams = z.object({ name: agentName, id: commandId });
export const stopBody = z.strictObject({ kill: z.boolean().default(false) }).meta({ id: 'CommandStop' });
export const stoppedBody = z
  .strictObject({ subject: z.string().min(1).max(512), node: names.node })
  .meta({ id: 'ConfirmStopped' });
