"""Asks an agent for all that its gRPC can do, as a client in another language would. Prints what it found, as JSON."""

import json
import sys
import grpc
from google.protobuf import descriptor_pool, message_factory
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_status import rpc_status

pb, rpc = grpc.protos_and_services("hop3agent.proto")
address = sys.argv[1]
channel = grpc.insecure_channel(address)
scheduler = rpc.SchedulerStub(channel)
found = {}


def words(text, **task):
    payload = pb.Payload(mime_type="text/plain", data=text.encode())
    return pb.StepSpec(task=pb.Task(agent="words", payload=payload, **task))


def follow(plan, from_revision=0, until=lambda steps: False):
    """Watches until the plan ends, or the steps are as wanted; gives them, and from where to go on."""
    steps, state, revision = {}, None, 0
    stream = scheduler.Watch(pb.WatchRequest(plan=plan, from_revision=from_revision))
    for reply in stream:
        for change in reply.changes:
            if change.WhichOneof("what") == "step":
                steps[change.step.index] = pb.StepState.Name(change.step.state)
            else:
                state = pb.PlanState.Name(change.plan.state)
        revision = reply.revision or revision
        if revision and until(steps):
            stream.cancel()
            break
    return steps, state, revision


# Health, and what is served.
health = health_pb2_grpc.HealthStub(channel)
request = health_pb2.HealthCheckRequest(service="hop3.agent.v1.Scheduler")
found["health"] = health_pb2.HealthCheckResponse.ServingStatus.Name(health.Check(request).status)
database = ProtoReflectionDescriptorDatabase(channel)
found["services"] = sorted(database.get_services())

# A client that knows nothing but what reflection says can make a call.
pool = descriptor_pool.DescriptorPool(database)
method = pool.FindServiceByName("hop3.agent.v1.Scheduler").FindMethodByName("Submit")
Request, Reply = (message_factory.GetMessageClass(each) for each in (method.input_type, method.output_type))
call = channel.unary_unary("/hop3.agent.v1.Scheduler/Submit", Request.SerializeToString, Reply.FromString)
reflected = Request()
step = reflected.plan.steps.add()
step.task.agent = "words"
step.task.timeout_seconds = 7
step.task.arguments["seconds"] = "0"
found["reflected"] = [call(reflected).created, [field.name for field in method.input_type.fields]]

# A plan that can't be, with every reason.
try:
    scheduler.Submit(pb.SubmitRequest(plan=pb.PlanSpec(priority=99, steps=[pb.StepSpec(task=pb.Task(agent="http", resource="telex"))])))
except grpc.RpcError as error:
    bad = error_details_pb2.BadRequest()
    rpc_status.from_call(error).details[0].Unpack(bad)
    found["refused"] = [error.code().name, [violation.field for violation in bad.field_violations]]

# A plan that a worker does, watched, the stream broken in the middle and taken up again.
steps = [words("a b c"), words("d e", arguments={"seconds": "0.3"}), words("f", arguments={"seconds": "0.3"})]
plan = scheduler.Submit(pb.SubmitRequest(plan=pb.PlanSpec(steps=steps, sequential=True))).plan.plan
first, _, revision = follow(plan, until=lambda steps: steps.get(0) == "STEP_STATE_COMPLETED")
second, state, _ = follow(plan, from_revision=revision)
found["watched"] = [first[0], {**first, **second}, state]
outputs = [step.output.json for step in scheduler.ListSteps(pb.ListStepsRequest(plan=plan))]
found["outputs"] = [json.loads(output) for output in outputs]

# Many plans on one stream.
requests = [pb.SubmitRequest(plan=pb.PlanSpec(steps=[words("x " * n)]), client_ref=str(n)) for n in range(50)]
requests[7] = pb.SubmitRequest(client_ref="7")
replies = {reply.client_ref: reply for reply in scheduler.SubmitStream(iter(requests))}
found["stream"] = [len(replies), replies["7"].failure.code, replies["8"].submitted.created]
done = [follow(reply.submitted.plan.plan)[1] for reply in replies.values() if reply.HasField("submitted")]
found["done"] = {state: done.count(state) for state in done}

# A worker is told to stop what a person cancels.
slow = scheduler.Submit(pb.SubmitRequest(plan=pb.PlanSpec(steps=[words("z", arguments={"seconds": "600"})]))).plan.plan
follow(slow, until=lambda steps: steps.get(0) == "STEP_STATE_RUNNING")
scheduler.Cancel(pb.CancelRequest(plan=slow, by="drive.py"))
found["cancelled"] = list(follow(slow)[:2])

print(json.dumps(found))
