import { z } from 'zod';
import type { Admin } from '../../ports/admin.ts';
import { jsonBody } from '../body.ts';
import { Refusal } from '../refusal.ts';
import { type Route, route, view } from '../route.ts';
import { appliedRebalancing, drainBody, epochView, listing, nodeView, rebalancingView } from '../wire.ts';

export function nodeRoutes(admin: Admin): Route[] {
  return [
    view({
      path: '/v1/node',
      id: 'getThisNode',
      summary: 'The node that answers.',
      answer: nodeView,
      handle: () => admin.node(),
    }),
    view({
      path: '/v1/nodes',
      id: 'listNodes',
      summary: 'All nodes with a session, and those that lost it and left something behind (ConnectionLost).',
      answer: listing('NodeList', nodeView),
      handle: () => admin.nodes(),
    }),
    view({
      path: '/v1/nodes/{name}',
      id: 'getNode',
      summary: 'One node.',
      params: z.object({ name: z.string() }),
      answer: nodeView,
      handle: ({ params }) => {
        const node = admin.nodes().items.find(each => each.name === params.name);
        if (node === undefined) throw new Refusal(404, 'not-found', `no node "${params.name}" is known`);
        return node;
      },
    }),
    view({
      method: 'post',
      path: '/v1/nodes/{name}/drain',
      id: 'drainNode',
      summary:
        'Wishes that a node be emptied: it takes nothing new, and its instances go one after the other, each when its ' +
        'successor is ready. How far it is: `drain` of the node. The wish stands until undrain, also over restarts.',
      params: z.object({ name: z.string() }),
      body: jsonBody(drainBody, { required: false }),
      answer: nodeView,
      handle: ({ params, body }) => admin.drain(params.name, body.reason),
    }),
    view({
      method: 'post',
      path: '/v1/nodes/{name}/undrain',
      id: 'undrainNode',
      summary: 'Lets a node take work again. What went does not come back by itself.',
      params: z.object({ name: z.string() }),
      answer: nodeView,
      handle: ({ params }) => admin.undrain(params.name),
    }),
    view({
      path: '/v1/rebalance',
      id: 'getRebalancing',
      summary: 'What would move, and why, so that all nodes are used evenly.',
      answer: rebalancingView,
      handle: () => admin.rebalancing(),
    }),
    view({
      method: 'post',
      path: '/v1/rebalance',
      id: 'rebalance',
      summary:
        'Moves it, one instance after the other, each when its successor is ready. How far it is: the plan, which goes on ' +
        'when nodes are lost, and can be cancelled. While one is under way it is that one; null = nothing moves.',
      answer: appliedRebalancing,
      handle: () => admin.rebalance(),
    }),
    view({
      method: 'post',
      path: '/v1/cluster/recover',
      id: 'recover',
      summary: 'After etcd was restored from a backup: opens a new epoch, in which nodes own again.',
      answer: epochView,
      handle: () => admin.recover(),
    }),
    route({
      method: 'post',
      path: '/v1/node/leave',
      id: 'leave',
      summary: 'Stops the instances of the node that answers, releases what it owns, and ends its agent.',
      answers: { 204: { description: 'It has left.', content: {} } },
      handle: async () => {
        await admin.leave();
        return { kind: 'empty' };
      },
    }),
  ];
}
