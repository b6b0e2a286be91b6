import test from 'ava';
import fc from 'fast-check';

import { whyNoSystemd } from '../../src/drivers/systemd-driver.ts';
import { environmentText } from '../../src/drivers/systemd-environment.ts';
import { entryIn } from '../../src/drivers/systemd-journal.ts';
import { enforceableIn } from '../../src/drivers/systemd-limits.ts';
import { systemdNames } from '../../src/drivers/systemd-names.ts';
import { limitProperties, sandboxProperties } from '../../src/drivers/systemd-sandbox.ts';
import type { SystemdOutput } from '../../src/drivers/systemd-output.ts';
import { identify, isStarting, lastLines, type SystemdRecord } from '../../src/drivers/systemd-states.ts';
import { isAlive } from '../../src/drivers/proc.ts';
import { propertiesIn } from '../../src/drivers/systemd-tools.ts';
import { FakeClock } from '../support/fake-clock.ts';
import './systemd-real.ts';

test('where systemd does not run, or for anybody but root, one sentence says what would be right', t => {
  t.regex(
    whyNoSystemd({ systemd: false, root: true })!,
    /a machine that systemd runs.*use the process driver/,
  );
  t.regex(whyNoSystemd({ systemd: true, root: false })!, /the rights of root/);
  t.is(whyNoSystemd({ systemd: true, root: true }), null);
});

test('agents with other state directories have no unit, slice, user or identifier in common', t => {
  const [one, other] = [systemdNames('/var/lib/one'), systemdNames('/var/lib/other')];
  t.not(one.service('a'), other.service('a'));
  t.not(one.lease, other.lease);
  t.not(one.slice, other.slice);
  t.not(one.guardedSlice, other.guardedSlice);
  t.not(one.user('blog/web/0'), other.user('blog/web/0'));
  t.is(other.unitOf('blog/web/0', one.identifier('blog/web/0', 'a')), null);
});

test('the instances of one app have one user, and those of another app another', t => {
  const names = systemdNames('/var/lib/hop3');
  t.is(names.user('blog/web/0'), names.user('blog/mailer/3'));
  t.not(names.user('blog/web/0'), names.user('shop/web/0'));
});

test('whatever a unit or an app is called, systemd can take the names, and tells them apart', t => {
  const names = systemdNames('/var/lib/hop3');
  fc.assert(
    fc.property(
      fc.string({ unit: 'binary', maxLength: 300 }),
      fc.string({ maxLength: 300 }),
      (one, other) => {
        t.regex(names.service(one), /^[A-Za-z0-9:_.\\-]{1,255}$/);
        t.is(names.service(one) === names.service(other), one === other);
        const identifier = names.identifier('blog/web/0', other);
        t.is(names.unitOf('blog/web/0', identifier), other);
        t.is(names.unitOf('blog/web/1', identifier), null);
      },
    ),
  );
  const long = names.user(`${'a'.repeat(60)}/web/0`);
  t.true(long.length <= 31);
  t.not(long, names.user(`${'a'.repeat(59)}b/web/0`));
});

test('a value of the environment is quoted against systemd', t => {
  t.is(
    environmentText({ A: 'plain', B: 'a "b" $C `d` \\e\nf' }),
    'A="plain"\nB="a \\"b\\" \\$C \\`d\\` \\\\e\nf"\n',
  );
  t.throws(() => environmentText({ 'A-B': '1' }), { message: /"A-B" can't be the name of a variable/ });
});

const groups: Record<string, { text: string; able: { memory: boolean; cpu: boolean; processes: boolean } }> =
  {
    'version 1, all of them': {
      text: '9:name=systemd:/system.slice/run-u1.service\n8:pids:/system.slice/run-u1.service\n4:memory:/system.slice/run-u1.service\n1:cpu,cpuacct:/system.slice/run-u1.service\n0::/system.slice/run-u1.service\n',
      able: { memory: true, cpu: true, processes: true },
    },
    'version 1 that systemd may not write to': {
      text: '9:name=systemd:/system.slice/run-u1.service\n8:pids:/\n4:memory:/\n2:cpuacct:/\n1:cpu:/\n0::/system.slice/run-u1.service\n',
      able: { memory: false, cpu: false, processes: false },
    },
    'version 2': {
      text: '0::/system.slice/run-u1.service\nlimit:memory.max\nlimit:pids.max\n',
      able: { memory: true, cpu: false, processes: true },
    },
  };

for (const [name, { text, able }] of Object.entries(groups)) {
  test(`what can be limited is read from where a limited unit is: ${name}`, t => {
    t.deepEqual(enforceableIn(text), able);
  });
}

test('a limit of half a core is half the time of one', t => {
  t.deepEqual(limitProperties({ memoryBytes: 1024, cpu: 0.5, processes: 7 }), [
    'MemoryMax=1024',
    'MemorySwapMax=0',
    'CPUQuota=50%',
    'TasksMax=7',
  ]);
  t.deepEqual(limitProperties({ memoryBytes: null, cpu: null, processes: null }), []);
});

test("a unit may write to its app's own directories, and sees them where others see nothing", t => {
  const own = ['/var/lib/hop3/apps/blog/data', '/var/tmp/me/hop3/apps/a: "b"'];
  const properties = sandboxProperties({ directory: '/srv/blog', own, tokens: '/t', lowPort: false });
  t.deepEqual(
    properties.filter(each => /Paths=/.test(each)),
    [
      'ReadWritePaths="/var/lib/hop3/apps/blog/data"',
      'BindPaths="/var/tmp/me/hop3/apps/a\\: \\"b\\""',
      'BindReadOnlyPaths="/t":/run/hop3',
    ],
  );
  t.true(properties.includes('WorkingDirectory=/srv/blog'));
});

test('a unit with a fixed port below 1024 may listen there, which is all of what is root’s that it may', t => {
  const capabilities = (lowPort: boolean): string[] =>
    sandboxProperties({ directory: '/srv/blog', own: [], tokens: null, lowPort }).filter(each =>
      /Capabilit/.test(each),
    );
  t.deepEqual(capabilities(false), ['CapabilityBoundingSet=']);
  // The first assignment empties the set, the second adds to it.
  t.deepEqual(capabilities(true), [
    'CapabilityBoundingSet=',
    'CapabilityBoundingSet=CAP_NET_BIND_SERVICE',
    'AmbientCapabilities=CAP_NET_BIND_SERVICE',
  ]);
});

test('a line of the journal is read with its stream, whatever bytes are in it', t => {
  const fields = { SYSLOG_IDENTIFIER: 'id', PRIORITY: '3', __CURSOR: 's=0a;i=1f;b=2;m=3;t=4;x=5' };
  const cursor = 's_0a.i_1f.b_2.m_3.t_4.x_5';
  t.deepEqual(entryIn(JSON.stringify({ ...fields, MESSAGE: 'oh' })), {
    identifier: 'id',
    stream: 'stderr',
    text: 'oh',
    cursor,
  });
  const bytes = [...Buffer.from('\x1b[1mé')];
  t.like(entryIn(JSON.stringify({ ...fields, PRIORITY: '6', MESSAGE: bytes })), {
    stream: 'stdout',
    text: '\x1b[1mé',
  });
});

const states: [what: string, state: string, isStarting: boolean][] = [
  ['runs', 'LoadState=loaded ActiveState=active', false],
  ['is on its way to run', 'LoadState=loaded ActiveState=activating', true],
  ['has a job to do so', 'LoadState=loaded ActiveState=inactive Job=12', true],
  ['has ended', 'LoadState=loaded ActiveState=inactive Job=0', false],
  ['is not known', 'LoadState=not-found ActiveState=inactive Job=0', false],
];
for (const [what, state, expected] of states) {
  test(`a unit that ${what} is ${expected ? '' : 'not '}waited for by a driver made anew`, t => {
    t.is(isStarting(propertiesIn(state.replaceAll(' ', '\n'))), expected);
  });
}

const mains: Record<string, { state: Record<string, string>; alive: boolean }> = {
  'runs is told by its number': { state: { MainPID: `${process.pid}` }, alive: true },
  'has ended is not taken for who has its number now': { state: { MainPID: '0' }, alive: false },
};

for (const [what, { state, alive }] of Object.entries(mains)) {
  test(`a process that ${what}`, t => {
    const record = { service: 'a.service' } as SystemdRecord;
    identify(record, { ExecMainPID: `${process.pid}`, ...state });
    t.is(record.main?.pid, process.pid);
    t.is(isAlive(record.main!), alive);
  });
}

test('a property may have equals signs in it', t => {
  t.deepEqual(propertiesIn('A=1\nB=c=d\nE='), { A: '1', B: 'c=d', E: '' });
});

const journals: Record<string, { asked: boolean; sleptMs: number }> = {
  'which is asked in vain is given up after two seconds': { asked: false, sleptMs: 2000 },
  'is not waited for by one who is asked to stop': { asked: true, sleptMs: 0 },
};

for (const [name, { asked, sleptMs }] of Object.entries(journals)) {
  test(`a journal ${name}`, async t => {
    const clock = new FakeClock();
    const stop = new AbortController();
    if (asked) stop.abort();
    let given: AbortSignal | null = null;
    const output = {
      last: (_: unknown, { signal }: { signal: AbortSignal }) => {
        given = signal;
        return new Promise<string[]>(() => undefined);
      },
    } as unknown as SystemdOutput;
    const record = { instance: 'blog/web/0', unit: 'a' } as SystemdRecord;
    const reading = lastLines(record, { state: null, output, clock, signal: stop.signal });
    await clock.advance(sleptMs);
    t.deepEqual(await reading, ["its output can't be read: the journal was not waited for any longer"]);
    t.true((given as AbortSignal | null)?.aborted);
  });
}
