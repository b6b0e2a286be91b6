import { InterceptingCall, type CallOptions, type Interceptor } from '@grpc/grpc-js';
import { noop } from 'cockatiel';
import { Etcd3, type IOptions } from 'etcd3';
import type { Log } from '../ports/log.ts';

export interface Password {
  username: string;
  password: string;
}

export interface MemberOptions {
  credentials: IOptions['credentials'] | null;
  password: Password | null;
  log: Log;
}

const CONNECT_MS = 2_000;

/**
 * One endpoint with one connection. The library's retries and breaker are off: they send transactions twice, and
 * stall every call for seconds. Its password authentication is not used either, because it deadlocks on an
 * outdated token and its streams keep the one they began with: tokens are got and sent here.
 */
export class Member {
  readonly url: string;
  readonly client: Etcd3;
  private readonly password: Password | null;
  private readonly log: Log;
  private token: string | null = null;
  private authenticating: Promise<void> | null = null;
  private saidAuthOff = false;

  constructor(url: string, options: MemberOptions) {
    this.url = url;
    this.password = options.password;
    this.log = options.log;
    this.client = new Etcd3({
      hosts: url.replace(/\/$/, ''),
      grpcOptions: {
        // Not below 5 s, and not without calls: etcd closes connections that ping more.
        'grpc.keepalive_time_ms': 6_000,
        'grpc.keepalive_timeout_ms': 2_000,
        'grpc.keepalive_permit_without_calls': 0,
        'grpc.max_receive_message_length': 64 << 20,
        'grpc.enable_http_proxy': 0,
        'grpc.initial_reconnect_backoff_ms': 100,
        'grpc.max_reconnect_backoff_ms': 1_000,
      },
      faultHandling: { host: () => noop, global: noop },
      ...(options.credentials ? { credentials: options.credentials } : {}),
    });
  }

  /** What every call of this member is made with. A stream has no deadline. */
  async callOptions(timeoutMs: number | null): Promise<CallOptions> {
    if (this.password && this.token === null) {
      this.authenticating ??= this.authenticate(this.password).finally(() => (this.authenticating = null));
      await this.authenticating;
    }
    const interceptors = [headers(this.token)];
    return timeoutMs === null ? { interceptors } : { interceptors, deadline: Date.now() + timeoutMs };
  }

  /** Whether it answers for itself, if only to say no: that takes no leader. */
  async isThere(timeoutMs: number): Promise<boolean> {
    try {
      await this.client.maintenance.status(await this.callOptions(timeoutMs));
      return true;
    } catch (error) {
      return error instanceof Error && error.message.includes('etcdserver: ');
    }
  }

  /** Whether etcd asks who is there. With a password only. @throws Error when that is wrong */
  async authenticationEnabled(): Promise<boolean> {
    await this.callOptions(null);
    return this.token !== '';
  }

  /** After etcd has refused it. True when another can be had. */
  forgetToken(): boolean {
    this.token = null;
    return this.password !== null;
  }

  close(): void {
    this.client.close();
  }

  private async authenticate(password: Password): Promise<void> {
    try {
      const options = { interceptors: [headers(null)], deadline: Date.now() + CONNECT_MS };
      const request = { name: password.username, password: password.password };
      this.token = (await this.client.auth.authenticate(request, options)).token;
    } catch (error) {
      if (!(error instanceof Error && error.message.includes('authentication is not enabled'))) throw error;
      // An empty token: once etcd's authentication is turned on it refuses that, and a real one is asked for.
      this.token = '';
      if (!this.saidAuthOff) {
        this.saidAuthOff = true;
        this.log.warn('etcd does not ask for the user name and password that are set', {
          endpoint: this.url,
        });
      }
    }
  }
}

/**
 * `hasleader` makes a member without quorum fail a stream instead of staying silent. A refused token is
 * renamed because the library answers that very message by calling itself without end.
 */
function headers(token: string | null): Interceptor {
  return (options, nextCall) =>
    new InterceptingCall(nextCall(options), {
      start(metadata, _listener, next) {
        metadata.set('hasleader', 'true');
        if (token) metadata.set('token', token);
        next(metadata, {
          onReceiveStatus(status, pass) {
            const details = status.details.replace('invalid auth token', 'token was refused');
            pass({ ...status, details });
          },
        });
      },
    });
}
