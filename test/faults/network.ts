import { once } from 'node:events';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { freePort } from '../support/free-port.ts';

interface Line {
  from: string;
  to: string;
  near: Socket;
  far: Socket;
}

/**
 * Stands between parties that all reach each other. What is lost in one direction is held back, as by a network that drops
 * every packet: connections stay open and silent, and what was sent arrives late once it heals.
 */
export class Network {
  readonly #lines = new Set<Line>();
  readonly #lost = new Set<string>();
  /** Of connections that ended meanwhile, in bytes, by direction. */
  readonly #heldBefore = new Map<string, number>();
  readonly #servers: Server[] = [];

  /** Whatever `from` sends to `to` is lost from now on. */
  lose(from: string, to: string): void {
    this.#lost.add(`${from} ${to}`);
    this.#steer();
  }

  /** The directions in which nothing was held back since they were lost: nobody can have noticed them. */
  unfelt(): string[] {
    return [...this.#lost].filter(direction => {
      const now = [...this.#lines].map(line => this.#heldIn(line).get(direction) ?? 0);
      return now.reduce((sum, held) => sum + held, this.#heldBefore.get(direction) ?? 0) === 0;
    });
  }

  heal(): void {
    this.#lost.clear();
    this.#heldBefore.clear();
    this.#steer();
  }

  /** A port of its own for each who connects: it says first, in a line, which port it means. */
  async portFor(from: string, whoHas: (port: number) => string): Promise<number> {
    return this.#listen(near => {
      let said = '';
      near.on('data', function listen(bytes: Buffer) {
        near.pause();
        said += bytes.toString('latin1');
        const end = said.indexOf('\n');
        if (end === -1) {
          near.resume();
          return;
        }
        near.off('data', listen);
        if (said.length > end + 1) near.unshift(Buffer.from(said.slice(end + 1), 'latin1'));
        join(Number(said.slice(0, end)));
      });
      const join = (port: number): void => this.#join(near, { from, to: whoHas(port), port });
    });
  }

  /** A port in front of one party's: who connects is told by its process. */
  async portBefore(to: string, port: number, pids: () => Map<string, number>): Promise<number> {
    return this.#listen(near => {
      const from = ownerOf(near.remotePort ?? 0, pids()) ?? 'somebody';
      this.#join(near, { from, to, port });
    });
  }

  async close(): Promise<void> {
    for (const { near, far } of this.#lines) {
      near.destroy();
      far.destroy();
    }
    await Promise.all(
      this.#servers.map(server => {
        const closed = once(server, 'close');
        server.close();
        return closed;
      }),
    );
  }

  async #listen(onConnection: (near: Socket) => void): Promise<number> {
    const server = createServer(near => {
      near.on('error', () => near.destroy());
      onConnection(near);
    });
    const port = await freePort();
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
    this.#servers.push(server);
    return port;
  }

  #join(near: Socket, { from, to, port }: { from: string; to: string; port: number }): void {
    const line = { from, to, near, far: connect(port, '127.0.0.1') };
    this.#lines.add(line);
    const end = (): void => {
      if (this.#lines.delete(line)) {
        for (const [direction, held] of this.#heldIn(line))
          this.#heldBefore.set(direction, (this.#heldBefore.get(direction) ?? 0) + held);
      }
      line.near.destroy();
      line.far.destroy();
    };
    for (const socket of [line.near, line.far]) {
      socket.setNoDelay(true);
      socket.on('error', end);
      socket.on('close', end);
    }
    line.near.on('data', bytes => line.far.write(bytes));
    line.far.on('data', bytes => line.near.write(bytes));
    this.#steer();
  }

  #heldIn({ from, to, near, far }: Line): Map<string, number> {
    const held = new Map([
      [`${from} ${to}`, near.readableLength],
      [`${to} ${from}`, far.readableLength],
    ]);
    for (const direction of held.keys()) if (!this.#lost.has(direction)) held.delete(direction);
    return held;
  }

  #steer(): void {
    for (const { from, to, near, far } of this.#lines) {
      if (this.#lost.has(`${from} ${to}`)) near.pause();
      else near.resume();
      if (this.#lost.has(`${to} ${from}`)) far.pause();
      else far.resume();
    }
  }
}

/** Which of these processes has the TCP connection that comes from this local port. */
function ownerOf(localPort: number, pids: Map<string, number>): string | null {
  const address = `0100007F:${localPort.toString(16).toUpperCase().padStart(4, '0')}`;
  const row = readFileSync('/proc/net/tcp', 'latin1')
    .split('\n')
    .map(line => line.trim().split(/\s+/))
    .find(columns => columns[1] === address && columns[9] !== '0');
  const inode = row?.[9];
  if (inode === undefined) return null;
  for (const [name, pid] of pids) if (hasSocket(pid, inode)) return name;
  return null;
}

function hasSocket(pid: number, inode: string): boolean {
  const directory = `/proc/${pid}/fd`;
  try {
    return readdirSync(directory).some(descriptor => {
      try {
        return readlinkSync(`${directory}/${descriptor}`) === `socket:[${inode}]`;
      } catch {
        return false;
      }
    });
  } catch {
    return false;
  }
}
