import type { Mutant } from './ownership.ts';

const agent = 'test/agent/exclusive.test.ts';
const guard = 'test/contract/guard.test.ts';

/** Each takes out one thing that keeps an exclusive process from running twice. */
export const exclusiveMutants: Mutant[] = [
  {
    name: 'rule 3: no hold-down',
    file: 'src/ownership/hold-down.ts',
    search: 'const wholeMs = owner.ttlSeconds * 1000;',
    replace: 'const wholeMs = 0;',
    test: agent,
  },
  {
    name: 'rule 3: a dead incarnation of any node waits for nothing',
    file: 'src/agent/agent.ts',
    search: 'const ownDead = value.node === config.name && this.#keeper.wasOwn(value.incarnation);',
    replace: 'const ownDead = true;',
    test: agent,
  },
  {
    name: 'rule 5: stopping begins at the deadline, not before',
    file: 'src/agent/exclusive.ts',
    search: 'const beginMs = untilMs - copy.stopTimeoutSeconds * 1000;',
    replace: 'const beginMs = untilMs;',
    test: agent,
  },
  {
    name: 'rule 5: a lost session stops nothing exclusive',
    file: 'src/agent/exclusive.ts',
    search: 'for (const copy of this.#options.copies()) this.#stop(copy, reason);',
    replace: 'void reason;',
    test: agent,
  },
  {
    name: 'rule 5: the whole stop timeout is given, however little is left',
    file: 'src/agent/exclusive.ts',
    search: 'Math.max(0, Math.min(copy.stopTimeoutSeconds, leftSeconds))',
    replace: 'Math.max(copy.stopTimeoutSeconds * 5, Math.min(copy.stopTimeoutSeconds, leftSeconds))',
    test: agent,
  },
  {
    name: 'rule 6: started without an armed guard',
    file: 'src/drivers/process-driver.ts',
    search: 'if (launch.guarded !== true) return;',
    replace: 'if (launch.unit !== "") return;',
    test: 'test/drivers/process-guard.test.ts',
  },
  {
    name: 'rule 6: the guard itself starts what it is not armed for',
    file: 'src/drivers/guard-script.ts',
    search: 'if [ $left -le 0 ]; then\n  echo "hop3: not started',
    replace: 'if false; then\n  echo "hop3: not started',
    test: 'test/drivers/process-guard.test.ts',
  },
  {
    name: 'rule 6: the guard does not kill',
    file: 'src/drivers/guard-script.ts',
    search: 'right of this node to run it has ended" >&2\n    exit 137',
    replace: 'right of this node to run it has ended" >&2\n    left=1000',
    test: guard,
  },
  {
    name: 'rule 6: exclusive copies run without the guard',
    file: 'src/agent/launch.ts',
    search: 'guarded: process.exclusive,',
    replace: 'guarded: false,',
    test: agent,
  },
  {
    name: 'rule 6: armed for longer than the session is good for',
    file: 'src/agent/exclusive.ts',
    search: 'await guard.arm(Math.floor(deadlineMs));',
    replace: 'await guard.arm(Math.floor(deadlineMs) + 5000);',
    test: agent,
  },
  {
    name: 'rule 6: a node without a guard takes it',
    file: 'src/agent/agent.ts',
    search: 'this.#parts.guardMissing ?? notAdmitted',
    replace: 'notAdmitted',
    test: agent,
  },
  {
    name: 'rule 7: any lease will do',
    file: 'src/ownership/admission.ts',
    search: 'if (neededMs <= ttlSeconds * 1000) return null;',
    replace: 'if (neededMs > 0) return null;',
    test: agent,
  },
  {
    name: 'rule 8: exclusive while a redundant copy may live',
    file: 'src/agent/instance-loop.ts',
    search: 'if (others.length > 0) return',
    replace: 'if (others.length > 99) return',
    test: agent,
  },
  {
    name: 'rule 8: runs on unguarded when it becomes exclusive',
    file: 'src/agent/instance-loop.ts',
    search: 'if (owned && holding.exclusive !== process.exclusive) {',
    replace: 'if (owned && process.scale < 0) {',
    test: agent,
  },
  {
    name: 'rule 9: a new incarnation keeps what the old one ran',
    file: 'src/ownership/overlap.ts',
    search: 'if (input.exclusive?.has(instance)) {',
    replace: 'if (input.self === "") {',
    test: agent,
  },
  {
    name: 'rule 9: what was found running is ended before it is known whose it is',
    file: 'src/agent/instance-loop.ts',
    search: 'return unit.guarded === true && !this.#exclusive.settled && !this.#holds(unit.instance);',
    replace: 'return unit.guarded === true && unit.unit === "";',
    test: agent,
  },
  {
    name: 'rule 11: no token reaches the process',
    file: 'src/drivers/process-driver.ts',
    search: 'const token = launch.token ?? null;',
    replace: 'const token = null as string | null;',
    test: 'test/drivers/process-guard.test.ts',
  },
];
