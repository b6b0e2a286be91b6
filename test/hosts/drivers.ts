import assert from 'node:assert/strict';
import { CHECKOUT, inCheckout } from './checkout.ts';
import type { Fleet } from './fleet.ts';

/** What has tests for a real systemd, each with how those are told by their names. */
const SUITES = [
  { file: 'test/contract/driver.test.ts', real: /› driver › (guarded )?systemd:/ },
  { file: 'test/contract/guard.test.ts', real: /› guard › systemd:/ },
  { file: 'test/drivers/systemd.test.ts', real: /› systemd › real:/ },
];
const LIMIT_MS = 5 * 60_000;
const LAST_LINES = 60;

/** The tests of the drivers where systemd is process 1, which it is not where `npm test` runs. */
export async function driversKeepTheirContracts(fleet: Fleet): Promise<string> {
  const host = await fleet.newHost('9', CHECKOUT);
  await host.start();
  try {
    const command = ['ava', '--tap', '--serial', '--timeout=180s', ...SUITES.map(({ file }) => file)];
    const { code, stdout, stderr } = await host.run(inCheckout(command, { HOP3_TEST_SYSTEMD: '1' }), {
      timeoutMs: LIMIT_MS,
    });
    const lines = stdout.split('\n');
    const failed = lines.filter(line => line.startsWith('not ok '));
    const words = `${failed.join('\n')}\n${lines.slice(-LAST_LINES).join('\n')}\n${stderr}`;
    assert.equal(code, 0, words);
    assert.deepEqual(failed, []);
    const passed = lines.filter(line => line.startsWith('ok '));
    for (const { file, real } of SUITES)
      assert.ok(
        passed.some(line => real.test(line)),
        `${file} has no test of a real systemd: ${words}`,
      );
    const withSystemd = passed.filter(line => SUITES.some(({ real }) => real.test(line)));
    return `${passed.length} tests, ${withSystemd.length} of them of a systemd that is real`;
  } finally {
    await host.powerOff();
  }
}
