import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { constants } from 'node:os';
import { createInterface } from 'node:readline';
import { Socket } from 'node:net';
import type { Writable } from 'node:stream';
import { getSystemErrorMap } from 'node:util';

import { DriverError, type Launch } from '../ports/driver.ts';
import { cannotStart, type Gated } from './gated-spawn.ts';
import type { OutputFiles } from './output-files.ts';
import { SPAWNER_SCRIPT } from './spawner-script.ts';

const PERL = '/usr/bin/perl';

/** Starts commands through a small program of its own (see its script), which is there from the first of them on. */
export interface Spawner {
  /** The command waits at its gate, in a session of its own. @throws DriverError */
  spawn(launch: Launch, files: OutputFiles, user: { uid: number; gid: number } | undefined): Promise<Gated>;
  /** What was started runs on. */
  close(): void;
}

interface Asked {
  launch: Launch;
  resolve: (gated: Gated) => void;
  reject: (error: DriverError) => void;
}

type ExitListener = Parameters<Gated['onExit']>[0];

/** One such program, from its start to its end. */
interface Helper {
  stdin: Writable;
  stdout: Socket;
  asked: Map<string, Asked>;
  exits: Map<number, ExitListener>;
  orphans: Map<number, () => void>;
}

/** Whether this machine has what it takes; every Debian has. */
export function canSpawn(): boolean {
  return existsSync(PERL);
}

export function spawner(): Spawner {
  let helper: Helper | null = null;
  let last = 0;

  return {
    spawn(launch, files, user) {
      const { stdin, stdout, asked } = (helper ??= startHelper(launch));
      const id = String(++last);
      const { directory, process, env } = launch;
      const settings = Object.entries(env).map(([name, value]) => `${name}=${value}`);
      const who = [user?.uid ?? '', user?.gid ?? ''].map(String);
      const command = ['3', '/bin/sh', '-c', process.command];
      stdin.write(frame('start', id, directory, files.out, files.err, ...who, ...command, ...settings));
      stdout.ref();
      return new Promise((resolve, reject) => asked.set(id, { launch, resolve, reject }));
    },

    close() {
      helper?.stdin.end();
    },
  };

  function startHelper(launch: Launch): Helper {
    const child = spawn(PERL, ['-e', SPAWNER_SCRIPT], {
      cwd: '/',
      env: {},
      detached: true,
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    child.once('error', () => undefined);
    if (child.pid === undefined) throw lost(launch, 'could not be started');
    const { stdin, stdout } = child;
    if (!(stdout instanceof Socket)) throw new TypeError('a pipe of a child process is a socket');
    const made: Helper = { stdin, stdout, asked: new Map(), exits: new Map(), orphans: new Map() };
    // It must keep nobody from ending.
    child.unref();
    stdin.on('error', () => undefined);
    createInterface({ input: stdout }).on('line', line => hear(made, line));
    const over = (): void => {
      if (helper === made) helper = null;
      lose(made);
    };
    child.once('close', over);
    return made;
  }
}

function hear(helper: Helper, line: string): void {
  const [what, first = '', second = '', third = '', ...rest] = line.split(' ');
  if (what === 'exit') {
    const listener = helper.exits.get(Number(first));
    helper.exits.delete(Number(first));
    helper.orphans.delete(Number(first));
    listener?.(second === '-' ? null : Number(second), third === '-' ? null : signalName(Number(third)));
    return;
  }
  const asked = helper.asked.get(first);
  helper.asked.delete(first);
  if (helper.asked.size === 0) helper.stdout.unref();
  if (what === 'pid') asked?.resolve(gatedBy(helper, Number(second)));
  else asked?.reject(cannotStart(asked.launch, systemError(Number(second), [third, ...rest].join(' '))));
}

function gatedBy({ stdin, exits, orphans }: Helper, pid: number): Gated {
  return {
    pid,
    onExit: listener => exits.set(pid, listener),
    onOrphaned: listener => orphans.set(pid, listener),
    begun: Promise.resolve(),
    open: () => void stdin.write(frame('open', String(pid))),
    shut: () => void stdin.write(frame('shut', String(pid))),
  };
}

/** With it goes who could tell how its processes end; the processes run on. */
function lose(helper: Helper): void {
  for (const { launch, reject } of helper.asked.values()) {
    reject(lost(launch, 'has ended'));
  }
  for (const orphaned of helper.orphans.values()) orphaned();
  for (const each of [helper.asked, helper.exits, helper.orphans]) each.clear();
}

function lost({ unit }: Launch, what: string): DriverError {
  return new DriverError(`can't start ${unit}: the program that starts processes ${what}`, {
    retryable: true,
  });
}

/** Nothing in it holds a NUL: no path, argument or variable can. */
function frame(...fields: string[]): Buffer {
  const body = Buffer.from(fields.map(field => `${field}\0`).join(''));
  const length = Buffer.alloc(4);
  length.writeUInt32BE(body.length);
  return Buffer.concat([length, body]);
}

function signalName(number: number): string {
  const found = Object.entries(constants.signals).find(([, value]) => value === number);
  return found?.[0] ?? `signal ${number}`;
}

function systemError(errno: number, file: string): NodeJS.ErrnoException {
  const [code, words] = getSystemErrorMap().get(-errno) ?? [`E${errno}`, 'unknown error'];
  return Object.assign(new Error(`${code}: ${words}${file === '' ? '' : `, open '${file}'`}`), { code });
}
