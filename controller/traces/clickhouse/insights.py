"""Questions that add spans up: services, operations, who calls whom, what is different.

Before it: `store`. After it: `rollups` (counters that views keep), `edges` (who called whom), `differing` and `sharing`
(from the spans).
"""

from __future__ import annotations

from controller.traces.clickhouse.differing import difference
from controller.traces.clickhouse.edges import map_of, service_map
from controller.traces.clickhouse.rollups import operations, rates, services
from controller.traces.clickhouse.sharing import shares

__all__ = ["difference", "map_of", "operations", "rates", "service_map", "services", "shares"]
