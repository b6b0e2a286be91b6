import { ServerInterceptingCall, status, type ServerInterceptor } from '@grpc/grpc-js';

/** A deadline is now or later, however late it is looked at. */
const LATE_MS = 1000;

/**
 * Refuses calls with a deadline of more than 24 days. The library counts the milliseconds until then in 32 bits: many of them lie in
 * the past for it, and the call would end at once as one whose deadline is over.
 */
export const deadlineGuard: ServerInterceptor = (_, next) =>
  new ServerInterceptingCall(next, {
    start: begin =>
      begin({
        onReceiveMetadata: (metadata, pass) => {
          if (Number(next.getDeadline()) >= Date.now() - LATE_MS) pass(metadata);
          else next.sendStatus({ code: status.INVALID_ARGUMENT, details: TOO_FAR });
        },
      }),
  });

const TOO_FAR = 'the deadline is too far away: give one of at most 24 days, or none';
