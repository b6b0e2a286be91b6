import type { AppSpec } from '../../model/app-spec.ts';
import type { AppView } from '../../model/views.ts';

/** `web 3/3, mailer 0/1` */
export function processesText(app: AppView): string {
  return Object.entries(app.processes)
    .map(([type, { ready, scale }]) => `${type} ${ready}/${scale}`)
    .join(', ');
}

/** `web×3, mailer×1` */
export function scalesText(spec: AppSpec): string {
  return spec.processes.map(process => `${process.type}×${process.scale}`).join(', ') || 'no processes yet';
}
