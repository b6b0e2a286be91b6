"""Counts the words of payloads: a worker that does the steps of plans whose agent is "words". deploy/workers.md explains it.

Usage: worker.py HOST:PORT...   (hop3agent.proto is looked for where Python looks for modules: PYTHONPATH)
"""

import itertools, json, os, queue, sys, threading, time
import grpc

pb, rpc = grpc.protos_and_services("hop3agent.proto")


def work(assign, stopped):
    """The only part that is not the same in every worker. Looks at `stopped` now and then; what it raises is a failure."""
    if stopped.wait(float(assign.arguments.get("seconds", 0))):
        raise InterruptedError
    return {"words": len(assign.payload.data.decode().split())}


def attempt(assign, stopped, say):
    result = pb.Result(attempt=assign.attempt)
    try:
        output = json.dumps(work(assign, stopped)).encode()
        result.completed.MergeFrom(pb.Completed(output=output, mime_type="application/json"))
    except InterruptedError:
        result.stopped.SetInParent()
    except Exception as error:
        result.failed.MergeFrom(pb.Failed(type=pb.FAILURE_TYPE_RETRYABLE, error=repr(error)))
    say(result=result)


def serve(channel):
    said, running = queue.SimpleQueue(), {}
    say = lambda **message: said.put(pb.WorkerMessage(**message))
    say(hello=pb.Hello(name=f"words-{os.getpid()}", agents=["words"], slots=4))
    for message in rpc.WorkStub(channel).Work(iter(said.get, None)):
        kind = message.WhichOneof("message")
        body = getattr(message, kind)
        if kind == "ping":
            say(heartbeat=pb.Heartbeat())
        elif kind == "assign":
            stopped = running[body.attempt.SerializeToString()] = threading.Event()
            threading.Thread(target=attempt, args=(body, stopped, say), daemon=True).start()
        else:
            print(kind, str(body).split(), flush=True)
            if kind in ("stop", "refused") and body.attempt.SerializeToString() in running:
                running[body.attempt.SerializeToString()].set()
            if kind in ("accepted", "refused"):
                running.pop(body.attempt.SerializeToString(), None)


for address in itertools.cycle(sys.argv[1:]):
    options = [("grpc.keepalive_time_ms", 20_000), ("grpc.keepalive_timeout_ms", 10_000)]
    options += [("grpc.max_receive_message_length", -1)]
    try:
        with grpc.insecure_channel(address, options) as channel:
            serve(channel)
    except grpc.RpcError as error:
        print(f"{address}: {error.code().name}: {error.details()}", file=sys.stderr, flush=True)
    time.sleep(1)
