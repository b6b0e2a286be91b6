import { readdirSync } from 'node:fs';
import test from 'ava';
import type { InstanceView } from '../../src/model/views.ts';
import { portHolder } from '../../src/platform/port-holder.ts';
import { findOnPath } from '../../src/platform/tools.ts';
import { Demo } from '../support/demo.ts';
import { until } from '../support/until.ts';

/** One demo for the file, driven as a person would: each test goes on where the one before stopped. */
let demo: Demo;
test.before(async () => {
  demo = await Demo.make();
  await demo.start();
});
test.after.always(() => demo.clear());

test.serial('it shows what runs where, and what to try next', t => {
  t.regex(demo.output, /^NODE +STATE/m);
  for (const node of ['node-1', 'node-2', 'node-3'])
    t.regex(demo.output, new RegExp(`^${node} +Active`, 'm'));
  t.regex(demo.output, /^guestbook +Ready +web 3\/3, mailer 1\/1/m);
  t.regex(demo.output, /^hello +Ready +web 2\/2/m);
  t.true(demo.output.includes(`curl -H 'Host: guestbook.localhost' http://127.0.0.1:${demo.proxyPort}/`));
  t.true(demo.output.includes(`hop3-agent dev --state-dir '${demo.stateDir}' --kill node-2 `));
});

test.serial('each sample answers to its name through the proxy', async t => {
  const guestbook = await demo.get('guestbook.localhost');
  t.is(guestbook.status, 200);
  t.regex(String(guestbook.headers['x-instance']), /^guestbook\/web\/[012]$/);
  t.regex((await demo.get('hello.localhost')).body, /Hello from a static site/);
  if ((await findOnPath('python3', process.env['PATH'])) === null) {
    t.regex(
      demo.output,
      /clock\.yaml is left out: clock is started with python3, .* \(apt-get install python3\)/,
    );
  } else {
    t.regex((await demo.get('clock.localhost')).body, /says clock\/web\/[01]/);
  }
});

test.serial('a second one in the same place is told so in one message, and harms nothing', async t => {
  const before = readdirSync(demo.stateDir);
  for (const asked of [['manifests/hello.yaml'], ['--fresh', 'manifests/hello.yaml']]) {
    const { code, said } = await demo.order(...asked);
    t.is(code, 6);
    t.regex(
      said,
      /^error: state directory .* is in use by another agent \(pid \d+\)[^\n]*\nhint: [^\n]*--stop[^\n]*\n$/,
    );
  }
  t.deepEqual(readdirSync(demo.stateDir), before);
  t.is((await demo.get('hello.localhost')).status, 200);
});

test.serial('an app is answered from other nodes once the node it ran on is killed', async t => {
  const before = await guestbookOn(2);
  const lost = before.find(({ instance }) => instance === 'guestbook/web/0')!.node!;
  t.deepEqual(await demo.order('--kill', lost), { code: 0, said: `${lost} is dead, with all its apps\n` });
  const alive = [1, 2, 3].find(node => `node-${node}` !== lost)!;
  const after = await guestbookOn(alive, ({ node }) => node !== lost);
  const moved = before.filter(({ node }) => node === lost).map(({ instance }) => instance);
  for (const instance of moved) t.not(after.find(other => other.instance === instance)!.node, lost);
  await until('the proxy sends requests to the one that moved', async () => {
    const answer = await demo.get('guestbook.localhost');
    return answer.status === 200 && answer.headers['x-instance'] === 'guestbook/web/0';
  });

  t.deepEqual(await demo.order('--start', lost), { code: 0, said: `${lost} is back\n` });
  await until(`${lost} is a node again`, async () => {
    const { items } = await demo.api(alive).nodes();
    return items.some(({ name, state }) => name === lost && state === 'Active');
  });
});

test.serial('Ctrl-C ends all that it started', async t => {
  const processes = await demo.processes();
  const ports = (await guestbookOn(1)).flatMap(({ endpoint }) => endpoint?.port ?? []);
  const known = [
    demo.proxyPort,
    ...[0, 1, 2].flatMap(index => [
      demo.apiPort + index,
      demo.apiPort + 100 + index,
      demo.apiPort + 200 + index,
    ]),
  ];
  t.true(processes.length >= 10, 'three agents, etcd, HAProxy, and the guestbook');
  demo.interrupt();
  t.is(await demo.ended(), 130);
  t.deepEqual(await demo.processes(), []);
  for (const port of [...known, ...ports]) t.is(await portHolder(port), null, `port ${port}`);
  t.regex(demo.output, /dev: stopped\n$/);
});

test.serial('it starts again where it was, and --stop ends it as well', async t => {
  await demo.start();
  t.regex(demo.output, /guestbook: .*as the manifest wants it already \(release 1\)/);
  t.is((await demo.get('guestbook.localhost')).status, 200);
  t.deepEqual(await demo.order('--stop'), { code: 0, said: 'stopping\n' });
  t.is(await demo.ended(), 0);
  t.deepEqual(await demo.processes(), []);
});

/** The guestbook's instances as that node sees them, once all are ready and meet the condition. */
function guestbookOn(
  node: number,
  condition: (instance: InstanceView) => boolean = () => true,
): Promise<InstanceView[]> {
  return until(
    `the guestbook is up, in the eyes of node-${node}`,
    async () => {
      const { items } = await demo.api(node).instances({ app: 'guestbook' });
      return items.length === 4 && items.every(instance => instance.ready && condition(instance))
        ? items
        : null;
    },
    60_000,
  );
}
