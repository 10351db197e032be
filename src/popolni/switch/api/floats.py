"""What an agent has deposited, and so can still top up."""

from litestar import get

from popolni.ledger.balances import read_left
from popolni.ledger.chart import Kind
from popolni.switch.api import examples
from popolni.switch.api.document import answers
from popolni.switch.api.model import Float, Floats
from popolni.switch.api.requests import ApiRequest
from popolni.switch.program import one


@get(
    "/float",
    name="get_float",
    operation_id="get_float",
    summary="Your float with each branch",
    responses=answers(
        {200: (Floats, "Each branch that you have a contract with.", examples.FLOATS)}
    ),
)
async def get_float(request: ApiRequest) -> Floats:
    """What is left of your deposits, at this moment, without what pending top-ups reserve."""
    call = request.call
    branches = call.program.catalogue().branches
    own = [branches[id_] for id_ in call.agent.contracts if id_ in branches]
    account = Kind.AGENT_FLOAT.account_id(call.agent.id)
    left = await call.program.enquire(one(read_left([(branch.book, account) for branch in own])))
    return Floats(
        floats=[
            Float(
                branch=branch.code,
                operator=branch.operator.code,
                currency=branch.currency,
                left_minor=left.get((branch.book, account), 0),
            )
            for branch in sorted(own, key=lambda branch: branch.code)
        ]
    )
