import type { Mutant } from './ownership.ts';

const lapsed = { test: 'test/agent/lapsed.test.ts' };
const assess = { file: 'src/agent/assess-loop.ts', test: 'test/agent/assess-loop.test.ts' };
const crowd = { test: 'test/agent/crowd.test.ts' };
const lastRun = { test: 'test/agent/last-run.test.ts' };

/** Takeover by evidence when the session is gone, the brake, the hold-down of nodes that flap, and the lost store. */
export const evidenceMutants: Mutant[] = [
  {
    name: 'rule 12: a witness that was cut off stays deaf as long as its connections do',
    file: 'src/agent/beats.ts',
    search: '() => heard.hangUp.abort());',
    replace: '() => undefined);',
    test: 'test/agent/beats.test.ts',
  },
  {
    name: 'rule 12: a verdict is sent to the member of etcd that went with the host',
    file: 'src/store/endpoints.ts',
    search: '      await this.lookAround();',
    replace: '',
    test: 'test/store/endpoints.test.ts',
  },
  {
    name: 'rule 12: who hears too early that a beat is late asks nothing',
    file: 'src/platform/clock.ts',
    search: 'if (performance.now() < dueMs) arm();',
    replace: 'if (performance.now() < -dueMs) arm();',
    test: 'test/platform/clock.test.ts',
  },
  {
    ...assess,
    name: 'rule 12: of a host that is gone, the silence is waited for before anything is asked',
    search: "promise.body.kind === 'running' ? beats.lateSinceMs(promise.promiser) : null;",
    replace: 'null as number | null;',
  },
  {
    ...assess,
    name: 'rule 12: what was heard and could not be written is asked again',
    search: 'answers.push(...current.filter(',
    replace: 'void (current.filter(',
  },
  {
    ...assess,
    name: 'rule 12: a host that is gone has as long to accept as an answer may take',
    search: '...(isLate && { acceptMs: ACCEPTS_WITHIN_MS })',
    replace: '...(isLate && {})',
  },
  {
    ...lapsed,
    name: 'rule 12: what still answers is taken when its session is gone',
    file: 'src/agent/wanted.ts',
    search: "leftover(world, owner, wanted) === 'answers'",
    replace: "leftover(world, owner, wanted) === 'never'",
  },
  {
    ...lapsed,
    name: 'rule 12: nobody waits for the verdict',
    file: 'src/agent/claim-loop.ts',
    search: 'const VERDICT_MS = 3000;',
    replace: 'const VERDICT_MS = 0;',
  },
  {
    ...lapsed,
    name: 'rule 12: what observers say may change in the moment of the claim',
    file: 'src/agent/holdings.ts',
    search: '      ...further,\n',
    replace: '',
  },
  {
    ...lapsed,
    name: 'rule 12: observers forget what to ask with their agent',
    file: 'src/agent/lapsed.ts',
    search: 'this.#promises.get(name) ?? this.#told(name)',
    replace: 'this.#promises.get(name)',
  },
  {
    name: 'rule 12: one observer without an answer is enough',
    file: 'src/assess/last-word.ts',
    search: 'if (without * 2 > observers.length)',
    replace: 'if (without > 0)',
    test: 'test/assess/last-word.test.ts',
  },
  {
    name: 'rule 12: an observer that doubts itself says that it is gone',
    file: 'src/assess/judge.ts',
    search: "if (!footing.sure && probe?.verdict !== 'good')",
    replace: "if (!footing.sure && probe?.verdict !== 'good' && input.lapsed !== true)",
    test: 'test/assess/judge.test.ts',
  },
  {
    name: 'repair: what was said of a process counts against the next',
    file: 'src/supervise/repair.ts',
    search: ' && (each.pid === undefined || each.pid === pid)',
    replace: '',
    test: 'test/supervise/repair.test.ts',
  },
  {
    name: 'repair: a node restarts what took the place of the process that was meant',
    file: 'src/agent/instance-loop.ts',
    search: ' && (pid === null || unit.pid === pid)',
    replace: '',
    test: 'test/agent/request-loop.test.ts',
  },
  {
    name: 'repair: bad answers of one process count as those of the next',
    file: 'src/agent/assess-loop.ts',
    search: 'known?.pid === pid ? known.consecutiveBad : 0',
    replace: 'known?.consecutiveBad ?? 0',
    test: 'test/agent/assess-loop.test.ts',
  },
  {
    ...crowd,
    name: 'brake: claimants do not keep to it',
    file: 'src/agent/claim-loop.ts',
    search: 'if (pace === null) return',
    replace: 'if (pace === null || crowd) return',
  },
  {
    ...crowd,
    name: 'brake: it lets go while something waits',
    file: 'src/agent/crowd.ts',
    search: ' && !this.#waiting.has(node)',
    replace: '',
  },
  {
    ...crowd,
    name: 'flapping: a node that comes and goes gets new work',
    file: 'src/placement/rank.ts',
    search: '  setAsideUnsteady(nodes, candidates, excluded);\n',
    replace: '',
  },
  {
    ...lastRun,
    name: 'rule 8: an agent without a store brings nothing up',
    file: 'src/agent/agent.ts',
    search: 'this.#world.memory.recall(remembered.apps);',
    replace: 'return;',
  },
  {
    ...lastRun,
    name: 'rule 8: what is exclusive is remembered, too',
    file: 'src/agent/last-run.ts',
    search: ' || wanted.process.exclusive',
    replace: '',
  },
  {
    ...lastRun,
    name: 'rule 8: two are remembered that want one fixed port',
    file: 'src/agent/last-run.ts',
    search: 'if (ports.some(isOthers)) return false;',
    replace: '',
  },
  {
    ...lastRun,
    name: 'rule 8: memory does not ask whose key a fixed port has',
    file: 'src/agent/last-run.ts',
    search: ' ?? world.ports.get(`${node}/${port}`)?.value.instance',
    replace: '',
  },
  {
    ...lastRun,
    name: 'rule 8: what memory does not know is stopped',
    file: 'src/agent/instance-loop.ts',
    search: ' && (heard || known.has(unit.instance))',
    replace: '',
  },
];
