/** A change to the code that takes a rule of ownership away, and the tests that have to notice. */
export interface Mutant {
  /** The rule of design 5, and what becomes of it. */
  name: string;
  file: string;
  /** Found exactly once in the file. */
  search: string;
  replace: string;
  /** The tests that have to notice; or so many seeds of the simulator, of one mode or of all. */
  test: string | { seeds: number; mode?: string };
}

const holdings = { file: 'src/agent/holdings.ts', test: 'test/agent/holdings.test.ts' };
const session = { file: 'src/store/session.ts', test: 'test/store/session.test.ts' };
const lostStore = { test: 'test/agent/lost-store.test.ts' };
const evidence = { test: 'test/agent/evidence.test.ts' };
const keeper = { file: 'src/agent/session-keeper.ts', test: 'test/agent/session-keeper.test.ts' };
const promises = { file: 'src/agent/promise-loop.ts', test: 'test/agent/promise-loop.test.ts' };

const forgotten = {
  file: 'src/ownership/forgotten-instances.ts',
  test: 'test/ownership/forgotten-instances.test.ts',
};
const forgetting = { file: 'src/agent/forget-instances.ts', test: 'test/agent/forget-instances.test.ts' };

export const mutants: Mutant[] = [
  {
    ...holdings,
    name: 'rule 1: the owner key may have changed since it was read',
    search: "? { kind: 'owners', name: subject, revision: known.revision }",
    replace: "? { kind: 'owners', name: subject, is: 'present' }",
  },
  {
    ...holdings,
    name: 'rule 1: what nobody had may have been taken meanwhile',
    search: ": { kind: 'owners', name: subject, is: 'absent' },\n      {",
    replace: ": { kind: 'sessions', name: `${this.#node}/${session.incarnation}`, is: 'present' },\n      {",
  },
  {
    ...holdings,
    name: 'rule 1: the own session key may be on another lease',
    search: 'name: `${this.#node}/${session.incarnation}`, lease: session.lease',
    replace: "name: `${this.#node}/${session.incarnation}`, is: 'present'",
  },
  {
    ...holdings,
    name: 'rule 1: the former owner may be alive',
    search: "name: `${previous.node}/${previous.incarnation}`, is: 'absent' }",
    replace: "name: `${this.#node}/${session.incarnation}`, is: 'present' }",
  },
  {
    ...holdings,
    name: 'rule 1: a lost reply counts as success, whoever won',
    file: 'src/agent/owner-key.ts',
    search: 'return entry?.value.operation === record.operation ? entry : null;',
    replace: 'return entry;',
  },
  {
    ...holdings,
    name: 'rule 1: a lost reply counts as failure',
    file: 'src/agent/owner-key.ts',
    search: 'return entry?.value.operation === record.operation ? entry : null;',
    replace: 'return null;',
  },
  {
    ...holdings,
    name: 'rule 1: claims that share a transaction compare for the first of them only',
    search: 'const compares = drafts.flatMap(draft => draft.compares);',
    replace: 'const compares = drafts.slice(0, 1).flatMap(draft => draft.compares);',
  },
  {
    ...holdings,
    name: 'rule 1: a claim is refused for what became of another',
    search: 'if (owners.length > 0 || batch.length === 1) return owners;',
    replace: 'return owners;',
  },
  {
    ...holdings,
    name: 'rule 1: a claim that nobody answered for is never discovered',
    search: 'if (!isOf(value, this.#node, session.incarnation) || this.#held.has(name)) continue;',
    replace: 'continue;',
  },
  {
    name: 'rule 1: removing an app deletes owner keys that are owned',
    file: 'src/agent/claim-loop.ts',
    search: 'if (busy) continue;',
    replace: '',
    test: 'test/agent/claim-loop.test.ts',
  },
  {
    ...session,
    name: 'rule 2: a renewal counts from its reply',
    search: 'this.provenAtMs = sentAtMs;',
    replace: 'this.provenAtMs = this.parts.clock.now();',
  },
  {
    ...session,
    name: 'rule 2: a keepalive reply alone extends the deadline',
    search: 'else if (!(await this.parts.key.check(this.parts.stale, timeoutMs))) this.lose(KEY_GONE);',
    replace: '',
  },
  {
    name: 'rule 2: there is no margin',
    file: 'src/model/deadline.ts',
    search: 'return sentMs + ttlSeconds * 1000 - marginMs(ttlSeconds);',
    replace: 'return sentMs + ttlSeconds * 1000;',
    test: 'test/store/session.test.ts',
  },
  {
    ...holdings,
    name: 'rule 4: claims are sent after the deadline',
    search: 'if (!session.valid()) return [];\n',
    replace: '',
  },
  {
    ...holdings,
    name: 'rule 4: what comes back after the deadline is held',
    search: 'if (taken === null || !session.valid()) return [];',
    replace: 'if (taken === null) return [];',
  },
  {
    name: 'rule 4: a stale copy of the world will do',
    file: 'src/agent/claim-loop.ts',
    search: ' || world.staleMs() > TOO_STALE_MS',
    replace: '',
    test: 'test/agent/claim-loop.test.ts',
  },
  {
    ...keeper,
    name: 'rule 4: a session past its deadline is the session in force',
    search: 'return this.#session?.valid() === true ? this.#session : null;',
    replace: 'return this.#session;',
  },
  {
    ...holdings,
    name: 'rule 8: with the session everything is forgotten',
    search:
      'for (const [subject, holding] of this.#held) if (!holding.exclusive) this.#former.set(subject, holding);',
    replace: '',
  },
  {
    ...lostStore,
    name: 'rule 8: what is not owned is stopped at once',
    file: 'src/ownership/overlap.ts',
    search: 'return ready\n',
    replace: 'return !ready || ready\n',
  },
  {
    ...lostStore,
    name: "rule 8: any node's ready copy counts as the owner's",
    file: 'src/ownership/overlap.ts',
    search: ' && other.node === owner && other.ready',
    replace: ' && other.ready',
  },
  {
    ...lostStore,
    name: 'rule 8: a copy goes on for ever, whoever is ready',
    file: 'src/ownership/overlap.ts',
    search: 'return ready\n',
    replace: 'return ready && !ready\n',
  },
  {
    ...lostStore,
    name: 'rule 8: crashes are not repaired while cut off',
    file: 'src/agent/targets.ts',
    search: 'mayStart: waitingFor === null,',
    replace: 'mayStart: owned && waitingFor === null,',
  },
  {
    ...lostStore,
    name: 'rule 8: a node with nothing left to stop does not say so',
    file: 'src/agent/targets.ts',
    search: 'return !this.#options.runs(instance) && this.#ownedByAnother(instance);',
    replace: 'return false;',
  },
  {
    ...lostStore,
    name: 'rule 8: a takeover does not say who may still run it',
    file: 'src/ownership/records.ts',
    search:
      'const former = previous !== null && previous.released === null && formerMayRun ? [previous.node] : [];',
    replace: 'const former: NodeName[] = [];',
  },
  {
    ...lostStore,
    name: 'rule 8: a stop is confirmed while the copy runs',
    file: 'src/agent/instance-loop.ts',
    search: 'if (instance === null || this.runs(instance) || holdings.former().has(entry.name)) continue;',
    replace: '',
  },
  {
    ...lostStore,
    name: 'rule 8: a stop is never confirmed',
    file: 'src/agent/instance-loop.ts',
    search: '    this.#confirmStopped();\n',
    replace: '',
  },
  {
    ...keeper,
    name: 'rule 9: a restarted agent never resumes',
    search: 'resume: resumable ? { incarnation: saved.incarnation, lease: saved.lease } : null,',
    replace: 'resume: null,',
  },
  {
    ...keeper,
    name: 'rule 9: another boot resumes',
    search: 'saved.bootId === bootId &&',
    replace: '',
  },
  {
    ...keeper,
    name: 'rule 9: another TTL resumes',
    search: 'saved.ttlSeconds === record.ttlSeconds &&',
    replace: '',
  },
  {
    name: 'rule 9: what a resumed session owns is taken anew',
    file: 'src/agent/holdings.ts',
    search: 'if (isOf(entry.value, this.#node, session.incarnation)) this.#hold(entry, session);',
    replace:
      "if (isOf(entry.value, this.#node, session.incarnation)) this.#hold({ ...entry, value: { ...entry.value, token: '0' } }, session);",
    test: 'test/agent/holdings.test.ts',
  },
  {
    name: 'rule 9: what runs unowned after a restart is stopped',
    file: 'src/ownership/overlap.ts',
    search:
      "return { instance, stopNow: false, reason: 'nobody owns it: kept running until somebody does' };",
    replace: "return { instance, stopNow: true, reason: 'nobody owns it' };",
    test: 'test/agent/agent.test.ts',
  },
  {
    name: 'rule 10: it is released before it has stopped',
    file: 'src/reconcile/reconcile.ts',
    search: "if (units.every(unit => unit.phase.kind === 'exited')) {",
    replace: 'if (units.length >= 0) {',
    test: 'test/agent/instance-loop.test.ts',
  },
  {
    ...holdings,
    name: 'rule 10: any token of this node releases',
    search: ' && tokenOf(entry) === token',
    replace: '',
  },
  {
    ...holdings,
    name: 'rule 10: a zombie releases what is not its own',
    search: 'if (!entry || !own) return false;',
    replace: 'if (!entry) return false;',
  },
  {
    ...holdings,
    name: 'rule 10: the agent before releases what the next goes on with',
    search: 'this.#stillOurs(entry), ',
    replace: '',
  },
  {
    ...holdings,
    name: 'rule 10: what is left of a lost session is released while an agent may go on with it',
    search: "{ ...session, is: 'absent' }",
    replace: "{ kind: 'owners', name, is: 'present' }",
  },
  {
    name: 'rule 10: what may have been released is started again',
    file: 'src/agent/targets.ts',
    search: "leaving ? 'this node is leaving' : holding.releasing;",
    replace: "leaving ? 'this node is leaving' : null;",
    test: 'test/agent/instance-loop.test.ts',
  },
  {
    ...holdings,
    name: 'rule 10: a release that was refused counts as done',
    search: "if (result.kind === 'committed') return true;",
    replace: 'if (result.revision >= 0n) return true;',
  },
  {
    name: 'rule 5: what is exclusive is handed over alive',
    file: 'src/ownership/records.ts',
    search: 'if (owner.exclusive === true) throw',
    replace: "if (owner.subject === '') throw",
    test: holdings.test,
  },
  {
    name: 'rule 5: the owner key of what is exclusive is freed while it runs',
    file: 'src/ownership/records.ts',
    search: 'if (owner.exclusive === true) throw',
    replace: "if (owner.subject === '') throw",
    test: 'test/ownership/records.test.ts',
  },
  {
    name: 'rule 8: whoever hands over is not said to run it still',
    file: 'src/ownership/records.ts',
    search: 'mayStillRun: [...without(owner.node, owner.mayStillRun), owner.node],',
    replace: 'mayStillRun: without(owner.node, owner.mayStillRun),',
    test: 'test/ownership/records.test.ts',
  },
  {
    name: 'rule 5: a drain does not stop what is exclusive before it goes',
    file: 'src/agent/drain-loop.ts',
    search: 'if (exclusive) {',
    replace: 'if (exclusive && reason === "") {',
    test: 'test/agent/drain-loop.test.ts',
  },
  {
    ...evidence,
    name: 'rule 12: one witness will do',
    file: 'src/agent/evidence.ts',
    search: 'const FEWEST_WITNESSES = 2;',
    replace: 'const FEWEST_WITNESSES = 1;',
  },
  {
    ...evidence,
    name: 'rule 12: an instance that answers is taken',
    file: 'src/agent/evidence.ts',
    search: 'return witnesses(world, nodes, node, `running:${instance}`);',
    replace: "return witnesses(world, nodes, node, 'capacity');",
  },
  {
    ...evidence,
    name: 'rule 12: the evidence may be gone when it is taken',
    file: 'src/agent/holdings.ts',
    search: "...evidence.map(({ name, revision }) => ({ kind: 'assessments' as const, name, revision })),",
    replace: '',
  },
  {
    ...promises,
    name: 'promises: what a late write has put over one stays there',
    search: '      this.#unwritten.set(name, said ?? null);\n',
    replace: '',
  },
  {
    ...promises,
    name: 'promises: what a late write has put over one stays there until the next look',
    search: 'if (changed.some(isOther)) this.wakeSoon();',
    replace: '',
  },
  {
    ...forgotten,
    name: 'rule 1: what was never released is forgotten with its app',
    search: '      released !== null &&\n',
    replace: '',
  },
  {
    ...forgotten,
    name: 'rule 8: what may still run is forgotten with its app',
    search: '      mayStillRun.length === 0 &&\n',
    replace: '',
  },
  {
    ...forgetting,
    name: 'rule 1: what was taken since it was looked at is forgotten',
    search: "        { kind: 'owners', name, revision },\n",
    replace: '',
  },
  {
    ...forgetting,
    name: 'rule 1: what an app that is there again has released is forgotten',
    search: "        { kind: 'apps', name: parseInstanceId(instance).app, is: 'absent' },\n",
    replace: '',
  },
];
