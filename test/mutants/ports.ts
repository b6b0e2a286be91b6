import type { Mutant } from './ownership.ts';

const ports = { file: 'src/agent/fixed-ports.ts', test: 'test/agent/fixed-ports.test.ts' };
const left = { file: 'src/ownership/abandoned-ports.ts', test: 'test/ownership/abandoned-ports.test.ts' };

/** Each takes out one thing that keeps two instances from having one port of a node. */
export const portMutants: Mutant[] = [
  {
    ...ports,
    name: 'ports: a claim does not ask whether its port has been taken since',
    search: "    compares.push({ kind: 'ports', name, is: 'absent' });\n",
    replace: '',
  },
  {
    ...ports,
    name: 'ports: what an instance had it has again, whoever took it since',
    search: 'keys.compares.push(asRead(entry));',
    replace: 'continue;',
  },
  {
    ...ports,
    name: 'ports: a release takes along a key that was not read',
    search: 'compares: own.map(asRead), writes',
    replace: 'compares: [], writes',
  },
  {
    ...ports,
    name: 'ports: claims that want one port share a transaction',
    file: 'src/agent/holdings.ts',
    search:
      '  const full: Draft[][] = drafts.filter(({ writes }) => writes.length > 0).map(draft => [draft]);\n  let room = 0;\n  for (const draft of drafts.filter(({ writes }) => writes.length === 0)) {',
    replace: '  const full: Draft[][] = [];\n  let room = 0;\n  for (const draft of drafts) {',
  },
  {
    ...ports,
    name: 'ports: a claim writes its owner key alone',
    file: 'src/agent/holdings.ts',
    search: 'const along = drafts.flatMap(draft => draft.writes);',
    replace: 'const along: Write[] = [];',
  },
  {
    ...ports,
    name: 'ports: the port of a copy that outlives its session is let go',
    search: 'if (!isOwned && !isHeld && !runs(instance)) return false;',
    replace: 'if (!isOwned && !isHeld) return false;',
  },
  {
    ...ports,
    name: 'ports: they are let go before it is known what runs here',
    search: 'const units = this.#options.units();\n    if (units === null) return;',
    replace: 'const units = this.#options.units() ?? [];',
  },
  {
    ...ports,
    name: 'ports: what another node gave is let go',
    search: 'return world.ports.all().filter(({ name }) => name.startsWith(`${node}/`));',
    replace: 'return world.ports.all().filter(({ name }) => name !== node);',
  },
  {
    ...left,
    name: 'ports: what a node had that is lost, and nobody has taken, is let go',
    search: 'const isOwned = owner?.released === null && owner.node === node;',
    replace: 'const isOwned = false;',
  },
  {
    ...left,
    name: 'ports: what a lost node may still run loses its port',
    search: 'const mayRun = owner?.mayStillRun.includes(node) === true;',
    replace: 'const mayRun = false;',
  },
  {
    ...left,
    name: 'ports: those of a node that is there are let go by another',
    search: '!present.has(node) && ',
    replace: '',
  },
  {
    name: 'ports: what a lost node has taken again since it was looked at loses its port',
    file: 'src/agent/forget-ports.ts',
    test: 'test/agent/forget-ports.test.ts',
    search:
      "          { kind: 'owners', name: subject, ...(owner ? { revision: owner.revision } : { is: 'absent' }) },\n",
    replace: '',
  },
  {
    ...ports,
    name: 'ports: what is not owned is started on a port that another instance has',
    file: 'src/agent/targets.ts',
    search: 'const lacking = world.synced() ? this.#options.lacking(wanted) : null;',
    replace: 'const lacking = owned && world.synced() ? this.#options.lacking(wanted) : null;',
  },
  {
    name: 'ports: two instances are placed on one port of a node',
    file: 'src/placement/filter.ts',
    test: 'test/placement/rank.test.ts',
    search: '    portExclusion(free, node, usage) ??\n',
    replace: '',
  },
];
