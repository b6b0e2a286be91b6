import { shown, valueAt, type Finding } from './tree.ts';
import { appName, appNameRule } from './words.ts';

/**
 * The name of an app that Hop3's files describe: `metadata.id` but for capitals and underscores, which Hop3 takes and a
 * cluster's keys do not; without one, a name made of `metadata.name`, or of the directory's.
 */
export function appIdOf(data: unknown, directoryName: string): { app: string; findings: Finding[] } {
  const id = valueAt(data, ['metadata', 'id']);
  if (typeof id !== 'string') {
    const name = valueAt(data, ['metadata', 'name']);
    const isNamed = typeof name === 'string' && name.trim() !== '';
    return { app: madeName(isNamed ? name : directoryName), findings: [] };
  }
  const app = id.toLowerCase().replaceAll('_', '-');
  if (appName.safeParse(app).success) return { app, findings: [] };
  const message = `${shown(id)} is not an app name`;
  const hint = `${appNameRule}, as in "${madeName(id)}"`;
  return { app, findings: [{ path: ['metadata', 'id'], part: 'value', message, hint }] };
}

function madeName(text: string): string {
  const words = text
    .slice(0, 200)
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-|-$/g, '');
  const started = /^[a-z]/.test(words) && words.length >= 3 ? words : `app-${words === '' ? '1' : words}`;
  return started.slice(0, 63).replace(/-$/, '');
}
