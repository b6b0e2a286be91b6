import { connect } from 'node:net';
import { APPS_MAP, INFORMED_KEY, ROUTES_MAP, WAITING } from './config.ts';
import type { Backend, Command, ProxyState, SlotState } from './state.ts';

const ANSWER_MS = 5_000;

/** The proxy could not be asked or told something. */
export class ProxyError extends Error {
  readonly retryable: boolean;
  constructor(message: string, options: { retryable: boolean; cause?: unknown }) {
    super(message, { cause: options.cause });
    this.name = 'ProxyError';
    this.retryable = options.retryable;
  }
}

/** HAProxy's runtime API: one command and its answer per connection. @throws ProxyError when nobody answers */
async function ask(socket: string, command: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const fail = (why: string, cause?: unknown) => {
      connection.destroy();
      reject(new ProxyError(`HAProxy does not answer at ${socket}: ${why}`, { retryable: true, cause }));
    };
    let answer = '';
    const connection = connect(socket, () => connection.write(`${command}\n`));
    connection.setEncoding('utf8').setTimeout(ANSWER_MS);
    connection.on('data', (text: string) => (answer += text));
    connection.once('timeout', () => fail(`nothing for ${ANSWER_MS / 1000} s`));
    connection.once('error', error => fail(error.message, error));
    connection.once('end', () => {
      connection.end();
      resolve(answer);
    });
  });
}

export interface ProcessInfo {
  /** Of the worker. */
  pid: number;
  /** What the configuration's `description` says. */
  identity: string;
}

export async function askInfo(socket: string): Promise<ProcessInfo> {
  const text = await ask(socket, 'show info');
  const field = (name: string) => new RegExp(`^${name}: (.*)$`, 'm').exec(text)?.[1] ?? '';
  return { pid: Number(field('Pid')), identity: field('description') };
}

export async function askState(socket: string): Promise<ProxyState> {
  const [servers, connections, routes, apps] = await Promise.all([
    ask(socket, 'show servers state'),
    ask(socket, 'show servers conn'),
    ask(socket, `show map ${ROUTES_MAP}`),
    ask(socket, `show map ${APPS_MAP}`),
  ]);
  return parseState({ servers, connections, routes, apps });
}

/** Of the runtime API's own texts (`show servers state` and so on) makes what they mean. @throws ProxyError */
export function parseState(answers: {
  servers: string;
  connections: string;
  routes: string;
  apps: string;
}): ProxyState {
  const apps = parseMap(answers.apps);
  const routes = parseMap(answers.routes);
  const busy = new Set(
    parseTable(answers.connections)
      .filter(row => row.get('used_cur') !== '0')
      .map(row => row.get('bkname/svname')),
  );
  const backends = new Map<string, Backend>();
  for (const row of parseTable(answers.servers)) {
    const name = field(row, 'be_name');
    const slot = field(row, 'srv_name');
    if (slot === WAITING) continue;
    const backend = backends.get(name) ?? { name, app: apps.get(name) ?? null, slots: [] };
    backends.set(name, backend);
    backend.slots.push({
      name: slot,
      endpoint: { host: field(row, 'srv_addr'), port: Number(field(row, 'srv_port')) },
      state: slotState(Number(field(row, 'srv_admin_state'))),
      busy: busy.has(`${name}/${slot}`),
    });
  }
  const informed = routes.delete(INFORMED_KEY);
  return { informed, backends: [...backends.values()], routes };
}

/** @throws ProxyError when it can't be reached or refuses */
export async function perform(socket: string, command: Command): Promise<void> {
  for (const text of commandTexts(command)) {
    const answer = (await ask(socket, text)).trim();
    const isFine = answer === '' || /by 'stats socket command'$/.test(answer);
    if (!isFine)
      throw new ProxyError(`HAProxy refused "${text}": ${answer.slice(0, 200)}`, { retryable: true });
  }
}

export function commandTexts(command: Command): string[] {
  switch (command.kind) {
    case 'inform':
      return [`add map ${ROUTES_MAP} ${INFORMED_KEY} yes`];
    case 'claim':
      return [`add map ${APPS_MAP} ${command.backend} ${word(command.app)}`];
    case 'free':
      return [`del map ${APPS_MAP} ${command.backend}`];
    case 'evict':
      return [`shutdown sessions server ${command.backend}/${command.slot}`];
    case 'address': {
      const { host, port } = command.endpoint;
      return [`set server ${command.backend}/${command.slot} addr ${word(host)} port ${port}`];
    }
    case 'state':
      return [`set server ${command.backend}/${command.slot} state ${command.state}`];
    case 'route':
      return [`${command.isNew ? 'add' : 'set'} map ${ROUTES_MAP} ${word(command.host)} ${command.backend}`];
    case 'unroute':
      return [`del map ${ROUTES_MAP} ${word(command.host)}`];
  }
}

/** A `;` or a line's end would begin another command. */
function word(text: string): string {
  if (!/^[\w.:*-]+$/.test(text)) throw new RangeError(`"${text}" can't be part of a command to HAProxy`);
  return text;
}

function slotState(adminState: number): SlotState {
  // srv_admin_state, management guide 9.3: 1, 2 and 32 are kinds of maintenance, 8 and 16 of draining; 4 and 64 only
  // say where it came from.
  if ((adminState & (1 | 2 | 32)) !== 0) return 'maint';
  return (adminState & (8 | 16)) !== 0 ? 'drain' : 'ready';
}

function parseMap(text: string): Map<string, string> {
  const entries = new Map<string, string>();
  for (const line of text.split('\n').filter(Boolean)) {
    const [pointer, key, value] = line.split(' ');
    if (!pointer?.startsWith('0x') || key === undefined || value === undefined) throw unexpected(line);
    entries.set(key, value);
  }
  return entries;
}

/** Rows under a `# name name …` line. */
function parseTable(text: string): Map<string, string>[] {
  const all = text.split('\n').filter(Boolean);
  const headIndex = all.findIndex(line => line.startsWith('# '));
  const head = all[headIndex];
  if (head === undefined) throw unexpected(all[0] ?? '');
  const names = head.slice(2).split(' ');
  return all.slice(headIndex + 1).map(line => {
    const values = line.split(' ');
    return new Map(names.map((name, index) => [name, values[index] ?? '']));
  });
}

function field(row: Map<string, string>, name: string): string {
  const value = row.get(name);
  if (value === undefined || value === '') throw unexpected([...row.values()].join(' '));
  return value;
}

function unexpected(line: string): ProxyError {
  return new ProxyError(`HAProxy answered something unexpected: ${line.slice(0, 200)}`, { retryable: false });
}
