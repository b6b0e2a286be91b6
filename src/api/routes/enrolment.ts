import type { Enrolment } from '../../ports/enrolment.ts';
import { jsonBody } from '../body.ts';
import { type Route, route, view } from '../route.ts';
import { authorityView, enrolledNode, enrolmentBody, issuedToken, tokenBody } from '../wire.ts';

/** How new nodes get in. Two of the three need no bearer token: who has none yet asks them (guard.ts). */
export function enrolmentRoutes(enrolment: Enrolment): Route[] {
  return [
    view({
      path: '/v1/authority',
      id: 'getAuthority',
      summary: "The authority's certificate. Needs no token; compare the fingerprint before believing it.",
      answer: authorityView,
      handle: () => enrolment.authority(),
    }),
    route({
      method: 'post',
      path: '/v1/authority/tokens',
      id: 'makeJoinToken',
      summary: 'Makes a token that lets one node in, once.',
      body: jsonBody(tokenBody, { required: false }),
      answers: {
        201: { description: 'It is shown only now.', content: { 'application/json': issuedToken } },
      },
      handle: async ({ body }) => ({ kind: 'json', status: 201, value: await enrolment.issueToken(body) }),
    }),
    view({
      method: 'post',
      path: '/v1/authority/enrolments',
      id: 'enrolNode',
      summary: 'Signs the certificate of a node that brings a join token, and uses the token up.',
      body: jsonBody(enrolmentBody),
      answer: enrolledNode,
      handle: ({ body }) => enrolment.enrol(body),
    }),
  ];
}
