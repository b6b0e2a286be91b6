import type { Endpoint } from '../../src/model/node-promise.ts';
import type { Pool } from '../../src/model/traffic.ts';
import type { Proxy, ProxyReport } from '../../src/ports/proxy.ts';
import { plan } from '../../src/proxy/plan.ts';
import { ProxyError } from '../../src/proxy/runtime.ts';
import { emptyState, grown, performed, type ProxyState } from '../../src/proxy/state.ts';

/** The proxy process of one machine: it stays when the agent, and with it a FakeProxy, is gone. */
export class FakeProxyProcess {
  state: ProxyState | null = null;
  /** How often it was reloaded. */
  reloads = 0;
  /** Set to make every `apply` fail, as when its socket does not answer. */
  unreachable = false;
  /** Requests answered so far: they go round the ready instances. */
  answered = 0;
}

export type FakeAnswer = { status: 200; endpoint: Endpoint } | { status: 404 | 503 };

/** Routes requests in memory the way the real one does; `ask` is a client. */
export class FakeProxy implements Proxy {
  readonly process: FakeProxyProcess;
  private readonly size: { backends: number; slots: number };
  private started = false;

  constructor(options: { process?: FakeProxyProcess; backends?: number; slots?: number } = {}) {
    this.process = options.process ?? new FakeProxyProcess();
    this.size = { backends: options.backends ?? 32, slots: options.slots ?? 16 };
  }

  async start(): Promise<void> {
    this.started = true;
    this.process.state ??= emptyState(this.size.backends, this.size.slots);
  }

  async apply(pools: Pool[]): Promise<ProxyReport> {
    if (!this.started || this.process.unreachable) {
      throw new ProxyError('the proxy does not answer', { retryable: this.started });
    }
    let state = this.process.state ?? emptyState(this.size.backends, this.size.slots);
    let next = plan(pools, state);
    const reloaded = next.kind === 'grow';
    while (next.kind === 'grow') {
      state = grown(state, next.backends, next.slots);
      next = plan(pools, state);
    }
    if (reloaded) this.process.reloads += 1;
    this.process.state = next.commands.reduce(performed, state);
    return { commands: next.commands.length, reloaded };
  }

  async stop(): Promise<void> {
    this.started = false;
    this.process.state = null;
  }

  /** What a client gets that asks for this Host, or null when nobody listens. */
  ask(hostHeader: string): FakeAnswer | null {
    const { state } = this.process;
    if (state === null) return null;
    const host = hostHeader.toLowerCase().replace(/:\d+$/, '');
    const name = [host, host.replace(/^[^.]+/, '*'), '_'].find(key => state.routes.has(key));
    if (name === undefined) return { status: state.informed ? 404 : 503 };
    const backend = state.backends.find(one => one.name === state.routes.get(name));
    const ready = (backend?.slots ?? []).filter(slot => slot.state === 'ready');
    const slot = ready[this.process.answered++ % Math.max(1, ready.length)];
    return slot === undefined ? { status: 503 } : { status: 200, endpoint: slot.endpoint };
  }
}
