import { isTable, listAt, tableAt, valueAt, type Finding, type Path } from './tree.ts';

/**
 * Parts of Hop3's format that are right, but that this agent has no means to keep and that an AppSpec has no word for.
 * A step that is declared and does not run would be a lie, so whoever deploys must refuse on these.
 */
export function unsupportedIn(data: unknown): Finding[] {
  const findings: Finding[] = [];
  const add = (path: Path, message: string, hint: string | null = null) =>
    findings.push({ path, part: 'key', message, hint });
  for (const [name, value] of Object.entries(tableAt(data, 'env'))) {
    if (valueAt(value, ['external_ip']) === true)
      add(['env', name], 'the address of a node is not known to an app', null);
  }
  for (const [index, volume] of listAt(data, 'volumes').entries()) {
    const type = valueAt(volume, ['type']);
    if (type === 'tmpfs' || type === 'bind')
      add(['volumes', index, 'type'], `${type} volumes need privileged mounts`);
  }
  for (const [index, port] of listAt(data, 'ports').entries()) {
    const source = valueAt(port, ['source']);
    if (typeof source === 'string' && source !== 'any') {
      add(['ports', index, 'source'], 'restricting who reaches a port needs a firewall', 'leave it out');
    }
  }
  if (valueAt(data, ['waf', 'enabled']) === true) add(['waf'], 'there is no web application firewall here');
  if (isTable(valueAt(data, ['admin'])))
    add(['admin'], 'no account is made here', 'make it in run.before-run');
  if (valueAt(data, ['deploy', 'deployer']) === 'docker-compose')
    add(['deploy', 'deployer'], 'containers are not run');
  for (const path of [['static'], ['run', 'static']]) {
    if (Object.keys(tableAt(data, ...path)).length > 0)
      add(path, 'the proxy serves no files', 'let the app serve them');
  }
  if (valueAt(data, ['build', 'node-version']) !== undefined) {
    add(
      ['build', 'node-version'],
      'apps are built with the Node of the machine',
      'leave it out if that one will do',
    );
  }
  return findings;
}
