interface Defect {
  words: string;
  /** For each release line `major.minor`: from which patch on it is there, and in which it is fixed. */
  lines: Record<string, { since: number; fixed: number }>;
}

const STALE_READS: Defect = {
  words: 'stale linearizable reads after a pause of the process',
  lines: {
    '3.4': { since: 20, fixed: 42 },
    '3.5': { since: 0, fixed: 28 },
    '3.6': { since: 0, fixed: 9 },
  },
};

/** etcd's changelogs; pull requests #20418/#21385, #20813, #16822/#17465, #18089/#18475/#19251, #20291. */
const DEFECTS: Defect[] = [
  STALE_READS,
  {
    words: 'a lease renewal may be answered although the lease was revoked',
    lines: {
      '3.4': { since: 0, fixed: 38 },
      '3.5': { since: 0, fixed: 23 },
      '3.6': { since: 0, fixed: 5 },
    },
  },
  {
    words: 'a former leader revokes leases that are alive',
    lines: { '3.4': { since: 0, fixed: 31 }, '3.5': { since: 0, fixed: 13 } },
  },
  {
    words: 'watch events lost around a compaction',
    lines: { '3.4': { since: 0, fixed: 36 } },
  },
  {
    words: 'no security fixes any more (the release line has ended)',
    lines: { '3.4': { since: 0, fixed: Infinity } },
  },
];

const RECOMMENDED: Record<string, number> = { '3.5': 28, '3.6': 9 };
const RECOMMENDED_WORDS = '3.5.28 or later, or 3.6.9 or later, is recommended';

/** In words, as in `etcd 3.4.23: stale linearizable reads after a pause of the process (fixed in 3.4.42)`. */
export function knownDefects(version: string): string[] {
  const parsed = parse(version);
  if (!parsed) return [`etcd ${version}: not a version this agent knows; ${RECOMMENDED_WORDS}`];
  const found = DEFECTS.filter(defect => isIn(defect, parsed)).map(defect => {
    const fixed = defect.lines[parsed.line]?.fixed ?? Infinity;
    return `etcd ${version}: ${defect.words}${Number.isFinite(fixed) ? ` (fixed in ${parsed.line}.${fixed})` : ''}`;
  });
  return isRecommended(parsed) ? found : [...found, `etcd ${version}: ${RECOMMENDED_WORDS}`];
}

/** True for versions it cannot read: what is not known to be sound is treated as if it was not. */
export function mayReadStale(version: string): boolean {
  const parsed = parse(version);
  return parsed === null || isIn(STALE_READS, parsed);
}

function isIn(defect: Defect, version: Version): boolean {
  const line = defect.lines[version.line];
  return line !== undefined && version.patch >= line.since && version.patch < line.fixed;
}

function isRecommended(version: Version): boolean {
  const atLeast = RECOMMENDED[version.line];
  if (atLeast !== undefined) return version.patch >= atLeast;
  const [major = 0, minor = 0] = version.line.split('.').map(Number);
  return major > 3 || (major === 3 && minor > 6);
}

interface Version {
  line: string;
  patch: number;
}

function parse(version: string): Version | null {
  const found = /^v?(\d+\.\d+)\.(\d+)/.exec(version);
  return found?.[1] && found[2] ? { line: found[1], patch: Number(found[2]) } : null;
}
