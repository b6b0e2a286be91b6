import type { ReleaseView } from '../../model/views.ts';
import type { CommandContext } from '../context.ts';
import { EXIT, usageFailure } from '../failure.ts';
import type { Invocation } from '../invocation.ts';
import type { Output } from '../output.ts';
import { waitUntilBack } from '../wait-ready.ts';
import { processesText } from './process-words.ts';

export async function rollback(context: CommandContext, call: Invocation): Promise<number> {
  const { api, io, out } = context;
  const name = call.argument(0);
  const client = await api();
  if (call.flag('list')) {
    const listing = await client.releases(name, io.signal);
    out.answer(listing, () => releaseTable(listing.items, out));
    return EXIT.ok;
  }
  const asked = await client.rollback(name, readRelease(call.optionalArgument(1)), io.signal);
  if (call.flag('wait')) {
    await waitUntilBack(context, asked, call.number('timeout') ?? 300);
  }
  const now = call.flag('wait') ? await client.app(name, io.signal) : asked;
  const what = call.flag('wait') ? 'is back at' : 'goes back to';
  out.answer(now, () => `${name}: ${what} release ${asked.release}, ${processesText(now)}\n`);
  return EXIT.ok;
}

function readRelease(word: string | null): number | null {
  if (word === null) return null;
  if (!/^[1-9]\d{0,8}$/.test(word)) {
    throw usageFailure(`"${word}" is no release`, 'a number, as rollback APP --list shows them');
  }
  return Number(word);
}

function releaseTable(releases: ReleaseView[], out: Output): string {
  return out.table(
    ['RELEASE', 'VERSION', 'DEPLOYED', 'IN PLACE OF', 'CAN BE RUN', ''],
    releases.map(({ release, version, at, replaces, kept, current }) => [
      String(release),
      version ?? '-',
      out.when(at),
      replaces === null ? '-' : String(replaces),
      kept ? 'yes' : 'no',
      current ? 'wanted now' : '',
    ]),
  );
}
