import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { freePort } from './free-port.ts';

/**
 * `pass`; `delay` = every reply comes later; `black-hole` = nothing goes either way and nobody is told; `drop-replies` = requests
 * arrive, replies do not; `drop-requests` = the other way round; `refuse` = as if nobody listened.
 */
export type ProxyMode = 'pass' | 'delay' | 'black-hole' | 'drop-replies' | 'drop-requests' | 'refuse';

interface Pair {
  client: Socket;
  upstream: Socket;
}

/** Stands between a client and one TCP port, and misbehaves when told to. Make it with `startTcpProxy`. */
export class TcpProxy {
  readonly port: number;
  private readonly target: number;
  private readonly pairs = new Set<Pair>();
  private server: Server | null = null;
  private mode: ProxyMode = 'pass';
  private delayMs = 0;
  private withheld = 0;
  private passed = 0;

  constructor(port: number, target: number) {
    this.port = port;
    this.target = target;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** What did not pass, or not at once, since the mode was set last: 0 = nobody can have noticed it. */
  get withheldBytes(): number {
    return [...this.pairs].reduce((sum, pair) => sum + this.heldIn(pair), this.withheld);
  }

  /** Of replies, since the start: more than before = somebody uses it. */
  get passedBytes(): number {
    return this.passed;
  }

  /** Held bytes are delivered late when a black hole ends, as TCP does; connections that lost bytes are cut. */
  async set(mode: ProxyMode, delayMs = 0): Promise<void> {
    const before = this.mode;
    this.mode = mode;
    this.delayMs = delayMs;
    this.withheld = 0;
    if (mode === 'refuse') await this.stopListening();
    if (mode === 'refuse' || before === 'drop-replies' || before === 'drop-requests') this.cut();
    for (const pair of this.pairs) this.steer(pair);
    if (mode !== 'refuse') await this.listen();
  }

  /** Resets every connection; new ones are accepted. */
  cut(): void {
    for (const { client, upstream } of this.pairs) {
      client.destroy();
      upstream.destroy();
    }
    this.pairs.clear();
  }

  async listen(): Promise<void> {
    if (this.server) return;
    const server = createServer(client => this.join(client));
    this.server = server;
    server.listen(this.port, '127.0.0.1');
    await once(server, 'listening');
  }

  async stop(): Promise<void> {
    this.cut();
    await this.stopListening();
  }

  private async stopListening(): Promise<void> {
    const server = this.server;
    this.server = null;
    if (!server) return;
    const closed = once(server, 'close');
    server.close();
    this.cut();
    await closed;
  }

  private join(client: Socket): void {
    const pair: Pair = { client, upstream: connect(this.target, '127.0.0.1') };
    this.pairs.add(pair);
    const end = () => {
      if (this.pairs.delete(pair)) this.withheld += this.heldIn(pair);
      pair.client.destroy();
      pair.upstream.destroy();
    };
    for (const socket of [pair.client, pair.upstream]) {
      socket.setNoDelay(true);
      socket.on('error', end);
      socket.on('close', end);
    }
    pair.client.on('data', bytes => {
      if (this.mode === 'drop-requests') this.withheld += bytes.length;
      else pair.upstream.write(bytes);
    });
    pair.upstream.on('data', bytes => this.reply(pair, bytes));
    this.steer(pair);
  }

  private reply({ client }: Pair, bytes: Buffer): void {
    if (this.mode === 'drop-replies' || this.delayMs > 0) this.withheld += bytes.length;
    if (this.mode === 'drop-replies') return;
    this.passed += bytes.length;
    if (this.delayMs === 0) client.write(bytes);
    else setTimeout(() => client.destroyed || client.write(bytes), this.delayMs);
  }

  private heldIn({ client, upstream }: Pair): number {
    return this.mode === 'black-hole' ? client.readableLength + upstream.readableLength : 0;
  }

  private steer(pair: Pair): void {
    for (const socket of [pair.client, pair.upstream]) {
      if (this.mode === 'black-hole') socket.pause();
      else socket.resume();
    }
  }
}

export async function startTcpProxy(target: number): Promise<TcpProxy> {
  const proxy = new TcpProxy(await freePort(), target);
  await proxy.listen();
  return proxy;
}
