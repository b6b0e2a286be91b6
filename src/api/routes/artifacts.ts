import { z } from 'zod';
import type { Admin } from '../../ports/admin.ts';
import { byteBody } from '../body.ts';
import { Refusal } from '../refusal.ts';
import { type Route, route, view } from '../route.ts';
import { heldArtifact, inspectedArtifact, listing, receivedArtifact } from '../wire.ts';
import { names } from '../wire-spec.ts';

export function artifactRoutes(admin: Admin): Route[] {
  return [
    route({
      method: 'post',
      path: '/v1/artifacts',
      id: 'uploadArtifact',
      summary: 'Takes a source tree as a gzipped tar. `X-Content-Digest: sha256:…` has it checked.',
      body: byteBody('application/gzip'),
      answers: {
        201: { description: 'Kept under its digest.', content: { 'application/json': receivedArtifact } },
      },
      handle: async ({ header, body }) => {
        const value = await admin.receiveArtifact(body, expectedDigest(header('x-content-digest')));
        return { kind: 'json', status: 201, value };
      },
    }),
    view({
      path: '/v1/artifacts',
      id: 'listArtifacts',
      summary: 'Which node holds which artifact.',
      answer: listing('ArtifactList', heldArtifact),
      handle: async () => {
        const { revision } = admin.nodes();
        return { revision, items: await admin.artifacts() };
      },
    }),
    view({
      path: '/v1/artifacts/{digest}/inspect',
      id: 'inspectArtifact',
      summary: 'What an artifact holds, for completing a manifest that names no process.',
      params: z.object({ digest: names.digest }),
      answer: inspectedArtifact,
      handle: ({ params }) => admin.inspectArtifact(params.digest),
    }),
  ];
}

function expectedDigest(header: string): string | null {
  if (header === '') return null;
  if (names.digest.safeParse(header).success) return header;
  throw new Refusal(
    400,
    'invalid',
    `X-Content-Digest must be sha256: and 64 hexadecimal digits, not "${header}"`,
  );
}
