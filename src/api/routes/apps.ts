import { z } from 'zod';
import { completedLater } from '../../manifest/complete-processes.ts';
import { readManifest } from '../../manifest/read-manifest.ts';
import type { Admin } from '../../ports/admin.ts';
import { jsonBody, textBody } from '../body.ts';
import { type Route, route, view } from '../route.ts';
import {
  applyBody,
  appView,
  listing,
  planAnswer,
  releaseView,
  restartBody,
  rollbackBody,
  scaleBody,
  scaledApp,
} from '../wire.ts';
import { deploy, deployAnswers, refusedApply } from './deploy.ts';

const params = z.object({ app: z.string() });

/** Wanting apps: what there is, and every way to change it. */
export function appRoutes(admin: Admin): Route[] {
  return [
    view({
      path: '/v1/apps',
      id: 'listApps',
      summary: 'All apps, with what is wanted of each and how far it is.',
      answer: listing('AppList', appView),
      handle: () => admin.apps(),
    }),
    view({
      path: '/v1/apps/{app}',
      id: 'getApp',
      summary: 'One app.',
      params,
      answer: appView,
      handle: request => admin.app(request.params.app),
    }),
    route({
      method: 'put',
      path: '/v1/apps',
      id: 'applyApps',
      summary: 'Makes the cluster want these apps: fetches, builds, and writes new releases.',
      body: jsonBody(applyBody),
      answers: deployAnswers,
      handle: request => deploy(admin, request.body, request),
    }),
    view({
      method: 'post',
      path: '/v1/apps/plan',
      id: 'planApps',
      summary: 'What applying would change, and what would stop it. Changes nothing.',
      body: jsonBody(applyBody),
      answer: planAnswer,
      handle: request => admin.plan(request.body),
    }),
    route({
      method: 'post',
      path: '/v1/apps/manifest',
      id: 'applyManifest',
      summary: 'Applies the apps of a YAML manifest, or answers 422 with everything that is wrong with it.',
      body: textBody('application/yaml'),
      answers: deployAnswers,
      handle: request => {
        const { apps, problems } = readManifest('<body>', request.body);
        if (problems.length > 0) throw refusedApply(problems);
        const specs = apps.map(({ spec, webSettings }) => completedLater(spec, webSettings));
        return deploy(admin, { specs, ifGeneration: null }, request);
      },
    }),
    route({
      method: 'delete',
      path: '/v1/apps/{app}',
      id: 'removeApp',
      summary: 'Has every instance stopped and released, then forgets the app.',
      params,
      answers: { 204: { description: 'The owners have been asked.', content: {} } },
      handle: async request => {
        await admin.remove(request.params.app);
        return { kind: 'empty' };
      },
    }),
    view({
      method: 'post',
      path: '/v1/apps/{app}/scale',
      id: 'scaleApp',
      summary: 'Sets the wanted number of instances by process type.',
      params,
      body: jsonBody(scaleBody),
      answer: scaledApp,
      handle: request => admin.scale(request.params.app, request.body),
    }),
    view({
      path: '/v1/apps/{app}/releases',
      id: 'listReleases',
      summary: 'What was deployed of an app, newest first, and which of it can be gone back to.',
      params,
      answer: listing('ReleaseList', releaseView),
      handle: request => admin.releases(request.params.app),
    }),
    view({
      method: 'post',
      path: '/v1/apps/{app}/promote',
      id: 'promoteApp',
      summary: 'Lets a canary, or a release that stands ready beside, take over now.',
      params,
      answer: appView,
      handle: request => admin.promote(request.params.app),
    }),
    view({
      method: 'post',
      path: '/v1/apps/{app}/rollback',
      id: 'rollbackApp',
      summary:
        'Goes back to an earlier release without building: its code, commands, variables, limits and checks. Scale, host ' +
        'names, placement and the way of deploying stay as they are.',
      params,
      body: jsonBody(rollbackBody, { required: false }),
      answer: appView,
      handle: request => admin.rollback(request.params.app, request.body.release),
    }),
    view({
      method: 'post',
      path: '/v1/apps/{app}/restart',
      id: 'restartApp',
      summary: 'Replaces the instances of every process type, or of one, by the same release.',
      params,
      body: jsonBody(restartBody, { required: false }),
      answer: appView,
      handle: request => admin.restart(request.params.app, request.body.process),
    }),
  ];
}
