import type { CronSpec } from '../model/app-spec.ts';
import type { AppName } from '../model/ids.ts';
import type { CronSchedule, PlanSpec } from '../model/plan.ts';
import type { AppRecord } from '../model/records.ts';
import { inCharge } from '../model/rollout.ts';

/** A schedule that an app's scheduled command stands for. */
export interface AppSchedule {
  /** `blog/nightly`: no other schedule's name has a slash. */
  name: string;
  schedule: CronSchedule;
  plan: PlanSpec;
}

const RETRY = { firstWaitSeconds: 10, factor: 2, longestWaitSeconds: 300, jitter: 0.2 };

/** Who made a schedule, when it was an app. */
export function originOf(app: AppName): string {
  return `app/${app}`;
}

/** The app that a schedule is of; null = none. */
export function appOfOrigin(origin: string): AppName | null {
  return origin.startsWith('app/') ? origin.slice('app/'.length) : null;
}

/** All that an app wants to be done at set times. Of an app that is being removed nothing. */
export function appSchedules(record: AppRecord): AppSchedule[] {
  if (record.removing) return [];
  return inCharge(record).spec.crons.map(cron => ({
    name: `${record.app}/${cron.name}`,
    schedule: cron.schedule,
    plan: cronPlan(record.app, cron),
  }));
}

/** What one firing does: one step, which runs in the release that the app has by then. */
export function cronPlan(app: AppName, { name, command, timeoutSeconds, attempts }: CronSpec): PlanSpec {
  return {
    title: `${name} of ${app}`,
    steps: [
      {
        name,
        agent: 'command',
        resource: command,
        arguments: { app },
        timeoutSeconds,
        retry: { attempts, ...RETRY },
      },
    ],
    priority: 5,
    sequential: false,
    onFailure: 'stop',
    completeBySeconds: null,
  };
}

/** Whether a schedule as it is stored says the same; its plan is as it was put. */
export function saysTheSame(
  stored: Pick<AppSchedule, 'schedule' | 'plan'>,
  { schedule, plan }: Pick<AppSchedule, 'schedule' | 'plan'>,
): boolean {
  return JSON.stringify([stored.schedule, stored.plan]) === JSON.stringify([schedule, plan]);
}
