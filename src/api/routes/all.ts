import type { Admin } from '../../ports/admin.ts';
import type { Route } from '../route.ts';
import { appRoutes } from './apps.ts';
import { artifactRoutes } from './artifacts.ts';
import { eventRoutes } from './events.ts';
import { healthRoutes } from './health.ts';
import { homeRoutes } from './home.ts';
import { instanceRoutes } from './instances.ts';
import { logRoutes } from './logs.ts';
import { nodeRoutes } from './nodes.ts';
import { promiseRoutes } from './promises.ts';

/** Everything the admin API serves; `extra` comes from other rooms. */
export function allRoutes(admin: Admin, extra: Route[]): Route[] {
  const routes = [
    ...nodeRoutes(admin),
    ...appRoutes(admin),
    ...instanceRoutes(admin),
    ...promiseRoutes(admin),
    ...eventRoutes(admin),
    ...logRoutes(admin),
    ...artifactRoutes(admin),
    ...healthRoutes(admin),
    ...extra,
  ];
  return [...homeRoutes(routes), ...routes];
}
