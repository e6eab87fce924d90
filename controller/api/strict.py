"""No parameter is ignored: one that a route does not know, or that comes twice, is refused by name.

Before it: the guard. After it: every route, as a dependency of the whole application. A filter with a slip of the pen
(`serivce=`) that is ignored looks like an answer and is none.
"""

from __future__ import annotations

from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from starlette.requests import Request

from controller.errors import InvalidInput
from controller.plans.text import shown


async def known_parameters_only(request: Request) -> None:
    """Check the names in the query string against those of the route.

    Raises:
        InvalidInput: One is not known, or was given twice; the message lists those that are known.
    """
    given = [name for name, _ in request.query_params.multi_items()]
    route = request.scope.get("route")
    if not given or not isinstance(route, APIRoute) or not route.include_in_schema:
        return  # what is not in our document speaks somebody else's protocol, and reads its own parameters
    known = sorted(_names(route.dependant))
    for name in given:
        if name not in known:
            takes = f"this resource takes: {', '.join(known)}" if known else "this resource takes none"
            raise InvalidInput(f"no such parameter; {takes}", field=shown(name))
        if given.count(name) > 1:
            raise InvalidInput("expected once", field=shown(name))


def _names(dependant: Dependant) -> set[str]:
    found = {one.alias for one in dependant.query_params}
    return found.union(*(_names(part) for part in dependant.dependencies))
