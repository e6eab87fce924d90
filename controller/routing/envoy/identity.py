"""The cookie that keeps a user on one side: made by the edge, believed only in the form in which the edge makes it.

Before it: `bootstrap` puts the filter in front of the routes, switched off; `routes` switches it on for a target that
wants it. After it: `matching` draws over the header that this filter sets.

The id is the fresh unique one that Envoy made for the request (`DRAW_HEADER`), so a user's first request and all later
ones fall on the same side. Nobody can compute which side an id falls on without the id of the release, which is random.
"""

from __future__ import annotations

from typing import Any as Json

from google.protobuf.any_pb2 import Any
from google.protobuf.struct_pb2 import Struct

from controller.routing.envoy.proto import resources_pb2
from controller.routing.envoy.resources import DRAW_HEADER, METADATA, pack

FILTER = "serinus.identity"
KEPT_S = 30 * 86_400
"""How long a browser keeps the id after the last time it got one, seconds."""
_LUA = "type.googleapis.com/envoy.extensions.filters.http.lua.v3"
# In Lua's patterns %x is a hexadecimal digit and %- a hyphen. The name of a cookie has no character that is special.
_SCRIPT = """
local function is_id(text)
  return #text == 36 and text:find("^%x+%-%x+%-%x+%-%x+%-%x+$") ~= nil
end
function envoy_on_request(handle)
  local name = handle:filterContext():get("cookie")
  local headers = handle:headers()
  for found in ((";" .. (headers:get("cookie") or "")):gsub("; +", ";")):gmatch(";" .. name .. "=([^;]*)") do
    if is_id(found) then
      headers:replace("@draw@", found)
      handle:clearRouteCache()
      return
    end
  end
  handle:streamInfo():dynamicMetadata():set("@metadata@", "new_id", name .. "=" .. headers:get("@draw@"))
end
function envoy_on_response(handle)
  local made = handle:streamInfo():dynamicMetadata():get("@metadata@")
  if made and made["new_id"] then
    handle:headers():add("set-cookie", made["new_id"] .. "; Path=/; Max-Age=@kept@; HttpOnly; SameSite=Lax")
  end
end
"""


def cookie_filter() -> dict[str, Json]:
    """Return the HTTP filter, switched off: it costs nothing where no target asks for it."""
    values = {"@draw@": DRAW_HEADER, "@metadata@": METADATA, "@kept@": str(KEPT_S)}
    script = _SCRIPT
    for mark, value in values.items():
        script = script.replace(mark, value)
    config = {"@type": f"{_LUA}.Lua", "default_source_code": {"inline_string": script}}
    return {"name": FILTER, "disabled": True, "typed_config": config}


def cookie_context(cookie: str) -> Any:
    """Return what switches the filter on for a virtual host.

    Args:
        cookie: Name of the cookie: letters, digits and underscores.
    """
    context = Struct()
    context.update({"cookie": cookie})
    return pack(f"{_LUA}.LuaPerRoute", resources_pb2.LuaPerRoute(filter_context=context))
