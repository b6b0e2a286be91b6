import type { AppSpec } from '../model/app-spec.ts';
import type { Problem } from '../model/problem.ts';
import type { Path, Place } from './tree.ts';

export interface LocatedSpec {
  spec: Pick<AppSpec, 'app' | 'hostnames' | 'dependsOn'>;
  file: string;
  line: number;
  /** Exact places, when the text is at hand; else every problem is at the spec's line. */
  placeOf?: (path: Path) => Place;
}

/**
 * What is wrong between apps that are each right by themselves: two with one name, two with one host name, and
 * circles of `depends-on`. Give it all specs that will be there together.
 */
export function checkTogether(apps: readonly LocatedSpec[]): Problem[] {
  return [...sameNames(apps), ...sameHostnames(apps), ...circles(apps)];
}

function sameNames(apps: readonly LocatedSpec[]): Problem[] {
  const first = new Map<string, LocatedSpec>();
  return apps.flatMap(app => {
    const other = first.get(app.spec.app);
    if (other === undefined) {
      first.set(app.spec.app, app);
      return [];
    }
    return [
      problem(
        app,
        'metadata.id',
        ['metadata', 'id'],
        `app "${app.spec.app}" is also in ${where(other)}`,
        null,
      ),
    ];
  });
}

function sameHostnames(apps: readonly LocatedSpec[]): Problem[] {
  const first = new Map<string, LocatedSpec>();
  return apps.flatMap(app =>
    app.spec.hostnames.flatMap((hostname, index) => {
      const other = first.get(hostname);
      if (other === undefined || other === app) {
        first.set(hostname, app);
        return [];
      }
      const message = `host name "${hostname}" also belongs to app "${other.spec.app}" in ${where(other)}`;
      return [problem(app, `domains.list[${index}]`, ['domains', 'list', index], message, null)];
    }),
  );
}

/** One problem a circle, at the first of its apps. */
function circles(apps: readonly LocatedSpec[]): Problem[] {
  const byName = new Map(apps.map(app => [app.spec.app, app] as const));
  const done = new Set<string>();
  const problems: Problem[] = [];
  for (const start of byName.values()) {
    // A path of apps being looked at, each with the number of its dependencies already followed: recursion would be
    // as deep as the longest chain.
    const path: { app: LocatedSpec; next: number }[] = done.has(start.spec.app)
      ? []
      : [{ app: start, next: 0 }];
    for (let top = path.at(-1); top !== undefined; top = path.at(-1)) {
      const index = top.next++;
      const name = top.app.spec.dependsOn[index];
      if (name === undefined) {
        done.add(top.app.spec.app);
        path.pop();
        continue;
      }
      const known = path.findIndex(({ app }) => app.spec.app === name);
      const dependency = byName.get(name);
      if (known >= 0) {
        const names = [...path.slice(known).map(({ app }) => app.spec.app), name];
        const message = `apps wait for each other: ${names.join(' → ')}`;
        const hint = 'remove one of these dependencies';
        problems.push(problem(top.app, `depends-on[${index}]`, ['depends-on', index], message, hint));
      } else if (dependency !== undefined && !done.has(name)) {
        path.push({ app: dependency, next: 0 });
      }
    }
  }
  return problems;
}

function problem(app: LocatedSpec, field: string, path: Path, message: string, hint: string | null): Problem {
  const { line, column } = app.placeOf?.(path) ?? { line: app.line, column: app.line > 0 ? 1 : 0 };
  return { file: app.file, line, column, field, message, hint };
}

function where(app: LocatedSpec): string {
  return app.line > 0 ? `${app.file}:${app.line}` : app.file;
}
