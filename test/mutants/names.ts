import type { Mutant } from './ownership.ts';

const agent = 'test/agent/names/named-agents.test.ts';
const keys = { file: 'src/agent/names/name-keys.ts', test: agent };
const names = { file: 'src/agent/names/named-agents.ts', test: agent };
const claims = { file: 'src/agent/names/name-claims.ts', test: agent };
const machine = { file: 'src/agent/names/name-machine.ts', test: agent };
const states = { file: 'src/agent/names/name-states.ts', test: agent };
const commands = { file: 'src/agent/names/named-commands.ts', test: agent };

/** Each takes out one thing that keeps a name from being two holders' at once, or its state from being lost. */
export const nameMutants: Mutant[] = [
  {
    ...keys,
    name: 'rule 13: no re-check after a wait',
    search: "if (waiter !== null) compares.push({ kind: 'waiters', name: waiter, lease: session.lease });",
    replace: '',
  },
  {
    ...keys,
    name: 'rule 13: the former owner of a name may be alive',
    search:
      "compares.push({ kind: 'sessions', name: `${previous.node}/${previous.incarnation}`, is: 'absent' });",
    replace: 'void previous;',
  },
  {
    ...keys,
    name: 'rule 13: a release without compare',
    search:
      'if (entry?.value.node !== node || entry.value.released !== null || tokenOf(entry) !== token) return;',
    replace: 'if (!entry) return;',
  },
  {
    name: 'rule 13: the agent before releases what the next goes on with',
    file: keys.file,
    search:
      "{ kind: 'owners', name: subject, revision: entry.revision },\n        { kind: 'sessions', name: `${node}/${incarnation}`, lease },",
    replace: "{ kind: 'owners', name: subject, revision: entry.revision },",
    test: 'test/contract/waiters.test.ts',
  },
  {
    ...keys,
    name: 'rule 13: the token is not compared on state writes',
    search: "{ kind: 'owners', name: subjectOfAgent(name), revision: taken.revision },",
    replace: '',
  },
  {
    ...keys,
    name: 'rule 13: the owner key is deleted on release',
    search: "{ put: 'owners', name: subject, value: releasedRecord(entry.value, token, at, reason) },",
    replace: "{ delete: 'owners', name: subject },",
  },
  {
    ...names,
    name: 'rule 13: any holder of the node has it',
    search: 'const known = this.#claims.get(name, holder);\n    if (known?.state',
    replace: 'const known = this.#claims.held(name);\n    if (known?.state',
  },
  {
    ...machine,
    name: 'rule 13: nobody waits for those before it',
    search: 'return ahead > 0 && first',
    replace: 'return ahead > 99 && first',
  },
  {
    ...machine,
    name: 'rule 3: a name needs no hold-down',
    search: 'if (forMs > 0) {\n      const last',
    replace: 'if (forMs > 1e9) {\n      const last',
  },
  {
    ...machine,
    name: 'rule 3: what a program does outside counts as dead with the session',
    search: 'keeper.wasOwn(unreleased.incarnation) && isCommand(unreleased.holder);',
    replace: 'keeper.wasOwn(unreleased.incarnation);',
  },
  {
    ...claims,
    name: 'rule 4: it is valid for longer than the session',
    search: ': Math.min(session.deadlineMs(), heardMs + ttlSeconds * 1000);',
    replace: ': heardMs + ttlSeconds * 1000;',
  },
  {
    ...machine,
    name: 'rule 5: a lost session stops no command',
    search:
      'commands?.exclusive.lose(reason);\n      for (const claim of claims.assigned()) this.#lost(claim, reason);',
    replace: 'void reason;',
  },
  {
    ...machine,
    name: 'rule 9: a new session keeps the names of the old one',
    search: 'if (claim.taken?.incarnation !== session.incarnation)',
    replace: 'if (claim.name === "")',
  },
  {
    ...claims,
    name: 'rule 13: a silent holder loses it before its time is over',
    search: 'return heardMs + ttlSeconds * 1000 + marginMs(ttlSeconds);',
    replace: 'return heardMs + ttlSeconds * 500;',
  },
  {
    ...commands,
    name: 'rule 6: commands run without the guard',
    search: 'guarded: true,',
    replace: 'guarded: false,',
  },
  {
    ...commands,
    name: 'rule 6: a new session puts off the guard of what a lost one left',
    search: "({ phase, claim }) => phase !== 'waiting' && phase !== 'ended' && claim.state !== 'Assigned',",
    replace: "({ phase }) => phase === 'waiting' && phase !== 'waiting',",
  },
  {
    ...commands,
    name: 'rule 10: the name is released before the death is confirmed',
    search: 'command.claim.changed();\n    driver.stop(unit',
    replace: 'this.#options.onEnded(command, reason);\n    driver.stop(unit',
  },
  {
    name: 'rule 11: what a stale token tried is not counted',
    file: 'src/agent/names/name-claims.ts',
    search: 'if (token !== null) this.refused(use, name, holder, token);',
    replace: 'void use;',
    test: agent,
  },
  {
    name: 'rule 11: a state refused by the store is not counted',
    file: 'src/agent/names/name-states.ts',
    search: "claims.refused('state', name, holder, token);\n",
    replace: '',
    test: agent,
  },
  {
    name: 'rule 11: each stale attempt is told to the ledger',
    file: 'src/agent/stale-tokens.ts',
    search: 'if (this.#told.has(key)) return;',
    replace: '',
    test: agent,
  },
  {
    name: 'rule 11: a copy of another ownership gets requests',
    file: 'src/agent/proxy-loop.ts',
    search: '.filter(([, known]) => this.#mayServe(known));',
    replace: ';',
    test: 'test/agent/proxy-loop.test.ts',
  },
  {
    name: 'rule 11: that a copy gets no requests any more is told nobody',
    file: 'src/agent/proxy-loop.ts',
    search: "stale.refused({ use: 'route', subject, by: promiser, token: lease ?? 'none' });",
    replace: 'void stale;\n      void subject;',
    test: 'test/agent/proxy-loop.test.ts',
  },
  {
    ...states,
    name: 'rule 13: a state is answered from memory while it is written',
    search: '      claim.kept = undefined;\n      try {',
    replace: '      try {',
  },
  {
    ...states,
    name: 'rule 13: a state is answered from memory though a write may still come in',
    search: ' && claim.unansweredAfter !== revisionOf(read)',
    replace: '',
  },
  {
    name: 'rule 13: a name is forgotten though somebody has it',
    file: 'src/ownership/forgotten-names.ts',
    search: 'value.released !== null && value.mayStillRun.length === 0;',
    replace: 'value.mayStillRun.length === 0;',
    test: 'test/ownership/forgotten-names.test.ts',
  },
  {
    name: 'rule 13: what a lost node had is never forgotten',
    file: 'src/agent/names/named-agents.ts',
    search: 'await releaseAbandoned({ ...this.#options, names: this, signal });',
    replace: '',
    test: 'test/agent/names/forget-names.test.ts',
  },
  {
    name: 'rule 13: a name is forgotten while whoever had it may come back for it',
    file: 'src/ownership/forgotten-names.ts',
    search: 'return goneMs(value) >= ABANDONED_MS ?',
    replace: 'return goneMs(value) >= 0 ?',
    test: 'test/ownership/forgotten-names.test.ts',
  },
  {
    name: 'rule 13: a name is forgotten though it was taken since it was looked at',
    file: 'src/agent/names/forget-names.ts',
    search: "[{ kind: 'owners', name, revision }],",
    replace: '[],',
    test: 'test/agent/names/forget-names.test.ts',
  },
];
