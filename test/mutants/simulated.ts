import type { Mutant } from './ownership.ts';

const test = { seeds: 30 };
const holdings = { file: 'src/agent/holdings.ts', test };

/** What no single test need foresee: some life of a simulated cluster notices each of these. */
export const simulatedMutants: Mutant[] = [
  {
    ...holdings,
    name: 'simulated, rule 1: the owner key may have changed since it was read',
    search: "? { kind: 'owners', name: subject, revision: known.revision }",
    replace: "? { kind: 'owners', name: subject, is: 'present' }",
  },
  {
    ...holdings,
    name: 'simulated, rule 1: the former owner may be alive',
    search: "name: `${previous.node}/${previous.incarnation}`, is: 'absent' }",
    replace: "name: `${this.#node}/${session.incarnation}`, is: 'present' }",
  },
  {
    name: 'simulated, rule 1: a lost reply counts as success, whoever won',
    file: 'src/agent/owner-key.ts',
    test,
    search: 'return entry?.value.operation === record.operation ? entry : null;',
    replace: 'return entry;',
  },
  {
    name: 'simulated, rule 3: no hold-down',
    file: 'src/ownership/hold-down.ts',
    search: 'const wholeMs = owner.ttlSeconds * 1000;',
    replace: 'const wholeMs = 0;',
    test,
  },
  {
    name: 'simulated, rule 3: a dead incarnation of any node waits for nothing',
    file: 'src/agent/agent.ts',
    search: 'owner?.value.node === config.name && this.#keeper.wasOwn(owner.value.incarnation);',
    replace: 'true;',
    test,
  },
  {
    name: 'simulated, rule 5: what is exclusive lives for three leases after the last renewal',
    file: 'src/model/deadline.ts',
    search: 'return sentMs + ttlSeconds * 1000 - marginMs(ttlSeconds);',
    replace: 'return sentMs + ttlSeconds * 3000;',
    test,
  },
  {
    name: 'simulated, rule 8: what is not owned is stopped at once',
    file: 'src/ownership/overlap.ts',
    search: 'return ready\n',
    replace: 'return !ready || ready\n',
    test,
  },
  {
    name: 'simulated, rule 8: a takeover does not say who may still run it',
    file: 'src/ownership/records.ts',
    search:
      'const former = previous !== null && previous.released === null && formerMayRun ? [previous.node] : [];',
    replace: 'const former: NodeName[] = [];',
    test,
  },
  {
    name: 'simulated, rule 8: a stop is confirmed while the copy runs',
    file: 'src/agent/instance-loop.ts',
    search: 'if (instance === null || this.runs(instance) || holdings.former().has(entry.name)) continue;',
    replace: '',
    test,
  },
  {
    name: 'simulated, rule 10: it is released before it has stopped',
    file: 'src/reconcile/reconcile.ts',
    search: "if (units.every(unit => unit.phase.kind === 'exited')) {",
    replace: 'if (units.length >= 0) {',
    test,
  },
  {
    name: 'simulated, rule 3: a name needs no hold-down',
    file: 'src/agent/names/name-machine.ts',
    search: 'if (forMs > 0) {\n      const last',
    replace: 'if (forMs > 1e9) {\n      const last',
    test,
  },
  {
    name: 'simulated, rule 13: a state is answered from memory while it is written',
    file: 'src/agent/names/name-states.ts',
    search: '      claim.kept = undefined;\n      try {',
    replace: '      try {',
    test: { seeds: 20, mode: 'names' },
  },
];
