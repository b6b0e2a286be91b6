import type { NodeName, Subject, Token } from '../model/ids.ts';
import type { Ledger } from './ledger.ts';

/** What was tried under a token that is not in force: to hold on to a name, give something back, write a state, be sent requests. */
export type StaleUse = 'request' | 'release' | 'state' | 'route';

interface Refused {
  use: StaleUse;
  subject: Subject;
  /** Who tried. */
  by: string;
  /** Or the lease it was had under, where no token was shown. */
  token: Token;
}

export interface StaleTokensOptions {
  node: NodeName;
  ledger: Ledger;
  count: (use: StaleUse) => void;
}

const MOST_TOLD = 1000;

/** What this agent refused because its token is stale (ownership rule 11): each time is counted, each token told once. */
export class StaleTokens {
  readonly #options: StaleTokensOptions;
  readonly #told = new Set<string>();

  constructor(options: StaleTokensOptions) {
    this.#options = options;
  }

  refused({ use, subject, by, token }: Refused): void {
    const { node, ledger, count } = this.#options;
    count(use);
    const key = `${use} ${subject} ${by} ${token}`;
    if (this.#told.has(key)) return;
    this.#told.add(key);
    const [oldest] = this.#told;
    if (oldest !== undefined && this.#told.size > MOST_TOLD) this.#told.delete(oldest);
    ledger.note({
      kind: 'stale-token-refused',
      subject,
      message: `${node} refused ${by} ${inWords[use]} ${subject}: ${told(use, token)} is not in force any more`,
      details: { use, by, fencingToken: use === 'route' ? null : token },
    });
  }
}

const inWords: Record<StaleUse, string> = {
  request: 'to go on with',
  release: 'to release',
  state: 'to write the state of',
  route: 'requests for',
};

function told(use: StaleUse, token: Token): string {
  return use === 'route' ? `what it had it under, lease ${token},` : `token ${token}`;
}
