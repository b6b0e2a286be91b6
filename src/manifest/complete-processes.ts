import type { AppSpec } from '../model/app-spec.ts';
import { defaults } from './defaults.ts';
import { staticSite, type ProcessSettings, type WebProcess } from './processes.ts';

export interface SourceFacts {
  /** package.json has `scripts.start`. */
  packageStart: boolean;
  /** Every file of the source tree, relative, with `/` between folders. */
  files: readonly string[];
}

/**
 * Gives a spec without any process the one that its source tree suggests, in Hop3's order of languages; a spec that
 * names a process, or whose source suggests none, comes back as it is. `settings` are what its manifest said of the
 * process it did not name.
 */
export function completeProcesses(
  spec: AppSpec,
  facts: SourceFacts,
  settings: ProcessSettings = spec.webSettings ?? defaultSettings(spec),
): AppSpec {
  if (spec.processes.length > 0) return spec;
  const web = suggestedWeb(spec, facts);
  if (web === null) return spec;
  const completed: AppSpec = { ...spec, processes: [{ type: 'web', ...web, routed: true, ...settings }] };
  delete completed.webSettings;
  return completed;
}

/** Leaves a spec without any process to whoever fetches its source, with the settings of the one that is found there. */
export function completedLater(spec: AppSpec, settings: ProcessSettings): AppSpec {
  if (spec.processes.length > 0 || spec.source === null) return spec;
  return { ...spec, webSettings: settings };
}

function defaultSettings(spec: AppSpec): ProcessSettings {
  const exclusive = spec.volumes.length > 0 || spec.ports.length > 0;
  return {
    scale: 1,
    exclusive,
    startTimeoutSeconds: defaults.startTimeoutSeconds,
    stopTimeoutSeconds: exclusive ? defaults.exclusiveStopTimeoutSeconds : defaults.stopTimeoutSeconds,
  };
}

function suggestedWeb(spec: AppSpec, { packageStart, files }: SourceFacts): WebProcess | null {
  const { toolchain } = spec.build;
  const has = (file: string) => files.includes(file);
  const may = (name: string) => toolchain === 'auto' || toolchain === name;
  const isPython = ['requirements.txt', 'pyproject.toml', 'setup.py'].some(has);
  const python = first(['app.py', 'wsgi.py', 'main.py'].filter(has));
  const node = first(['server.js', 'app.js', 'index.js'].filter(has));
  const isGo = files.some(file => file.endsWith('.go') && !file.includes('/'));
  if (may('python') && isPython && python !== null) return command(`python3 ${python}`);
  if (may('node') && packageStart) return command('npm start');
  if (may('node') && node !== null) return command(`node ${node}`);
  // Where the Go builder leaves the program.
  if (may('go') && isGo) return command(`./bin/${spec.app}`);
  if (may('python') && python !== null) return command(`python3 ${python}`);
  if (may('static') && files.some(file => file.startsWith('public/'))) return staticSite('public');
  return may('static') && has('index.html') ? staticSite('.') : null;
}

function command(text: string): WebProcess {
  return { kind: 'command', command: text, directory: '' };
}

function first(names: readonly string[]): string | null {
  return names[0] ?? null;
}
