import type { Clock } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import { runCommand } from './run-command.ts';

/** Of the time after which systemd takes the service for dead; so two pings in a row may be lost. */
const PINGS_IN_THAT_TIME = 3;
const SEND_MS = 5000;

export interface ServiceManagerOptions {
  /** What systemd says to the service in it is taken out: no child may speak for the agent. */
  env: NodeJS.ProcessEnv;
  pid: number;
  clock: Clock;
  log: Log;
  /** Instead of systemd-notify. */
  program?: string;
}

/** What tells systemd (sd_notify(3)) how the agent is. Without systemd, or in a unit of another type, it does nothing. */
export interface ServiceManager {
  /**
   * Says that the agent is up. From here on it pings the watchdog, if the unit has one, as long as `stuck` names
   * nothing: a process whose event loop stands still, or whose agent does, is ended by systemd and started again.
   */
  ready(stuck: () => string | null): Promise<void>;
  /** Says that it is on its way out. The watchdog goes on watching, so the pings go on until `close`. */
  stopping(): Promise<void>;
  close(): Promise<void>;
}

/**
 * Node has no datagram sockets of unix, so each message is a run of systemd-notify: about 3 ms of processor time, three
 * times in `WatchdogSec`. A message that can't be sent is logged; if none can, systemd starts the agent again.
 */
export function serviceManager({
  env,
  pid,
  clock,
  log,
  program = 'systemd-notify',
}: ServiceManagerOptions): ServiceManager {
  const socket = env['NOTIFY_SOCKET'];
  const watchdogMs = watchdogOf(env, pid);
  for (const name of ['NOTIFY_SOCKET', 'WATCHDOG_USEC', 'WATCHDOG_PID']) Reflect.deleteProperty(env, name);
  const path = env['PATH'];
  let cancel = (): void => undefined;
  let toldOf: string | null = null;

  async function send(message: string): Promise<void> {
    if (socket === undefined) return;
    const settings = { NOTIFY_SOCKET: socket, ...(path === undefined ? {} : { PATH: path }) };
    await runCommand(program, [message], { env: settings, timeoutMs: SEND_MS }).catch((error: unknown) =>
      log.warn('systemd could not be told', { message, error }),
    );
  }

  function ping(everyMs: number, stuck: () => string | null): void {
    cancel = clock.after(everyMs, () => {
      const loop = stuck();
      if (loop === null) void send('WATCHDOG=1');
      else if (loop !== toldOf) log.error('the agent is stuck: its watchdog will start it again', { loop });
      toldOf = loop;
      ping(everyMs, stuck);
    });
  }

  return {
    async ready(stuck) {
      await send('READY=1');
      if (watchdogMs !== null) ping(watchdogMs / PINGS_IN_THAT_TIME, stuck);
    },
    stopping: () => send('STOPPING=1'),
    close: () => {
      cancel();
      return Promise.resolve();
    },
  };
}

/** null when the service has none, or it is another process that has to answer. */
function watchdogOf(env: NodeJS.ProcessEnv, pid: number): number | null {
  const forWhom = env['WATCHDOG_PID'];
  const microseconds = Number(env['WATCHDOG_USEC'] ?? '0');
  if (forWhom !== undefined && Number(forWhom) !== pid) return null;
  return microseconds > 0 ? microseconds / 1000 : null;
}
