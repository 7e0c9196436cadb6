"""What a size costs, by prices that the user brings: they differ by region, contract and day."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from longhaul.errors import ConfigurationError
from longhaul.sizing.assumptions import Assumptions
from longhaul.sizing.fleet import Fleet
from longhaul.sizing.tiers import Postgres, Redis

HOURS_A_MONTH: Final = 730.0


class Prices(BaseModel):
    """Of one region and currency."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    currency: str = Field(min_length=1, max_length=8)
    node_hour: float = Field(ge=0, description="a user node, an hour")
    system_nodes_month: float = Field(default=0, ge=0, description="all system nodes, a month")
    redis_month: dict[str, float] = Field(default_factory=dict, description="by tier, such as B1, a month")
    postgres_month: dict[str, float] = Field(
        default_factory=dict, description="by tier, such as Standard_D4ds_v5, a month, without a standby"
    )


@dataclass(frozen=True, slots=True)
class Cost:
    """A month, in `currency`: with the fewest nodes all the time, and with those of the peak."""

    currency: str
    least_month: float
    peak_month: float


def parse_prices(values: Mapping[str, Any]) -> Prices:
    """Raise ConfigurationError with a sentence for each price that is missing, unknown or no price."""
    try:
        return Prices.model_validate(dict(values))
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg'].lower()}" for one in error.errors())
        raise ConfigurationError(
            f"The prices can't be used: {problems}. They are currency, node_hour, system_nodes_month, redis_month and "
            "postgres_month."
        ) from None


def cost(assumptions: Assumptions, fleet: Fleet, redis: Redis, postgres: Postgres, prices: Prices) -> Cost:
    """Raise ConfigurationError where the price of a tier is missing."""
    fixed = (
        prices.system_nodes_month
        + _of_tier(prices.redis_month, redis.tier, "redis_month")
        + _of_tier(prices.postgres_month, postgres.tier, "postgres_month") * (2 if postgres.is_zone_redundant else 1)
    )
    node_month = prices.node_hour * HOURS_A_MONTH
    return Cost(
        prices.currency,
        least_month=fixed + assumptions.node_min * node_month,
        peak_month=fixed + fleet.nodes * node_month,
    )


def _of_tier(prices: Mapping[str, float], tier: str, name: str) -> float:
    if prices and tier not in prices:
        raise ConfigurationError(f"The prices name no {tier} in {name}: add it, or leave {name} out.")
    return prices.get(tier, 0.0)
