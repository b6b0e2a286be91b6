import type { AppView, InstanceView } from '../../model/views.ts';
import type { CommandContext } from '../context.ts';
import { EXIT } from '../failure.ts';
import type { Invocation } from '../invocation.ts';
import type { Output } from '../output.ts';
import { processesText } from './process-words.ts';
import { tail } from '../words.ts';

export async function status(context: CommandContext, call: Invocation): Promise<number> {
  const app = call.optionalArgument(0);
  return app === null ? allApps(context) : oneApp(context, app);
}

async function allApps({ api, out, io }: CommandContext): Promise<number> {
  const listing = await (await api()).apps(io.signal);
  out.answer(listing, () => {
    if (listing.items.length === 0)
      return 'no apps yet: hop3-agent apply FILE or hop3-agent deploy DIR adds one\n';
    return out.table(
      ['APP', 'STATE', 'READY', 'RELEASE', 'HOST NAMES', 'APPLIED'],
      listing.items.map(app => [
        app.app,
        out.state(conditionOf(app)),
        processesText(app),
        String(app.release),
        app.hostnames.join(', ') || '-',
        out.when(app.appliedAt),
      ]),
    );
  });
  return EXIT.ok;
}

async function oneApp({ api, out, io }: CommandContext, name: string): Promise<number> {
  const client = await api();
  const [app, instances] = await Promise.all([
    client.app(name, io.signal),
    client.instances({ app: name }, io.signal),
  ]);
  out.answer({ app, revision: instances.revision, instances: instances.items }, () =>
    [headText(app, out), '\n', instanceTable(instances.items, out), troubleText(instances.items, out)].join(
      '',
    ),
  );
  return EXIT.ok;
}

/** The condition that says most: what is wrong before what is going on before what is well. */
export function conditionOf(app: AppView): string {
  const standing = app.conditions.filter(condition => condition.status).map(condition => condition.type);
  const order = ['CutOff', 'Removing', 'Degraded', 'Progressing', 'RollingOut', 'RolledBack', 'Ready'];
  return order.find(type => standing.includes(type)) ?? standing[0] ?? 'Unknown';
}

function headText(app: AppView, out: Output): string {
  const facts: [string, string][] = [
    ['app', app.title === null ? app.app : `${app.app} (${app.title})`],
    ['state', out.state(conditionOf(app))],
    ['ready', processesText(app)],
    ['release', `${app.release} (generation ${app.generation}), applied ${out.when(app.appliedAt)}`],
    ['host names', app.hostnames.join(', ') || 'none: it is reached on its port only'],
    ['artifact', app.artifact ?? 'none'],
  ];
  const conditions = app.conditions
    .filter(condition => condition.message !== '')
    .map((condition): [string, string] => [
      condition.type,
      `${condition.status ? 'yes' : 'no'}, ${condition.message}`,
    ]);
  return [...facts, ...conditions].map(([name, value]) => `${`${name}:`.padEnd(13)}${value}\n`).join('');
}

export function instanceTable(instances: InstanceView[], out: Output): string {
  return out.table(
    ['INSTANCE', 'NODE', 'STATE', 'READY', 'VERSION', 'ENDPOINT', 'PID'],
    instances.map(instance => [
      instance.instance,
      instance.node ?? '-',
      out.state(instance.state),
      instance.ready ? 'yes' : 'no',
      instance.version ?? '-',
      instance.endpoint === null ? '-' : `${instance.endpoint.host}:${instance.endpoint.port}`,
      instance.pid === null ? '-' : String(instance.pid),
    ]),
  );
}

export function troubleText(instances: InstanceView[], out: Output): string {
  return instances
    .flatMap(({ instance, trouble }) => (trouble === null ? [] : { instance, trouble }))
    .map(({ instance, trouble }) => {
      const lines = tail(trouble, 20).map(line => `  ${out.paint.dim('|')} ${line}\n`);
      return `\n${out.paint.red(instance)}:\n${lines.join('')}`;
    })
    .join('');
}
